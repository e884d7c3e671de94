"""Products of matrices in tiles, the large ones by several threads; see tiles.py, panels.py and team.py.

A product (M, K) (K, O) is taken panel by panel of the right matrix, and each panel tile by tile of the left one. Only
when all of K is added up is a number's sum whole: it is the same whichever rows, columns or threads stand beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.panels import copy, transpose
from tinynn.kernels.fused.team import array1, array2, piece, team, unpacked
from tinynn.kernels.fused.tiles import BYTES, ROWS, narrow_tile, wide_tile, width

DEPTH = 1024  # of K at once: a panel stays in the second cache of a processor
SHARED = 2**19  # numbers multiplied in a product from which on the team takes part: some 10 microseconds
FEW = 4  # rows: to copy b for fewer takes longer than the product
STEPS = np.arange(DEPTH)
HEIGHT = 512  # of M at once: these rows stay in the cache that all processors share


@loop
def _matmul(
    a: Any, a_row: Any, a_column: Any, b: Any, b_row: Any, b_column: Any, out: Any, K: Any, wide: Any,
    m0: Any, m1: Any, c0: Any, c1: Any,
) -> None:  # fmt: skip
    """Write the rows from m0 to m1 and the columns from c0 to c1 of a b into `out` (M, O).

    a and b are flat, their rows so far apart as a_row and b_row say, their columns as a_column and b_column.
    """
    size, flat = out.shape[1], out.reshape(-1)
    height, depth = min(HEIGHT, m1 - m0), min(DEPTH, K)
    panel = np.empty((depth, wide), out.dtype)
    if (c1 - c0) % wide > 0:
        panel[:] = 0  # its columns that are not there must not be slow numbers
    rows = np.empty((height, depth) if a_column != 1 else (0, 0), out.dtype)
    sums, nothing = np.empty(ROWS * wide, out.dtype), np.zeros(ROWS * wide, out.dtype)
    starts = np.empty(ROWS, np.int64)
    for k in range(0, K, depth):
        step = STEPS[: min(depth, K - k)]
        for m in range(m0, m1, height):
            end = min(m + height, m1)
            left, at, stride = a, m * a_row + k, a_row
            if a_column != 1:
                left, at, stride = rows.reshape(-1), 0, depth
                transpose(a, k * a_column + m, a_column, left, stride, end - m, len(step))
            for c in range(c0, c1, wide):
                columns = min(wide, c1 - c)
                if b_column == 1:
                    copy(b, k * b_row + c, b_row, panel.reshape(-1), wide, len(step), columns)
                else:
                    transpose(b, c * b_column + k, b_column, panel.reshape(-1), wide, len(step), columns)
                for first in range(m, end, ROWS):
                    count = min(ROWS, end - first)
                    for q in range(ROWS):
                        starts[q] = at + min(first - m + q, end - m - 1) * stride
                    whole = count == ROWS and columns == wide
                    before = nothing
                    if whole and k > 0:
                        before = sums
                        copy(flat, first * size + c, size, sums, wide, ROWS, wide)
                    into, into_stride = (flat[first * size + c :], size) if whole else (sums, wide)
                    if wide * out.itemsize > BYTES:
                        wide_tile(left, starts, step, panel[: len(step)], before, into, into_stride)
                    else:
                        narrow_tile(left, starts, step, panel[: len(step)], before, into, into_stride)
                    if not whole:
                        for q in range(count):
                            for o in range(columns):
                                number = out[first + q, c + o] if k > 0 else nothing[0]
                                out[first + q, c + o] = number + sums[q * wide + o]


def piece_of_matmul(dtype: Any) -> int:
    """Return the address of what a thread does of a product: some of the rows, or some of the columns."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        a, b, out = array1(n, 0, dtype), array1(n, 1, dtype), array2(n, 2, dtype)
        a_row, a_column, b_row, b_column = n[18], n[19], n[20], n[21]
        K, wide, columns, count = n[22], n[23], n[24], n[25]
        m0, m1, c0, c1 = 0, out.shape[0], 0, out.shape[1]
        if columns:
            c0, c1 = number * count, min((number + 1) * count, c1)
        else:
            m0, m1 = number * count, min((number + 1) * count, m1)
        _matmul(a, a_row, a_column, b, b_row, b_column, out, K, wide, m0, m1, c0, c1)

    return piece(part)


PIECES = {"f": piece_of_matmul(np.float32), "d": piece_of_matmul(np.float64)}


def matmul(a: Array, b: Array, out: Array | None = None) -> Array | None:
    """Return a b, written into `out`: (M, K) (K, O) -> (M, O).

    None where NumPy does it: a few rows, other types, shapes that do not fit, matrices with gaps between their numbers.
    """
    (M, K), size, dtype = a.shape, b.shape[1], a.dtype
    if M < FEW:
        return None
    if out is None:
        out = empty((M, size), dtype=dtype)
    if dtype.char not in "fd" or b.dtype != dtype or out.dtype != dtype:
        return None
    left, right = in_a_row(a), in_a_row(b)
    if len(b) != K or out.shape != (M, size) or not out.flags.c_contiguous or left is None or right is None:
        return None
    if left[2] != 1 and FEW <= size < M * K / (4 * (M + K)):  # far less to transpose in (b^T a^T)^T
        turned = np.empty((size, M), dtype=dtype)
        matmul(b.T, a.T, turned)
        transpose(turned.reshape(-1), 0, M, out.reshape(-1), size, M, size)
        return out
    wide = width(size, dtype)
    columns = size > M or (size == M and left[2] == 1)  # are shared out, else rows: whole panels or tiles of them
    unit, whole = (wide, size) if columns else (ROWS, M)
    if M * K * size < SHARED or team().size == 1:
        _matmul(*left, *right, out, K, wide, 0, M, 0, size)
        return out
    per_piece = -(-whole // (unit * team().size)) * unit
    pieces = -(-whole // per_piece)
    numbers = *left[1:], *right[1:], K, wide, columns, per_piece
    team().share_out(PIECES[dtype.char], pieces, (left[0], right[0], out), *numbers)
    return out


def in_a_row(x: Array) -> tuple[Array, int, int] | None:
    """Return a matrix's numbers as they lie in memory, and how far apart rows and columns are; None with gaps."""
    if x.flags.c_contiguous:
        return x.reshape(-1), x.shape[1], 1
    return (x.T.reshape(-1), 1, x.shape[0]) if x.flags.f_contiguous else None
