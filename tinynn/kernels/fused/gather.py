"""Rows of an array in any order, copied by several threads: a batch of shuffled samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop, of_llvm
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.team import array1, array2, piece, team, unpacked


@of_llvm
def copy_bytes(typing: Any, source: Any, at: Any, into: Any, place: Any, count: Any) -> Any:
    """Copy so many bytes from source[at:] to into[place:], inside a loop; nothing is checked."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, into = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2))
        here, there = builder.gep(source, [arguments[1]]), builder.gep(into, [arguments[3]])
        cgutils.raw_memcpy(builder, there, here, arguments[4], 1)
        return context.get_dummy_value()

    return types.void(source, types.int64, into, types.int64, types.int64), write


@loop
def _gather(x: Any, rows: Any, y: Any, first: Any, end: Any, missing: Any) -> None:
    """Write y[i] = x[rows[i]] from `first` to before `end`, or set missing[0] where x has no such row."""
    size = x.shape[1]
    for i in range(first, end):
        row = rows[i] if rows[i] >= 0 else rows[i] + x.shape[0]
        if 0 <= row < x.shape[0]:
            copy_bytes(x, row * size, y, i * size, size)
        else:
            missing[0] = 1


def _piece(number: Any, arguments: Any) -> None:
    n = unpacked(arguments)
    x, rows, y = array2(n, 0, np.uint8), array1(n, 1, np.int64), array2(n, 2, np.uint8)
    missing, pieces = array1(n, 3, np.int64), n[24]
    _gather(x, rows, y, len(rows) * number // pieces, len(rows) * (number + 1) // pieces, missing)


PIECE = piece(_piece)


def gather(x: Array, rows: Array) -> Array | None:
    """Return x[rows]; None where NumPy does it, as for rows with gaps between them, or that are no numbers of rows."""
    if rows.dtype != np.int64 or rows.ndim != 1 or x.dtype.kind not in "fiub":
        return None
    if not x.flags.c_contiguous or not rows.flags.c_contiguous:
        return None
    y, missing = empty((len(rows), *x.shape[1:]), x.dtype), np.zeros(1, np.int64)
    from_bytes, to_bytes = (array.reshape(len(array), -1).view(np.uint8) for array in (x, y))
    team().share_out(PIECE, team().size, (from_bytes, rows, to_bytes, missing), team().size)
    return None if missing[0] else y  # NumPy says which row is missing
