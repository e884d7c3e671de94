"""Attention: every step of a sequence looks at every other one, or at those of another sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number
from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels, matmul
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.position import RotaryEmbedding
from tinynn.layers.regularization import Dropout

NEVER = -1e9  # the score of a step that may not be looked at: its share, exp(NEVER - anything), is 0


def never(s: Array) -> float:
    """Return `NEVER` for scores of this kind: half precision ends before it."""
    return max(NEVER, float(np.finfo(s.dtype).min) / 2)


class MultiHeadAttention(Layer):
    """Every step asks a question and gets the answers of all steps, each as far as its key fits the question.

    For each of H heads, with the question q = x Wq + bq, the key k = key Wk + bk and the answer v = value Wv + bv:

        s = q k^T / sqrt(K)      how well each key fits each question
        p = softmax(s)           in shares that add up to 1
        o = p v                  the answers, mixed

    and y = (the heads' o side by side) Wo + bo. In self-attention `key` and `value` are x itself; in cross-attention
    they come from another sequence.

    Shapes   x (B, T, D), value (B, S, E), Wq (D, H, K), Wk (E, G, K), Wv (E, G, V), Wo (H, V, O), y (B, T, O)
             B batch, T questions, S keys, H heads, G key heads (H but where set), K and V sizes of key and answer
    Starts   W Glorot uniform, b zero
    Backward do = dy Wo^T, dv = p^T do, dp = do v^T, ds = p (dp - sum_S p dp),
             dq = ds k / sqrt(K), dk = ds^T q / sqrt(K),
             each dW = (what it was multiplied with)^T d(product), summed over all steps     (Vaswani et al. 2017)

    Parameters
    ----------
    num_heads : int
        H.
    key_dim : int
        The size of a question and of a key, K; usually the number of features by the number of heads.
    value_dim : int, optional
        The size of an answer, V; by default `key_dim`.
    dropout : float, default 0.0
        The share of p that is set to zero in training.
    use_bias : bool, default True
    output_shape : int, optional
        The number of outputs, O; by default that of x.
    num_key_value_heads : int, optional
        How many heads keys and answers have, G; H must be a multiple of it, and H / G heads share each of them
        (Ainslie et al. 2023). By default H.
    use_causal_mask : bool, default False
        Whether a step sees itself and those before it alone, as a model that predicts the next one must.
    rotary : bool, default False
        Whether questions and keys are turned by their place; see `RotaryEmbedding`.
    kernel_initializer, bias_initializer : str or Initializer, default "glorot_uniform" and "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
        Penalties that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is not a whole number from 1 up, or the heads cannot be shared out.
    ShapeError
        If x or value is not (batch, steps, features), or a mask has another shape than it must.

    Examples
    --------
    >>> import numpy as np
    >>> x, memory = np.zeros((2, 5, 8)), np.zeros((2, 7, 6))
    >>> MultiHeadAttention(num_heads=2, key_dim=4, use_causal_mask=True)(x).shape
    (2, 5, 8)

    In cross-attention backward returns the gradients of both:

    >>> cross = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> y = cross(x, value=memory)
    >>> dx, dvalue = cross.backward(np.ones_like(y))
    >>> dx.shape, dvalue.shape
    ((2, 5, 8), (2, 7, 6))
    """

    Wq: Array
    dWq: Array
    bq: Array
    dbq: Array
    Wk: Array
    dWk: Array
    bk: Array
    dbk: Array
    Wv: Array
    dWv: Array
    bv: Array
    dbv: Array
    Wo: Array
    dWo: Array
    bo: Array
    dbo: Array
    takes_mask = True
    other_shapes: Sequence[Shape] = ()  # of samples of value and key, where they are not x

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | None = None,
        num_key_value_heads: int | None = None,
        use_causal_mask: bool = False,
        rotary: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heads = check_count(num_heads, f"{self.label}: num_heads")
        self.key_dim = check_count(key_dim, f"{self.label}: key_dim")
        self.value_dim = self.key_dim if value_dim is None else check_count(value_dim, f"{self.label}: value_dim")
        self.outputs = None if output_shape is None else check_count(output_shape, f"{self.label}: output_shape")
        self.num_key_value_heads = self.num_heads
        if num_key_value_heads is not None:
            self.num_key_value_heads = check_count(num_key_value_heads, f"{self.label}: num_key_value_heads")
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(
                f"{self.label}: {self.num_heads} heads cannot share {self.num_key_value_heads} key heads evenly; "
                "num_heads must be a multiple of num_key_value_heads."
            )
        if rotary and self.key_dim % 2:
            raise ValueError(f"{self.label}: rotary turns pairs of numbers; key_dim must be even, got {key_dim}.")
        self.use_bias = use_bias
        self.use_causal_mask = use_causal_mask
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.turn_q = RotaryEmbedding() if rotary else None
        self.turn_k = RotaryEmbedding() if rotary else None
        rate = check_number(dropout, f"{self.label}: dropout", 0, 1)
        self.drop = Dropout(rate) if rate else None

    # Building ----------------------------------------------------------------------------------------------------

    def build(self, input_shape: Shape, value_shape: Shape | None = None, key_shape: Shape | None = None) -> Shape:
        """Make the weights.

        Parameters
        ----------
        input_shape, value_shape, key_shape : tuple of int
            The shapes of a sample of x, value and key; by default value's is x's, and key's is value's.
        """
        value_shape = input_shape if value_shape is None else value_shape
        key_shape = value_shape if key_shape is None else key_shape
        for name, shape in (("x", input_shape), ("value", value_shape), ("key", key_shape)):
            if len(shape) != 2 or shape[0] == 0:
                raise ShapeError(
                    f"{self.label} expected {name} of shape (batch, steps, features) with at least one step, "
                    f"got {show_shape(shape)}."
                )
        if key_shape[0] != value_shape[0]:
            raise ShapeError(
                f"{self.label}: key has {key_shape[0]} steps and value {value_shape[0]}; each key needs its answer."
            )
        H, G, K, V = self.num_heads, self.num_key_value_heads, self.key_dim, self.value_dim
        outputs = input_shape[1] if self.outputs is None else self.outputs
        self.add_projection("q", (input_shape[1], H, K), (H, K))
        self.add_projection("k", (key_shape[1], G, K), (G, K))
        self.add_projection("v", (value_shape[1], G, V), (G, V))
        self.add_projection("o", (H, V, outputs), (outputs,))
        if self.drop is not None and self.drop.rng is None:
            self.drop.rng = self.random
        return (input_shape[0], outputs)

    def add_projection(self, name: str, W_shape: Shape, b_shape: Shape) -> None:
        """Make a product's W and b."""
        self.add_weight(f"W{name}", W_shape, self.kernel_initializer, regularizer=self.kernel_regularizer)
        if self.use_bias:
            self.add_weight(f"b{name}", b_shape, self.bias_initializer, regularizer=self.bias_regularizer)

    def __call__(self, x: Array, training: bool = False, **others: Any) -> Any:
        """Return forward(x, ...), building the layer for x, value and key at its first use."""
        self.other_shapes = []
        for name in ("value", "key"):
            array = others.get(name)
            if array is not None:
                array_module(array)
                others[name] = array.astype(self.dtype) if array.dtype.kind in "iub" else array
                self.need_value(others.get("value"))
                self.other_shapes.append(tuple(array.shape[1:]))
        return super().__call__(x, training, **others)

    def connect(self, input_shape: Shape) -> Shape:
        """Build for x and for what came with it."""
        return self.build(input_shape, *self.other_shapes)

    # The two passes ----------------------------------------------------------------------------------------------

    def forward(
        self,
        x: Array,
        training: bool = False,
        mask: Array | None = None,
        value: Array | None = None,
        key: Array | None = None,
        value_mask: Array | None = None,
        attention_mask: Array | None = None,
    ) -> Array:
        """Return the answers to every step's question.

        Parameters
        ----------
        x : array, shape (batch, T, features)
            Where the questions come from.
        training : bool, default False
        mask : array of bool, shape (batch, T), optional
            Which steps of x count.
        value, key : array, shape (batch, S, features), optional
            Where answers and keys come from; by default x, and value.
        value_mask : array of bool, shape (batch, S), optional
            Which steps of value count; by default `mask` where value is x.
        attention_mask : array of bool, shape (batch, T, S) or (T, S), optional
            Which step may look at which. The answer to a step that may look nowhere is 0.
        """
        if key is not None:
            self.need_value(value)
        value_in = x if value is None else value
        key_in = value_in if key is None else key
        self.check_others(x, value_in, key_in)
        (B, T, D), S = x.shape, value_in.shape[1]
        H, G, K, V = self.num_heads, self.num_key_value_heads, self.key_dim, self.value_dim
        seen = self.combine_masks(x, value_in, mask, value_mask, attention_mask)

        q2 = matmul(x.reshape(B * T, D), self.Wq.reshape(D, -1))                # (B T, D) (D, H K) -> (B T, H K)
        k2 = matmul(key_in.reshape(B * S, -1), self.Wk.reshape(-1, G * K))      # (B S, E) (E, G K) -> (B S, G K)
        v2 = matmul(value_in.reshape(B * S, -1), self.Wv.reshape(-1, G * V))
        if self.use_bias:
            q2 = q2 + self.bq.reshape(-1)
            k2 = k2 + self.bk.reshape(-1)
            v2 = v2 + self.bv.reshape(-1)
        q = q2.reshape(B, T, H, K).transpose(0, 2, 1, 3)                        # (B T, H K) -> (B, H, T, K)
        k = k2.reshape(B, S, G, K).transpose(0, 2, 1, 3)                        # (B S, G K) -> (B, G, S, K)
        v = v2.reshape(B, S, G, V).transpose(0, 2, 1, 3)
        o, kept = self.attend(q, k, v, seen, training)                          # (B, H, T, V)
        o2 = o.transpose(0, 2, 1, 3).reshape(B * T, H * V)                      # heads side by side
        y2 = matmul(o2, self.Wo.reshape(H * V, -1))                             # (B T, H V) (H V, O) -> (B T, O)
        if self.use_bias:
            y2 = y2 + self.bo
        y = y2.reshape(B, T, -1)
        self.cache = (x, value, key, o2, kept)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the weights' gradients, return dx; (dx, dvalue) if value was given, (dx, dvalue, dkey) if key was."""
        x, value, key, o2, kept = self.take_cache()
        value_in = x if value is None else value
        key_in = value_in if key is None else key
        (B, T, D), S = x.shape, value_in.shape[1]
        H, G, K, V = self.num_heads, self.num_key_value_heads, self.key_dim, self.value_dim

        dy2 = dy.reshape(B * T, -1)                                             # y = y2 by batch
        matmul(o2.T, dy2, out=self.dWo.reshape(H * V, -1))                      # y2 = o2 Wo + bo
        do2 = matmul(dy2, self.Wo.reshape(H * V, -1).T)                         # y2 = o2 Wo + bo
        do = do2.reshape(B, T, H, V).transpose(0, 2, 1, 3)                      # o2 = heads of o side by side
        dq, dk, dv = self.attend_backward(do, kept)                             # o = attend(q, k, v)
        dq2 = dq.transpose(0, 2, 1, 3).reshape(B * T, H * K)                    # q = q2 by heads
        dk2 = dk.transpose(0, 2, 1, 3).reshape(B * S, G * K)                    # k = k2 by heads
        dv2 = dv.transpose(0, 2, 1, 3).reshape(B * S, G * V)                    # v = v2 by heads
        matmul(x.reshape(B * T, D).T, dq2, out=self.dWq.reshape(D, -1))         # q2 = x Wq + bq
        matmul(key_in.reshape(B * S, -1).T, dk2, out=self.dWk.reshape(-1, G * K))      # k2 = key Wk + bk
        matmul(value_in.reshape(B * S, -1).T, dv2, out=self.dWv.reshape(-1, G * V))      # v2 = value Wv + bv
        if self.use_bias:
            dy2.sum(axis=0, out=self.dbo)                                       # y2 = o2 Wo + bo
            dq2.sum(axis=0, out=self.dbq.reshape(-1))                           # q2 = x Wq + bq
            dk2.sum(axis=0, out=self.dbk.reshape(-1))                           # k2 = key Wk + bk
            dv2.sum(axis=0, out=self.dbv.reshape(-1))                           # v2 = value Wv + bv
        if not need_dx:
            return None
        dx_q = matmul(dq2, self.Wq.reshape(D, -1).T).reshape(x.shape)           # q2 = x Wq + bq
        dx_k = matmul(dk2, self.Wk.reshape(-1, G * K).T).reshape(key_in.shape)        # k2 = key Wk + bk
        dx_v = matmul(dv2, self.Wv.reshape(-1, G * V).T).reshape(value_in.shape)      # v2 = value Wv + bv
        if key is not None:
            return dx_q, dx_v, dx_k
        if value is not None:
            return dx_q, dx_k + dx_v
        dx = dx_q + dx_k + dx_v                                                 # x goes all three ways
        return dx

    def attend(self, q: Array, k: Array, v: Array, seen: Array | None, training: bool) -> tuple[Array, Any]:
        """Return the answers v mixed as the keys k fit the questions q, (B, H, T, V), and what the way back needs."""
        xp = array_module(q)
        (B, H, T, K), (G, S) = q.shape, k.shape[1:3]
        qr = q if self.turn_q is None else self.turn_q.forward(q)
        kr = k if self.turn_k is None else self.turn_k.forward(k)
        qs = qr.reshape(B, G, -1, K) * (1 / math.sqrt(K))                       # heads of a group: one long column
        s = matmul(qs, kr.transpose(0, 1, 3, 2))                                # (B, G, H/G T, K) (B, G, K, S)
        if self.has_shares(s):
            p = fused_kernels(s).attention_shares(s, seen, T)
        else:
            if seen is not None:
                s = xp.where(seen, s.reshape(B, G, -1, T, S), never(s)).reshape(s.shape)
            z = s - s.max(axis=-1, keepdims=True)                               # exp cannot overflow
            e = xp.exp(z)
            p = e / e.sum(axis=-1, keepdims=True)                               # (B, G, H/G T, S)
            if seen is not None:                                                # who may look nowhere gets no answer
                p = xp.where(seen, p.reshape(B, G, -1, T, S), 0).reshape(p.shape)
        m = p if self.drop is None else self.drop.forward(p, training)
        o_g = matmul(m, v)                                                      # (B, G, H/G T, S) (B, G, S, V)
        o = o_g.reshape(B, H, T, -1)                                            # (B, G, H/G T, V) -> (B, H, T, V)
        return o, (qs, kr, v, p, m)

    def has_shares(self, s: Array) -> bool:
        """Whether there is a kernel for the softmax of what is seen."""
        return not self.plain and can_fuse(s, "attention_shares")

    def attend_backward(self, do: Array, kept: Any) -> tuple[Array, Array, Array]:
        """Return dq, dk and dv."""
        xp = array_module(do)
        qs, kr, v, p, m = kept
        (B, H, T, V), (G, _, K) = do.shape, kr.shape[1:]
        do_g = do.reshape(B, G, -1, V)                                          # o = o_g by heads
        dv = matmul(m.transpose(0, 1, 3, 2), do_g)                              # o_g = m v
        dm = matmul(do_g, v.transpose(0, 1, 3, 2))                              # o_g = m v
        dp = dm if self.drop is None else self.drop.backward(dm)                # m = drop(p)
        if self.has_shares(p):
            ds = fused_kernels(p).softmax_backward(dp, p)
        else:
            c = xp.einsum("bgts,bgts->bgt", p, dp)[..., None]
            ds = p * (dp - c)                                                   # p = softmax(s), 0 where not seen
        dqs = matmul(ds, kr)                                                    # s = qs kr^T
        dkr = matmul(ds.transpose(0, 1, 3, 2), qs)                              # s = qs kr^T
        dqr = (dqs * (1 / math.sqrt(K))).reshape(B, H, T, K)                    # qs = qr / sqrt(K)
        dk = dkr if self.turn_k is None else self.turn_k.backward(dkr)          # kr = turn(k)
        dq = dqr if self.turn_q is None else self.turn_q.backward(dqr)          # qr = turn(q)
        return dq, dk, dv

    def combine_masks(
        self, x: Array, value: Array, mask: Array | None, value_mask: Array | None, attention_mask: Array | None
    ) -> Array | None:
        """Return which question may look at which key, as (B or 1, 1, 1, T, S); None where all may."""
        xp = array_module(x)
        (B, T), S = x.shape[:2], value.shape[1]
        if value is x and value_mask is None:
            value_mask = mask
        found = []
        if mask is not None:
            found.append(self.check_mask(mask, x, "mask", ((B, T),)).reshape(B, 1, 1, T, 1))
        if value_mask is not None:
            found.append(self.check_mask(value_mask, x, "value_mask", ((B, S),)).reshape(B, 1, 1, 1, S))
        if attention_mask is not None:
            allowed = ((B, T, S), (1, T, S), (T, S))
            found.append(self.check_mask(attention_mask, x, "attention_mask", allowed).reshape(-1, 1, 1, T, S))
        if self.use_causal_mask:
            found.append((xp.arange(T)[:, None] >= xp.arange(S)).reshape(1, 1, 1, T, S))
        seen = None
        for one in found:
            seen = one if seen is None else seen & one
        return seen

    # What is wrong -----------------------------------------------------------------------------------------------

    def need_value(self, value: Array | None) -> None:
        """Raise ValueError if there is a key and no value."""
        if value is None:
            raise ValueError(f"{self.label}: got a key and no value; each key needs its answer. Give value=... too.")

    def check_others(self, x: Array, value: Array, key: Array) -> None:
        """Raise ShapeError unless value and key fit x, each other and the weights."""
        B, S = len(x), value.shape[1] if value.ndim > 1 and value.shape[1] else "steps"
        for name, array, W in (("value", value, self.Wv), ("key", key, self.Wk)):
            if tuple(array.shape) != (B, S, W.shape[0]):
                raise ShapeError(
                    f"{self.label} expected {name} of shape ({B}, {S}, {W.shape[0]}), got {tuple(array.shape)}. "
                    "It must have the samples of x and the features it was built for, and key and value the same steps."
                )

    def check_mask(self, mask: Any, x: Array, name: str, shapes: tuple[Shape, ...]) -> Array:
        """Return a mask, or say what is wrong with it."""
        who = f"{self.label}: {name}"
        if not hasattr(mask, "dtype") or array_module(mask) is not array_module(x):
            raise ValueError(
                f"{who} must be an array as x is, {type(x).__name__}, got {type(mask).__name__}. "
                "Make it one with array_module(x).asarray(mask)."
            )
        if mask.dtype.kind != "b":
            raise ValueError(f"{who} must be of bool, True where a step counts, got {mask.dtype}. Write mask != 0.")
        if tuple(mask.shape) not in shapes:
            wanted = " or ".join(str(shape) for shape in dict.fromkeys(shapes))
            advice = " It is turned round: give mask.T." if tuple(mask.shape[::-1]) in shapes else ""
            raise ShapeError(f"{who} must have the shape {wanted}, got {tuple(mask.shape)}.{advice}")
        return mask
