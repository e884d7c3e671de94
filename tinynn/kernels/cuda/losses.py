"""Binary cross-entropy of logits; the plain lines are in tinynn/losses/crossentropy.py.

    e = exp(-|z|), p = sigmoid(z), v = max(z, 0) - z t + log(1 + e)        dz = dv (p - t)

Shapes   t, z, v, p, dz (N, C), dv one number, or one for each row
Launch   a thread a number, blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat
from tinynn.kernels.cuda.softmax import weights

source = Source(
    "losses",
    r"""
extern "C" __global__ void binary_crossentropy(const T* t, const T* z, T* v, T* p, Size n) {
    EACH(i, n) {
        T e = exp(-fabs(z[i]));
        v[i] = (z[i] > 0 ? z[i] : T(0)) - z[i] * t[i] + log1p(e);
        p[i] = (z[i] > 0 ? T(1) : e) / (1 + e);
    }
}

extern "C" __global__ void binary_crossentropy_backward(
    const T* t, const T* p, T dv, const T* dv_at, T* dz, Size n, Size C) {
    EACH(i, n) dz[i] = (dv_at ? dv_at[i / C] : dv) * (p[i] - t[i]);
}
""",
)


def binary_crossentropy(t: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v and the probabilities p = sigmoid(z), for targets t of z's type."""
    xp: Any = array_module(z)
    v, p = xp.empty(z.shape, dtype=z.dtype), xp.empty(z.shape, dtype=z.dtype)
    source.launch("binary_crossentropy", z, blocks_for(z.size), THREADS, flat(t), flat(z), v, p, z.size)
    return v, p


def binary_crossentropy_twin(t: Array, z: Array) -> tuple[Array, Array]:
    """Do what `binary_crossentropy` does, with NumPy."""
    e = np.exp(-np.abs(z))
    return np.maximum(z, 0) - z * t + np.log1p(e), np.where(z > 0, 1, e) / (1 + e)


def binary_crossentropy_backward(dv: Any, t: Array, p: Array) -> Array:
    """Return dz; dv is a number, or an array of one for each row."""
    dz, numbers = array_module(p).empty_like(p), (p.size, p.shape[-1])
    given = (flat(t), p, *weights(dv, p), dz)
    source.launch("binary_crossentropy_backward", p, blocks_for(p.size), THREADS, *given, *numbers)
    return dz


def binary_crossentropy_backward_twin(dv: Any, t: Array, p: Array) -> Array:
    """Do what `binary_crossentropy_backward` does, with NumPy."""
    return dv * (p - t)
