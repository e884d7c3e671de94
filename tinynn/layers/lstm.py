"""LSTM: a recurrent layer with a memory that gates write, keep and read."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.initializers import Initializer
from tinynn.layers.recurrent import Recurrent, get_step_activation, rows, split_gates


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
        h_t = o tanh(c_t)                               h_0 = c_0 = 0

    Shapes   x (B, T, F), W (F, 4 H), U (H, 4 H), b (4 H,), in the order i f c o
             y (B, H): the last state; (B, T, H) with return_sequences     B batch, T steps, F features, H units
    Starts   W Glorot uniform, U orthogonal, b zero but 1 for the forget gate (Jozefowicz et al. 2015)
    Backward do = dh tanh(c), dc += dh o tanh'(c), df = dc c_(t-1), di = dc g, dg = dc i, dc_(t-1) = dc f
             da = the four, each times its gate's slope; dh_(t-1) = da U^T     from the last step to the first
             dW = sum_t x_t^T da_t, dU = sum_t h_(t-1)^T da_t, db = sum_t da_t, dx_t = da_t W^T
             (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000)

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
    dropout, recurrent_dropout, return_sequences, go_backwards, truncate
        As in `SimpleRNN`; `truncate` cuts the gradients of h and c.
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
    """

    gates = 4

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
        go_backwards: bool = False,
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
        self.unit_forget_bias = unit_forget_bias
        if unit_forget_bias:
            self.bias_initializer = ForgetGateOpen(self.bias_initializer)

    def run(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps."""
        xp = array_module(a)
        T, B, _ = a.shape
        gate, act = self.recurrent_activation.forward, self.activation.forward
        h = xp.zeros((T + 1, B, self.units), dtype=a.dtype)   # h[t] goes into step t, h[t + 1] comes out
        c = xp.zeros_like(h)
        s = xp.empty_like(h[1:])                          # activation(c)
        z = a.reshape(T, 4, B, self.units)                # the gates of a step take the memory of its a, (B, 4 H)
        k = xp.empty_like(a[0])
        k4 = split_gates(k, 4)                            # a view: (B, 4 H) -> (4, B, H)
        fc = xp.empty_like(c[0])
        for t in range(T):
            hm = h[t] if n is None else h[t] * n
            k = xp.matmul(hm, self.U, out=k)              # (B, H) (H, 4 H) -> (B, 4 H)
            k += a[t]
            i, f, g, o = z[t]
            gate(k4[:2], z[t, :2])                        # i and f
            act(k4[2], g)
            gate(k4[3], o)
            xp.multiply(f, c[t], out=fc)
            xp.multiply(i, g, out=c[t + 1])
            c[t + 1] += fc                                # c = f c + i g
            act(c[t + 1], s[t])
            xp.multiply(o, s[t], out=h[t + 1])
        return h[1:], (h, c, s, z)

    def run_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU and return da."""
        h, c, s, z = kept
        xp = array_module(h)
        T, _, B, H = z.shape
        gate_backward, act_backward = self.recurrent_activation.backward, self.activation.backward
        da = z.reshape(T, B, 4 * H)                       # da of a step takes the memory of its gates
        da4 = split_gates(da, 4)
        dz = xp.empty_like(z[0])
        di, df, dg, do = dz
        dh, dc, ds = xp.zeros_like(h[0]), xp.zeros_like(h[0]), xp.empty_like(h[0])
        for t in reversed(range(T)):
            i, f, g, o = z[t]
            dh += dy[t]                                   # y[t] = h[t + 1]
            xp.multiply(dh, o, out=ds)                    # h[t + 1] = o s
            xp.multiply(dh, s[t], out=do)                 # h[t + 1] = o s
            dc += act_backward(ds, s[t], ds)              # s = activation(c[t + 1])
            xp.multiply(dc, g, out=di)                    # c[t + 1] = f c[t] + i g
            xp.multiply(dc, i, out=dg)                    # c[t + 1] = f c[t] + i g
            xp.multiply(dc, c[t], out=df)                 # c[t + 1] = f c[t] + i g
            gate_backward(do, o, do)
            act_backward(dg, g, dg)
            gate_backward(dz[:2], z[t, :2], dz[:2])       # i and f
            dc *= f                                       # c[t + 1] = f c[t] + i g
            da4[t] = dz                                   # k = hm U + a[t]
            if t % (self.truncate or T) == 0:             # h[t] and c[t] count as constants
                dh[...] = 0
                dc[...] = 0
                continue
            dh = xp.matmul(da[t], self.U.T, out=dh)       # k = hm U
            if n is not None:
                dh *= n                                   # hm = h n
        hm = h[:-1] if n is None else h[:-1] * n
        dU = xp.matmul(rows(hm).T, rows(da), out=self.dU)   # k = hm U, all steps in one product
        return da
