"""A step of an optimizer in one pass over its vectors; the plain lines are in tinynn/optimizers.

What changes from step to step is a float, or an array of one number on the device: a captured step reads it there.

Launch   a thread a number, blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for

source = Source(
    "optimizers",
    r"""
// `at` is where a changing number stands on the device, null where `given` is it.
#define CHANGING(name, given, at) const T name = at ? *at : given

extern "C" __global__ void adam(
    T* w, const T* dw, T* M, T* V, T beta_1, T beta_2, T epsilon, T rate_given, const T* rate_at, Size n) {
    CHANGING(rate, rate_given, rate_at);
    EACH(i, n) {
        M[i] = beta_1 * M[i] + dw[i];
        V[i] = beta_2 * V[i] + dw[i] * dw[i];
        w[i] -= rate * M[i] / (sqrt(V[i]) + epsilon);
    }
}

extern "C" __global__ void sgd(T* w, const T* dw, T rate_given, const T* rate_at, Size n) {
    CHANGING(rate, rate_given, rate_at);
    EACH(i, n) w[i] -= rate * dw[i];
}

extern "C" __global__ void momentum(
    T* w, const T* dw, T* m, T kept, Size nesterov, T rate_given, const T* rate_at, Size n) {
    CHANGING(rate, rate_given, rate_at);
    EACH(i, n) {
        T step = rate * dw[i];
        m[i] = kept * m[i] - step;
        w[i] += nesterov ? kept * m[i] - step : m[i];
    }
}

// `a` is null unless centered, `m` is null without momentum.
extern "C" __global__ void rmsprop(
    T* w, const T* dw, T* v, T* a, T* m, T rho, T kept, T epsilon, T rate_given, const T* rate_at, Size n) {
    CHANGING(rate, rate_given, rate_at);
    EACH(i, n) {
        T variance = v[i] = rho * v[i] + (1 - rho) * dw[i] * dw[i];
        if (a) {
            a[i] = rho * a[i] + (1 - rho) * dw[i];
            variance = fmax(variance - a[i] * a[i], T(0));  // rounding may take it below
        }
        T step = rate * dw[i] / sqrt(variance + epsilon);
        if (m) step = m[i] = kept * m[i] + step;
        w[i] -= step;
    }
}
""",
)


def changing(rate: Any, w: Array) -> tuple[float, Array | None]:
    """Return a number that may change as a kernel takes it: the number, or where it stands on the device."""
    return (float(rate), None) if isinstance(rate, int | float) else (0.0, rate.astype(w.dtype, copy=False))


def adam(w: Array, dw: Array, M: Array, V: Array, beta_1: float, beta_2: float, epsilon: float, rate: Any) -> None:
    """Change w, M and V, flat vectors; `rate` is a float or an array of one number."""
    numbers = (float(beta_1), float(beta_2), float(epsilon), *changing(rate, w))
    source.launch("adam", w, blocks_for(w.size), THREADS, w, dw, M, V, *numbers, w.size)


def adam_twin(w: Array, dw: Array, M: Array, V: Array, beta_1: float, beta_2: float, epsilon: float, rate: Any) -> None:
    """Do what `adam` does, with NumPy."""
    M[...] = beta_1 * M + dw
    V[...] = beta_2 * V + dw * dw
    w -= rate * M / (np.sqrt(V) + epsilon)


def sgd(w: Array, dw: Array, rate: Any) -> None:
    """Change w, a flat vector."""
    source.launch("sgd", w, blocks_for(w.size), THREADS, w, dw, *changing(rate, w), w.size)


def sgd_twin(w: Array, dw: Array, rate: Any) -> None:
    """Do what `sgd` does, with NumPy."""
    w -= rate * dw


def momentum(w: Array, dw: Array, m: Array, kept: float, nesterov: bool, rate: Any) -> None:
    """Change w and m, flat vectors."""
    numbers = (float(kept), int(nesterov), *changing(rate, w))
    source.launch("momentum", w, blocks_for(w.size), THREADS, w, dw, m, *numbers, w.size)


def momentum_twin(w: Array, dw: Array, m: Array, kept: float, nesterov: bool, rate: Any) -> None:
    """Do what `momentum` does, with NumPy."""
    m[...] = kept * m - rate * dw
    w += kept * m - rate * dw if nesterov else m


def rmsprop(
    w: Array, dw: Array, v: Array, a: Array | None, m: Array | None, rho: float, kept: float, epsilon: float, rate: Any
) -> None:
    """Change w, v, and where they are given a and m, flat vectors."""
    numbers = (float(rho), float(kept), float(epsilon), *changing(rate, w))
    source.launch("rmsprop", w, blocks_for(w.size), THREADS, w, dw, v, a, m, *numbers, w.size)


def rmsprop_twin(
    w: Array, dw: Array, v: Array, a: Array | None, m: Array | None, rho: float, kept: float, epsilon: float, rate: Any
) -> None:
    """Do what `rmsprop` does, with NumPy."""
    v[...] = rho * v + (1 - rho) * dw * dw
    variance = v
    if a is not None:
        a[...] = rho * a + (1 - rho) * dw
        variance = np.maximum(v - a * a, 0)
    step = rate * dw / np.sqrt(variance + epsilon)
    if m is not None:
        m[...] = kept * m + step
        step = m
    w -= step
