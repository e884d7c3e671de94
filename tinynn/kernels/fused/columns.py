"""What windows see, laid out as rows of a matrix, and back; the plain lines are Windows.im2col and Windows.col2im.

Where nothing is left out between the numbers of a window, and there is one group, a row of a window with all its
channels is one piece of memory.

Shapes   x (B, H, W C) padded, columns (G, B rows windows, k k C/G)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop


@loop
def _im2col(x: Any, C: int, kernel: Any, strides: Any, dilation: Any, count: Any, columns: Any) -> None:
    G = columns.shape[0]
    size = C // G
    whole = G == 1 and dilation[1] == 1
    pieces, length = (1, kernel[1] * size) if whole else (kernel[1], size)
    for g in range(G):
        n = 0
        for b in range(x.shape[0]):
            for r in range(count[0]):
                for o in range(count[1]):
                    column = columns[g, n]
                    n += 1
                    to = 0
                    for i in range(kernel[0]):
                        row = x[b, r * strides[0] + i * dilation[0]]
                        for j in range(pieces):
                            start = (o * strides[1] + j * dilation[1]) * C + g * size
                            seen, place = row[start : start + length], column[to : to + length]
                            for c in range(length):
                                place[c] = seen[c]
                            to += length


@loop
def _col2im(columns: Any, C: int, kernel: Any, strides: Any, dilation: Any, count: Any, dx: Any) -> None:
    """Add to dx."""
    G = columns.shape[0]
    size = C // G
    whole = G == 1 and dilation[1] == 1
    pieces, length = (1, kernel[1] * size) if whole else (kernel[1], size)
    for g in range(G):
        n = 0
        for b in range(dx.shape[0]):
            for r in range(count[0]):
                for o in range(count[1]):
                    column = columns[g, n]
                    n += 1
                    to = 0
                    for i in range(kernel[0]):
                        row = dx[b, r * strides[0] + i * dilation[0]]
                        for j in range(pieces):
                            start = (o * strides[1] + j * dilation[1]) * C + g * size
                            dseen, place = row[start : start + length], column[to : to + length]
                            for c in range(length):
                                dseen[c] += place[c]
                            to += length


def joined(x: Array) -> Array:
    """Return (B, H, W, C), or (B, W, C), as rows (B, H, W C)."""
    height = x.shape[1] if x.ndim == 4 else 1
    return np.ascontiguousarray(x).reshape(len(x), height, x.shape[-2] * x.shape[-1])


def two_axes(windows: Any) -> tuple[Any, ...]:
    """Return kernel, strides, dilation and count of windows along one axis or two, as of two."""
    front = (1,) * (2 - len(windows.kernel))
    return tuple(front + sizes for sizes in (windows.kernel, windows.strides, windows.dilation, windows.count))


def im2col(x: Array, windows: Any, columns: Array) -> None:
    """Write into columns (G, N, K) what the windows see of the padded `x`."""
    _im2col(joined(x), x.shape[-1], *two_axes(windows), columns)


def col2im(columns: Array, windows: Any, dx: Array) -> None:
    """Add to the padded, contiguous `dx` what comes back in columns (G, N, K)."""
    _col2im(columns, dx.shape[-1], *two_axes(windows), joined(dx))
