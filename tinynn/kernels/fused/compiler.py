"""How numba compiles the loops, and what they share: the exponential function."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic, overload

HERE = Path(__file__).parent
config: Any = numba.config


def cache_folder() -> str:
    """Return where what is compiled is kept: a folder of its own for each version of the kernels.

    numba looks at the age of a loop's own file alone, but a loop takes in functions of other files. So the folder's
    name is that of all their contents. It is in ``__pycache__``, or where NUMBA_CACHE_DIR says.
    """
    contents = b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))
    name = "kernels_" + hashlib.sha256(contents).hexdigest()[:16]
    if config.CACHE_DIR:
        return os.path.join(config.CACHE_DIR, name)
    if not os.access(HERE, os.W_OK):
        return os.path.join(os.path.expanduser("~"), ".cache", "tinynn", name)
    folder = HERE / "__pycache__" / name
    for other in folder.parent.glob("kernels_*"):
        if other != folder:  # of an earlier version
            shutil.rmtree(other, ignore_errors=True)
    return str(folder)


CACHE_FOLDER = cache_folder()


def kept(decorate: Callable[..., Any], function: Callable[..., Any], **options: Any) -> Any:
    """Return what a decorator of numba's makes of a function, kept on disk if there is a folder to write to."""
    given, config.CACHE_DIR = config.CACHE_DIR, CACHE_FOLDER
    try:
        return decorate(cache=True, **options)(function)
    except RuntimeError:  # no folder to write the cache to
        return decorate(**options)(function)
    finally:
        config.CACHE_DIR = given


def compiled(function: Callable[..., Any], *flags: str, **options: Any) -> Any:
    """Return the function compiled at its first call, for the types of that call.

    error_model "numpy": 1 / 0 is inf and no error. "contract" lets a product and a sum be one instruction, which is
    more exact, not less; a loop that adds up along a row needs "reassoc" too, to add up in parts that lie side by side
    in a register. None of them assumes that there is no NaN or infinity. "nogil" lets other threads run meanwhile (see
    team.py). numba's own threads are not used: they wait for work by spinning, and beside OpenBLAS's, which do so too,
    made an epoch three times as long.
    """
    return kept(numba.njit, function, error_model="numpy", nogil=True, fastmath={"contract", *flags}, **options)


def loop(function: Callable[..., Any]) -> Any:
    """Compile a loop."""
    return compiled(function)


def sums(function: Callable[..., Any]) -> Any:
    """Compile a loop that adds up along a row."""
    return compiled(function, "reassoc")


def part_of_sums(function: Callable[..., Any]) -> Any:
    """Compile what stands in several loops that add up along a row; it is built into them, for a call takes longer."""
    return compiled(function, "reassoc", forceinline=True)


def of_llvm(function: Callable[..., Any]) -> Any:
    """Let compiled loops call what a function writes in the language of LLVM, numba's compiler."""
    return intrinsic(function)


# exp(x) = 2^n exp(r), n the whole number next to x / log(2), |r| <= log(2) / 2. exp(r) is its Taylor series, up to the
# power from which on nothing is added. n log(2) is taken off in two parts, the first of which has so few bits that
# n times it is exact (Cody & Waite 1980). 2^n is written into the bits of a number, as two factors, for exp(-100) is
# below the smallest number that has all its bits. A sum with 1.5 * 2^23 (2^52) has no place for a fraction, so that it
# rounds. There are only sums, products and choices, so that a loop over it works on many numbers at once.

one32 = np.float32(1)
log2e32, log2_high32, log2_low32 = np.float32(1 / math.log(2)), np.float32(0.693359375), np.float32(-2.12194440e-4)
round32 = np.float32(1.5 * 2**23)
least32, most32 = np.float32(-104), np.float32(89)
s2, s3, s4, s5, s6, s7 = (np.float32(1 / math.factorial(k)) for k in range(2, 8))
bias32, bits32, half32 = np.int32(127), np.int32(23), np.int32(1)

log2e64, log2_high64, log2_low64 = 1 / math.log(2), 6.93145751953125e-1, 1.42860682030941723212e-6
round64 = 1.5 * 2**52
least64, most64 = -746.0, 710.0
d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13 = (1 / math.factorial(k) for k in range(2, 14))
bias64, bits64, half64 = np.int64(1023), np.int64(52), np.int64(1)


@loop
def parts32(x: Any) -> tuple[Any, Any, Any]:
    """Return exp(r) - 1, and two factors whose product is 2^n, in float32; NaN stays NaN."""
    x = least32 if x < least32 else x
    x = most32 if x > most32 else x
    n = (x * log2e32 + round32) - round32
    r = (x - n * log2_high32) - n * log2_low32
    p = s7
    p = p * r + s6
    p = p * r + s5
    p = p * r + s4
    p = p * r + s3
    p = p * r + s2
    p = p * r + one32
    i = np.int32(n)
    h = i >> half32
    a = np.int32((h + bias32) << bits32).view(np.float32)
    b = np.int32((i - h + bias32) << bits32).view(np.float32)
    return p * r, a, b


@loop
def parts64(x: Any) -> tuple[Any, Any, Any]:
    """Return exp(r) - 1, and two factors whose product is 2^n, in float64; NaN stays NaN."""
    x = least64 if x < least64 else x
    x = most64 if x > most64 else x
    n = (x * log2e64 + round64) - round64
    r = (x - n * log2_high64) - n * log2_low64
    p = d13
    p = p * r + d12
    p = p * r + d11
    p = p * r + d10
    p = p * r + d9
    p = p * r + d8
    p = p * r + d7
    p = p * r + d6
    p = p * r + d5
    p = p * r + d4
    p = p * r + d3
    p = p * r + d2
    p = p * r + 1.0
    i = np.int64(n)
    h = i >> half64
    a = np.int64((h + bias64) << bits64).view(np.float64)
    b = np.int64((i - h + bias64) << bits64).view(np.float64)
    return p * r, a, b


def parts(x: Any) -> Any:
    """Return exp(r) - 1, and two factors whose product is 2^n, inside a loop, in the type of x."""
    raise NotImplementedError


def parts_of_type(x: Any) -> Any:
    """Choose by type, when the loop is compiled."""

    def single(x: Any) -> Any:
        return parts32(x)

    def double(x: Any) -> Any:
        return parts64(x)

    return single if x is numba.types.float32 else double


overload(parts)(parts_of_type)


@loop
def exp(x: Any, one: Any) -> Any:
    """Return exp(x) within 1 unit of the last place, in the type of x and of `one`."""
    q, a, b = parts(x)
    return (q + one) * a * b


@loop
def expm1(x: Any, one: Any) -> Any:
    """Return exp(x) - 1 for x up to 0, exact where it is small."""
    q, a, b = parts(x)
    return q * (a * b) + (a * b - one)
