"""Max pooling; the plain lines are in tinynn/layers/pooling.py.

    y[b, o, c] = max_i x[b, s o + i - p, c]
    dx[b, z, c] = the sum of dy over the windows whose first maximum stands at z

dx is collected, a thread for each of its numbers, so that the sum is always in the same order.

Shapes   x, dx (B, D, H, W, C), y, dy (B, windows, C); axes that a layer does not have are 1 long
Launch   a thread a number of y, or of dx, blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat
from tinynn.kernels.cuda.convolution import GEOMETRY, geometry

source = Source(
    "pooling",
    r"""
// Go through the places l, j, i of a window that begins at d, h, w and are inside x: the number there is x[AT].
#define IN_WINDOW \
    for (Size l = 0; l < kernelD; l++) for (Size j = 0; j < kernelH; j++) for (Size i = 0; i < kernelW; i++) \
        if (d + l >= 0 && d + l < sizeD && h + j >= 0 && h + j < sizeH && w + i >= 0 && w + i < sizeW)
#define AT ((((b * sizeD + d + l) * sizeH + h + j) * sizeW + w + i) * C + c)

extern "C" __global__ void max_pooling(const T* x, T* y, Size C, Size n, GEOMETRY) {
    EACH(index, n) {
        Size c = index % C, window = index / C, b = window / countW / countH / countD;
        Size w = window % countW * sW - pW, h = window / countW % countH * sH - pH;
        Size d = window / countW / countH % countD * sD - pD;
        T most = log(T(0));  // minus infinity
        IN_WINDOW most = x[AT] > most || x[AT] != x[AT] ? x[AT] : most;  // NaN is the largest
        y[index] = most;
    }
}

extern "C" __global__ void max_pooling_backward(
    const T* dy, const T* x, const T* y, T* dx, Size C, Size n, GEOMETRY) {
    EACH(index, n) {
        Size c = index % C, place = index / C, b = place / sizeW / sizeH / sizeD;
        Size zW = place % sizeW + pW, zH = place / sizeW % sizeH + pH, zD = place / sizeW / sizeH % sizeD + pD;
        T sum = 0;
        // The windows that see this place: from the first that reaches it to the last that begins before it.
        for (Size oD = max((zD - kernelD + sD) / sD, (Size)0); oD <= min(zD / sD, countD - 1); oD++)
        for (Size oH = max((zH - kernelH + sH) / sH, (Size)0); oH <= min(zH / sH, countH - 1); oH++)
        for (Size oW = max((zW - kernelW + sW) / sW, (Size)0); oW <= min(zW / sW, countW - 1); oW++) {
            Size window = ((((b * countD + oD) * countH + oH) * countW + oW)) * C + c;
            if (x[index] != y[window]) continue;
            Size d = oD * sD - pD, h = oH * sH - pH, w = oW * sW - pW, first = -1;
            IN_WINDOW if (first < 0 && x[AT] == y[window]) first = AT;
            if (first == index) sum += dy[window];
        }
        dx[index] = sum;
    }
}
""".replace("GEOMETRY", GEOMETRY),
)


def max_pooling(x: Array, windows: Any) -> Array:
    """Return the maximum of every window: (B, ..., C) to (B, ..., C)."""
    C, xp = x.shape[-1], array_module(x)
    y: Array = xp.empty((len(x), *windows.count, C), dtype=x.dtype)
    source.launch("max_pooling", x, blocks_for(y.size), THREADS, flat(x), y, C, y.size, *geometry(windows))
    return y


def max_pooling_twin(x: Array, windows: Any) -> Array:
    """Do what `max_pooling` does, with NumPy."""
    padded = np.pad(x, ((0, 0), *windows.padding, (0, 0)), constant_values=-np.inf)
    return np.max(list(windows.views(padded)), axis=0)


def max_pooling_backward(dy: Array, x: Array, y: Array, windows: Any) -> Array:
    """Return dx."""
    dx = array_module(x).empty(x.shape, dtype=x.dtype)
    given = (flat(dy, x), flat(x), y, dx, x.shape[-1], x.size, *geometry(windows))
    source.launch("max_pooling_backward", x, blocks_for(x.size), THREADS, *given)
    return dx


def max_pooling_backward_twin(dy: Array, x: Array, y: Array, windows: Any) -> Array:
    """Do what `max_pooling_backward` does, with NumPy."""
    padded = np.pad(x, ((0, 0), *windows.padding, (0, 0)), constant_values=-np.inf)
    dpadded, left = np.zeros_like(padded), np.ones(y.shape, bool)
    for seen, dseen in zip(windows.views(padded), windows.views(dpadded), strict=True):
        here = left & (seen == y)
        left &= ~here
        dseen += dy * here
    return windows.crop(dpadded)
