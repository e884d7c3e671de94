"""Memory that is used again: large arrays of every step have the same sizes, and new memory is slow.

The system hands out memory page by page, each at its first touch, and takes it back when it is free; to fill an array
in new memory takes many times as long as in memory that was there.
"""

from __future__ import annotations

import math
import sys
from threading import Lock
from typing import Any

import numpy as np

from tinynn.backend import Array

LARGE = 2**17  # numbers; what is smaller malloc keeps by itself
MOST = 2**28  # bytes that are kept without being used, whatever their sizes

blocks: dict[int, list[Array]] = {}  # by their bytes
one_at_a_time = Lock()


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array as `numpy.empty` does, in memory that an array was in which nobody has any longer.

    Examples
    --------
    >>> first = empty((1024, 1024), "float32")
    >>> place = first.ctypes.data
    >>> del first
    >>> empty((512, 2048), "float32").ctypes.data == place
    True
    """
    count = math.prod(shape)
    if count < LARGE:
        return np.empty(shape, dtype=dtype)
    size = count * np.dtype(dtype).itemsize
    with one_at_a_time:
        kept = blocks.setdefault(size, [])
        for i in range(len(kept)):
            if references(kept, i) == FREE:
                return kept[i].view(dtype).reshape(shape)
        if sum(size * len(others) for size, others in blocks.items()) + size > MOST:
            release()
        block = np.empty(size, dtype=np.uint8)
        blocks.setdefault(size, []).append(block)
        return block.view(dtype).reshape(shape)


def references(kept: list[Array], i: int) -> int:
    """Return how many references there are to a block; each array in it is one."""
    return sys.getrefcount(kept[i])


FREE = references([np.empty(1)], 0)  # those of the list, and of the function that counts


def release() -> None:
    """Give back what is kept and not used; what is used goes back when it no longer is."""
    blocks.clear()
