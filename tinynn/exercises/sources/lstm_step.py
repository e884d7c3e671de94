"""One step of an LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import initializers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array
from tinynn.layers.base import Layer
from tinynn.layers.smooth import sigmoid


class LSTMStep(Layer):
    """One step of an LSTM: an input u, a state h and a memory c go in, the next h and c come out.

    ::

        i = sigmoid(v_i)     what is written             v = u W + h U + b, cut in four: v_i, v_f, v_g, v_o
        f = sigmoid(v_f)     what is kept
        g =    tanh(v_g)     the candidate
        o = sigmoid(v_o)     what is read
        c_new = f c + i g
        h_new = o tanh(c_new)

    A layer has one input and one output, so here u, h and c stand side by side in x, and h_new and c_new in y.

    Shapes   u (B, F), h, c, i, f, g, o, s (B, H), W (F, 4 H), U (H, 4 H), b (4 H,), x (B, F + 2 H), y (B, 2 H)
    Backward do = dh_new s, ds = dh_new o, dc_new = dc_new_y + ds (1 - s^2): c_new goes two ways, out and into s
             df = dc_new c, dc = dc_new f, di = dc_new g, dg = dc_new i
             dv_i = di i (1 - i), dv_f = df f (1 - f), dv_g = dg (1 - g^2), dv_o = do o (1 - o)
             db = sum_B dv, dW = u^T dv, du = dv W^T, dU = h^T dv, dh = dv U^T        (Hochreiter & Schmidhuber 1997)
    """

    W: Array
    dW: Array
    U: Array
    dU: Array
    b: Array
    db: Array

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = check_count(units, f"{self.label}: units")

    def build(self, input_shape: Shape) -> Shape:
        """Make W, U and b."""
        features, H = input_shape[-1] - 2 * self.units, self.units
        self.add_weight("W", (features, 4 * H), initializers.get("glorot_uniform"))
        self.add_weight("U", (H, 4 * H), initializers.get("orthogonal"))
        self.add_weight("b", (4 * H,), initializers.get("zeros"))
        return (2 * H,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the next h and c, side by side."""
        H = self.units
        u, h, c = x[:, : -2 * H], x[:, -2 * H : -H], x[:, -H:]
        v = u @ self.W + h @ self.U + self.b  # (B, F) (F, 4 H) -> (B, 4 H)
        v_i, v_f, v_g, v_o = np.split(v, 4, axis=1)  # (B, 4 H) -> 4 of (B, H)
        i = sigmoid(v_i)
        f = sigmoid(v_f)
        g = np.tanh(v_g)
        o = sigmoid(v_o)
        c_new = f * c + i * g
        s = np.tanh(c_new)
        h_new = o * s
        y = np.concatenate([h_new, c_new], axis=1)
        self.cache = u, h, c, i, f, g, o, s
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW, dU and db, return dx."""
        u, h, c, i, f, g, o, s = self.take_cache()
        dh_new, dc_new_y = np.split(dy, 2, axis=1)  # y = h_new and c_new side by side
        do = dh_new * s  # h_new = o s
        ds = dh_new * o  # h_new = o s
        dc_new = dc_new_y + ds * (1 - s * s)  # y has c_new in it, s = tanh(c_new): two ways
        df = dc_new * c  # c_new = f c + i g
        dc = dc_new * f  # c_new = f c + i g
        di = dc_new * g  # c_new = f c + i g
        dg = dc_new * i  # c_new = f c + i g
        dv_i = di * i * (1 - i)  # i = sigmoid(v_i)
        dv_f = df * f * (1 - f)  # f = sigmoid(v_f)
        dv_g = dg * (1 - g * g)  # g = tanh(v_g)
        dv_o = do * o * (1 - o)  # o = sigmoid(v_o)
        dv = np.concatenate([dv_i, dv_f, dv_g, dv_o], axis=1)  # v_i, v_f, v_g, v_o = v cut in four
        self.db = dv.sum(axis=0)  # v = u W + h U + b: b reaches every sample
        self.dW = u.T @ dv  # v = u W + h U + b
        du = dv @ self.W.T  # v = u W + h U + b
        self.dU = h.T @ dv  # v = u W + h U + b
        dh = dv @ self.U.T  # v = u W + h U + b
        dx = np.concatenate([du, dh, dc], axis=1)  # u, h, c = x cut in three
        return dx
