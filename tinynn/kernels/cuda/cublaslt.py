"""cuBLASLt: the part of NVIDIA's library of matrix products that is called here, bound by ctypes.

CuPy's products are cuBLAS's, which CuPy refuses while a stream is captured; cuBLASLt's are plain launches. The library
comes with cuBLAS, which CuPy needs anyway. https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
from typing import Any

# Numbers of the C headers library_types.h, cublas_api.h and cublasLt.h; the same in CUDA 12 and 13.
REAL_32F, REAL_64F, REAL_16F, REAL_16BF = 0, 1, 2, 14
COMPUTE_32F, COMPUTE_32F_TF32, COMPUTE_64F = 68, 77, 70
TRANSPOSE = 1
DESC_TRANSA, DESC_TRANSB = 3, 4
LAYOUT_BATCH_COUNT, LAYOUT_BATCH_STRIDE = 5, 6
PREFERENCE_WORKSPACE = 1
PREFERENCE_ALIGNMENTS = (5, 6, 7, 8)  # of A, B, C and D, in bytes
NOT_SUPPORTED = 15  # a status


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t: which kernel multiplies, a secret of the library's."""

    _fields_ = (("data", ctypes.c_uint64 * 8),)


class Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, and how much memory it works in."""

    _fields_ = (
        ("algorithm", Algorithm),
        ("workspace", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


pointer, size, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (pointer,),
    "cublasLtMatmulDescCreate": (pointer, integer, integer),
    "cublasLtMatmulDescDestroy": (pointer,),
    "cublasLtMatmulDescSetAttribute": (pointer, integer, pointer, size),
    "cublasLtMatrixLayoutCreate": (pointer, integer, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64),
    "cublasLtMatrixLayoutDestroy": (pointer,),
    "cublasLtMatrixLayoutSetAttribute": (pointer, integer, pointer, size),
    "cublasLtMatmulPreferenceCreate": (pointer,),
    "cublasLtMatmulPreferenceDestroy": (pointer,),
    "cublasLtMatmulPreferenceSetAttribute": (pointer, integer, pointer, size),
    "cublasLtMatmulAlgoGetHeuristic": (*(pointer,) * 7, integer, pointer, pointer),
    "cublasLtMatmul": (*(pointer,) * 14, size, pointer),
}


class CublasLtError(RuntimeError):
    """A call of cuBLASLt that did not succeed; the message has the function and cuBLAS's number for the reason."""


class NoAlgorithm(CublasLtError):
    """A kind of product that cuBLASLt cannot make."""


class CublasLt:
    """The functions above, each of which raises CublasLtError where C returns that it failed.

    Parameters
    ----------
    library : ctypes.CDLL
        The library itself, or something with the same functions.
    """

    def __init__(self, library: Any) -> None:
        for name, arguments in FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        self.library = library
        library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.version = int(library.cublasLtGetVersion())

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status."""
        status = getattr(self.library, name)(*arguments)
        if status:
            kind = NoAlgorithm if status == NOT_SUPPORTED else CublasLtError
            raise kind(f"{name} failed with the status {status} of cuBLAS")

    def make(self, what: str, *arguments: Any) -> int:
        """Return a new thing, such as a ``"MatmulDesc"``, as its address; `destroy` frees it."""
        made = ctypes.c_void_p()
        self.call(f"cublasLt{what}Create", ctypes.addressof(made), *arguments)
        return made.value or 0

    def destroy(self, what: str, address: int) -> None:
        """Free what `make` made."""
        self.call(f"cublasLt{what}Destroy", address)

    def set(self, what: str, address: int, attribute: int, value: Any) -> None:
        """Set an attribute, a number of ctypes, of what `make` made."""
        self.call(f"cublasLt{what}SetAttribute", address, attribute, ctypes.addressof(value), ctypes.sizeof(value))


def library_names(major: int) -> list[str]:
    """Return how the library's file is called for a CUDA of this number.

    Examples
    --------
    >>> library_names(13)[-1]
    'libcublasLt.so.13'
    """
    return [f"cublasLt64_{major}.dll"] if sys.platform == "win32" else [f"libcublasLt.so.{major}"]


@functools.cache
def load(major: int) -> tuple[CublasLt | None, str]:
    """Return cuBLASLt for a CUDA of this number, None where it cannot be had; and why, in one sentence."""
    names = library_names(major)
    try:  # NVIDIA's own finder, which CuPy brings: it knows the folders of the packages, of conda and of the toolkit
        finder = importlib.import_module("cuda.pathfinder")
        names.append(finder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    except Exception as error:  # it may be missing or find nothing, each with errors of its own
        reason = f"{type(error).__name__}: {error}"
    for name in reversed(names):
        try:
            found = CublasLt(ctypes.CDLL(name))
        except (OSError, AttributeError) as error:
            reason = str(error)
        else:
            if found.version // 10000 == major:
                return found, f"cuBLASLt {found.version // 10000}.{found.version // 100 % 100}"
            reason = f"{name} is of CUDA {found.version // 10000}"
    return None, f"cuBLASLt of CUDA {major} was not found ({reason}); products are CuPy's, which no graph can hold"
