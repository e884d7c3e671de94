"""Shape: layers that move numbers or repeat them, without changing any."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.arguments import Shape, check_count
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.windows import check_axes, check_data_format, check_sizes


class Flatten(Layer):
    """One row a sample: (batch, ...) to (batch, features).

    Backward dx = dy in the shape of x

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    keeps_steps = False

    def build(self, input_shape: Shape) -> Shape:
        """Return the number of features."""
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with one row a sample."""
        y = x.reshape(len(x), -1)                 # (B, ...) -> (B, F)
        self.cache = x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        shape = self.take_cache()
        dx = dy.reshape(shape)                    # y = x in rows
        return dx


class Reshape(Layer):
    """The same numbers in the same order, in another shape.

    Backward dx = dy in the shape of x

    Parameters
    ----------
    target_shape : int or tuple of int
        The new shape of a sample, without the batch axis; one size may be -1: as large as it takes.

    Raises
    ------
    ValueError, ShapeError
        If a size is no whole number from 1 up, or more than one is -1; if a sample has another number of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((4, -1))(np.zeros((5, 2, 6))).shape
    (5, 4, 3)
    """

    keeps_steps = False

    def __init__(self, target_shape: Any, **options: Any) -> None:
        super().__init__(**options)
        sizes = (target_shape,) if isinstance(target_shape, int | np.integer) else target_shape
        whole = isinstance(sizes, tuple | list) and all(map(is_whole, sizes))
        if not whole or any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(
                f"{self.label}: target_shape must be a tuple of whole numbers from 1 up, one of which may be -1, "
                f"got {target_shape!r}. The batch axis is left out."
            )
        self.target_shape = tuple(int(size) for size in sizes)

    def build(self, input_shape: Shape) -> Shape:
        """Return the new shape, with a number in the place of -1."""
        count = math.prod(input_shape)
        known = math.prod(size for size in self.target_shape if size != -1)
        if count != known and (-1 not in self.target_shape or count % known != 0):
            raise ShapeError(
                f"{self.label}: an input of shape {show_shape(input_shape)} has {count} numbers a sample, which do not "
                f"fit target_shape={self.target_shape}. Give a shape of {count} numbers, or -1 for one size."
            )
        return tuple(count // known if size == -1 else size for size in self.target_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x in the new shape."""
        y = x.reshape(len(x), *self.target_shape)
        self.cache = x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        shape = self.take_cache()
        dx = dy.reshape(shape)                    # y = x in another shape
        return dx


class Permute(Layer):
    """The axes of a sample in another order.

    Backward dx = dy with its axes back in their places

    Parameters
    ----------
    dims : tuple of int
        For each axis of the output, which axis of the input it is. Counted from 1; the batch axis, 0, stays first.

    Raises
    ------
    ValueError, ShapeError
        If `dims` does not hold every number from 1 to its length once; if a sample has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> Permute((2, 1))(np.zeros((5, 10, 64))).shape
    (5, 64, 10)
    """

    keeps_steps = False

    def __init__(self, dims: Any, **options: Any) -> None:
        super().__init__(**options)
        whole = isinstance(dims, tuple | list) and all(map(is_whole, dims))
        if not whole or sorted(dims) != list(range(1, len(dims) + 1)):
            raise ValueError(
                f"{self.label}: dims must hold every number from 1 to the number of a sample's axes once, such as "
                f"(2, 1), got {dims!r}. The batch axis, 0, is left out."
            )
        self.dims = tuple(int(axis) for axis in dims)

    def build(self, input_shape: Shape) -> Shape:
        """Return the sizes in their new order."""
        if len(input_shape) != len(self.dims):
            raise ShapeError(
                f"{self.label}: dims={self.dims} orders {len(self.dims)} axes, but an input of shape "
                f"{show_shape(input_shape)} has {len(input_shape)} after the batch axis. Name each of them once."
            )
        return tuple(input_shape[axis - 1] for axis in self.dims)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with its axes in their new order."""
        y = x.transpose(0, *self.dims)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        back = [self.dims.index(axis) + 1 for axis in range(1, dy.ndim)]
        dx = dy.transpose(0, *back)               # y = x.transpose(0, *dims)
        return dx


class RepeatVector(Layer):
    """Every row n times: (batch, features) to (batch, n, features), to feed one vector to every step of a sequence.

    Backward dx = sum of dy over the n copies

    Parameters
    ----------
    n : int
        How often.

    Raises
    ------
    ValueError, ShapeError
        If `n` is not a whole number from 1 up; if a sample is no row of features.

    Examples
    --------
    >>> import numpy as np
    >>> RepeatVector(2)(np.array([[1.0, 2.0]]))
    array([[[1., 2.],
            [1., 2.]]])
    """

    keeps_steps = False

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = check_count(n, f"{self.label}: n")

    def build(self, input_shape: Shape) -> Shape:
        """Return (n, features)."""
        if len(input_shape) != 1:
            wanted = "an input of shape (batch, features)"
            raise ShapeError(f"{self.label} expected {wanted}, got {show_shape(input_shape)}. Put Flatten before it.")
        return (self.n, *input_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return n copies of every row."""
        xp = array_module(x)
        y = xp.repeat(x[:, None], self.n, axis=1)  # (B, F) -> (B, n, F)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy.sum(axis=1)                       # y = x, n times
        return dx


class UpSampling(Layer):
    """Base of upsampling: repeats along the spatial axes, `sizes` says how often for each."""

    keeps_steps = False

    def __init__(self, sizes: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.sizes = sizes

    def build(self, input_shape: Shape) -> Shape:
        """Return the larger sizes."""
        check_axes(input_shape, len(self.sizes), self.label)
        return (*(n * size for n, size in zip(input_shape, self.sizes, strict=False)), input_shape[-1])

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with every entry repeated, one axis after the other."""
        xp = array_module(x)
        y = x
        for axis, size in enumerate(self.sizes, 1):
            y = xp.repeat(y, size, axis=axis)     # (..., N, ...) -> (..., N size, ...)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        for axis, size in reversed(list(enumerate(self.sizes, 1))):
            copies = dy.reshape(*dy.shape[:axis], -1, size, *dy.shape[axis + 1 :])  # (..., N, size, ...)
            dy = copies.sum(axis=axis + 1)        # y = y, size times
        dx = dy                                   # y = x
        return dx


class UpSampling1D(UpSampling):
    """Every step of a sequence `size` times.

    Shapes   x (B, T, C), y (B, T size, C)
    Backward dx = sum of dy over the copies

    Parameters
    ----------
    size : int, default 2
        How often.

    Raises
    ------
    ValueError, ShapeError
        If `size` is not a whole number from 1 up; if a sample has not two axes.

    Examples
    --------
    >>> import numpy as np
    >>> UpSampling1D(2)(np.array([[[1.0], [5.0]]])).ravel()
    array([1., 1., 5., 5.])
    """

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(check_sizes(size, 1, f"{type(self).__name__}: size"), **options)


class UpSampling2D(UpSampling):
    """An image enlarged: every pixel becomes a block of its copies.

    Shapes   x (B, H, W, C), y (B, H size_h, W size_w, C)
    Backward dx = sum of dy over the block

    Parameters
    ----------
    size : int or (int, int), default (2, 2)
        How often (down, across); one number means both.
    data_format : {"channels_last"}, optional
    interpolation : {"nearest"}, default "nearest"
        Copies of the nearest pixel, the only kind there is.

    Raises
    ------
    ValueError, ShapeError
        If a size is not a whole number from 1 up, or `interpolation` another one; if a sample has not three axes.

    Examples
    --------
    >>> import numpy as np
    >>> UpSampling2D((1, 2))(np.array([[[[1.0], [5.0]]]]))[0, :, :, 0]
    array([[1., 1., 5., 5.]])
    """

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **options: Any
    ) -> None:
        super().__init__(check_sizes(size, 2, f"{type(self).__name__}: size"), **options)
        check_data_format(data_format, self.label)
        if interpolation != "nearest":
            raise ValueError(f"{self.label}: interpolation must be 'nearest', got {interpolation!r}.")


def is_whole(value: Any) -> bool:
    """Return whether `value` is a whole number (and no bool)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
