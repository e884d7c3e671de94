"""A step of `LSTM`; the plain lines are in tinynn/layers/lstm.py, the loop over the steps in tinynn/kernels/lstm.py.

Shapes   hn, c, s (B, H), U (H, 4 H), a, v, da (B, 4 H): the gates i, f, g, o side by side
"""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array
from tinynn.kernels.fused.activations import sigmoid_of
from tinynn.kernels.fused.compiler import expm1, loop
from tinynn.kernels.fused.products import Factor, product


@loop
def tanh_of(x: Any, one: Any) -> Any:
    """Return tanh of one number, from exp(-2 |x|) - 1, which is exact where x is small."""
    negative = x < 0
    e = expm1((x if negative else -x) * (one + one), one)
    return (e if negative else -e) / (one + one + e)


@loop
def _gates(k: Any, a: Any, c: Any, c_new: Any, s: Any, h_new: Any) -> None:
    """Write c_new, s and h_new, and the gates into a."""
    one = a.dtype.type(1)
    B, H = c.shape
    for b in range(B):
        for j in range(4 * H):
            a[b, j] += k[b, j]
        i, f, g, o = a[b, :H], a[b, H : 2 * H], a[b, 2 * H : 3 * H], a[b, 3 * H :]
        for j in range(H):
            i[j] = sigmoid_of(i[j], one)
            f[j] = sigmoid_of(f[j], one)
            g[j] = tanh_of(g[j], one)
            o[j] = sigmoid_of(o[j], one)
        for j in range(H):
            c_new[b, j] = f[j] * c[b, j] + i[j] * g[j]
            s[b, j] = tanh_of(c_new[b, j], one)
            h_new[b, j] = o[j] * s[b, j]


@loop
def _gates_backward(dh: Any, dc: Any, c: Any, s: Any, v: Any) -> None:
    """Write the gradients of what goes into the gates into v, and that of the earlier c into dc."""
    one = v.dtype.type(1)
    B, H = c.shape
    for b in range(B):
        i, f, g, o = v[b, :H], v[b, H : 2 * H], v[b, 2 * H : 3 * H], v[b, 3 * H :]
        for j in range(H):
            d = dc[b, j] + dh[b, j] * o[j] * (one - s[b, j] * s[b, j])  # h_new = o s, s = tanh(c_new)
            d_o = dh[b, j] * s[b, j]  # h_new = o s
            di, df, dg = d * g[j], d * c[b, j], d * i[j]  # c_new = f c + i g
            dc[b, j] = d * f[j]  # c_new = f c + i g
            i[j] = di * i[j] * (one - i[j])
            f[j] = df * f[j] * (one - f[j])
            g[j] = dg * (one - g[j] * g[j])
            o[j] = d_o * o[j] * (one - o[j])


def lstm_step(hn: Array, U: Factor, a: Array, c: Array, c_new: Array, s: Array, h_new: Array, k: Array) -> None:
    """Write the new states, s = tanh(c_new), and the gates into a; `k` is memory for hn U."""
    product(hn, U, k)
    _gates(k, a, c, c_new, s, h_new)


def lstm_step_backward(dh: Array, dc: Array, c: Array, s: Array, v: Array) -> None:
    """Write da over the gates v, and the gradient by the earlier c over that of the new one."""
    _gates_backward(dh, dc, c, s, v)
