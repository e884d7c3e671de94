"""A bias and an activation after it in one pass, and their gradients; the plain lines are in tinynn/layers.

    forward    y = act(z + b)                         backward    da = dy act'(a), db = sum_n da, from y alone

Shapes   z, y, dy, da (N, O), b, db (O,). Threads share out the columns, so that each adds up its own of db.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.activations import sigmoid_of
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.team import array1, array2, piece, team, unpacked

SHARED = 2**16  # numbers from which on the team takes part: some 10 microseconds
LINEAR, RELU, SIGMOID = range(3)
ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID}
COLUMNS = 16  # go to a thread together, a line of the cache


@loop
def _biased(z: Any, b: Any, kind: Any, most: Any, c0: Any, c1: Any) -> None:
    """Write act(z + b) over z, in the columns from c0 to c1."""
    f = z.dtype.type
    zero, one, most = f(0), f(1), f(most)
    for n in range(z.shape[0]):
        row, bias = z[n, c0:c1], b[c0:c1]
        if kind == RELU:
            for o in range(row.size):
                a = row[o] + bias[o]
                v = zero if a < zero else a
                row[o] = most if v > most else v
        elif kind == SIGMOID:
            for o in range(row.size):
                row[o] = sigmoid_of(row[o] + bias[o], one)
        else:
            for o in range(row.size):
                row[o] += bias[o]


@loop
def _biased_backward(dy: Any, y: Any, da: Any, db: Any, kind: Any, most: Any, c0: Any, c1: Any) -> None:
    """Write da and db in the columns from c0 to c1; nothing but db where the activation is linear."""
    f = dy.dtype.type
    zero, one, most = f(0), f(1), f(most)
    sums = db[c0:c1]
    sums[:] = zero
    for n in range(dy.shape[0]):
        dy_row, y_row, da_row = dy[n, c0:c1], y[n, c0:c1], da[n, c0:c1]
        if kind == RELU:
            for o in range(sums.size):
                v = y_row[o]
                d = dy_row[o] * (one if v > zero and (v < most or math.isinf(most)) else zero)
                da_row[o] = d
                sums[o] += d
        elif kind == SIGMOID:
            for o in range(sums.size):
                d = dy_row[o] * y_row[o] * (one - y_row[o])
                da_row[o] = d
                sums[o] += d
        else:
            for o in range(sums.size):
                sums[o] += dy_row[o]


def piece_of_biased(dtype: Any) -> int:
    """Return the address of what a thread does of the forward pass."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        z, b, most, kind, count = array2(n, 0, dtype), array1(n, 1, dtype), array1(n, 2, dtype), n[18], n[19]
        _biased(z, b, kind, most[0], number * count, min((number + 1) * count, len(b)))

    return piece(part)


def piece_of_biased_backward(dtype: Any) -> int:
    """Return the address of what a thread does of the backward pass."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        dy, y, da = array2(n, 0, dtype), array2(n, 1, dtype), array2(n, 2, dtype)
        db, most, kind, count = array1(n, 3, dtype), array1(n, 4, dtype), n[30], n[31]
        _biased_backward(dy, y, da, db, kind, most[0], number * count, min((number + 1) * count, len(db)))

    return piece(part)


FORWARD = {"f": piece_of_biased(np.float32), "d": piece_of_biased(np.float64)}
BACKWARD = {"f": piece_of_biased_backward(np.float32), "d": piece_of_biased_backward(np.float64)}


def in_columns(pieces: dict[str, int], arrays: tuple[Array, ...], kind: int, most: float) -> None:
    """Let the team do a pass, each thread some of the columns."""
    columns, dtype = arrays[0].shape[1], arrays[0].dtype
    count = -(-columns // (COLUMNS * team().size)) * COLUMNS
    team().share_out(pieces[dtype.char], -(-columns // count), (*arrays, np.array([most], dtype)), kind, count)


def biased(z: Array, b: Array, name: str, most: float = math.inf) -> tuple[Array, Array]:
    """Return act(z + b), and what `biased_backward` needs; both may be z, which must be contiguous.

    Parameters
    ----------
    z : array, shape (..., O)
    b : array, shape (O,)
    name : str
        In `ACTIVATIONS`.
    most : float
        Of ReLU, the largest y.
    """
    if b.dtype != z.dtype:
        z, b = z.astype(np.result_type(z, b), copy=False), b.astype(np.result_type(z, b))
    rows = z.reshape(-1, b.size)
    if z.size < SHARED:
        _biased(rows, b, ACTIVATIONS[name], most, 0, b.size)
    else:
        in_columns(FORWARD, (rows, b), ACTIVATIONS[name], most)
    return z, z


def biased_backward(dy: Array, y: Array, db: Array, name: str, most: float = math.inf) -> Array:
    """Return da, and write its sums down the columns into db (O,)."""
    kind = ACTIVATIONS[name]
    dy = np.ascontiguousarray(dy, y.dtype)
    da = dy if kind == LINEAR else empty(dy.shape, dy.dtype)
    sums = db if db.dtype == dy.dtype else np.empty(db.shape, dy.dtype)
    rows = dy.reshape(-1, db.size), y.reshape(-1, db.size), da.reshape(-1, db.size)
    if dy.size < SHARED:
        _biased_backward(*rows, sums, kind, most, 0, db.size)
    else:
        in_columns(BACKWARD, (*rows, sums), kind, most)
    if sums is not db:
        db[...] = sums
    return da


def column_sums(x: Array, out: Array) -> Array:
    """Write the sums down the columns, along the last axis, into `out`, and return it: (..., C) to (C,)."""
    x = np.ascontiguousarray(x)
    biased_backward(x, x, out, "linear")
    return out
