"""Padding: layers that put zeros round their input, or leave a frame of it out."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.shape import is_whole
from tinynn.layers.windows import check_axes, check_data_format

Pair = tuple[int, int]


class Framed(Layer):
    """Base of padding and cropping: of x and y, the smaller is a window of the larger.

    `pairs` says how much it leaves out (before, after) on each spatial axis; `sign` is 1 if y is larger, -1 if x is.
    """

    keeps_steps = False

    def __init__(self, pairs: tuple[Pair, ...], sign: int, **options: Any) -> None:
        super().__init__(**options)
        self.pairs = pairs
        self.sign = sign

    def build(self, input_shape: Shape) -> Shape:
        """Find the window, return the sizes of the output."""
        check_axes(input_shape, len(self.pairs), self.label)
        output_shape, window = [], [slice(None)]
        for size, (before, after) in zip(input_shape, self.pairs, strict=False):
            output_size = size + self.sign * (before + after)
            if output_size < 1:
                given = f"an input of shape {show_shape(input_shape)}"
                raise ShapeError(f"{self.label} leaves out {before} + {after} of {size} in {given}. Leave out less.")
            output_shape.append(output_size)
            window.append(slice(before, before + min(size, output_size)))
        self.window = tuple(window)
        return (*output_shape, input_shape[-1])

    def larger(self, small: Array, shape: Shape | None) -> Array:
        """Return an array of this shape a sample: zeros around the window."""
        xp = array_module(small)
        large = xp.zeros((len(small), *(shape or ())), dtype=small.dtype)
        large[self.window] = small
        return large


class Padding(Framed):
    """Zeros around the spatial axes; the window of the output is the input."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with zeros around it."""
        y = self.larger(x, self.output_shape)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy[self.window]                      # y = x with zeros around it
        return dx


class Cropping(Framed):
    """The window of the input is the output."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the middle of x."""
        y = x[self.window]
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = self.larger(dy, self.input_shape)    # y = x[window]
        return dx


class ZeroPadding1D(Padding):
    """Zeros before and after the steps of a sequence.

    Shapes   x (B, T, C), y (B, before + T + after, C)
    Backward dx = dy without what was added

    Parameters
    ----------
    padding : int or (int, int), default 1
        How many zeros before and after; one number means both.
    data_format : {"channels_last"}, optional

    Raises
    ------
    ValueError, ShapeError
        If a number is negative or not whole; if a sample has not two axes.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPadding1D((1, 2))(np.ones((1, 2, 1))).ravel()
    array([0., 1., 1., 0., 0.])
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **options: Any) -> None:
        check_data_format(data_format, type(self).__name__)
        super().__init__(check_pairs(padding, 1, f"{type(self).__name__}: padding"), sign=1, **options)


class ZeroPadding2D(Padding):
    """Zeros around an image.

    Shapes   x (B, H, W, C), y (B, top + H + bottom, left + W + right, C)
    Backward dx = dy without what was added

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int)), default (1, 1)
        How many zeros: everywhere; above and below, left and right; or ((top, bottom), (left, right)).
    data_format : {"channels_last"}, optional

    Raises
    ------
    ValueError, ShapeError
        If a number is negative or not whole; if a sample has not three axes.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPadding2D(((0, 1), (2, 0)))(np.ones((1, 1, 2, 1)))[0, :, :, 0]
    array([[0., 0., 1., 1.],
           [0., 0., 0., 0.]])
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **options: Any) -> None:
        check_data_format(data_format, type(self).__name__)
        super().__init__(check_pairs(padding, 2, f"{type(self).__name__}: padding"), sign=1, **options)


class Cropping1D(Cropping):
    """Leaves out the first and the last steps of a sequence.

    Shapes   x (B, T, C), y (B, T - before - after, C)
    Backward dx = dy, with zeros where x was left out

    Parameters
    ----------
    cropping : int or (int, int), default (1, 1)
        How many steps at the beginning and at the end; one number means both.

    Raises
    ------
    ValueError, ShapeError
        If a number is negative or not whole; if a sample has not two axes, or nothing of it would be left.

    Examples
    --------
    >>> import numpy as np
    >>> Cropping1D((1, 2))(np.arange(5.0).reshape(1, 5, 1)).ravel()
    array([1., 2.])
    """

    def __init__(self, cropping: Any = (1, 1), **options: Any) -> None:
        super().__init__(check_pairs(cropping, 1, f"{type(self).__name__}: cropping"), sign=-1, **options)


class Cropping2D(Cropping):
    """Leaves out the border of an image.

    Shapes   x (B, H, W, C), y (B, H - top - bottom, W - left - right, C)
    Backward dx = dy, with zeros where x was left out

    Parameters
    ----------
    cropping : int, (int, int) or ((int, int), (int, int)), default ((0, 0), (0, 0))
        How much: everywhere; above and below, left and right; or ((top, bottom), (left, right)).
    data_format : {"channels_last"}, optional

    Raises
    ------
    ValueError, ShapeError
        If a number is negative or not whole; if a sample has not three axes, or nothing of it would be left.

    Examples
    --------
    >>> import numpy as np
    >>> Cropping2D(((1, 0), (0, 1)))(np.arange(9.0).reshape(1, 3, 3, 1))[0, :, :, 0]
    array([[3., 4.],
           [6., 7.]])
    """

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **options: Any) -> None:
        check_data_format(data_format, type(self).__name__)
        super().__init__(check_pairs(cropping, 2, f"{type(self).__name__}: cropping"), sign=-1, **options)


def check_pairs(value: Any, axes: int, who: str) -> tuple[Pair, ...]:
    """Return (before, after) for each axis; one number stands for both, and for every axis.

    Examples
    --------
    >>> check_pairs((0, 2), 1, "padding"), check_pairs((1, 2), 2, "padding"), check_pairs(((0, 1), 2), 2, "padding")
    (((0, 2),), ((1, 1), (2, 2)), ((0, 1), (2, 2)))
    """
    entries = (value,) * axes if axes == 1 or is_whole(value) else value
    if isinstance(entries, tuple | list) and len(entries) == axes:
        pairs = [(entry, entry) if is_whole(entry) else entry for entry in entries]
        if all(isinstance(p, tuple | list) and len(p) == 2 and all(is_whole(n) and n >= 0 for n in p) for p in pairs):
            return tuple((int(before), int(after)) for before, after in pairs)
    forms = "(before, after)" if axes == 1 else "(height's, width's) or ((top, bottom), (left, right))"
    raise ValueError(f"{who} must be a whole number from 0 up, or {forms} of such, got {value!r}.")
