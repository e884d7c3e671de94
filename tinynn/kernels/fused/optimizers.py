"""A step of an optimizer in one pass over its vectors; the plain lines are in tinynn/optimizers."""

from __future__ import annotations

import math
from typing import Any

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop


@loop
def _adam(w: Any, dw: Any, M: Any, V: Any, beta_1: Any, beta_2: Any, epsilon: Any, rate: Any) -> None:
    f = w.dtype.type
    beta_1, beta_2, epsilon, rate = f(beta_1), f(beta_2), f(epsilon), f(rate)
    for i in range(w.size):
        M[i] = beta_1 * M[i] + dw[i]
        V[i] = beta_2 * V[i] + dw[i] * dw[i]
        w[i] -= rate * M[i] / (math.sqrt(V[i]) + epsilon)


def adam(w: Array, dw: Array, M: Array, V: Array, beta_1: float, beta_2: float, epsilon: float, rate: float) -> None:
    """Change w, M and V, flat vectors."""
    _adam(w, dw, M, V, beta_1, beta_2, epsilon, rate)
