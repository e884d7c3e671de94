"""Random numbers from a counter: Philox4x64-10 (Salmon, Moraes, Dror & Shaw 2011), the same bits as NumPy's `Philox`.

Ten rounds of multiplying and mixing make four words of 64 bits of a counter (c0, c1, c2, c3) and a key (k0, k1):

    c0 c1 c2 c3 = high(b c2) ^ c1 ^ k0, low(b c2), high(a c0) ^ c3 ^ k1, low(a c0)        k0 += p, k1 += q each round

The counter is (1 + block, draw, 0, 0), so that number j of a draw is a function of key, draw and j alone. `draw` lies
in device memory, and the last block of threads that has read it moves it on: each replay of a captured launch is the
next draw.

    kept     u >= rate ? scale : 0           u_j = (j-th half of the words >> 8) / 2^24, the lower half first
    normal   r cos(2 pi v), r sin(2 pi v), r = sqrt(-2 log(1 - u)), u and v the halves of a word   (Box & Muller 1958)

The twins are in tinynn/kernels/draws.py, where NumPy draws them for the CPU.

Launch   a thread makes the four words of a counter, and writes 8 numbers; blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for

source = Source(
    "random",
    r"""
typedef unsigned long long Word;

__device__ void philox(Word* c, Word k0, Word k1) {
    const Word a = 0xD2E7470EE14C6C93ULL, b = 0xCA5A826395121157ULL;
    for (int round = 0; round < 10; round++) {
        Word high_a = __umul64hi(a, c[0]), low_a = a * c[0], high_b = __umul64hi(b, c[2]), low_b = b * c[2];
        c[0] = high_b ^ c[1] ^ k0;
        c[1] = low_b;
        c[2] = high_a ^ c[3] ^ k1;
        c[3] = low_a;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
}

__device__ float lower_half(Word word) { return (float)((word & 0xffffffffULL) >> 8) * (1.0f / 16777216); }
__device__ float upper_half(Word word) { return (float)(word >> 40) * (1.0f / 16777216); }

// Whoever is the last block to come here moves the draw on. `state` is the draw, and how many blocks have come.
__device__ void next_draw(Word* state) {
    __syncthreads();  // all threads of the block have read the draw
    if (threadIdx.x == 0) {
        __threadfence();
        if (atomicAdd(state + 1, (Word)1) == gridDim.x - 1) {
            state[1] = 0;
            state[0] += 1;
        }
    }
}

extern "C" __global__ void kept(Word* state, Word k0, Word k1, double rate, double scale, T* m, Size n) {
    Word draw = state[0];
    EACH(block, (n + 7) / 8) {
        Word c[4] = {(Word)block + 1, draw, 0, 0};
        philox(c, k0, k1);
        for (int j = 0; j < 8; j++)
            if (block * 8 + j < n) {
                float u = j % 2 ? upper_half(c[j / 2]) : lower_half(c[j / 2]);
                m[block * 8 + j] = u >= (float)rate ? (T)scale : T(0);
            }
    }
    next_draw(state);
}

extern "C" __global__ void normal(Word* state, Word k0, Word k1, T* x, Size n) {
    Word draw = state[0];
    EACH(block, (n + 7) / 8) {
        Word c[4] = {(Word)block + 1, draw, 0, 0};
        philox(c, k0, k1);
        for (int j = 0; j < 8; j++)
            if (block * 8 + j < n) {
                float r = sqrt(-2 * log(1 - lower_half(c[j / 2]))), angle = 6.2831853f * upper_half(c[j / 2]);
                x[block * 8 + j] = r * (j % 2 ? sin(angle) : cos(angle));
            }
    }
    next_draw(state);
}
""",
)


def draw_kept(state: Array, key: tuple[Any, Any], rate: float, scale: float, m: Array) -> None:
    """Fill m with 0 where a number is dropped, with probability `rate`, and `scale` elsewhere; and move the draw on."""
    blocks = blocks_for(-(-m.size // 8))
    source.launch("kept", m, blocks, THREADS, state, *key, np.float64(rate), np.float64(scale), m, m.size)


def draw_normal(state: Array, key: tuple[Any, Any], x: Array) -> None:
    """Fill x with normal numbers of mean 0 and variance 1, in float32; and move the draw on."""
    source.launch("normal", x, blocks_for(-(-x.size // 8)), THREADS, state, *key, x, x.size)
