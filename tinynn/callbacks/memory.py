"""What a callback remembers, as it stands in a checkpoint: numbers, texts, arrays, and lists and dicts of these."""

from __future__ import annotations

from typing import Any

import numpy as np


class NotPlain(TypeError):
    """A checkpoint cannot hold a value."""


def plain(value: Any) -> Any:
    """Return a copy of a value as a checkpoint can hold it; NumPy's scalars become arrays without axes, or float.

    Raises
    ------
    NotPlain
        If it is, or has in it, something else than None, bool, int, float, str, NumPy arrays of numbers, and lists,
        tuples and dicts with keys of str of these. Subclasses are something else: they would come back as their base.

    Examples
    --------
    >>> plain({"wait": 2, "best": [np.float32(0.5)]})
    {'wait': 2, 'best': [array(0.5, dtype=float32)]}
    >>> plain([1, print])
    Traceback (most recent call last):
    ...
    tinynn.callbacks.memory.NotPlain: builtin_function_or_method
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is np.float64:  # what many write into the logs; Python's float is the same number
        return float(value)
    if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind in "biuf" and value.itemsize <= 8:
        return np.array(value)
    if kind in (list, tuple):
        return kind([plain(member) for member in value])
    if kind is dict and all(type(key) is str for key in value):
        return {key: plain(member) for key, member in value.items()}
    raise NotPlain(kind.__name__)


def as_it_was(value: Any) -> Any:
    """Return a copy of what `plain` returned, with NumPy's scalars again.

    Examples
    --------
    >>> as_it_was([np.array(0.5, "float32")])[0].dtype
    dtype('float32')
    """
    if isinstance(value, np.ndarray):
        return value.copy() if value.ndim else value[()]
    if isinstance(value, list | tuple):
        return type(value)([as_it_was(member) for member in value])
    if isinstance(value, dict):
        return {key: as_it_was(member) for key, member in value.items()}
    return value
