"""How CUDA C becomes kernels, and what they share: places in a grid, sums over a block, how many threads.

A file of kernels holds a `Source`: CUDA C in which ``T`` is the type of the numbers, compiled at the first launch, for
float and for double (CuPy's RawModule, NVRTC). Beside it stands the twin of each kernel, the same formula in NumPy; the
tests hold the two together, on a machine without a GPU too: there the source is compiled as C++ and run on the CPU.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinynn.backend import Array, array_module

THREADS = 256  # of a block where there is no reason for another number
BLOCKS = 4096  # more are not started: a thread goes on with the number that lies so many threads further
ROW = 4  # numbers of a row for each thread of the block that works on it

HEAD = r"""
typedef long long Size;

// Go through 0 ... n - 1, all threads of the grid together.
#define EACH(i, n) \
    for (Size i = blockIdx.x * (Size)blockDim.x + threadIdx.x; i < (n); i += gridDim.x * (Size)blockDim.x)

// Go through 0 ... n - 1, the threads of one block together.
#define IN_BLOCK(i, n) for (Size i = threadIdx.x; i < (n); i += blockDim.x)

// Return the sum (the largest) of what all threads of a block bring, to each of them; blocks are whole warps of 32.
// The order of the sum is always the same.
template <typename S> __device__ S block_sum(S v) {
    __shared__ S parts[32];
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffff, v, step);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) v += parts[warp];
    __syncthreads();  // before parts is written again
    return v;
}

template <typename S> __device__ S block_max(S v) {
    __shared__ S parts[32];
    for (int step = 16; step > 0; step /= 2) v = fmax(v, __shfl_xor_sync(0xffffffff, v, step));
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) v = fmax(v, parts[warp]);
    __syncthreads();
    return v;
}
"""

TYPES = {"f": "float", "d": "double"}


class Source:
    """The CUDA C of one file.

    Parameters
    ----------
    name : str
        For messages.
    code : str
        Functions ``extern "C" __global__ void ...``; `HEAD` stands before them.

    Attributes
    ----------
    every : list of Source
        All there are, for the tests that compile them.
    """

    every: ClassVar[list[Source]] = []

    def __init__(self, name: str, code: str) -> None:
        self.name = name
        self.code = code
        self.modules: dict[tuple[Any, str], Any] = {}
        self.functions: dict[tuple[Any, str, str], Any] = {}
        Source.every.append(self)

    def code_for(self, kind: str) -> str:
        """Return the whole text for the numbers of one kind. (As a macro T would change NVRTC's own headers.)"""
        return f"typedef {TYPES[kind]} T;\n{HEAD}{self.code}"

    def function(self, xp: Any, kind: str, kernel: str) -> Any:
        """Return a kernel for the numbers of one kind, compiled at the first call."""
        found = self.functions.get((xp, kind, kernel))
        if found is None:
            if (xp, kind) not in self.modules:
                self.modules[xp, kind] = xp.RawModule(code=self.code_for(kind))
            found = self.functions[xp, kind, kernel] = self.modules[xp, kind].get_function(kernel)
        return found

    def launch(self, kernel: str, like: Array, blocks: Any, threads: int, *arguments: Any) -> None:
        """Start a kernel for numbers of the type of `like`.

        Parameters
        ----------
        kernel : str
        like : array
        blocks : int or tuple of int
        threads : int
            Of each block.
        *arguments
            Arrays, contiguous; whole numbers, for which the kernel has Size; floats, for which it has T; None for a
            pointer to nothing.
        """
        number = like.dtype.type
        packed = tuple(number(a) if type(a) is float else np.int64(a) if type(a) is int else a for a in arguments)
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        if 0 in grid:
            return  # an empty batch
        self.function(array_module(like), like.dtype.char, kernel)(grid, (threads,), packed)


def blocks_for(count: int) -> int:
    """Return how many blocks of `THREADS` go through so many numbers.

    Examples
    --------
    >>> blocks_for(257), blocks_for(10**9)
    (2, 4096)
    """
    return max(1, min(-(-count // THREADS), BLOCKS))


def threads_for(columns: int) -> int:
    """Return how many threads work on a row of so many numbers: whole warps.

    Examples
    --------
    >>> threads_for(10), threads_for(200), threads_for(10**6)
    (32, 64, 512)
    """
    return min(max(1, -(-columns // (32 * ROW))) * 32, 512)


def flat(x: Array, like: Array | None = None) -> Array:
    """Return x with its numbers one after the other in memory, and of another's type: x itself, or a copy."""
    if like is not None:
        x = x.astype(like.dtype, copy=False)
    return array_module(x).ascontiguousarray(x)
