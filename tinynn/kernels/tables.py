"""Tables: constants of layers, which on a device are made once and stay, where a captured step finds them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module


def table(x: Array, make: Callable[..., Array], *arguments: Any) -> Array:
    """Return ``make(*arguments)``, NumPy's, as an array of x's library and dtype.

    Examples
    --------
    >>> table(np.zeros(1, "float32"), np.arange, 3)
    array([0., 1., 2.], dtype=float32)
    """
    if type(x) is np.ndarray:
        return np.asarray(make(*arguments), dtype=x.dtype)
    return kept(array_module(x), make, arguments, x.dtype.str)


@functools.cache
def kept(xp: Any, make: Callable[..., Array], arguments: tuple[Any, ...], dtype: str) -> Array:
    """Return a table on a device; it is never let go, for a graph may read it as long as there is one."""
    found: Array = xp.asarray(make(*arguments), dtype=dtype)
    return found


def length_for(steps: int) -> int:
    """Return how long a table for so many steps is: a power of two, so that sequences of all lengths need few tables.

    Examples
    --------
    >>> length_for(5), length_for(8)
    (8, 8)
    """
    return 1 << (steps - 1).bit_length()
