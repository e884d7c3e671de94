"""The gates of a step of LSTM and GRU; the plain lines are in tinynn/layers/lstm.py and gru.py.

LSTM   i, f, o = sigmoid(a + k), g = tanh(a + k), c_new = f c + i g, s = tanh(c_new), h_new = o s
       d = dc + dh o (1 - s^2), do = dh s, di = d g, df = d c, dg = d i, dc = d f, each times its gate's slope
GRU    z, r = sigmoid(a + k + b), q = k_g + b_g, g = tanh(a_g + r q), h_new = g + z (h - g)
       dg = dh (1 - z) (1 - g^2), dz = dh (h - g) z (1 - z), dr = dg q r (1 - r), dq = dg r, dh_old = dh z

The loops over the steps are in tinynn/kernels/lstm.py and gru.py: a product and one of these a step.

Shapes   h, c, s, q (B, H), LSTM's a, k (B, 4 H): i, f, g, o side by side, GRU's (B, 3 H): z, r, g; v (3, B, H)
Launch   a thread a unit of a sample, blocks of 256
"""

from __future__ import annotations

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.cuda.activations import sigmoid_twin
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat

source = Source(
    "recurrent",
    r"""
__device__ T sigmoid_of(T x) {
    T e = exp(-fabs(x));
    return (x < 0 ? e : T(1)) / (1 + e);
}

// The gates are written over a.
extern "C" __global__ void lstm_gates(
    const T* k, T* a, const T* c, T* c_new, T* s, T* h_new, Size H, Size n) {
    EACH(unit, n) {
        Size at = unit / H * 4 * H + unit % H;
        T i = sigmoid_of(a[at] + k[at]), f = sigmoid_of(a[at + H] + k[at + H]);
        T g = tanh(a[at + 2 * H] + k[at + 2 * H]), o = sigmoid_of(a[at + 3 * H] + k[at + 3 * H]);
        a[at] = i;
        a[at + H] = f;
        a[at + 2 * H] = g;
        a[at + 3 * H] = o;
        c_new[unit] = f * c[unit] + i * g;
        s[unit] = tanh(c_new[unit]);
        h_new[unit] = o * s[unit];
    }
}

// da is written over the gates, that of the earlier c over dc.
extern "C" __global__ void lstm_gates_backward(
    const T* dh, T* dc, const T* c, const T* s, T* v, Size H, Size n) {
    EACH(unit, n) {
        Size at = unit / H * 4 * H + unit % H;
        T i = v[at], f = v[at + H], g = v[at + 2 * H], o = v[at + 3 * H];
        T d = dc[unit] + dh[unit] * o * (1 - s[unit] * s[unit]);
        dc[unit] = d * f;
        v[at] = d * g * i * (1 - i);
        v[at + H] = d * c[unit] * f * (1 - f);
        v[at + 2 * H] = d * i * (1 - g * g);
        v[at + 3 * H] = dh[unit] * s[unit] * o * (1 - o);
    }
}

extern "C" __global__ void gru_gates(
    const T* k, const T* b, const T* a, const T* h, T* v, T* q, T* h_new, Size H, Size n) {
    EACH(unit, n) {
        Size j = unit % H, at = unit / H * 3 * H + j;
        T bias_z = b ? b[j] : T(0), bias_r = b ? b[j + H] : T(0), bias_g = b ? b[j + 2 * H] : T(0);
        T z = sigmoid_of(a[at] + (k[at] + bias_z)), r = sigmoid_of(a[at + H] + (k[at + H] + bias_r));
        q[unit] = k[at + 2 * H] + bias_g;
        T g = tanh(a[at + 2 * H] + r * q[unit]);
        v[unit] = z;
        v[unit + n] = r;
        v[unit + 2 * n] = g;
        h_new[unit] = g + z * (h[unit] - g);
    }
}

extern "C" __global__ void gru_gates_backward(
    const T* dh, const T* h, const T* v, const T* q, T* da, T* dk, T* dh_old, Size H, Size n) {
    EACH(unit, n) {
        Size at = unit / H * 3 * H + unit % H;
        T z = v[unit], r = v[unit + n], g = v[unit + 2 * n];
        T dg = dh[unit] * (1 - z) * (1 - g * g), dz = dh[unit] * (h[unit] - g) * z * (1 - z);
        T dr = dg * q[unit] * r * (1 - r);
        dh_old[unit] = dh[unit] * z;
        da[at] = dk[at] = dz;
        da[at + H] = dk[at + H] = dr;
        da[at + 2 * H] = dg;
        dk[at + 2 * H] = dg * r;
    }
}
""",
)


def lstm_step(k: Array, a: Array, c: Array, c_new: Array, s: Array, h_new: Array) -> None:
    """Write the new states, s = tanh(c_new), and the gates into a; `k` is h U."""
    source.launch("lstm_gates", a, blocks_for(c.size), THREADS, k, a, flat(c), c_new, s, h_new, c.shape[1], c.size)


def lstm_gates_twin(k: Array, a: Array, c: Array) -> tuple[Array, Array, Array, Array]:
    """Return gates, c_new, s and h_new, with NumPy."""
    z = np.split(a + k, 4, axis=1)
    i, f, g, o = sigmoid_twin(z[0]), sigmoid_twin(z[1]), np.tanh(z[2]), sigmoid_twin(z[3])
    c_new = f * c + i * g
    s = np.tanh(c_new)
    return np.concatenate([i, f, g, o], axis=1), c_new, s, o * s


def lstm_step_backward(dh: Array, dc: Array, c: Array, s: Array, v: Array) -> None:
    """Write da over the gates v, and the gradient by the earlier c over that of the new one."""
    source.launch("lstm_gates_backward", v, blocks_for(c.size), THREADS, flat(dh), dc, c, s, v, c.shape[1], c.size)


def lstm_step_backward_twin(dh: Array, dc: Array, c: Array, s: Array, v: Array) -> tuple[Array, Array]:
    """Return da and the gradient by the earlier c, with NumPy."""
    i, f, g, o = np.split(v, 4, axis=1)
    d = dc + dh * o * (1 - s * s)
    da = d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * s * o * (1 - o)
    return np.concatenate(da, axis=1), d * f


def gru_step(k: Array, b: Array | None, a: Array, h: Array, v: Array, q: Array, h_new: Array) -> None:
    """Write the gates and the candidate into v, what the reset gate meets into q, and the new state."""
    arrays = (k, None if b is None else flat(b, k), a, h, v, q, h_new)
    source.launch("gru_gates", a, blocks_for(h.size), THREADS, *arrays, h.shape[1], h.size)


def gru_step_twin(k: Array, b: Array | None, a: Array, h: Array) -> tuple[Array, Array, Array]:
    """Return v, q and the new state, with NumPy."""
    (a_z, a_r, a_g), (k_z, k_r, q) = np.split(a, 3, axis=1), np.split(k if b is None else k + b, 3, axis=1)
    z, r = sigmoid_twin(a_z + k_z), sigmoid_twin(a_r + k_r)
    g = np.tanh(a_g + r * q)
    return np.stack([z, r, g]), q, g + z * (h - g)


def gru_step_backward(dh: Array, h: Array, v: Array, q: Array, da: Array, dk: Array, dh_old: Array) -> None:
    """Write the gradients of a and of k, and that part of the one by h that comes past the gates."""
    arrays = (flat(dh), h, v, q, da, dk, dh_old)
    source.launch("gru_gates_backward", da, blocks_for(h.size), THREADS, *arrays, h.shape[1], h.size)


def gru_step_backward_twin(dh: Array, h: Array, v: Array, q: Array) -> tuple[Array, Array, Array]:
    """Return da, dk and dh_old, with NumPy."""
    z, r, g = v
    dg, dz = dh * (1 - z) * (1 - g * g), dh * (h - g) * z * (1 - z)
    dr = dg * q * r * (1 - r)
    return np.concatenate([dz, dr, dg], axis=1), np.concatenate([dz, dr, dg * r], axis=1), dh * z
