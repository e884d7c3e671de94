"""GRU: a recurrent layer with two gates and no memory beside its state."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.kernels import gru, matmul
from tinynn.kernels.steps import join_gates, rows, split_gates
from tinynn.layers.recurrent import Recurrent, get_step_activation


class GRU(Recurrent):
    """Gated recurrent unit: a state h that one gate updates and another resets.

    ::

        z = sigmoid(x_t W_z + b_z + h_(t-1) U_z)                    how much of the old state stays
        r = sigmoid(x_t W_r + b_r + h_(t-1) U_r)                    how much of it the candidate sees
        g =    tanh(x_t W_h + b_h + r (h_(t-1) U_h + b'_h))         the candidate, with reset_after
        g =    tanh(x_t W_h + b_h + (r h_(t-1)) U_h)                the candidate, without
        h_t = z h_(t-1) + (1 - z) g                                 h_0 = 0, or initial_state

    Shapes   x (B, T, F), W (F, 3 H), U (H, 3 H), in the order z r h
             b (2, 3 H) with reset_after: the row of x W and the row of h U; without it (3 H,)
             y (B, H): the last state; (B, T, H) with return_sequences     B batch, T steps, F features, H units
    Starts   W Glorot uniform, U orthogonal, b zero
    Backward dz = dh (h_(t-1) - g), dg = dh (1 - z), dr = dg tanh'(g) (h_(t-1) U_h + b'_h), each times its gate's
             slope; dh_(t-1) = dh z + what comes back through U     from the last step to the first
             (Cho et al. 2014; reset_after is the variant of cuDNN)
    Masks    a masked step keeps the state: h_t = h_(t-1)

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
    dropout, recurrent_dropout, return_sequences, return_state, go_backwards
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
        return_state: bool = False,
        go_backwards: bool = False,
        reset_after: bool = True,
        truncate: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, dropout, recurrent_dropout,
            return_sequences, return_state, go_backwards, truncate, **options,
        )
        self.recurrent_activation = get_step_activation(recurrent_activation, f"{self.label}: recurrent_activation")
        self.reset_after = reset_after

    @property
    def bias_shape(self) -> Shape:
        """The shape of b."""
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def run(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last one, and what run_backward needs."""
        return self.reset_after_run(a, n, mask, start) if self.reset_after else self.reset_before_run(a, n, mask, start)

    def run_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU, and with reset_after the second row of db; return da and the gradient by the first state."""
        backward = self.reset_after_backward if self.reset_after else self.reset_before_backward
        return backward(dy, dlast, n, mask, kept)

    def run_fast(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Do what run does, in place."""
        [h0] = start or [None]
        gate, act = self.recurrent_activation, self.activation
        if self.reset_after:
            return gru.forward_reset_after(a, self.U, self.b[1] if self.use_bias else None, n, mask, h0, gate, act)
        return gru.forward_reset_before(a, self.U, n, mask, h0, gate, act)

    def run_fast_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Do what run_backward does, in place."""
        [dh] = dlast
        U, dU, gate, act = self.U, self.dU, self.recurrent_activation, self.activation
        if self.reset_after:
            db = self.db[1] if self.use_bias else None
            return gru.backward_reset_after(dy, dh, n, mask, kept, U, dU, db, gate, act, self.truncate)
        return gru.backward_reset_before(dy, dh, n, mask, kept, U, dU, gate, act, self.truncate)

    # reset_after: g = act(a_g + r (h U_h + b'_h)) ----------------------------------------------------------------

    def reset_after_run(
        self, a: Array, n: Array | None, mask: Array | None, start: Any
    ) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last one, and what reset_after_backward needs."""
        xp = array_module(a)
        gate, act = self.recurrent_activation.forward, self.activation.forward
        [h] = self.zeros(a) if start is None else start
        y, kept = [], []
        for t in range(len(a)):
            hn = h if n is None else h * n
            p = matmul(hn, self.U)                        # (B, H) (H, 3 H) -> (B, 3 H)
            k = p + self.b[1] if self.use_bias else p
            a_z, a_r, a_g = split_gates(a[t], 3)          # (B, 3 H) -> 3 of (B, H)
            k_z, k_r, k_g = split_gates(k, 3)
            v_z = a_z + k_z
            v_r = a_r + k_r
            z = gate(v_z)                                 # how much of the old state stays
            r = gate(v_r)                                 # how much of it the candidate sees
            v_g = r * k_g + a_g
            g = act(v_g)                                  # the candidate
            d = h - g
            h_new = g + z * d                             # = z h + (1 - z) g
            kept.append((hn, k_g, z, r, g, d))
            h = h_new if mask is None else xp.where(mask[t], h_new, h)
            y.append(h)
        return xp.stack(y), [h], kept

    def reset_after_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU and the second row of db, return da and the gradient by the first state."""
        xp = array_module(self.U)
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        T = len(kept)
        [dh] = dlast
        da: Any = [None] * T
        dk: Any = [None] * T
        for t in reversed(range(T)):
            hn, k_g, z, r, g, d = kept[t]
            dh = dh + dy[t]                               # y[t] = h
            dh_new, dh_old = self.through_mask(dh, mask, t)   # h = where(mask, h_new, h)
            dz = dh_new * d                               # h_new = g + z * d
            dd = dh_new * z                               # h_new = g + z * d
            dg = dh_new - dd                              # h_new = g + z * d, d = h - g
            dv_g = act_backward(dg, g)                    # g = act(v_g)
            dr = dv_g * k_g                               # v_g = r * k_g + a_g
            dk_g = dv_g * r                               # v_g = r * k_g + a_g
            dv_r = gate_backward(dr, r)                   # r = gate(v_r)
            dv_z = gate_backward(dz, z)                   # z = gate(v_z)
            da[t] = join_gates(dv_z, dv_r, dv_g)          # v_z = a_z + k_z, v_r = a_r + k_r, v_g = r * k_g + a_g
            dk[t] = join_gates(dv_z, dv_r, dk_g)          # k_z, k_r, k_g = split_gates(k)
            dp = dk[t]                                    # k = p + b'
            dhn = matmul(dp, self.U.T)                    # p = hn U
            dh_n = dhn if n is None else dhn * n          # hn = h * n
            dh = dd + dh_n + dh_old                       # h goes into d and hn, and past a masked step
            if t and t % (self.truncate or T) == 0:       # h counts as a constant
                dh = xp.zeros_like(dh)
        hn, da, dk = xp.stack([step[0] for step in kept]), xp.stack(da), xp.stack(dk)
        if self.use_bias:
            db = rows(dk).sum(axis=0, out=self.db[1])     # k = p + b'
        dU = matmul(rows(hn).T, rows(dk), out=self.dU)      # p = hn U, all steps in one product
        return da, [dh]

    # reset before: g = act(a_g + (r h) U_h) ----------------------------------------------------------------------

    def reset_before_run(
        self, a: Array, n: Array | None, mask: Array | None, start: Any
    ) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last one, and what reset_before_backward needs."""
        xp = array_module(a)
        H = self.units
        U_zr, U_g = self.U[:, : 2 * H], self.U[:, 2 * H :]
        gate, act = self.recurrent_activation.forward, self.activation.forward
        [h] = self.zeros(a) if start is None else start
        y, kept = [], []
        for t in range(len(a)):
            hn = h if n is None else h * n
            k = matmul(hn, U_zr)                          # (B, H) (H, 2 H) -> (B, 2 H)
            a_z, a_r, a_g = split_gates(a[t], 3)          # (B, 3 H) -> 3 of (B, H)
            k_z, k_r = split_gates(k, 2)
            v_z = a_z + k_z
            v_r = a_r + k_r
            z = gate(v_z)                                 # how much of the old state stays
            r = gate(v_r)                                 # how much of it the candidate sees
            p = r * hn
            k_g = matmul(p, U_g)                          # (B, H) (H, H) -> (B, H)
            v_g = k_g + a_g
            g = act(v_g)                                  # the candidate
            d = h - g
            h_new = g + z * d                             # = z h + (1 - z) g
            kept.append((hn, p, z, r, g, d))
            h = h_new if mask is None else xp.where(mask[t], h_new, h)
            y.append(h)
        return xp.stack(y), [h], kept

    def reset_before_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU, return da and the gradient by the first state."""
        xp = array_module(self.U)
        H = self.units
        U_zr, U_g = self.U[:, : 2 * H], self.U[:, 2 * H :]
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        T = len(kept)
        [dh] = dlast
        da: Any = [None] * T
        for t in reversed(range(T)):
            hn, p, z, r, g, d = kept[t]
            dh = dh + dy[t]                               # y[t] = h
            dh_new, dh_old = self.through_mask(dh, mask, t)   # h = where(mask, h_new, h)
            dz = dh_new * d                               # h_new = g + z * d
            dd = dh_new * z                               # h_new = g + z * d
            dg = dh_new - dd                              # h_new = g + z * d, d = h - g
            dv_g = act_backward(dg, g)                    # g = act(v_g)
            dk_g = dv_g                                   # v_g = k_g + a_g
            dp = matmul(dk_g, U_g.T)                      # k_g = p U_g
            dr = dp * hn                                  # p = r * hn
            dv_r = gate_backward(dr, r)                   # r = gate(v_r)
            dv_z = gate_backward(dz, z)                   # z = gate(v_z)
            da[t] = join_gates(dv_z, dv_r, dv_g)          # v_z = a_z + k_z, v_r = a_r + k_r, v_g = k_g + a_g
            dk = join_gates(dv_z, dv_r)                   # k_z, k_r = split_gates(k)
            dhn = matmul(dk, U_zr.T) + dp * r             # k = hn U_zr, p = r * hn
            dh_n = dhn if n is None else dhn * n          # hn = h * n
            dh = dd + dh_n + dh_old                       # h goes into d and hn, and past a masked step
            if t and t % (self.truncate or T) == 0:       # h counts as a constant
                dh = xp.zeros_like(dh)
        hn, p, da = xp.stack([step[0] for step in kept]), xp.stack([step[1] for step in kept]), xp.stack(da)
        self.dU[:, : 2 * H] = matmul(rows(hn).T, rows(da)[:, : 2 * H])      # k = hn U_zr, all steps in one product
        self.dU[:, 2 * H :] = matmul(rows(p).T, rows(da)[:, 2 * H :])       # k_g = p U_g
        return da, [dh]
