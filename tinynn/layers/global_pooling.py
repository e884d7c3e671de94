"""Global pooling: one number for every channel; and averages of any wanted number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.kernels import matmul
from tinynn.kernels.tables import table
from tinynn.layers.base import Layer
from tinynn.layers.masking import check_mask
from tinynn.layers.windows import check_axes, check_data_format, check_sizes


class GlobalPooling(Layer):
    """Base class of the layers that pool all places at once; a subclass says how many axes they have."""

    keeps_steps = False

    rank: int

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        check_data_format(data_format, self.label)
        self.keepdims = bool(keepdims)
        self.axes = tuple(range(1, self.rank + 1))

    def build(self, input_shape: Shape) -> Shape:
        """Return the channels, after axes of 1 with `keepdims`."""
        check_axes(input_shape, self.rank, self.label)
        return (1,) * (self.rank if self.keepdims else 0) + input_shape[-1:]

    def kept_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output with `keepdims`, for an input of this shape: (B, 1, ..., C)."""
        return (shape[0], *(1,) * self.rank, shape[-1])


class GlobalMaxPooling(GlobalPooling):
    """Base class of GlobalMaxPooling1D and GlobalMaxPooling2D.

    Backward dx = dy at the maximum, 0 elsewhere. Equal maxima share dy equally, as in Keras (whose MaxPooling2D gives
             all to the first).
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the maximum of every channel."""
        y = x.max(axis=self.axes, keepdims=self.keepdims)
        self.cache = x, y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        x, y = self.take_cache()
        here = (x == y.reshape(self.kept_shape(x.shape))).astype(dy.dtype)
        n = here.sum(axis=self.axes, keepdims=True)  # how many maxima share: 1, but for ties
        dx = here * (dy.reshape(n.shape) / n)     # y = max(x)
        return dx


class GlobalMaxPooling1D(GlobalMaxPooling):
    """The maximum over all steps of a sequence.

    Shapes   x (B, steps, C), y (B, C), with `keepdims` (B, 1, C)
    Backward dx = dy at the maximum, 0 elsewhere. Equal maxima share dy equally, as in Keras (whose MaxPooling1D gives
             all to the first).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool, default False
        Whether the axis of the steps stays, with size 1.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ShapeError
        If the input is no sequence.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPooling1D()(np.array([[[1.0, 8.0], [3.0, 2.0]]]))
    array([[3., 8.]])
    """

    rank = 1


class GlobalMaxPooling2D(GlobalMaxPooling):
    """The maximum over a whole image, for each channel; as `GlobalMaxPooling1D`, with one axis more.

    Shapes   x (B, height, width, C), y (B, C), with `keepdims` (B, 1, 1, C)

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPooling2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[6., 7.]])
    """

    rank = 2


class GlobalAveragePooling(GlobalPooling):
    """Base class of GlobalAveragePooling1D and GlobalAveragePooling2D.

    Backward dx = dy / N in every place                      N places
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the average of every channel."""
        y = x.mean(axis=self.axes, keepdims=self.keepdims)
        self.cache = x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        shape = self.take_cache()
        share = dy.reshape(self.kept_shape(shape)) / math.prod(shape[1:-1])
        dx = xp.broadcast_to(share, shape)        # y = mean(x): every place has the same share
        return dx


class GlobalAveragePooling1D(GlobalAveragePooling):
    """The average over the steps of a sequence; with a mask, over those that count.

    Shapes   x (B, steps, C), y (B, C), with `keepdims` (B, 1, C)
    Backward dx = dy / N in every step that counts, else 0       N such steps in this sequence; without a mask, all
    Masks    a sequence without a step that counts has the average 0, where Keras divides 0 by 0

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool, default False
        Whether the axis of the steps stays, with size 1.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ShapeError
        If the input is no sequence.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAveragePooling1D()(np.array([[[1.0, 8.0], [3.0, 2.0]]]))
    array([[2., 5.]])
    """

    rank = 1
    takes_mask = True

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the average of every channel."""
        xp = array_module(x)
        if mask is None:
            m, N, counted = None, x.shape[1], x
        else:
            check_mask(mask, x, self.label)
            m = mask[..., None]                   # (B, steps, 1)
            N = xp.clip(m.sum(axis=1, keepdims=True), 1, None).astype(x.dtype)   # (B, 1, 1); 1 where nothing counts
            counted = xp.where(m, x, 0)
        s = counted.sum(axis=1, keepdims=True)    # (B, 1, C)
        y = s / N
        self.cache = x.shape, m, N
        return y if self.keepdims else y[:, 0]

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        shape, m, N = self.take_cache()
        ds = dy.reshape(self.kept_shape(shape)) / N   # y = s / N
        dcounted = xp.broadcast_to(ds, shape)     # s = sum of counted: every step has the same share
        dx = dcounted if m is None else xp.where(m, dcounted, 0)   # counted = where(m, x, 0)
        return dx


class GlobalAveragePooling2D(GlobalAveragePooling):
    """The average over a whole image, for each channel (Lin, Chen & Yan 2014); as `GlobalAveragePooling1D`.

    Shapes   x (B, height, width, C), y (B, C), with `keepdims` (B, 1, 1, C)

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAveragePooling2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 4.]])
    """

    rank = 2


class AdaptiveAveragePooling2D(Layer):
    """Averages of an image that make an output of a given size, whatever the input's.

    y = P_h x P_w^T, for each channel. Row o of P_h averages the rows of x from floor(o H / h) to below
    ceil((o + 1) H / h); columns likewise. Neighbouring windows overlap where h does not divide H.

    Shapes   x (B, H, W, C), P_h (h, H), P_w (w, W), y (B, h, w, C)
    Backward dx = P_h^T dy P_w

    Parameters
    ----------
    output_size : int or tuple of two int
        The output's height h and width w; may be larger than the input's.
    data_format : {"channels_last"}, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is no whole number from 1 up.
    ShapeError
        If the input is no image with channels.

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAveragePooling2D((1, 2))(np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)).ravel()
    array([1.5, 4. ])
    """

    keeps_steps = False

    def __init__(self, output_size: Any, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.output_size = check_sizes(output_size, 2, f"{self.label}: output_size")
        check_data_format(data_format, self.label)

    def build(self, input_shape: Shape) -> Shape:
        """Return the output's size, and the channels."""
        check_axes(input_shape, 2, self.label)
        return (*self.output_size, input_shape[-1])

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the averages."""
        B, H, W, C = x.shape
        h, w = self.output_size
        P_h = table(x, averages, H, h)
        P_w = table(x, averages, W, w)
        rows = matmul(P_h, x.reshape(B, H, W * C))            # (h, H) (B, H, W C) -> (B, h, W C)
        y2 = matmul(P_w, rows.reshape(B * h, W, C))           # (w, W) (B h, W, C) -> (B h, w, C)
        y = y2.reshape(B, h, w, C)
        self.cache = x.shape, P_h, P_w
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        shape, P_h, P_w = self.take_cache()
        B, _, W, C = shape
        h, w = self.output_size
        dy2 = dy.reshape(B * h, w, C)
        drows = matmul(P_w.T, dy2).reshape(B, h, W * C)       # y2 = P_w rows
        dx = matmul(P_h.T, drows).reshape(shape)              # rows = P_h x
        return dx


def averages(size: int, count: int) -> Array:
    """Return the matrix (count, size) that takes `count` averages of `size` numbers.

    Examples
    --------
    >>> averages(3, 2)
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5]])
    """
    P = np.zeros((count, size))
    for o in range(count):
        first, end = o * size // count, -(-(o + 1) * size // count)
        P[o, first:end] = 1 / (end - first)
    return P
