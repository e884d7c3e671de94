"""Softmax and its logarithm along rows; the plain lines are in tinynn/layers/activations.py.

Shapes   x, y, dy, dx (N, F), a row after the other
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import exp, loop, part_of_sums, sums
from tinynn.kernels.fused.elementwise import rows
from tinynn.kernels.fused.memory import empty

LANES = 16  # numbers side by side: as many as a register of the widest processors holds


@loop
def greatest(x: Any, best: Any) -> Any:
    """Return the largest number of a row. `best` is memory for the largest ones of 16 columns of it.

    One largest number alone would make every step wait for the one before. NaN does not count; it comes back with exp.
    """
    F = x.size
    whole = F - F % LANES
    best[:] = -np.inf
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            v = x[start + lane]
            best[lane] = v if v > best[lane] else best[lane]
    m = best[0]
    for lane in range(1, LANES):
        m = best[lane] if best[lane] > m else m
    for i in range(whole, F):
        m = x[i] if x[i] > m else m
    return m


@part_of_sums
def softmax_of_row(x: Any, n: Any, y: Any, best: Any) -> tuple[Any, Any]:
    """Write the softmax of row n into y; return the row's largest number m, and the sum of exp(x - m).

    `best` is memory for `greatest`.
    """
    one = x.dtype.type(1)
    m = greatest(x[n], best)
    s = one - one
    for i in range(x.shape[1]):
        e = exp(x[n, i] - m, one)
        s += e
        y[n, i] = e
    r = one / s
    for i in range(x.shape[1]):
        y[n, i] *= r
    return m, s


@sums
def _softmax(x: Any, y: Any) -> None:
    best = np.empty(LANES, x.dtype)
    for n in range(x.shape[0]):
        softmax_of_row(x, n, y, best)


@sums
def _masked_softmax(x: Any, seen: Any, y: Any) -> None:
    """Do it for (A, B, C, D, F); what is not seen counts as 0 exponentials."""
    f = x.dtype.type
    zero, one, never = f(0), f(1), f(-np.inf)
    best = np.empty(LANES, x.dtype)
    for a in range(x.shape[0]):
        for b in range(x.shape[1]):
            for c in range(x.shape[2]):
                for d in range(x.shape[3]):
                    row, shares, see = x[a, b, c, d], y[a, b, c, d], seen[a, b, c, d]
                    for i in range(row.size):
                        shares[i] = row[i] if see[i] else never
                    m = greatest(shares, best)
                    m = zero if m == never else m
                    s = zero
                    for i in range(row.size):
                        e = exp(shares[i] - m, one) if see[i] else zero
                        s += e
                        shares[i] = e
                    r = one / s if s != zero else zero
                    for i in range(row.size):
                        shares[i] *= r


@sums
def _softmax_backward(dy: Any, y: Any, dx: Any) -> None:
    zero = dx.dtype.type(0)
    for n in range(y.shape[0]):
        c = zero
        for i in range(y.shape[1]):
            c += dy[n, i] * y[n, i]
        for i in range(y.shape[1]):
            dx[n, i] = y[n, i] * (dy[n, i] - c)


@sums
def _log_softmax(x: Any, y: Any) -> None:
    zero, one = x.dtype.type(0), x.dtype.type(1)
    best = np.empty(LANES, x.dtype)
    for n in range(x.shape[0]):
        m = greatest(x[n], best)
        s = zero
        for i in range(x.shape[1]):
            s += exp(x[n, i] - m, one)
        log_s = x.dtype.type(math.log(s))
        for i in range(x.shape[1]):
            y[n, i] = (x[n, i] - m) - log_s


@sums
def _log_softmax_backward(dy: Any, y: Any, dx: Any) -> None:
    zero, one = dx.dtype.type(0), y.dtype.type(1)
    for n in range(y.shape[0]):
        c = zero
        for i in range(y.shape[1]):
            c += dy[n, i]
        for i in range(y.shape[1]):
            dx[n, i] = dy[n, i] - exp(y[n, i], one) * c


def softmax(x: Array) -> Array:
    """Return the softmax of x along its last axis."""
    return rows(_softmax, x)


def masked_softmax(x: Array, seen: Array) -> Array:
    """Return the softmax along the last of five axes over what is `seen` alone, 0 where it is not: attention's shares.

    Parameters
    ----------
    x : array, five axes
    seen : array of bool
        Of a shape that broadcasts to that of x. A row of which nothing is seen becomes 0.
    """
    y = empty(x.shape, dtype=x.dtype)
    _masked_softmax(np.ascontiguousarray(x), np.broadcast_to(seen, x.shape), y)
    return y


def softmax_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the softmax's output."""
    return rows(_softmax_backward, dy, y)


def log_softmax(x: Array) -> Array:
    """Return the logarithm of the softmax of x along its last axis."""
    return rows(_log_softmax, x)


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the output."""
    return rows(_log_softmax_backward, dy, y)
