"""Recurrent: what SimpleRNN, LSTM and GRU share, and SimpleRNN itself.

A recurrent layer reads a sequence step by step and carries a state h from one step to the next. Only h U has to wait
for the step before; x W does not. So there is one product x W for all steps before the loop, and one for each of dW,
dU and dx after it; inside the loop are h U and what works number by number. There, time is the first axis, (T, B, ...),
so that a step is one contiguous piece of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number, find
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError, show_shape


@dataclass(frozen=True)
class StepActivation:
    """An activation inside the loop: it keeps nothing, for its derivative is a function of y alone.

    ``forward(z, out)`` writes y, ``backward(dy, y, out)`` writes dz; `out` may be the array that is read.
    """

    name: str
    forward: Callable[[Array, Array], Array]
    backward: Callable[[Array, Array, Array], Array]


def linear(z: Array, out: Array) -> Array:
    """Write y = z."""
    if out is not z:
        out[...] = z
    return out


def linear_backward(dy: Array, y: Array, out: Array) -> Array:
    """Write dz = dy."""
    if out is not dy:
        out[...] = dy
    return out


def tanh(z: Array, out: Array) -> Array:
    """Write y = tanh(z)."""
    return array_module(z).tanh(z, out=out)


def tanh_backward(dy: Array, y: Array, out: Array) -> Array:
    """Write dz = dy (1 - y^2)."""
    xp = array_module(dy)
    slope = y * y
    xp.subtract(1, slope, out=slope)
    return xp.multiply(dy, slope, out=out)


def sigmoid(z: Array, out: Array) -> Array:
    """Write y = 1 / (1 + exp(-z)) as (1 + tanh(z / 2)) / 2, which cannot overflow and is faster than exp.

    Outputs near 0 are exact to the last bit of 1 only; enough for a gate, which is a factor beside others.
    """
    xp = array_module(z)
    y = xp.multiply(z, 0.5, out=out)
    xp.tanh(y, out=y)
    xp.add(y, 1, out=y)
    return xp.multiply(y, 0.5, out=y)


def sigmoid_backward(dy: Array, y: Array, out: Array) -> Array:
    """Write dz = dy y (1 - y)."""
    xp = array_module(dy)
    slope = 1 - y
    xp.multiply(slope, y, out=slope)
    return xp.multiply(dy, slope, out=out)


def relu(z: Array, out: Array) -> Array:
    """Write y = max(z, 0)."""
    xp = array_module(z)
    return xp.clip(z, 0, xp.inf, out=out)


def relu_backward(dy: Array, y: Array, out: Array) -> Array:
    """Write dz = dy where z > 0, else 0; 0 at the kink, as Keras does."""
    return array_module(dy).multiply(dy, y > 0, out=out)


STEP_ACTIVATIONS = {
    "linear": StepActivation("linear", linear, linear_backward),
    "relu": StepActivation("relu", relu, relu_backward),
    "sigmoid": StepActivation("sigmoid", sigmoid, sigmoid_backward),
    "tanh": StepActivation("tanh", tanh, tanh_backward),
}


def get_step_activation(name: Any, who: str) -> StepActivation:
    """Return the activation of a name; None means linear."""
    if name is None:
        name = "linear"
    if not isinstance(name, str):
        raise ValueError(
            f"{who} must be a name, got {name!r:.60}: an activation layer keeps one cache, and here it would be used "
            f"at every step. The names are: {', '.join(STEP_ACTIVATIONS)}."
        )
    result: StepActivation = find(who, name, STEP_ACTIVATIONS)
    return result


class Recurrent(Layer):
    """Base class of SimpleRNN, LSTM and GRU: everything but the loop over the steps.

    A subclass says how many `gates` it has and writes ``run(a, n)``, from a = x W + b to the states of all steps, and
    ``run_backward(dh, n)``, which writes dU and returns da.

    Shapes   x (B, T, F), W (F, G H), U (H, G H), b (G H,), a (T, B, G H), h (T, B, H)
             y (B, H), or (B, T, H) with return_sequences     B batch, T steps, F features, G gates, H units
    Backward dW = sum_t x_t^T da_t, db = sum_t da_t, dx_t = da_t W^T     backpropagation through time (Werbos 1990)

    The parameters are described in `SimpleRNN`.
    """

    W: Array
    dW: Array
    U: Array
    dU: Array
    b: Array
    db: Array
    gates = 1

    def __init__(
        self,
        units: int,
        *,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        dropout: float,
        recurrent_dropout: float,
        return_sequences: bool,
        go_backwards: bool,
        truncate: int | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = check_count(units, f"{self.label}: units")
        self.activation = get_step_activation(activation, f"{self.label}: activation")
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.dropout = check_number(dropout, f"{self.label}: dropout", 0, 1, below=True)
        self.recurrent_dropout = check_number(
            recurrent_dropout, f"{self.label}: recurrent_dropout", 0, 1, below=True
        )
        self.return_sequences = return_sequences
        self.go_backwards = go_backwards
        self.truncate = None if truncate is None else check_count(truncate, f"{self.label}: truncate")

    @property
    def bias_shape(self) -> Shape:
        """The shape of b."""
        return (self.gates * self.units,)

    def build(self, input_shape: Shape) -> Shape:
        """Make W, U and b."""
        if len(input_shape) != 2:
            raise ShapeError(
                f"{self.label} expected an input of shape (batch, steps, features), got {show_shape(input_shape)}. "
                "After a recurrent layer, give that one return_sequences=True; else reshape the input."
            )
        steps, features = input_shape
        if steps == 0:
            raise ShapeError(
                f"{self.label} expected sequences of at least one step, got {show_shape(input_shape)}: there is no "
                "last step to return. Take empty sequences out, or pad them."
            )
        width = self.gates * self.units
        self.add_weight("W", (features, width), self.kernel_initializer, regularizer=self.kernel_regularizer)
        self.add_weight("U", (self.units, width), self.recurrent_initializer, regularizer=self.recurrent_regularizer)
        if self.use_bias:
            self.add_weight("b", self.bias_shape, self.bias_initializer, regularizer=self.bias_regularizer)
        return (steps, self.units) if self.return_sequences else (self.units,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the last step's state, or every step's."""
        xp = array_module(x)
        B, T, F = x.shape
        m = self.draw_mask(x, self.dropout, (B, F)) if training and self.dropout else None
        n = self.draw_mask(x, self.recurrent_dropout, (B, self.units)) if training and self.recurrent_dropout else None
        xt = self.by_time(x)                              # (B, T, F) -> (T, B, F)
        xm = xt if m is None else xt * m
        a = xp.empty((T, B, self.gates * self.units), dtype=xp.result_type(x, *self.weights()))
        xp.matmul(rows(xm), self.W, out=rows(a))          # (T B, F) (F, G H) -> (T B, G H), all steps in one product
        if self.use_bias:
            a += self.b.reshape(-1, a.shape[2])[0]        # of GRU's two rows, the one that goes with x
        h, kept = self.run(a, n)                          # (T, B, G H) -> (T, B, H)
        # A copy of the last step: a view would keep the states of all steps alive as long as y.
        y = self.by_batch(h) if self.return_sequences else h[-1].copy()
        self.cache = (xm, m, n, kept)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW, dU and db, return dx."""
        xp = array_module(dy)
        xm, m, n, kept = self.take_cache()
        if self.return_sequences:                         # y = h by batch
            dh = xp.ascontiguousarray(xp.transpose(dy, (1, 0, 2)))
        else:                                             # y = h[-1]: nobody reads the others
            dh = [0] * (len(xm) - 1) + [dy]
        da = self.run_backward(dh, n, kept)               # h = run(a)
        if self.use_bias:
            db = rows(da).sum(axis=0, out=self.db.reshape(-1, da.shape[2])[0])   # a += b: b reaches every step
        dW = xp.matmul(rows(xm).T, rows(da), out=self.dW)   # a = xm W
        if not need_dx:
            return None
        dxm = xp.matmul(rows(da), self.W.T).reshape(xm.shape)   # a = xm W
        dxt = dxm if m is None else dxm * m               # xm = xt m
        dx = self.by_batch(dxt[::-1] if self.go_backwards else dxt)   # xt = x by time
        return dx

    def run(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps, and what run_backward needs; may write into `a`."""
        raise TypeError(f"{type(self).__name__} needs a method run(self, a, n) that returns the states and a cache")

    def run_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU and return da, given the gradient that reaches each step's state from above."""
        raise TypeError(f"{type(self).__name__} needs a method run_backward(self, dy, n, kept) that returns da")

    def weights(self) -> list[Array]:
        """Return W, U and b as they are now."""
        return [self.W, self.U, self.b] if self.use_bias else [self.W, self.U]

    def draw_mask(self, x: Array, rate: float, shape: Shape) -> Array:
        """Return a mask of 0 with probability `rate` and 1 / (1 - rate) elsewhere: the mean stays as it is."""
        kept = self.random.random(shape) >= rate          # drawn on the host: the same on every device
        return array_module(x).asarray(kept / (1 - rate), dtype=x.dtype)

    def by_time(self, x: Array) -> Array:
        """Return (B, T, F) as (T, B, F), in the order in which the steps are read."""
        xp = array_module(x)
        xt = xp.transpose(x, (1, 0, 2))
        return xp.ascontiguousarray(xt[::-1] if self.go_backwards else xt)

    def by_batch(self, xt: Array) -> Array:
        """Return (T, B, F) as (B, T, F)."""
        xp = array_module(xt)
        return xp.ascontiguousarray(xp.transpose(xt, (1, 0, 2)))


def split_gates(a: Array, gates: int) -> Array:
    """Return (..., B, G H) as a view (..., G, B, H): one gate after another."""
    xp = array_module(a)
    *front, B, width = a.shape
    axes = tuple(range(len(front)))
    return xp.transpose(a.reshape(*front, B, gates, width // gates), (*axes, len(axes) + 1, len(axes), len(axes) + 2))


def rows(h: Array) -> Array:
    """Return (T, B, H) as (T B, H), for one product over all steps."""
    return h.reshape(-1, h.shape[-1])


class SimpleRNN(Recurrent):
    """The plain recurrent layer: h_t = activation(x_t W + h_(t-1) U + b), h_0 = 0.

    Shapes   x (B, T, F), W (F, H), U (H, H), b (H,)        B batch, T steps, F features, H units
             y (B, H): the last state; (B, T, H) with return_sequences
    Starts   W Glorot uniform, U orthogonal, b zero
    Backward dh_t = dy_t + da_(t+1) U^T, da_t = dh_t activation'(a_t)     from the last step to the first
             dW = sum_t x_t^T da_t, dU = sum_t h_(t-1)^T da_t, db = sum_t da_t, dx_t = da_t W^T
             (Elman 1990; backpropagation through time: Werbos 1990)

    Parameters
    ----------
    units : int
        The size of the state, H.
    activation : str, optional, default "tanh"
        ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"linear"``; None is linear.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    recurrent_initializer : str or Initializer, default "orthogonal"
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
        Penalties on W, U and b that training adds to the loss.
    dropout, recurrent_dropout : float, default 0.0
        The share of x, and of h before it meets U, that is set to zero in training; what stays is divided by
        1 - rate. One mask for a sequence: the same features are missing at every step (Gal & Ghahramani 2016).
        All gates see the same mask; Keras draws one for each gate where recurrent_dropout is not 0.
    return_sequences : bool, default False
        Return the states of all steps, not the last alone.
    go_backwards : bool, default False
        Read the sequence from its end; the states are returned in the order in which they were computed, as Keras
        does.
    truncate : int, optional
        Truncated backpropagation through time. The steps are taken in pieces of this many, counted from the first one
        read; the last piece may be shorter. The state passes from piece to piece as ever, its gradient does not: the
        first step of a piece takes the state it gets as a constant. So y is unchanged; dU still counts the product
        h_(t-1) U of that step. Without return_sequences the steps before the last piece get no gradient at all. None
        goes back to the first step.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `units` or `truncate` is not a whole number from 1 up, a rate is not from 0 to below 1, or a name is unknown.
    ShapeError
        If the input is not (batch, steps, features), or has no steps.

    Examples
    --------
    >>> import numpy as np
    >>> total = SimpleRNN(1, activation="linear", kernel_initializer="ones", recurrent_initializer="ones",
    ...                   return_sequences=True)
    >>> x = np.array([[[1.0], [2.0], [3.0]]])
    >>> total(x).ravel()
    array([1., 3., 6.])
    >>> total.backward(np.array([[[1.0], [10.0], [100.0]]])).ravel()
    array([111., 110., 100.])
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
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

    def run(self, a: Array, n: Array | None) -> tuple[Array, Any]:
        """Return the states of all steps."""
        xp = array_module(a)
        T, B, H = a.shape
        h = xp.zeros((T + 1, B, H), dtype=a.dtype)        # h[t] goes into step t, h[t + 1] comes out
        k = xp.empty_like(h[0])
        for t in range(T):
            hm = h[t] if n is None else h[t] * n
            k = xp.matmul(hm, self.U, out=k)              # (B, H) (H, H) -> (B, H)
            k += a[t]
            self.activation.forward(k, h[t + 1])
        return h[1:], (h, a)

    def run_backward(self, dy: Any, n: Array | None, kept: Any) -> Array:
        """Write dU and return da."""
        h, a = kept
        xp = array_module(h)
        T = len(a)
        da = a                                            # a is not needed any more: its memory takes da
        dh = xp.zeros_like(h[0])
        for t in reversed(range(T)):
            dh += dy[t]                                   # y[t] = h[t + 1]
            self.activation.backward(dh, h[t + 1], da[t])   # h[t + 1] = activation(k + a[t])
            if t % (self.truncate or T) == 0:             # h[t] counts as a constant
                dh[...] = 0
                continue
            dh = xp.matmul(da[t], self.U.T, out=dh)       # k = hm U
            if n is not None:
                dh *= n                                   # hm = h n
        hm = h[:-1] if n is None else h[:-1] * n
        dU = xp.matmul(rows(hm).T, rows(da), out=self.dU)   # k = hm U, all steps in one product
        return da
