"""Pooling: one number for every window; nothing to learn."""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, fused_kernels
from tinynn.layers.base import Layer
from tinynn.layers.windows import (
    Windows,
    check_axes,
    check_data_format,
    check_fit,
    check_padding,
    check_sizes,
)


class Pooling(Layer):
    """Base class of the layers that pool windows; a subclass says how many axes a window has.

    Shapes   x (B, ..., C), y (B, ..., C)                    the channels stay apart
    """

    keeps_steps = False

    rank: int

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pool_size = check_sizes(pool_size, self.rank, f"{self.label}: pool_size")
        self.strides = check_sizes(self.pool_size if strides is None else strides, self.rank, f"{self.label}: strides")
        self.padding = check_padding(padding, ("valid", "same"), self.label)
        check_data_format(data_format, self.label)

    def windows(self, sizes: Shape) -> Windows:
        """Return the windows on an input of this size."""
        return Windows.on(sizes, self.pool_size, self.strides, self.padding)

    def build(self, input_shape: Shape) -> Shape:
        """Return the number of windows, and the channels."""
        check_axes(input_shape, self.rank, self.label)
        windows = self.windows(input_shape[:-1])
        check_fit(windows, self.label, f"pool_size {self.pool_size}")
        return (*windows.count, input_shape[-1])


class MaxPooling(Pooling):
    """Base class of MaxPooling1D, MaxPooling2D and MaxPooling3D.

    y[o] = max_i x[s o + i - p]                              s stride, p padding, i runs over the window

    Backward dx = dy at the maximum, 0 elsewhere; where windows overlap, the sum. Of several equal maxima in a window
             the first gets all, as in Keras. What padding adds is -inf, which is never the maximum.
    """

    kernel = "max_pooling"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the maximum of every window."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        windows = self.windows(x.shape[1:-1])
        x_padded = windows.pad(x, -math.inf)
        y, *others = windows.views(x_padded)      # what all windows see at the first offset, at the others
        for seen in others:
            y = xp.maximum(y, seen)
        self.cache = x, y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        x, y = self.take_cache()
        if not need_dx:
            return None
        windows = self.windows(x.shape[1:-1])
        x_padded = windows.pad(x, -math.inf)
        dx_padded = windows.pad(xp.zeros(x.shape, dtype=dy.dtype))
        left = xp.ones(y.shape, dtype=bool)       # the windows whose maximum is still to be found
        for seen, dseen in zip(windows.views(x_padded), windows.views(dx_padded), strict=True):
            here = left & (seen == y)
            left = left & ~here
            dseen += dy * here                    # y = max(y, seen); dseen is a view into dx_padded
        dx = windows.crop(dx_padded)              # x_padded = x in its padding
        return dx

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, in one pass over the windows."""
        y: Array = fused_kernels(x).max_pooling(x, self.windows(x.shape[1:-1]))
        self.cache = Kept([x, y])
        return y

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, in one pass over x."""
        x, y = self.take_cache()
        return fused_kernels(x).max_pooling_backward(dy, x, y, self.windows(x.shape[1:-1])) if need_dx else None


class MaxPooling1D(MaxPooling):
    """The maximum of every window of a sequence.

    y[o] = max_i x[s o + i - p]                              s stride, p padding, i runs over the window

    Shapes   x (B, steps, C), y (B, windows, C)
    Backward dx = dy at the maximum (at the first of several equal ones), 0 elsewhere; where windows overlap, the sum

    Parameters
    ----------
    pool_size : int, default 2
    strides : int, optional
        From window to window; by default `pool_size`.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` adds -inf at the ends, so that there are ceil(steps / strides) windows.
    data_format : {"channels_last"}, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size or stride is no whole number from 1 up, or the padding unknown.
    ShapeError
        If the input is no sequence, or shorter than a window.

    Examples
    --------
    >>> import numpy as np
    >>> pool = MaxPooling1D(2)
    >>> pool(np.array([[[1.0], [5.0], [3.0], [2.0], [9.0]]])).ravel()
    array([5., 3.])
    >>> pool.backward(np.array([[[10.0], [20.0]]])).ravel()
    array([ 0., 10., 20.,  0.,  0.])
    """

    rank = 1


class MaxPooling2D(MaxPooling):
    """The maximum of every window of an image.

    y[o] = max_i x[s o + i - p]                              s stride, p padding, i runs over the window

    Shapes   x (B, height, width, C), y (B, rows, columns, C)
    Backward dx = dy at the maximum (at the first of several equal ones), 0 elsewhere; where windows overlap, the sum

    Parameters
    ----------
    pool_size : int or tuple of two int, default 2
        The window's height and width.
    strides : int or tuple of two int, optional
        From window to window; by default `pool_size`.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` adds -inf at the edges, so that there are ceil(size / stride) windows along each axis.
    data_format : {"channels_last"}, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size or stride is no whole number from 1 up, or the padding unknown.
    ShapeError
        If the input is no image with channels, or smaller than a window.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPooling2D()(np.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2)
    array([[ 5.,  7.],
           [13., 15.]])
    """

    rank = 2


class MaxPooling3D(MaxPooling):
    """The maximum of every window of a volume; as `MaxPooling2D`, with one axis more.

    Shapes   x (B, depth, height, width, C)

    Examples
    --------
    >>> import numpy as np
    >>> MaxPooling3D()(np.arange(64.0).reshape(1, 4, 4, 4, 1)).shape
    (1, 2, 2, 2, 1)
    """

    rank = 3


class AveragePooling(Pooling):
    """Base class of AveragePooling1D, AveragePooling2D and AveragePooling3D.

    y[o] = sum_i x[s o + i - p] / n[o]                       s stride, p padding, i runs over the window

    Backward dx = dy / n in every place of the window; where windows overlap, the sum. n[o] is how many places of the
             window lie on the input: padding is not averaged over.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the average of every window."""
        xp = array_module(x)
        windows = self.windows(x.shape[1:-1])
        x_padded = windows.pad(x)
        ones = windows.pad(xp.ones((1, *x.shape[1:-1], 1), dtype=x.dtype))
        total, *others = windows.views(x_padded)  # what all windows see at the first offset, at the others
        for seen in others:
            total = total + seen
        n, *others = windows.views(ones)
        for seen in others:
            n = n + seen
        y = total / n
        self.cache = x.shape, n
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        shape, n = self.take_cache()
        if not need_dx:
            return None
        windows = self.windows(shape[1:-1])
        dtotal = dy / n                           # y = total / n
        dx_padded = windows.pad(xp.zeros(shape, dtype=dy.dtype))
        for dseen in windows.views(dx_padded):
            dseen += dtotal                       # total = total + seen; dseen is a view into dx_padded
        dx = windows.crop(dx_padded)              # x_padded = x in its padding
        return dx


class AveragePooling1D(AveragePooling):
    """The average of every window of a sequence.

    y[o] = sum_i x[s o + i - p] / n[o]                       s stride, p padding, i runs over the window

    Shapes   x (B, steps, C), y (B, windows, C), n (1, windows, 1)
    Backward dx = dy / n in every place of the window; where windows overlap, the sum. n[o] is how many places of the
             window lie on the input: padding is not averaged over.

    Parameters
    ----------
    pool_size : int, default 2
    strides : int, optional
        From window to window; by default `pool_size`.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` lets windows reach over the ends, so that there are ceil(steps / strides) of them.
    data_format : {"channels_last"}, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size or stride is no whole number from 1 up, or the padding unknown.
    ShapeError
        If the input is no sequence, or shorter than a window.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePooling1D(2, padding="same")(np.array([[[1.0], [5.0], [9.0]]])).ravel()
    array([3., 9.])
    """

    rank = 1


class AveragePooling2D(AveragePooling):
    """The average of every window of an image.

    y[o] = sum_i x[s o + i - p] / n[o]                       s stride, p padding, i runs over the window

    Shapes   x (B, height, width, C), y (B, rows, columns, C), n (1, rows, columns, 1)
    Backward dx = dy / n in every place of the window; where windows overlap, the sum. n[o] is how many places of the
             window lie on the input: padding is not averaged over.

    Parameters
    ----------
    pool_size : int or tuple of two int, default 2
        The window's height and width.
    strides : int or tuple of two int, optional
        From window to window; by default `pool_size`.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` lets windows reach over the edges, so that there are ceil(size / stride) of them along each axis.
    data_format : {"channels_last"}, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size or stride is no whole number from 1 up, or the padding unknown.
    ShapeError
        If the input is no image with channels, or smaller than a window.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePooling2D()(np.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2)
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    rank = 2


class AveragePooling3D(AveragePooling):
    """The average of every window of a volume; as `AveragePooling2D`, with one axis more.

    Shapes   x (B, depth, height, width, C)

    Examples
    --------
    >>> import numpy as np
    >>> AveragePooling3D()(np.ones((1, 4, 4, 4, 1))).shape
    (1, 2, 2, 2, 1)
    """

    rank = 3
