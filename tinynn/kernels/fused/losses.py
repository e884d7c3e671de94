"""Cross-entropies of logits in one pass; the plain lines are in tinynn/losses/crossentropy.py.

Shapes   t, z, v, p, q all alike; for the categorical ones rows of classes (N, C); k (N,), one v a row
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import exp, loop, sums
from tinynn.kernels.fused.elementwise import flat
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.softmax import LANES, softmax_of_row


@loop
def _binary_crossentropy(t: Any, z: Any, v: Any, p: Any, e: Any) -> None:
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(z.size):
        positive = z[i] > 0
        decay = exp(-z[i] if positive else z[i], one)
        v[i] = (z[i] if positive else zero) - z[i] * t[i]
        p[i] = (one if positive else decay) / (one + decay)
        e[i] = decay


@sums
def _categorical_crossentropy(t: Any, z: Any, v: Any, q: Any) -> None:
    best = np.empty(LANES, z.dtype)
    for n in range(z.shape[0]):
        m, s = softmax_of_row(z, n, q, best)
        log_s = z.dtype.type(math.log(s))
        for i in range(z.shape[1]):
            v[n, i] = t[n, i] * (log_s - (z[n, i] - m))


@sums
def _sparse_categorical_crossentropy(k: Any, z: Any, v: Any, q: Any) -> None:
    best = np.empty(LANES, z.dtype)
    for n in range(z.shape[0]):
        if not 0 <= k[n] < z.shape[1]:  # memory that belongs to others
            raise IndexError("a class number is negative, or not below the number of classes")
        m, s = softmax_of_row(z, n, q, best)
        v[n] = z.dtype.type(math.log(s)) - (z[n, k[n]] - m)


@loop
def _sparse_categorical_crossentropy_backward(dv: Any, k: Any, q: Any, dz: Any) -> None:
    one = q.dtype.type(1)
    for n in range(q.shape[0]):
        d = dv[min(n, dv.size - 1)]
        for i in range(q.shape[1]):
            dz[n, i] = d * q[n, i]
        dz[n, k[n]] = d * (q[n, k[n]] - one)


def binary_crossentropy(t: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v and the probabilities p = sigmoid(z), for targets t of z's type; the logarithm is NumPy's."""
    v, p, e = empty(z.shape, z.dtype), empty(z.shape, z.dtype), empty(z.shape, z.dtype)
    _binary_crossentropy(flat(t), flat(z), v.reshape(-1), p.reshape(-1), e.reshape(-1))
    v += np.log1p(e, out=e)  # e = exp(-|z|)
    return v, p


def categorical_crossentropy(t: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v and the probabilities q = softmax(z) along the last axis, for targets t of z's type."""
    v, q = empty(z.shape, z.dtype), empty(z.shape, z.dtype)
    _categorical_crossentropy(*(array.reshape(-1, z.shape[-1]) for array in (t, z, v, q)))
    return v, q


def sparse_categorical_crossentropy(k: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v (N,) and the probabilities q = softmax(z) of rows (N, C), for class numbers k (N,)."""
    v, q = empty(z.shape[:1], z.dtype), empty(z.shape, z.dtype)
    _sparse_categorical_crossentropy(k, np.ascontiguousarray(z), v, q)
    return v, q


def sparse_categorical_crossentropy_backward(dv: Any, k: Array, q: Array) -> Array:
    """Return dz (N, C); dv is a number, or an array of one for each row."""
    dz = empty(q.shape, q.dtype)
    _sparse_categorical_crossentropy_backward(np.asarray(dv, q.dtype).reshape(-1), k, q, dz)
    return dz
