"""Kernels: the loops that are worth writing for speed, each a plain function on arrays.

A kernel computes what the plain lines of its layer compute. The layer runs the kernel; with ``plain = True`` it runs
its own lines, and a test holds the two to the same numbers.

There are two kinds. Those of the recurrent layers are NumPy's, in memory that is used again (``out=...``); LSTM's calls
a fused one for each step where it can. The fused ones (tinynn/kernels/fused) are loops that do in one pass over the
data what NumPy does in several; numba compiles them. They are optional, the extra ``fast``, and run on NumPy's arrays
of real numbers. For CuPy's there are kernels in CUDA C (tinynn/kernels/cuda). Where there is no kernel, and in complex
numbers, it is the plain lines that run.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from typing import Any

import numpy as np

from tinynn import backend

LARGE = 450_000  # numbers multiplied in a product from which on OpenBLAS, with two threads by then, is no faster
MUCH = 2**17  # bytes gathered from which on threads are faster than NumPy


class Kept(tuple[Any, ...]):
    """What a fused forward keeps for its backward: a layer's cache of this type asks for the fused backward.

    Examples
    --------
    >>> Kept([1, 2])
    (1, 2)
    """

    __slots__ = ()


@functools.cache
def load_fused() -> tuple[Any, str]:
    """Return the module of the fused kernels, None where they cannot be had; and why, in one sentence.

    numba is looked for at the first call, not when tinynn is imported: it takes longer to import than all the rest.
    """
    try:
        numba = importlib.import_module("numba")
        if numba.config.DISABLE_JIT:
            return None, "NumPy alone; numba is told not to compile, by NUMBA_DISABLE_JIT"
        kernels = importlib.import_module("tinynn.kernels.fused")
    except Exception as error:  # a numba that is too old for this NumPy fails with errors of several kinds
        if isinstance(error, ImportError) and error.name == "numba":
            return None, "NumPy alone; with the extra 'fast' (numba) loops are fused: pip install '.[fast]'"
        return None, f"NumPy alone; numba is installed but cannot be used: {error}"
    return kernels, f"fused by numba {numba.__version__}"


def describe() -> dict[str, str]:
    """Return what `tinynn info` says: that of the backend, and which kernels run.

    Examples
    --------
    >>> "kernels" in describe()
    True
    """
    return {**backend.describe(), "kernels": load_fused()[1]}


def fused_kernels(x: Any) -> Any:
    """Return the module of the fused kernels for arrays like `x`, None where there is none.

    numba's loops for NumPy's arrays, CUDA's kernels for CuPy's; both have the same names and arguments, and what one
    of them lacks runs as the plain lines of its layer.
    """
    if type(x) is np.ndarray:
        return load_fused()[0]
    if isinstance(x, np.ndarray):
        return None
    return load_cuda(backend.array_module(x))


@functools.cache
def load_cuda(xp: Any) -> Any:
    """Return the module of the CUDA kernels, None where CuPy cannot compile them."""
    return importlib.import_module("tinynn.kernels.cuda") if hasattr(xp, "RawModule") else None


def can_fuse(x: Any, kernel: str = "") -> bool:
    """Whether there are fused kernels for this array, which must be float32 or float64; or this one among them.

    Not for so few numbers that NumPy's calls are as fast: `LEAST` of the kernels' module has how many it takes.
    """
    if x.dtype.char not in "fd":
        return False
    found = load_fused()[0] if type(x) is np.ndarray else fused_kernels(x)
    return found is not None and (not kernel or x.size >= found.LEAST.get(kernel, math.inf))


def release() -> None:
    """Give back the memory that the fused kernels keep for the arrays of the next step."""
    if (fused := sys.modules.get("tinynn.kernels.fused")) is not None:
        fused.release()


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Return the matrix product a b, written into `out` if that is given; over the first axes if there are more.

    With the extra ``fast`` a large product of two matrices on the CPU is the fused kernels', so that their threads are
    the only ones: OpenBLAS's wait for the next product by spinning, and take the processors from what lies between.
    On a CUDA device it is cuBLASLt that multiplies, as precisely as `tinynn.kernels.precision` says.

    Parameters
    ----------
    a : array, shape (..., M, K)
    b : array, shape (..., K, O)
    out : array, shape (..., M, O), optional
        Shares no memory with a and b.

    Examples
    --------
    >>> matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    if type(a) is not np.ndarray:
        from tinynn.kernels.cuda import products

        return products.matmul(a, b, out)
    if a.ndim == b.ndim == 2 and a.size * b.shape[1] >= LARGE:
        fused = load_fused()[0]
        product = None if fused is None else fused.matmul(a, b, out)
        if product is not None:
            return product
    return np.matmul(a, b, out=out)


def gather(x: Any, rows: Any) -> Any:
    """Return some rows of an array, or a view of them for a slice: x[rows].

    Examples
    --------
    >>> gather(np.array([[1, 2], [3, 4]]), np.array([1, 0, 1]))
    array([[3, 4],
           [1, 2],
           [3, 4]])
    """
    if type(x) is np.ndarray and type(rows) is np.ndarray and rows.size * x.nbytes >= MUCH * len(x):
        fused = load_fused()[0]
        found = None if fused is None else fused.gather(x, rows)
        if found is not None:
            return found
    return x[rows]


def einsum(subscripts: str, a: Any, b: Any) -> Any:
    """Return sums of products of two arrays with the same axes, such as ``"nf,nf->n"``.

    NumPy's einsum makes no array of the products. CuPy's is a product of matrices inside, which a captured step cannot
    hold; there the products are made, and summed.

    Examples
    --------
    >>> einsum("nf,nf->n", np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    array([11.])
    """
    if isinstance(a, np.ndarray):
        return np.einsum(subscripts, a, b)
    axes, result = subscripts.split(",")[0], subscripts.split("->")[1]
    return (a * b).sum(axis=tuple(at for at, axis in enumerate(axes) if axis not in result))
