"""Depthwise convolution with one filter a channel; the plain lines are in tinynn/layers/depthwise.py.

All channels of a row of windows lie side by side in memory, and so do those of the row of the input that they see at
one offset of the kernel, as long as windows are one place apart. With the kernel's weights for this offset repeated as
often as there are windows in a row, a row of outputs is a sum of a few products of long rows.

Shapes   x (B, H, W C) padded, weights (k, k, windows C), bias (windows C,), z, dz (B, rows, windows C)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.memory import empty


@loop
def _forward(x: Any, weights: Any, bias: Any, C: int, strides: Any, dilation: Any, z: Any) -> None:
    for b in range(z.shape[0]):
        for r in range(z.shape[1]):
            sums = z[b, r]
            sums[:] = bias
            for i in range(weights.shape[0]):
                for j in range(weights.shape[1]):
                    weight = weights[i, j]
                    seen = x[b, r * strides[0] + i * dilation[0], j * dilation[1] * C :]
                    if strides[1] == 1:
                        for q in range(sums.size):
                            sums[q] += seen[q] * weight[q]
                    else:
                        for o in range(sums.size // C):
                            for c in range(C):
                                sums[o * C + c] += seen[o * strides[1] * C + c] * weight[c]


@loop
def _backward(dz: Any, x: Any, weights: Any, C: int, strides: Any, dilation: Any, dweights: Any, dx: Any) -> None:
    """Write dweights, float64, and add to dx, unless it has no samples."""
    one_sample = np.empty(weights.shape, dz.dtype)
    dweights[:] = 0
    for b in range(dz.shape[0]):
        one_sample[:] = 0
        for r in range(dz.shape[1]):
            dsums = dz[b, r]
            for i in range(weights.shape[0]):
                for j in range(weights.shape[1]):
                    weight, dweight = weights[i, j], one_sample[i, j]
                    row, start = r * strides[0] + i * dilation[0], j * dilation[1] * C
                    seen = x[b, row, start:]
                    if strides[1] == 1:
                        for q in range(dsums.size):
                            dweight[q] += seen[q] * dsums[q]
                        if dx.shape[0]:
                            dseen = dx[b, row, start:]
                            for q in range(dsums.size):
                                dseen[q] += weight[q] * dsums[q]
                        continue
                    for o in range(dsums.size // C):
                        for c in range(C):
                            dweight[o * C + c] += seen[o * strides[1] * C + c] * dsums[o * C + c]
                        if dx.shape[0]:
                            dseen = dx[b, row, start + o * strides[1] * C :]
                            for c in range(C):
                                dseen[c] += weight[c] * dsums[o * C + c]
        for i in range(weights.shape[0]):
            for j in range(weights.shape[1]):
                for q in range(weights.shape[2]):
                    dweights[i, j, q] += one_sample[i, j, q]


def joined(x: Array) -> Array:
    """Return (B, H, W, C) as rows (B, H, W C)."""
    return np.ascontiguousarray(x).reshape(*x.shape[:2], x.shape[2] * x.shape[3])


def depthwise(x: Array, W: Array, bias: Array | None, windows: Any) -> Array:
    """Return the convolution of every channel of the padded `x`, and `bias`: (B, H, W, C) to (B, rows, columns, C)."""
    C = x.shape[-1]
    dtype = np.result_type(x, W)
    z = empty((len(x), *windows.count, C), dtype=dtype)
    columns = windows.count[1]
    weights = np.tile(W[..., 0].astype(dtype), (1, 1, columns))
    biases = np.zeros(columns * C, dtype=dtype) if bias is None else np.tile(bias, columns)
    _forward(joined(x), weights, biases, C, windows.strides, windows.dilation, joined(z))
    return z


def depthwise_backward(dz: Array, x: Array, W: Array, windows: Any, need_dx: bool) -> tuple[Array, Array]:
    """Return dW and dx, which is empty without `need_dx`; x and dx are padded."""
    C = x.shape[-1]
    columns = windows.count[1]
    weights = np.tile(W[..., 0].astype(dz.dtype), (1, 1, columns))
    dweights = np.empty(weights.shape)
    dx = np.zeros(x.shape if need_dx else (0, *x.shape[1:]), dtype=np.result_type(dz, W))
    _backward(joined(dz), joined(x), weights, C, windows.strides, windows.dilation, dweights, joined(dx))
    dW = dweights.reshape(*W.shape[:2], columns, C).sum(axis=2)
    return dW[..., None], dx
