"""A step of an optimizer in one pass over its vectors; the plain lines are in tinynn/optimizers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.team import array1, piece, team, unpacked

LARGE = 2**18  # numbers: with fewer it is over before another thread has begun


@loop
def _adam(w: Any, dw: Any, M: Any, V: Any, beta_1: Any, beta_2: Any, epsilon: Any, rate: Any) -> None:
    f = w.dtype.type
    beta_1, beta_2, epsilon, rate = f(beta_1), f(beta_2), f(epsilon), f(rate)
    for i in range(w.size):
        M[i] = beta_1 * M[i] + dw[i]
        V[i] = beta_2 * V[i] + dw[i] * dw[i]
        w[i] -= rate * M[i] / (math.sqrt(V[i]) + epsilon)


def piece_of_adam(dtype: Any) -> int:
    """Return the address of what a thread does of a step."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        w, dw, M, V = array1(n, 0, dtype), array1(n, 1, dtype), array1(n, 2, dtype), array1(n, 3, dtype)
        settings, pieces = array1(n, 4, np.float64), n[30]
        share = slice(len(w) * number // pieces, len(w) * (number + 1) // pieces)
        _adam(w[share], dw[share], M[share], V[share], settings[0], settings[1], settings[2], settings[3])

    return piece(part)


PIECES = {"f": piece_of_adam(np.float32), "d": piece_of_adam(np.float64)}


def adam(w: Array, dw: Array, M: Array, V: Array, beta_1: float, beta_2: float, epsilon: float, rate: float) -> None:
    """Change w, M and V, flat vectors."""
    if w.size < LARGE or team().size == 1:
        _adam(w, dw, M, V, beta_1, beta_2, epsilon, rate)
    else:
        settings = np.array([beta_1, beta_2, epsilon, rate])
        team().share_out(PIECES[w.dtype.char], team().size, (w, dw, M, V, settings), team().size)
