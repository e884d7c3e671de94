"""Recurrent: what SimpleRNN, LSTM and GRU share, and SimpleRNN itself.

A recurrent layer reads a sequence step by step and carries a state h from one step to the next. Only h U has to wait
for the step before; x W does not. So there is one product x W for all steps before the loop, and one for each of dW,
dU and dx after it; inside the loop are h U and what works number by number. There, time is the first axis, (T, B, ...),
so that a step is one contiguous piece of memory.

``run`` and ``run_backward`` are the loops as a book has them. What runs is their twin in tinynn/kernels, which computes
the same numbers in memory that it uses again; ``plain = True`` runs the lines that are read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number, find
from tinynn.backend import Array, array_module
from tinynn.kernels import matmul, simple_rnn
from tinynn.kernels.steps import STEP_ACTIVATIONS, StepActivation, add_bias, rows, sum_rows
from tinynn.layers.base import ShapeError, show_shape
from tinynn.layers.drawing import Drawing
from tinynn.layers.masking import check_mask


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


def one_array_only(who: str, states: Sequence[str]) -> ValueError:
    """Return the error for a layer with return_state that stands in a model."""
    return ValueError(
        f"{who}: with return_state=True it returns the list [y, {', '.join(states)}], and a model hands one array from "
        "layer to layer. Leave return_state out here; to use the states, call the layer's forward and backward in a "
        "layer of your own."
    )


class Recurrent(Drawing):
    """Base class of SimpleRNN, LSTM and GRU: everything but the loop over the steps.

    A subclass says how many `gates` it has and what its `states` are called, and writes

    ==========================================  =====================================================================
    ``run(a, n, mask, start)``                  from a = x W + b: the states h after every step, the last states, and
                                                what run_backward needs; `start` is None for zeros
    ``run_backward(dy, dlast, n, mask, kept)``  write dU; return da, and the gradients by `start`
    ==========================================  =====================================================================

    It may give both a fast twin, ``run_fast`` and ``run_fast_backward``, with the same arguments.

    Shapes   x (B, T, F), W (F, G H), U (H, G H), b (G H,), a (T, B, G H), h (T, B, H), n (B, H), mask (T, B, 1)
             y (B, H), or (B, T, H) with return_sequences     B batch, T steps, F features, G gates, H units
    Backward dW = sum_t x_t^T da_t, db = sum_t da_t, dx_t = da_t W^T     backpropagation through time (Werbos 1990)

    The parameters are described in `SimpleRNN`.

    Attributes
    ----------
    plain : bool
        True: run the textbook lines instead of the fast kernel; the numbers are the same.
    dinitial_state : list of array or None
        After backward: the gradients by `initial_state`, where forward was given one.
    """

    W: Array
    dW: Array
    U: Array
    dU: Array
    b: Array
    db: Array
    gates = 1
    states: tuple[str, ...] = ("h",)
    plain = False
    takes_mask = True
    zero_output_for_mask = False  # Bidirectional sets it, as Keras does: with return_sequences a masked step returns 0
    dinitial_state: list[Array] | None = None

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
        return_state: bool = False,
        go_backwards: bool = False,
        truncate: int | None = None,
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
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.truncate = None if truncate is None else check_count(truncate, f"{self.label}: truncate")

    @property
    def bias_shape(self) -> Shape:
        """The shape of b."""
        return (self.gates * self.units,)

    def build(self, input_shape: Shape) -> Shape:
        """Make W, U and b; return the shape of y, also with return_state."""
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

    def forward(
        self, x: Array, training: bool = False, mask: Array | None = None, initial_state: Any = None
    ) -> Any:
        """Return the last step's state, or every step's; with return_state a list of that and the last states.

        Parameters
        ----------
        x : array, shape (batch, steps, features)
        training : bool, default False
            Whether dropout acts.
        mask : array of bool, shape (batch, steps), optional
            True where a step counts. A masked step leaves the state as it is and returns it again.
        initial_state : list of array, each of shape (batch, units), optional
            The states before the first step: [h], of LSTM [h, c]; zeros by default.
        """
        xp = array_module(x)
        B, T, F = x.shape
        if mask is not None:
            check_mask(mask, x, self.label)
            mask = self.by_time(mask[..., None])          # (B, T) -> (T, B, 1)
        m = self.draw_mask(x, self.dropout, (B, F)) if training and self.dropout else None
        n = self.draw_mask(x, self.recurrent_dropout, (B, self.units)) if training and self.recurrent_dropout else None
        xt = self.by_time(x)                              # (B, T, F) -> (T, B, F)
        xm = xt if m is None else xt * m
        dtype = xp.result_type(x, *self.weights())        # complex where a gradient check makes one of them so
        k = matmul(rows(xm), self.W)                      # (T B, F) (F, G H): all steps in one product
        a = k.reshape(T, B, -1).astype(dtype, copy=False)
        if self.use_bias:
            a = add_bias(a, self.b.reshape(-1, a.shape[2])[0])   # of GRU's two rows, the one that goes with x
        start = self.check_states(initial_state, a)
        fast = self.is_fast()
        run = self.run_fast if fast else self.run
        h, last, kept = run(a, n, mask, start)            # (T, B, G H) -> (T, B, H)
        if not self.return_sequences:
            y = h[-1].copy()                              # a copy: a view would keep all steps alive as long as y
        elif mask is None or not self.zero_output_for_mask:
            y = self.by_batch(h)
        else:
            y = self.by_batch(xp.where(mask, h, 0))
        self.cache = (xm, m, n, mask, start is not None, fast, kept)
        return [y, *(state.copy() for state in last)] if self.return_state else y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """Write dW, dU and db, return dx.

        With return_state `dy` is the list of the gradients by y and the last states; None among them is zero. The
        gradients by `initial_state` are in ``self.dinitial_state`` afterwards.
        """
        dy, *dlast = self.check_gradients(dy)
        xm, m, n, mask, given, fast, kept = self.take_cache()
        xp = array_module(xm)
        T, B, _ = xm.shape
        dtype = xp.result_type(xm, *self.weights())
        dlast = [xp.zeros((B, self.units), dtype=dtype) if d is None else d.astype(dtype) for d in dlast]   # copies
        if dy is None:                                    # only the last states were used
            dh = [0] * T
        elif not self.return_sequences:                   # y = h[-1]: nobody reads the others
            dh = [0] * (T - 1) + [dy]
        else:                                             # y = h by batch
            dh = xp.ascontiguousarray(xp.transpose(dy, (1, 0, 2)))
            if mask is not None and self.zero_output_for_mask:
                dh = xp.where(mask, dh, 0)                # y = where(mask, h, 0) by batch
        run_backward = self.run_fast_backward if fast else self.run_backward
        da, dstart = run_backward(dh, dlast, n, mask, kept)   # h, last = run(a, start)
        self.dinitial_state = dstart if given else None
        if self.use_bias:
            db = sum_rows(rows(da), out=self.db.reshape(-1, da.shape[2])[0])   # a + b: b reaches every step
        dW = matmul(rows(xm).T, rows(da), out=self.dW)    # k = xm W, all steps in one product
        if not need_dx:
            return None
        dxm = matmul(rows(da), self.W.T).reshape(xm.shape)   # k = xm W
        dxt = dxm if m is None else dxm * m               # xm = xt m
        dx = self.by_batch(dxt[::-1] if self.go_backwards else dxt)   # xt = x by time
        return dx

    def run(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last ones, and what run_backward needs; may write into `a`."""
        raise TypeError(
            f"{type(self).__name__} needs a method run(self, a, n, mask, start) that returns all states, the last "
            "ones and a cache"
        )

    def run_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU, return da and the gradients by the first states; may write into `dlast`."""
        raise TypeError(
            f"{type(self).__name__} needs a method run_backward(self, dy, dlast, n, mask, kept) that returns da and "
            "the gradients by the first states"
        )

    def run_fast(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Do what run does, in place."""
        return self.run(a, n, mask, start)

    def run_fast_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Do what run_backward does, in place."""
        return self.run_backward(dy, dlast, n, mask, kept)

    def is_fast(self) -> bool:
        """Whether the kernel runs: not if `plain`, nor for a subclass that writes the plain lines anew."""
        for kind in type(self).__mro__:
            if "run" in vars(kind) or "run_backward" in vars(kind):
                return "run_fast" in vars(kind) and not self.plain
        return False

    def compute_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Return the mask as it came with return_sequences, else None.

        As in Keras it is not turned round with go_backwards, where the steps of y are.
        """
        return mask if self.return_sequences else None

    def refuse_states(self) -> None:
        """Raise ValueError if the layer stands in a model, or another container, and would hand on a list."""
        if self.return_state:
            raise one_array_only(self.label, self.states)

    def check_states(self, initial_state: Any, a: Array) -> list[Array] | None:
        """Return the first states as arrays of the right dtype; None where none are given."""
        if initial_state is None:
            return None
        given = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
        expected = (a.shape[1], self.units)
        shapes = [tuple(getattr(state, "shape", ())) for state in given]
        if shapes != [expected] * len(self.states):
            raise ShapeError(
                f"{self.label} expected initial_state=[{', '.join(self.states)}], each of shape (batch, units), here "
                f"{expected}, got {len(given)} of the shapes {', '.join(map(str, shapes))}."
            )
        xp = array_module(a)
        return [xp.asarray(state, dtype=a.dtype) for state in given]

    def check_gradients(self, dy: Any) -> list[Any]:
        """Return the gradients by y and by the last states; None where there is none."""
        if not self.return_state:
            return [dy] + [None] * len(self.states)
        if not isinstance(dy, list | tuple) or len(dy) != 1 + len(self.states):
            names = ", ".join(f"d{name}" for name in ("y", *self.states))
            got = f"{len(dy)} of them" if isinstance(dy, list | tuple) else f"{dy!r:.60}"
            raise ValueError(
                f"{self.label}: with return_state=True backward expected the list [{names}], got {got}. "
                "None stands for an output that was not used."
            )
        return list(dy)

    def through_mask(self, dh: Array, mask: Array | None, t: int) -> tuple[Array, Any]:
        """Return what of `dh` goes to the step's new state, and what to the old one: h = where(mask, h_new, h_old)."""
        if mask is None:
            return dh, 0
        xp = array_module(dh)
        dh_new = xp.where(mask[t], dh, 0)
        dh_old = xp.where(mask[t], 0, dh)
        return dh_new, dh_old

    def zeros(self, a: Array) -> list[Array]:
        """Return the states before the first step where none are given."""
        xp = array_module(a)
        return [xp.zeros((a.shape[1], self.units), dtype=a.dtype) for _ in self.states]

    def weights(self) -> list[Array]:
        """Return W, U and b as they are now."""
        return [self.W, self.U, self.b] if self.use_bias else [self.W, self.U]

    def draw_mask(self, x: Array, rate: float, shape: Shape) -> Array:
        """Return a mask of 0 with probability `rate` and 1 / (1 - rate) elsewhere: the mean stays as it is."""
        return self.draws.kept(shape, rate, 1 / (1 - rate), x)

    def by_time(self, x: Array) -> Array:
        """Return (B, T, F) as (T, B, F), in the order in which the steps are read."""
        xp = array_module(x)
        xt = xp.transpose(x, (1, 0, 2))
        return xp.ascontiguousarray(xt[::-1] if self.go_backwards else xt)

    def by_batch(self, xt: Array) -> Array:
        """Return (T, B, F) as (B, T, F)."""
        xp = array_module(xt)
        return xp.ascontiguousarray(xp.transpose(xt, (1, 0, 2)))


class SimpleRNN(Recurrent):
    """The plain recurrent layer: h_t = activation(x_t W + h_(t-1) U + b), h_0 = 0.

    Shapes   x (B, T, F), W (F, H), U (H, H), b (H,)        B batch, T steps, F features, H units
             y (B, H): the last state; (B, T, H) with return_sequences
    Starts   W Glorot uniform, U orthogonal, b zero
    Backward dh_t = dy_t + da_(t+1) U^T, da_t = dh_t activation'(a_t)     from the last step to the first
             dW = sum_t x_t^T da_t, dU = sum_t h_(t-1)^T da_t, db = sum_t da_t, dx_t = da_t W^T
             (Elman 1990; backpropagation through time: Werbos 1990)
    Masks    a masked step keeps the state: h_t = h_(t-1), and its x gets no gradient. What padding holds must be
             finite; `Masking` sets it to zero

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
    return_state : bool, default False
        Return a list: y, then the state after the last step (h; of LSTM h and c). ``backward`` then takes the list of
        the gradients by them. For use by itself or in a layer of one's own: a model hands on one array, and refuses
        such a layer. What Keras calls stateful is to give the states of one batch to the next as `initial_state`.
    go_backwards : bool, default False
        Read the sequence from its end; the states are returned in the order in which they were computed, as Keras
        does. A mask is handed on as it came, also as Keras does, so behind return_sequences it speaks of the steps the
        other way round; `Bidirectional` turns the states back.
    truncate : int, optional
        Truncated backpropagation through time. The steps are taken in pieces of this many, counted from the first one
        read; the last piece may be shorter. The state passes from piece to piece as ever, its gradient does not: the
        first step of a piece takes the state it gets as a constant. So y is unchanged; dU still counts the product
        h_(t-1) U of that step. Without return_sequences the steps before the last piece get no gradient at all; an
        `initial_state` gets its gradient from the first piece. None goes back to the first step.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `units` or `truncate` is not a whole number from 1 up, a rate is not from 0 to below 1, or a name is unknown;
        if a mask is not of bool, or a model is given a layer with `return_state`.
    ShapeError
        If the input is not (batch, steps, features), or has no steps; if a mask is not (batch, steps), or an initial
        state not (batch, units).

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

    The state goes in and comes out; the second step here is masked:

    >>> total.return_state = True
    >>> y, h = total.forward(x, mask=np.array([[True, False, True]]), initial_state=[np.array([[5.0]])])
    >>> y.ravel(), h
    (array([6., 6., 9.]), array([[9.]]))
    >>> total.backward([np.zeros((1, 3, 1)), np.ones((1, 1))]).ravel()
    array([1., 0., 1.])
    >>> total.dinitial_state
    [array([[1.]])]
    """

    def run(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Return the states after every step, the last one, and what run_backward needs."""
        xp = array_module(a)
        act = self.activation.forward
        [h] = self.zeros(a) if start is None else start
        y, kept = [], []
        for t in range(len(a)):
            hn = h if n is None else h * n
            k = matmul(hn, self.U)                        # (B, H) (H, H) -> (B, H)
            v = a[t] + k
            h_new = act(v)
            kept.append((hn, h_new))
            h = h_new if mask is None else xp.where(mask[t], h_new, h)
            y.append(h)
        return xp.stack(y), [h], kept

    def run_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Write dU, return da and the gradient by the first state."""
        xp = array_module(self.U)
        act_backward = self.activation.backward
        T = len(kept)
        [dh] = dlast
        da: Any = [None] * T
        for t in reversed(range(T)):
            hn, h_new = kept[t]
            dh = dh + dy[t]                               # y[t] = h
            dh_new, dh_old = self.through_mask(dh, mask, t)   # h = where(mask, h_new, h)
            dv = act_backward(dh_new, h_new)              # h_new = act(v)
            da[t] = dv                                    # v = a[t] + k
            dk = dv                                       # v = a[t] + k
            dhn = matmul(dk, self.U.T)                    # k = hn U
            dh_n = dhn if n is None else dhn * n          # hn = h * n
            dh = dh_n + dh_old                            # h goes into hn, and past a masked step
            if t and t % (self.truncate or T) == 0:       # h counts as a constant
                dh = xp.zeros_like(dh)
        hn, da = xp.stack([hn for hn, _ in kept]), xp.stack(da)
        dU = matmul(rows(hn).T, rows(da), out=self.dU)      # k = hn U, all steps in one product
        return da, [dh]

    def run_fast(self, a: Array, n: Array | None, mask: Array | None, start: Any) -> tuple[Array, list[Array], Any]:
        """Do what run does, in place."""
        [h0] = start or [None]
        return simple_rnn.forward(a, self.U, n, mask, h0, self.activation)

    def run_fast_backward(
        self, dy: Any, dlast: list[Array], n: Array | None, mask: Array | None, kept: Any
    ) -> tuple[Array, list[Array]]:
        """Do what run_backward does, in place."""
        [dh] = dlast
        return simple_rnn.backward(dy, dh, n, mask, kept, self.U, self.dU, self.activation, self.truncate)
