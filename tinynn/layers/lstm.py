"""LSTM: a recurrent layer with a memory that gates write, keep and read."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.initializers import Initializer
from tinynn.kernels import lstm, matmul
from tinynn.kernels.steps import join_gates, rows, split_gates
from tinynn.layers.recurrent import Recurrent, get_step_activation


class ForgetGateOpen(Initializer):
    """The bias of an LSTM whose forget gate starts open: 1 there, another initialiser's values elsewhere."""

    def __init__(self, others: Initializer) -> None:
        self.others = others

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the values in float64."""
        units = shape[0] // 4
        b: Array = np.array(self.others.draw(shape, rng))
        b[units : 2 * units] = 1
        return b


class LSTM(Recurrent):
    """Long short-term memory: a state h, and a memory c that gates write, keep and read.

    ::

        i = sigmoid(x_t W_i + h_(t-1) U_i + b_i)        what is written
        f = sigmoid(x_t W_f + h_(t-1) U_f + b_f)        what is kept
        g =    tanh(x_t W_c + h_(t-1) U_c + b_c)        the candidate
        o = sigmoid(x_t W_o + h_(t-1) U_o + b_o)        what is read
        c_t = f c_(t-1) + i g
        h_t = o tanh(c_t)                               h_0 = c_0 = 0, or initial_state

    Shapes   x (B, T, F), W (F, 4 H), U (H, 4 H), b (4 H,), in the order i f c o
             y (B, H): the last state; (B, T, H) with return_sequences     B batch, T steps, F features, H units
    Starts   W Glorot uniform, U orthogonal, b zero but 1 for the forget gate (Jozefowicz et al. 2015)
    Backward do = dh tanh(c), dc += dh o tanh'(c), df = dc c_(t-1), di = dc g, dg = dc i, dc_(t-1) = dc f
             da = the four, each times its gate's slope; dh_(t-1) = da U^T     from the last step to the first
             dW = sum_t x_t^T da_t, dU = sum_t h_(t-1)^T da_t, db = sum_t da_t, dx_t = da_t W^T
             (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000)
    Masks    a masked step keeps both: h_t = h_(t-1), c_t = c_(t-1)

    Parameters
    ----------
    units : int
        The size of the state, H.
    activation : str, optional, default "tanh"
        Of the candidate, and of c before it is read; the names are those of `SimpleRNN`.
    recurrent_activation : str, optional, default "sigmoid"
        Of the gates.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    recurrent_initializer : str or Initializer, default "orthogonal"
    bias_initializer : str or Initializer, default "zeros"
    unit_forget_bias : bool, default True
        Start the forget gate's bias at 1, whatever `bias_initializer` says of the others.
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
    dropout, recurrent_dropout, return_sequences, return_state, go_backwards, truncate
        As in `SimpleRNN`; the states are h and c, and `truncate` cuts the gradients of both.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        As `SimpleRNN`.

    Examples
    --------
    >>> import numpy as np
    >>> lstm = LSTM(2, kernel_initializer="ones", recurrent_initializer="ones")
    >>> x = np.array([[[1.0], [-1.0], [2.0]]])
    >>> lstm(x).round(3)
    array([[0.734, 0.734]])
    >>> lstm.backward(np.ones((1, 2))).shape
    (1, 3, 1)

    One layer reads, another starts with what it has read; the gradients go the same way back:

    >>> reader, writer = LSTM(2, return_state=True), LSTM(2, return_sequences=True)
    >>> y, h, c = reader(x)
    >>> shape = writer.build_for((3, 1))
    >>> writer.forward(x, initial_state=[h, c]).shape
    (1, 3, 2)
    >>> dx = writer.backward(np.ones((1, 3, 2)))
    >>> reader.backward([None, *writer.dinitial_state]).shape
    (1, 3, 1)
    """

    gates = 4
    states = ("h", "c")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        truncate: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, dropout, recurrent_dropout,
            return_sequences, return_state, go_backwards, truncate, **options,
        )
        self.recurrent_activation = get_step_activation(recurrent_activation, f"{self.label}: recurrent_activation")
        self.unit_forget_bias = unit_forget_bias
        if unit_forget_bias:
            self.bias_initializer = ForgetGateOpen(self.bias_initializer)

    def run(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last ones, and what run_backward needs."""
        xp = array_module(a)
        gate, act = self.recurrent_activation.forward, self.activation.forward
        h, c = self.zeros(a) if start is None else start
        y, kept = [], []
        for t in range(len(a)):
            hn = h if n is None else h * n
            k = matmul(hn, self.U)                        # (B, H) (H, 4 H) -> (B, 4 H)
            v = a[t] + k
            v_i, v_f, v_g, v_o = split_gates(v, 4)        # (B, 4 H) -> 4 of (B, H)
            i = gate(v_i)                                 # what is written
            f = gate(v_f)                                 # what is kept
            g = act(v_g)                                  # the candidate
            o = gate(v_o)                                 # what is read
            c_new = f * c + i * g
            s = act(c_new)
            h_new = o * s
            kept.append((hn, c, i, f, g, o, s))
            c = c_new if mask is None else xp.where(mask[t], c_new, c)
            h = h_new if mask is None else xp.where(mask[t], h_new, h)
            y.append(h)
        return xp.stack(y), [h, c], kept

    def run_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU, return da and the gradients by the first states."""
        xp = array_module(self.U)
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        T = len(kept)
        dh, dc = dlast
        da: Any = [None] * T
        for t in reversed(range(T)):
            hn, c, i, f, g, o, s = kept[t]
            dh = dh + dy[t]                               # y[t] = h
            dh_new, dh_old = self.through_mask(dh, mask, t)   # h = where(mask, h_new, h)
            dc_new, dc_old = self.through_mask(dc, mask, t)   # c = where(mask, c_new, c)
            do = dh_new * s                               # h_new = o * s
            ds = dh_new * o                               # h_new = o * s
            dc_new = dc_new + act_backward(ds, s)         # s = act(c_new)
            df = dc_new * c                               # c_new = f * c + i * g
            di = dc_new * g                               # c_new = f * c + i * g
            dg = dc_new * i                               # c_new = f * c + i * g
            dv_o = gate_backward(do, o)                   # o = gate(v_o)
            dv_g = act_backward(dg, g)                    # g = act(v_g)
            dv_f = gate_backward(df, f)                   # f = gate(v_f)
            dv_i = gate_backward(di, i)                   # i = gate(v_i)
            dv = join_gates(dv_i, dv_f, dv_g, dv_o)       # v_i, v_f, v_g, v_o = split_gates(v)
            da[t] = dv                                    # v = a[t] + k
            dk = dv                                       # v = a[t] + k
            dhn = matmul(dk, self.U.T)                    # k = hn U
            dh_n = dhn if n is None else dhn * n          # hn = h * n
            dc_f = dc_new * f                             # c_new = f * c + i * g
            dh = dh_n + dh_old                            # h goes into hn, and past a masked step
            dc = dc_f + dc_old                            # c goes into c_new, and past a masked step
            if t and t % (self.truncate or T) == 0:       # h and c count as constants
                dh, dc = xp.zeros_like(dh), xp.zeros_like(dc)
        hn, da = xp.stack([step[0] for step in kept]), xp.stack(da)
        dU = matmul(rows(hn).T, rows(da), out=self.dU)      # k = hn U, all steps in one product
        return da, [dh, dc]

    def run_fast(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Do what run does, in place."""
        h0, c0 = start or (None, None)
        return lstm.forward(a, self.U, n, mask, h0, c0, self.recurrent_activation, self.activation)

    def run_fast_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Do what run_backward does, in place."""
        gate, act = self.recurrent_activation, self.activation
        dh, dc = dlast
        return lstm.backward(dy, dh, dc, n, mask, kept, self.U, self.dU, gate, act, self.truncate)
