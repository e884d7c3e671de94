"""The gradient of the largest number of every window, in one pass; the plain lines are in tinynn/layers/pooling.py.

As in a convolution (see convolution.py) window n sees at its offset k, of channel c, the number start[n] + offset[k]
+ c of a sample laid out flat.

Shapes   x, dx (B, S) padded and flat, start (N,), offset (K,), y, dy (B, N, C)
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.shares import in_shares

NUMBER = 2**4  # products: about as long takes a number of x
TABLES = 32  # that are kept


@functools.lru_cache(TABLES)
def tables_of(windows: Any, C: int) -> tuple[Array, Array]:
    """Return start and offset of a layer's windows."""
    padded = [before + n + after for n, (before, after) in zip(windows.sizes, windows.padding, strict=True)]
    steps = [C * math.prod(padded[axis + 1 :]) for axis in range(len(padded))]
    begins = [np.arange(n) * s * step for n, s, step in zip(windows.count, windows.strides, steps, strict=True)]
    inside = [np.arange(k) * step for k, step in zip(windows.kernel, steps, strict=True)]
    start, offset = (functools.reduce(np.add.outer, places).reshape(-1) for places in (begins, inside))
    return start, offset


@loop
def _max_backward(dy: Any, x: Any, y: Any, start: Any, offset: Any, dx: Any) -> None:
    one = y.dtype.type(1)
    left = np.empty(y.shape[2], y.dtype)  # 1 for the channels whose maximum is still to be found
    for b in range(x.shape[0]):
        for n in range(len(start)):
            left[:] = one
            for k in range(len(offset)):
                at = start[n] + offset[k]
                seen, dseen, most, d = x[b, at:], dx[b, at:], y[b, n], dy[b, n]
                for c in range(len(left)):
                    here = left[c] if seen[c] == most[c] else one - one
                    left[c] -= here
                    dseen[c] += d[c] * here


def max_pooling(x: Array, windows: Any) -> Array:
    """Return the largest number of every window: the few maxima of forward are as fast in NumPy."""
    y, *others = windows.views(windows.pad(x, -math.inf))
    for seen in others:
        y = np.maximum(y, seen)
    return y


def max_pooling_backward(dy: Array, x: Array, y: Array, windows: Any) -> Array:
    """Return the gradient of x."""
    start, offset = tables_of(windows, x.shape[-1])
    x_padded = windows.pad(x, -math.inf)
    x2 = np.ascontiguousarray(x_padded).reshape(len(x), -1)
    shape = (len(x), len(start), x.shape[-1])
    dy2, y2 = np.ascontiguousarray(dy).reshape(shape), np.ascontiguousarray(y).reshape(shape)
    dx = empty(x_padded.shape, dy.dtype)
    dx2 = dx.reshape(len(x), -1)

    def work(share: slice) -> None:
        dx2[share] = 0
        _max_backward(dy2[share], x2[share], y2[share], start, offset, dx2[share])

    in_shares(work, len(x), x.size * NUMBER)
    return windows.crop(dx)
