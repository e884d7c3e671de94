"""GRU: a recurrent layer with two gates and no memory beside its state."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.recurrent import Recurrent, get_step_activation, rows, split_gates


class GRU(Recurrent):
    """Gated recurrent unit: a state h that one gate updates and another resets.

    ::

        z = sigmoid(x_t W_z + b_z + h_(t-1) U_z)                    how much of the old state stays
        r = sigmoid(x_t W_r + b_r + h_(t-1) U_r)                    how much of it the candidate sees
        g =    tanh(x_t W_h + b_h + r (h_(t-1) U_h + b'_h))         the candidate, with reset_after
        g =    tanh(x_t W_h + b_h + (r h_(t-1)) U_h)                the candidate, without
        h_t = z h_(t-1) + (1 - z) g                                 h_0 = 0

    Shapes   x (B, T, F), W (F, 3 H), U (H, 3 H), in the order z r h
             b (2, 3 H) with reset_after: the row of x W and the row of h U; without it (3 H,)
             y (B, H): the last state; (B, T, H) with return_sequences     B batch, T steps, F features, H units
    Starts   W Glorot uniform, U orthogonal, b zero
    Backward dz = dh (h_(t-1) - g), dg = dh (1 - z), dr = dg tanh'(g) (h_(t-1) U_h + b'_h), each times its gate's
             slope; dh_(t-1) = dh z + what comes back through U     from the last step to the first
             (Cho et al. 2014; reset_after is the variant of cuDNN)

    Parameters
    ----------
    units : int
        The size of the state, H.
    activation : str, optional, default "tanh"
        Of the candidate; the names are those of `SimpleRNN`.
    recurrent_activation : str, optional, default "sigmoid"
        Of the gates.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    recurrent_initializer : str or Initializer, default "orthogonal"
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
    dropout, recurrent_dropout, return_sequences, go_backwards
        As in `SimpleRNN`. The state that z mixes in is never dropped, only what meets U.
    reset_after : bool, default True
        Reset what the state gives after its product with U, not the state before it.
    truncate : int, optional
        As in `SimpleRNN`.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        As `SimpleRNN`.

    Examples
    --------
    >>> import numpy as np
    >>> gru = GRU(2, kernel_initializer="ones", recurrent_initializer="ones")
    >>> x = np.array([[[1.0], [-1.0], [2.0]]])
    >>> gru(x).round(3)
    array([[-0.093, -0.093]])
    >>> gru.backward(np.ones((1, 2))).shape
    (1, 3, 1)
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        go_backwards: bool = False,
        reset_after: bool = True,
        truncate: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            return_sequences=return_sequences,
            go_backwards=go_backwards,
            truncate=truncate,
            **options,
        )
        self.recurrent_activation = get_step_activation(recurrent_activation, f"{self.label}: recurrent_activation")
        self.reset_after = reset_after

    @property
    def bias_shape(self) -> Shape:
        """The shape of b."""
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def run(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps."""
        return self.run_reset_after(a, n) if self.reset_after else self.run_reset_before(a, n)

    def run_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU, and with reset_after the second row of db, and return da."""
        if self.reset_after:
            return self.run_reset_after_backward(dy, n, kept)
        return self.run_reset_before_backward(dy, n, kept)

    # reset_after: g = activation(a_h + r (h U_h + b'_h)) ---------------------------------------------------------

    def run_reset_after(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps."""
        xp = array_module(a)
        T, B, _ = a.shape
        gate, act = self.recurrent_activation.forward, self.activation.forward
        h = xp.zeros((T + 1, B, self.units), dtype=a.dtype)   # h[t] goes into step t, h[t + 1] comes out
        v = xp.empty((T, 3, B, self.units), dtype=a.dtype)    # the gates z and r, and the candidate g
        k = xp.empty_like(a[0])                           # (B, 3 H)
        q = xp.empty_like(h[1:])                          # h U_h + b'_h
        a3, k3 = split_gates(a, 3), split_gates(k, 3)     # views: (T, 3, B, H) and (3, B, H)
        for t in range(T):
            hm = h[t] if n is None else h[t] * n
            k = xp.matmul(hm, self.U, out=k)              # (B, H) (H, 3 H) -> (B, 3 H)
            if self.use_bias:
                k += self.b[1]
            z, r, g = v[t]
            xp.add(a3[t, :2], k3[:2], out=v[t, :2])
            gate(v[t, :2], v[t, :2])                      # z and r
            q[t] = k3[2]
            xp.multiply(r, q[t], out=g)
            g += a3[t, 2]
            act(g, g)                                     # g = activation(r q + a_h)
            d = h[t] - g
            d *= z
            xp.add(g, d, out=h[t + 1])                    # h = g + z (h - g)
        return h[1:], (h, v, q, a)

    def run_reset_after_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU and the second row of db, return da."""
        h, v, q, a = kept
        xp = array_module(h)
        T = len(a)
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        da = a                                            # a is not needed any more: its memory takes da
        dk = xp.empty_like(a)
        da3, dk3 = split_gates(da, 3), split_gates(dk, 3)
        dv = xp.empty_like(v[0])
        dz, dr, dg = dv
        dh, dkh = xp.zeros_like(h[0]), xp.empty_like(h[0])
        for t in reversed(range(T)):
            z, r, g = v[t]
            dh += dy[t]                                   # y[t] = h[t + 1]
            xp.subtract(h[t], g, out=dz)
            dz *= dh                                      # h[t + 1] = g + z (h[t] - g)
            dh_direct = dh * z                            # h[t + 1] = g + z (h[t] - g)
            xp.subtract(dh, dh_direct, out=dg)            # h[t + 1] = g + z (h[t] - g)
            act_backward(dg, g, dg)                       # g = activation(r q + a_h)
            xp.multiply(dg, q[t], out=dr)                 # g = activation(r q + a_h)
            dq = dg * r                                   # g = activation(r q + a_h)
            gate_backward(dv[:2], v[t, :2], dv[:2])       # z and r
            da3[t] = dv
            dk3[t, :2] = dv[:2]                           # z, r = gate(a + k)
            dk3[t, 2] = dq                                # q = k_h
            if t % (self.truncate or T) == 0:             # h[t] counts as a constant
                dh[...] = 0
                continue
            xp.matmul(dk[t], self.U.T, out=dkh)           # k = hm U + b'
            if n is not None:
                dkh *= n                                  # hm = h n
            dh = xp.add(dh_direct, dkh, out=dh)
        hm = h[:-1] if n is None else h[:-1] * n
        if self.use_bias:
            dk.reshape(-1, dk.shape[-1]).sum(axis=0, out=self.db[1])   # k = hm U + b'
        dU = xp.matmul(rows(hm).T, rows(dk), out=self.dU)   # k = hm U, all steps in one product
        return da

    # reset before: g = activation(a_h + (r h) U_h) ---------------------------------------------------------------

    def run_reset_before(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps."""
        xp = array_module(a)
        T, B, _ = a.shape
        H = self.units
        gate, act = self.recurrent_activation.forward, self.activation.forward
        U_zr, U_h = xp.ascontiguousarray(self.U[:, : 2 * H]), xp.ascontiguousarray(self.U[:, 2 * H :])
        h = xp.zeros((T + 1, B, H), dtype=a.dtype)        # h[t] goes into step t, h[t + 1] comes out
        v = xp.empty((T, 3, B, H), dtype=a.dtype)         # the gates z and r, and the candidate g
        k = xp.empty((B, 2 * H), dtype=a.dtype)
        p = xp.empty_like(h[1:])                          # r h, which meets U_h
        a3, k2 = split_gates(a, 3), split_gates(k, 2)     # views: (T, 3, B, H) and (2, B, H)
        for t in range(T):
            hm = h[t] if n is None else h[t] * n
            k = xp.matmul(hm, U_zr, out=k)                # (B, H) (H, 2 H) -> (B, 2 H)
            z, r, g = v[t]
            xp.add(a3[t, :2], k2, out=v[t, :2])
            gate(v[t, :2], v[t, :2])                      # z and r
            xp.multiply(r, hm, out=p[t])
            xp.matmul(p[t], U_h, out=g)                   # (B, H) (H, H) -> (B, H)
            g += a3[t, 2]
            act(g, g)                                     # g = activation(p U_h + a_h)
            d = h[t] - g
            d *= z
            xp.add(g, d, out=h[t + 1])                    # h = g + z (h - g)
        return h[1:], (h, v, p, a)

    def run_reset_before_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU and return da."""
        h, v, p, a = kept
        xp = array_module(h)
        T, H = len(a), self.units
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        U_zr, U_h = self.U[:, : 2 * H], self.U[:, 2 * H :]
        da = a                                            # a is not needed any more: its memory takes da
        da3 = split_gates(da, 3)
        dv = xp.empty_like(v[0])
        dz, dr, dg = dv
        dh = xp.zeros_like(h[0])
        for t in reversed(range(T)):
            z, r, g = v[t]
            hm = h[t] if n is None else h[t] * n
            dh += dy[t]                                   # y[t] = h[t + 1]
            xp.subtract(h[t], g, out=dz)
            dz *= dh                                      # h[t + 1] = g + z (h[t] - g)
            dh_direct = dh * z                            # h[t + 1] = g + z (h[t] - g)
            xp.subtract(dh, dh_direct, out=dg)            # h[t + 1] = g + z (h[t] - g)
            act_backward(dg, g, dg)                       # g = activation(p U_h + a_h)
            dp = xp.matmul(dg, U_h.T)                     # g = activation(p U_h + a_h)
            xp.multiply(dp, hm, out=dr)                   # p = r hm
            gate_backward(dv[:2], v[t, :2], dv[:2])       # z and r
            da3[t] = dv
            if t % (self.truncate or T) == 0:             # h[t] counts as a constant
                dh[...] = 0
                continue
            dhm = xp.matmul(da[t, :, : 2 * H], U_zr.T)    # k = hm U_zr
            dp *= r
            dhm += dp                                     # p = r hm
            if n is not None:
                dhm *= n                                  # hm = h n
            dh = xp.add(dh_direct, dhm, out=dh)
        hm = h[:-1] if n is None else h[:-1] * n
        da2 = rows(da)
        self.dU[:, : 2 * H] = xp.matmul(rows(hm).T, da2[:, : 2 * H])   # k = hm U_zr, all steps in one product
        self.dU[:, 2 * H :] = xp.matmul(rows(p).T, da2[:, 2 * H :])    # g = activation(p U_h + a_h)
        return da
