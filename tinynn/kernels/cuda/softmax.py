"""Softmax and its logarithm along rows, alone and under a cross-entropy.

The plain lines are in tinynn/layers/activations.py and tinynn/losses/crossentropy.py.

    softmax          m = max x, s = sum exp(x - m), y = exp(x - m) / s        dx = y (dy - sum dy y)
    log_softmax      y = x - m - log s                                        dx = dy - exp(y) sum dy
    cross-entropy    v = t (log s - (z - m)), q = softmax(z)                  dz = dv (q sum t - t)
    of a class k     v = log s - (z_k - m), q likewise                        dz = dv (q - [i = k])

Shapes   x, y, dy, dx, z, t, q (N, F), k (N,), v (N, F) or (N,)
Launch   a block a row, of as many warps as the row fills with 4 numbers a thread
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.compiler import Source, flat, threads_for

source = Source(
    "softmax",
    r"""
// The largest number of a row, and the sum of exp(x - m). NaN is no largest number; it comes back with exp.
__device__ T row_max(const T* x, Size F) {
    T m = x[0];
    IN_BLOCK(i, F) m = fmax(m, x[i]);
    return block_max(m);
}

__device__ T row_sum_exp(const T* x, T m, Size F) {
    T s = 0;
    IN_BLOCK(i, F) s += exp(x[i] - m);
    return block_sum(s);
}

#define ROW(all, F) ((all) + blockIdx.x * (F))

extern "C" __global__ void softmax(const T* xs, T* ys, Size F) {
    const T* x = ROW(xs, F);
    T* y = ROW(ys, F);
    T m = row_max(x, F), s = row_sum_exp(x, m, F);
    IN_BLOCK(i, F) y[i] = exp(x[i] - m) / s;
}

extern "C" __global__ void softmax_backward(const T* dys, const T* ys, T* dxs, Size F) {
    const T *dy = ROW(dys, F), *y = ROW(ys, F);
    T* dx = ROW(dxs, F);
    T c = 0;
    IN_BLOCK(i, F) c += dy[i] * y[i];
    c = block_sum(c);
    IN_BLOCK(i, F) dx[i] = y[i] * (dy[i] - c);
}

// Only what is seen counts, 0 elsewhere. Row r of xs is one of so many `rows` of questions, again and again, of sample
// r / per_sample. `seen` has Bs samples of Ts rows; one of either stands for all.
extern "C" __global__ void attention_shares(
    const T* xs, const bool* seen, T* ys, Size F, Size per_sample, Size rows, Size Bs, Size Ts) {
    const T* x = ROW(xs, F);
    const bool* see = seen + ((Bs > 1 ? blockIdx.x / per_sample : 0) * Ts + (Ts > 1 ? blockIdx.x % rows : 0)) * F;
    T* y = ROW(ys, F);
    T m = log(T(0)), s = 0;  // minus infinity
    IN_BLOCK(i, F) if (see[i]) m = fmax(m, x[i]);
    m = block_max(m);
    if (m == log(T(0))) m = 0;
    IN_BLOCK(i, F) if (see[i]) s += exp(x[i] - m);
    s = block_sum(s);
    IN_BLOCK(i, F) y[i] = see[i] ? exp(x[i] - m) / s : T(0);
}

extern "C" __global__ void log_softmax(const T* xs, T* ys, Size F) {
    const T* x = ROW(xs, F);
    T* y = ROW(ys, F);
    T m = row_max(x, F), log_s = log(row_sum_exp(x, m, F));
    IN_BLOCK(i, F) y[i] = (x[i] - m) - log_s;
}

extern "C" __global__ void log_softmax_backward(const T* dys, const T* ys, T* dxs, Size F) {
    const T *dy = ROW(dys, F), *y = ROW(ys, F);
    T* dx = ROW(dxs, F);
    T c = 0;
    IN_BLOCK(i, F) c += dy[i];
    c = block_sum(c);
    IN_BLOCK(i, F) dx[i] = dy[i] - exp(y[i]) * c;
}

extern "C" __global__ void categorical_crossentropy(const T* ts, const T* zs, T* vs, T* qs, Size F) {
    const T *t = ROW(ts, F), *z = ROW(zs, F);
    T *v = ROW(vs, F), *q = ROW(qs, F);
    T m = row_max(z, F), s = row_sum_exp(z, m, F), log_s = log(s);
    IN_BLOCK(i, F) {
        q[i] = exp(z[i] - m) / s;
        v[i] = t[i] * (log_s - (z[i] - m));
    }
}

// dv is one number for each row at dv_at, or for all of them dv.
extern "C" __global__ void categorical_crossentropy_backward(
    const T* ts, const T* qs, T dv, const T* dv_at, T* dzs, Size F) {
    const T *t = ROW(ts, F), *q = ROW(qs, F);
    T* dz = ROW(dzs, F);
    if (dv_at) dv = dv_at[blockIdx.x];
    T all = 0;
    IN_BLOCK(i, F) all += t[i];
    all = block_sum(all);
    IN_BLOCK(i, F) dz[i] = dv * (q[i] * all - t[i]);
}

extern "C" __global__ void sparse_categorical_crossentropy(const Size* k, const T* zs, T* v, T* qs, Size F) {
    const T* z = ROW(zs, F);
    T* q = ROW(qs, F);
    T m = row_max(z, F), s = row_sum_exp(z, m, F);
    IN_BLOCK(i, F) q[i] = exp(z[i] - m) / s;
    if (threadIdx.x == 0) v[blockIdx.x] = log(s) - (z[k[blockIdx.x]] - m);
}

extern "C" __global__ void sparse_categorical_crossentropy_backward(
    const Size* k, const T* qs, T dv, const T* dv_at, T* dzs, Size F) {
    const T* q = ROW(qs, F);
    T* dz = ROW(dzs, F);
    if (dv_at) dv = dv_at[blockIdx.x];
    IN_BLOCK(i, F) dz[i] = dv * (q[i] - (i == k[blockIdx.x] ? T(1) : T(0)));
}
""",
)


def rows(kernel: str, *arrays: Array) -> Array:
    """Return a new array of the first one's shape that a kernel fills row by row, along the last axis."""
    xp: Any = array_module(arrays[0])
    dtype = xp.result_type(*arrays)
    y = xp.empty(arrays[0].shape, dtype=dtype)
    inputs = [flat(x.astype(dtype, copy=False)) for x in arrays]
    F = y.shape[-1]
    source.launch(kernel, y, y.size // F, threads_for(F), *inputs, y, F)
    return y


def softmax(x: Array) -> Array:
    """Return the softmax of x along its last axis."""
    return rows("softmax", x)


def softmax_twin(x: Array) -> Array:
    """Do what `softmax` does, with NumPy."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_shares(s: Array, seen: Array | None, questions: int) -> Array:
    """Return attention's shares: the softmax along the last axis over what is seen, 0 where it is not.

    Parameters
    ----------
    s : array, shape (B, ..., S)
        Rows for so many questions, again and again.
    seen : array of bool, shape (B or 1, 1, 1, questions or 1, S or 1), optional
        A row of which nothing is seen becomes 0.
    """
    if seen is None:
        return softmax(s)
    xp: Any = array_module(s)
    p = xp.empty(s.shape, dtype=s.dtype)
    if s.size == 0:
        return p  # an empty batch
    F, rows = s.shape[-1], s.size // s.shape[-1]
    see = flat(xp.broadcast_to(seen, (*seen.shape[:-1], F)))
    numbers = (F, rows // len(s), questions, seen.shape[0], seen.shape[3])
    source.launch("attention_shares", s, rows, threads_for(F), flat(s), see, p, *numbers)
    return p


def attention_shares_twin(s: Array, seen: Array, questions: int) -> Array:
    """Do what `attention_shares` does, with NumPy."""
    s5 = s.reshape(len(s), 1, -1, questions, s.shape[-1])
    z = np.where(seen, s5, -np.inf)
    m = z.max(axis=-1, keepdims=True)
    e = np.exp(z - np.where(np.isinf(m), 0, m))
    return (e / np.maximum(e.sum(axis=-1, keepdims=True), np.finfo(s.dtype).tiny)).reshape(s.shape)


def softmax_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the softmax's output."""
    return rows("softmax_backward", dy, y)


def softmax_backward_twin(dy: Array, y: Array) -> Array:
    """Do what `softmax_backward` does, with NumPy."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax(x: Array) -> Array:
    """Return the logarithm of the softmax of x along its last axis."""
    return rows("log_softmax", x)


def log_softmax_twin(x: Array) -> Array:
    """Do what `log_softmax` does, with NumPy."""
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the output."""
    return rows("log_softmax_backward", dy, y)


def log_softmax_backward_twin(dy: Array, y: Array) -> Array:
    """Do what `log_softmax_backward` does, with NumPy."""
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


def categorical_crossentropy(t: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v and the probabilities q = softmax(z) along the last axis, for targets t of z's type."""
    xp: Any = array_module(z)
    v, q, F = xp.empty(z.shape, dtype=z.dtype), xp.empty(z.shape, dtype=z.dtype), z.shape[-1]
    source.launch("categorical_crossentropy", z, z.size // F, threads_for(F), flat(t), flat(z), v, q, F)
    return v, q


def categorical_crossentropy_twin(t: Array, z: Array) -> tuple[Array, Array]:
    """Do what `categorical_crossentropy` does, with NumPy."""
    return -t * log_softmax_twin(z), softmax_twin(z)


def categorical_crossentropy_backward(dv: Any, t: Array, q: Array) -> Array:
    """Return dz; dv is a number, or an array of one for each row."""
    dz, F = array_module(q).empty_like(q), q.shape[-1]
    given = (flat(t), q, *weights(dv, q), dz)
    source.launch("categorical_crossentropy_backward", q, q.size // F, threads_for(F), *given, F)
    return dz


def categorical_crossentropy_backward_twin(dv: Any, t: Array, q: Array) -> Array:
    """Do what `categorical_crossentropy_backward` does, with NumPy."""
    return dv * (q * t.sum(axis=-1, keepdims=True) - t)


def sparse_categorical_crossentropy(k: Array, z: Array) -> tuple[Array, Array]:
    """Return the values v (N,) and the probabilities q = softmax(z) of rows (N, F), for class numbers k (N,)."""
    xp: Any = array_module(z)
    N, F = z.shape
    v, q = xp.empty(N, dtype=z.dtype), xp.empty(z.shape, dtype=z.dtype)
    given = (flat(k.astype("int64", copy=False)), flat(z), v, q)
    source.launch("sparse_categorical_crossentropy", z, N, threads_for(F), *given, F)
    return v, q


def sparse_categorical_crossentropy_twin(k: Array, z: Array) -> tuple[Array, Array]:
    """Do what `sparse_categorical_crossentropy` does, with NumPy."""
    return -log_softmax_twin(z)[np.arange(len(k)), k], softmax_twin(z)


def sparse_categorical_crossentropy_backward(dv: Any, k: Array, q: Array) -> Array:
    """Return dz (N, F); dv is a number, or an array of one for each row."""
    dz, (N, F) = array_module(q).empty_like(q), q.shape
    classes = flat(k.astype("int64", copy=False))
    source.launch("sparse_categorical_crossentropy_backward", q, N, threads_for(F), classes, q, *weights(dv, q), dz, F)
    return dz


def sparse_categorical_crossentropy_backward_twin(dv: Any, k: Array, q: Array) -> Array:
    """Do what `sparse_categorical_crossentropy_backward` does, with NumPy."""
    dz = q.copy()
    dz[np.arange(len(k)), k] -= 1
    return np.reshape(dv, (-1, 1)) * dz


def weights(dv: Any, q: Array) -> tuple[float, Any]:
    """Return dv as a kernel takes it: one number for all rows, or where those of the rows stand."""
    if isinstance(dv, int | float):
        return float(dv), None
    rows = q.size // q.shape[-1]
    if dv.size == 1:
        dv = array_module(q).broadcast_to(dv.reshape(1), (rows,))
    return 0.0, flat(dv.reshape(rows).astype(q.dtype, copy=False))
