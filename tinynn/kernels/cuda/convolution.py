"""Convolution as a product (im2col); the plain lines are in tinynn/layers/convolution.py and windows.py.

    im2col    columns[g, n, (i, c)] = x[b, s o + d i - p, g C/G + c], 0 outside       n = (b, o): window o of sample b
    col2im    dx[b, y, g C/G + c] = sum_i dcolumns[g, (b, o), (i, c)], where s o + d i - p = y for a window o
    z = columns W2 + b        dW2 = columns^T dz2        dcolumns = dz2 W2^T

Everything has three axes for places here; those that a layer does not have are 1 long. col2im collects, a thread for
each number of dx, so that nothing is added by two threads and the sum is always in the same order.

Shapes   x (B, D, H, W, C), columns (G, N, K), W2 (G, K, O/G), z2 (G, N, O/G)      N windows, K = kernel C/G
Launch   im2col: a block has some of the K numbers of `WINDOWS` windows after each other; col2im: a thread a number
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels import matmul
from tinynn.kernels.cuda.activations import biased
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat

WINDOWS = 16  # that a block goes through
AT_ONCE = 2**27  # numbers of columns in memory together

GEOMETRY = ", ".join(f"Size {name}{axis}" for name in ("size", "kernel", "s", "d", "p", "count") for axis in "DHW")

source = Source(
    "convolution",
    r"""
extern "C" __global__ void im2col(const T* x, T* columns, Size B, Size C, Size G, Size per_block, GEOMETRY) {
    Size Cg = C / G, K = kernelD * kernelH * kernelW * Cg, N = B * countD * countH * countW;
    Size k = blockIdx.y * (Size)blockDim.x + threadIdx.x, g = blockIdx.z;
    if (k >= K) return;
    Size c = k % Cg, offset = k / Cg;  // once for all windows: divisions are slow
    Size i = offset % kernelW * dW - pW, j = offset / kernelW % kernelH * dH - pH;
    Size l = offset / kernelW / kernelH * dD - pD;
    Size n = blockIdx.x * per_block, end = min(n + per_block, N);
    Size oW = n % countW, oH = n / countW % countH, oD = n / countW / countH % countD, b = n / countW / countH / countD;
    for (; n < end; n++) {
        Size w = oW * sW + i, h = oH * sH + j, d = oD * sD + l;
        bool inside = w >= 0 && w < sizeW && h >= 0 && h < sizeH && d >= 0 && d < sizeD;
        columns[(g * N + n) * K + k] = inside ? x[(((b * sizeD + d) * sizeH + h) * sizeW + w) * C + g * Cg + c] : T(0);
        if (++oW == countW) {
            oW = 0;
            if (++oH == countH) {
                oH = 0;
                if (++oD == countD) {
                    oD = 0;
                    b++;
                }
            }
        }
    }
}

extern "C" __global__ void col2im(const T* columns, T* dx, Size B, Size C, Size G, Size n, GEOMETRY) {
    Size Cg = C / G, K = kernelD * kernelH * kernelW * Cg, N = B * countD * countH * countW;
    EACH(index, n) {
        Size place = index / C, g = index % C / Cg, c = index % Cg;
        Size w = place % sizeW + pW, h = place / sizeW % sizeH + pH, d = place / sizeW / sizeH % sizeD + pD;
        Size b = place / sizeW / sizeH / sizeD;
        T sum = 0;
        for (Size l = 0; l < kernelD; l++) {
            Size oD = d - l * dD;
            if (oD < 0 || oD % sD || oD / sD >= countD) continue;
            for (Size j = 0; j < kernelH; j++) {
                Size oH = h - j * dH;
                if (oH < 0 || oH % sH || oH / sH >= countH) continue;
                for (Size i = 0; i < kernelW; i++) {
                    Size oW = w - i * dW;
                    if (oW < 0 || oW % sW || oW / sW >= countW) continue;
                    Size window = ((b * countD + oD / sD) * countH + oH / sH) * countW + oW / sW;
                    sum += columns[(g * N + window) * K + ((l * kernelH + j) * kernelW + i) * Cg + c];
                }
            }
        }
        dx[index] = sum;
    }
}
""".replace("GEOMETRY", GEOMETRY),
)


def geometry(windows: Any) -> list[int]:
    """Return the numbers of `GEOMETRY`."""
    before = tuple(first for first, _ in windows.padding)
    axes = (windows.sizes, windows.kernel, windows.strides, windows.dilation, before, windows.count)
    filler = (1, 1, 1, 1, 0, 1)
    return [n for numbers, one in zip(axes, filler, strict=True) for n in (*(one,) * (3 - len(numbers)), *numbers)]


def im2col(x: Array, windows: Any, G: int) -> Array:
    """Return what every window sees, a row a window: (B, ..., C) to (G, N, K)."""
    B, C = len(x), x.shape[-1]
    N, K = B * math.prod(windows.count), math.prod(windows.kernel) * C // G
    xp: Any = array_module(x)
    columns: Array = xp.empty((G, N, K), dtype=x.dtype)
    threads = min(-(-K // 32) * 32, THREADS)
    grid = (-(-N // WINDOWS), -(-K // threads), G)
    source.launch("im2col", x, grid, threads, flat(x), columns, B, C, G, WINDOWS, *geometry(windows))
    return columns


def im2col_twin(x: Array, windows: Any, G: int) -> Array:
    """Do what `im2col` does, with NumPy: all windows at one offset of the kernel after the other."""
    padded = np.pad(x, ((0, 0), *windows.padding, (0, 0)))
    seen = [padded[(slice(None), *at)].reshape(-1, G, x.shape[-1] // G) for _, at in windows.offsets()]
    return np.moveaxis(np.stack(seen, axis=2), 1, 0).reshape(G, len(seen[0]), -1)


def col2im(columns: Array, windows: Any, channels: int) -> Array:
    """Return the gradient of im2col's input (B, ..., C), for so many channels."""
    G, N, _ = columns.shape
    B = N // math.prod(windows.count)
    xp: Any = array_module(columns)
    dx: Array = xp.empty((B, *windows.sizes, channels), dtype=columns.dtype)
    given = (flat(columns), dx, B, channels, G, dx.size, *geometry(windows))
    source.launch("col2im", columns, blocks_for(dx.size), THREADS, *given)
    return dx


def col2im_twin(columns: Array, windows: Any, channels: int) -> Array:
    """Do what `col2im` does, with NumPy: it adds where im2col has taken."""
    G, N, _ = columns.shape
    B = N // math.prod(windows.count)
    inner = tuple(
        slice(before, before + size) for size, (before, _) in zip(windows.sizes, windows.padding, strict=True)
    )
    sizes = [before + size + after for size, (before, after) in zip(windows.sizes, windows.padding, strict=True)]
    padded = np.zeros((B, *sizes, channels), columns.dtype)
    back = np.moveaxis(columns.reshape(G, N, -1, channels // G), 0, 2)  # (N, offsets, G, C/G)
    for number, (_, at) in enumerate(windows.offsets()):
        padded[(slice(None), *at)] += back[:, number].reshape(B, *windows.count, channels)
    return padded[(slice(None), *inner)]


def parts(samples: int, windows: Any, channels: int) -> Iterator[slice]:
    """Yield slices of the batch whose columns are in memory together."""
    size = max(1, AT_ONCE // (windows.numbers * channels))
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))


def in_groups(x: Array, G: int) -> Array:
    """Return (..., C) as (G, N, C/G), a view where there is one group."""
    x2 = x.reshape(-1, x.shape[-1])
    return x2[None] if G == 1 else array_module(x).moveaxis(x2.reshape(len(x2), G, -1), 1, 0)


def out_of_groups(x: Array) -> Array:
    """Return (G, N, C/G) as (N, C)."""
    return x[0] if len(x) == 1 else array_module(x).moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def check_shape(array: Array, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has this shape: a kernel does not look where an array ends."""
    if array.shape != shape:
        raise ValueError(f"a convolution expected an array of shape {shape}, got {array.shape}.")


def convolution(x: Array, W: Array, b: Array | None, windows: Any, G: int) -> Array:
    """Return the convolution of x (B, ..., C) and W (*k, C/G, O), + b."""
    check_shape(x, (len(x), *windows.sizes, G * W.shape[-2]))
    xp: Any = array_module(x)
    dtype, filters = xp.result_type(x, W), W.shape[-1]
    W2 = in_groups(W.astype(dtype, copy=False), G)
    z = xp.empty((len(x), *windows.count, filters), dtype=dtype)
    for part in parts(len(x), windows, x.shape[-1]):
        columns, into = im2col(x[part].astype(dtype, copy=False), windows, G), z[part].reshape(-1, filters)
        if G == 1:
            matmul(columns[0], W2[0], out=into)
        else:
            into[...] = out_of_groups(matmul(columns, W2))
    return z if b is None else biased(z, b, "linear")[0]


def convolution_weights(dz: Array, x: Array, windows: Any, G: int) -> Array:
    """Return dW (*k, C/G, O)."""
    check_shape(dz, (len(x), *windows.count, dz.shape[-1]))
    xp: Any = array_module(x)
    dtype, channels = xp.result_type(dz, x), x.shape[-1]
    dW2: Any = None
    for part in parts(len(x), windows, channels):
        columns = im2col(x[part].astype(dtype, copy=False), windows, G)
        dz2 = in_groups(dz[part].astype(dtype, copy=False), G)
        product = matmul(columns[0].T, dz2[0])[None] if G == 1 else matmul(xp.moveaxis(columns, 1, 2), dz2)
        dW2 = product if dW2 is None else dW2 + product
    dW: Array = out_of_groups(dW2).reshape(*windows.kernel, channels // G, dz.shape[-1])
    return dW


def convolution_input(dz: Array, W: Array, windows: Any, G: int) -> Array:
    """Return dx (B, ..., C)."""
    filters, channels = W.shape[-1], G * W.shape[-2]
    check_shape(dz, (len(dz), *windows.count, filters))
    xp: Any = array_module(dz)
    dtype = xp.result_type(dz, W)
    W2 = in_groups(W.astype(dtype, copy=False), G)
    made = []
    for part in parts(len(dz), windows, channels):
        dz2 = in_groups(dz[part].astype(dtype, copy=False), G)
        dcolumns = matmul(dz2[0], W2[0].T)[None] if G == 1 else matmul(dz2, xp.moveaxis(W2, 1, 2))
        made.append(col2im(dcolumns, windows, channels))
    return made[0] if len(made) == 1 else xp.concatenate(made)
