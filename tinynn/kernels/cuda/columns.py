"""Sums down the columns of a matrix, in an order that is always the same.

A block of 32 x 32 threads has 32 columns; its lanes go down every 32nd row of a slab of rows. If there is more than one
slab, a second kernel adds their sums up. (Adding with atomics would be one launch, in another order every time.)

    s[c] = sum_n x[n, c]

Shapes   x (N, C), s (C,), parts (slabs, C)
Launch   (C / 32, slabs) blocks of 1024, then C / 256 blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat

LANES = 32
SLAB = 1024  # rows, at least

# What every kernel with sums down columns begins with: this thread's column, its first row and the end of its slab. Of
# 1024 threads none may have more than 64 registers, which the compiler has to be told.
HEAD = r"""
#define OF_COLUMNS __launch_bounds__(1024)
#define COLUMN Size c = blockIdx.x * (Size)32 + threadIdx.x % 32
#define IN_SLAB(n, N) \
    for (Size n = blockIdx.y * (((N) + gridDim.y - 1) / gridDim.y) + threadIdx.x / 32, \
              end = min((Size)(N), (blockIdx.y + 1) * (((N) + gridDim.y - 1) / gridDim.y)); n < end; n += 32)

// Sum over the lanes of a block. The sum of the block's k-th column arrives in the first thread of warp k.
template <typename S> __device__ S lane_sum(S v) {
    __shared__ S parts[32][33];
    parts[threadIdx.x / 32][threadIdx.x % 32] = v;
    __syncthreads();
    v = parts[threadIdx.x % 32][threadIdx.x / 32];
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffff, v, step);
    __syncthreads();  // before parts is written again
    return v;
}

// Write the sum of a slab: a row of `parts`.
template <typename S> __device__ void write_lane_sum(S v, S* parts, Size C) {
    Size c = blockIdx.x * (Size)32 + threadIdx.x / 32;
    v = lane_sum(v);
    if (threadIdx.x % 32 == 0 && c < C) parts[blockIdx.y * C + c] = v;
}
"""

source = Source(
    "columns",
    HEAD
    + r"""
extern "C" __global__ void OF_COLUMNS column_sums(const T* x, T* parts, Size N, Size C) {
    COLUMN;
    T s = 0;
    if (c < C) IN_SLAB(n, N) s += x[n * C + c];
    write_lane_sum(s, parts, C);
}

extern "C" __global__ void slab_sums(const T* parts, T* s, Size slabs, Size C) {
    EACH(c, C) {
        T sum = 0;
        for (Size slab = 0; slab < slabs; slab++) sum += parts[slab * C + c];
        s[c] = sum;
    }
}
""",
)


def slabs_for(rows: int) -> int:
    """Return how many slabs so many rows make.

    Examples
    --------
    >>> slabs_for(128), slabs_for(5000), slabs_for(10**9)
    (1, 5, 64)
    """
    return max(1, min(-(-rows // SLAB), 64))


def grid_for(rows: int, columns: int) -> tuple[int, int]:
    """Return the blocks for so many rows and columns."""
    return -(-columns // 32), slabs_for(rows)


def add_slabs(parts: Array, out: Array | None = None) -> Array:
    """Return the sum of all rows of `parts`."""
    slabs, columns = parts.shape
    if out is None or out.dtype == parts.dtype:
        s: Array = array_module(parts).empty(columns, dtype=parts.dtype) if out is None else out
        source.launch("slab_sums", parts, blocks_for(columns), THREADS, parts, s, slabs, columns)
        return s
    out[...] = add_slabs(parts)
    return out


def column_sums(x: Array, out: Array | None = None) -> Array:
    """Return the sums down the columns, along the last axis: (..., C) to (C,)."""
    C = x.shape[-1]
    N = x.size // C
    grid = grid_for(N, C)
    xp: Any = array_module(x)
    direct = grid[1] == 1 and out is not None and out.dtype == x.dtype
    parts = out.reshape(1, C) if out is not None and direct else xp.empty((grid[1], C), dtype=x.dtype)
    source.launch("column_sums", x, grid, 32 * LANES, flat(x), parts, N, C)
    return parts.reshape(C) if direct else add_slabs(parts, out)


def column_sums_twin(x: Array) -> Array:
    """Do what `column_sums` does, with NumPy."""
    return np.einsum("nc->c", x.reshape(-1, x.shape[-1]))
