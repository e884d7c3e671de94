"""The gradient of an embedding; the plain lines are in tinynn/layers/embedding.py.

    dW[v] = the sum of dy[n] over the places n whose number is v

A block has one number v and looks through all places, so that the sum is always in the same order (adding with atomics
would be in the order in which the threads arrive). It is made in double.

Shapes   numbers (N,), dy (N, D), dW (V, D)
Launch   V blocks of 256, which read 256 numbers together; a thread has a column, or several
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.cuda.compiler import Source, flat

MOST_NUMBERS = 2**28  # V N: with more the plain lines, which sort, are faster

source = Source(
    "embedding",
    r"""
extern "C" __global__ void sum_by_number(const Size* numbers, const T* dy, T* dW, Size N, Size D) {
    __shared__ Size some[256];
    for (Size first = 0; first < D; first += blockDim.x) {
        Size c = first + threadIdx.x;
        double sum = 0;
        for (Size start = 0; start < N; start += blockDim.x) {
            __syncthreads();  // all have looked at the last ones
            if (start + threadIdx.x < N) some[threadIdx.x] = numbers[start + threadIdx.x];
            __syncthreads();
            Size count = min((Size)blockDim.x, N - start);
            if (c < D)
                for (Size j = 0; j < count; j++)
                    if (some[j] == blockIdx.x) sum += dy[(start + j) * D + c];
        }
        if (c < D) dW[blockIdx.x * D + c] = sum;
    }
}
""",
)


def sum_by_number(numbers: Array, rows: Array, out: Array) -> Array:
    """Write into ``out[v]`` the sum of the rows whose number is v; zero where there are none."""
    given = (flat(numbers.astype("int64", copy=False)), flat(rows, out), out)
    source.launch("sum_by_number", out, len(out), 256, *given, len(numbers), out.shape[1])
    return out


def sum_by_number_twin(numbers: Array, rows: Array, out: Any) -> Array:
    """Do what `sum_by_number` does, with NumPy."""
    out[...] = 0
    np.add.at(out, numbers, rows)
    return out
