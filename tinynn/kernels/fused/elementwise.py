"""Loops over the numbers or the rows of arrays: flat arrays in, a new array out."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.shares import in_shares

LARGE = 2**20  # numbers: with fewer an elementwise loop is over before another thread is awake
NUMBER = 2**6  # products: about as long takes a number of an elementwise loop


def flat(x: Array) -> Array:
    """Return x as one contiguous row of numbers: a view if it is contiguous, else a copy."""
    return x.ravel()


def each(kernel: Any, *arrays: Array, constants: tuple[Any, ...] = ()) -> Array:
    """Return a new array of the first one's shape that `kernel` fills number by number from all of them, flat."""
    dtype = arrays[0].dtype if len(arrays) == 1 else np.result_type(*arrays)
    y = empty(arrays[0].shape, dtype)
    *numbers, into = *map(flat, arrays), y.reshape(-1)
    if y.size < LARGE:
        kernel(*numbers, *constants, into)
    else:
        work = functools.partial(each_share, kernel, numbers, constants, into)
        in_shares(work, y.size, y.size * NUMBER)
    return y


def each_share(kernel: Any, arrays: list[Array], constants: tuple[Any, ...], y: Array, share: slice) -> None:
    """Fill a share of y."""
    kernel(*(x[share] for x in arrays), *constants, y[share])


def rows(kernel: Any, *arrays: Array) -> Array:
    """Return a new array of the first one's shape that `kernel` fills row by row, along the last axis."""
    y = empty(arrays[0].shape, dtype=np.result_type(*arrays))
    columns = y.shape[-1]
    kernel(*(flat(x).reshape(-1, columns) for x in arrays), y.reshape(-1, columns))
    return y


def in_type(numbers: tuple[float, ...], x: Array) -> tuple[Any, ...]:
    """Return numbers in the type of x."""
    return tuple(map(x.dtype.type, numbers))
