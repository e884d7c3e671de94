"""Losses of probabilities: how surprised they are by what happened."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array, array_module
from tinynn.kernels import fused_kernels
from tinynn.layers.activations import Sigmoid, Softmax
from tinynn.losses.base import EPSILON, FLATTEN, LogitLoss, need_distributions, need_yes_no


class CategoricalCrossentropy(LogitLoss):
    """Cross-entropy of one-hot targets (or any distribution) t over classes.

    Probabilities p  q = p / sum_j p_j, v_i = -t_i log q_i                 dq_i = -dv t_i / q_i
    Logits z         q = softmax(z), v as above                            dz_i = dv (q_i sum_j t_j - t_i)
    Shapes           t, p, z, v (..., C); rows of C classes, whose value is the sum of v

    From logits the loss is computed as log(sum exp z) - z, which is exact however large z is. Probabilities that do
    not sum to 1 are divided by their sum, as Keras does. A q below 1e-7 counts as 1e-7, in the gradient too, so that a
    sure mistake still has a gradient.

    Parameters
    ----------
    from_logits : bool, default False
    label_smoothing : float, default 0.0
        s from 0 to 1: t counts as (1 - s) t + s / C, so that no prediction is ever sure enough (Szegedy et al. 2016).
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> t, p = np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
    >>> loss = CategoricalCrossentropy()
    >>> round(loss(t, p), 4)                    # log 2
    0.6931
    >>> loss.backward()
    array([[ 1., -1.]])
    """

    activation = Softmax
    sums_rows = True
    kernel = "categorical_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(from_logits, reduction=reduction)
        self.label_smoothing = check_number(label_smoothing, f"{self.name}: label_smoothing", 0, 1)

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are one-hot or distributions."""
        need_distributions(self.name, y_true, prediction_shape)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the cross-entropies."""
        xp = array_module(y_pred)
        t = y_true.astype(y_pred.dtype, copy=False)
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        if self.from_logits and self.fused(y_pred):
            return self.call_fused(t, y_pred)
        if self.from_logits:
            z = y_pred - y_pred.max(axis=-1, keepdims=True)
            e = xp.exp(z)
            s = e.sum(axis=-1, keepdims=True)
            v = t * (xp.log(s) - z)
            self.cache = t, e / s, s
        else:
            s = y_pred.sum(axis=-1, keepdims=True)
            q = xp.maximum(y_pred / s, EPSILON)
            v = -t * xp.log(q)
            self.cache = t, q, s
        return v

    def call_fused(self, t: Array, z: Array) -> Any:
        """Do what call does with logits, in one pass."""
        v, q = fused_kernels(t).categorical_crossentropy(t, z)
        self.cache = t, q, None                   # only probabilities need s
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dz or dp."""
        t, q, s = self.take_cache()
        if self.from_logits and self.fused_backward(q):
            return fused_kernels(q).categorical_crossentropy_backward(dv, t, q)
        if self.from_logits:
            T = t.sum(axis=-1, keepdims=True)     # 1 for one-hot targets
            dz = dv * (q * T - t)                 # v = t (log sum exp z - z)
            return dz
        dq = -dv * t / q                          # v = -t log q
        dp = (dq - (dq * q).sum(axis=-1, keepdims=True)) / s  # q = p / s, s = sum p
        return dp


class SparseCategoricalCrossentropy(LogitLoss):
    """Cross-entropy of class numbers k: `CategoricalCrossentropy` without writing out the zeros.

    Probabilities p  q = p / sum_j p_j, v = -log q_k            dq_k = -dv / q_k, else 0
    Logits z         q = softmax(z), v as above                 dz_i = dv (q_i - [i = k])
    Shapes           k (...), integers from 0 to C - 1; p, z (..., C), v (..., 1)

    Parameters
    ----------
    from_logits : bool, default False
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SparseCategoricalCrossentropy(from_logits=True)
    >>> round(loss(np.array([1]), np.array([[0.0, 0.0]])), 4)
    0.6931
    >>> loss.backward()
    array([[ 0.5, -0.5]])
    """

    activation = Softmax
    target_kind = "int"
    kernel = "sparse_categorical_crossentropy"

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are class numbers."""
        classes = prediction_shape[-1]
        if tuple(y_true.shape) == prediction_shape and classes > 1:
            raise ValueError(
                f"{self.name} expected class numbers of shape {prediction_shape[:-1]}, got {tuple(y_true.shape)}, "
                "which looks one-hot. Use the loss 'categorical_crossentropy', or y.argmax(axis=-1)."
            )
        if tuple(y_true.shape) != prediction_shape[:-1]:
            fix = "Shapes are never broadcast: use y.reshape(-1) for one number a sample."
            if len(prediction_shape) > 1 + y_true.ndim:
                fix = FLATTEN
            raise ValueError(
                f"{self.name} expected class numbers of shape {prediction_shape[:-1]} for predictions of shape "
                f"{prediction_shape}, got {tuple(y_true.shape)}. {fix}"
            )
        if y_true.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name} expected whole class numbers, got {y_true.dtype}. If they are whole, use y.astype(int)."
            )
        low, high = int(y_true.min()), int(y_true.max())
        if low < 0 or high >= classes:
            fix = "Mend the labels." if low < 0 else f"Give the last layer {high + 1} outputs, or mend the labels."
            raise ValueError(
                f"{self.name} expected class numbers from 0 to {classes - 1}, for the model has {classes} outputs, "
                f"got {low if low < 0 else high}. {fix}"
            )

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the cross-entropies."""
        xp = array_module(y_pred)
        k = y_true.reshape(-1)
        B = len(k)
        p = y_pred.reshape(B, -1)
        if self.from_logits and self.fused(y_pred):
            return self.call_fused(k, p, y_pred.shape)
        here = xp.arange(B), k                    # the places of the true classes
        if self.from_logits:
            z = p - p.max(axis=-1, keepdims=True)
            e = xp.exp(z)
            s = e.sum(axis=-1, keepdims=True)
            q = e / s
            v = xp.log(s[:, 0]) - z[here]
        else:
            s = p.sum(axis=-1, keepdims=True)
            q = xp.maximum(p / s, EPSILON)
            v = -xp.log(q[here])
        self.cache = q, s, here, y_pred.shape
        return v.reshape(*y_pred.shape[:-1], 1)

    def call_fused(self, k: Array, z: Array, shape: Shape) -> Any:
        """Do what call does with logits, in one pass."""
        v, q = fused_kernels(z).sparse_categorical_crossentropy(k, z)
        self.cache = q, None, (None, k), shape    # only probabilities need s
        return v.reshape(*shape[:-1], 1)

    def gradient(self, dv: Any) -> Array:
        """Return dz or dp."""
        q, s, here, shape = self.take_cache()
        if self.from_logits and self.fused_backward(q):
            return fused_kernels(q).sparse_categorical_crossentropy_backward(dv, here[1], q).reshape(shape)
        if self.from_logits:
            q[here] -= 1                          # v = log sum exp z - z_k
            dz = dv * q.reshape(shape)
            return dz
        xp = array_module(q)
        dq = xp.zeros_like(q)
        dq[here] = (-dv / q[here].reshape(*shape[:-1], 1)).reshape(-1)  # v = -log q_k
        dp = (dq - (dq * q).sum(axis=-1, keepdims=True)) / s  # q = p / s, s = sum p
        return dp.reshape(shape)


class BinaryCrossentropy(LogitLoss):
    """Cross-entropy of independent yes-no targets t in [0, 1].

    Probabilities p  v = -(t log p + (1 - t) log(1 - p))           dp = dv (p - t) / (p (1 - p))
    Logits z         p = sigmoid(z), v as above                    dz = dv (p - t)
    Shapes           t, p, z, v (..., C); rows of C answers, whose value is the mean of v

    From logits the loss is computed as max(z, 0) - z t + log(1 + exp(-|z|)), exact however large z is. From
    probabilities, p is held between 1e-7 and 1 - 1e-7, in the gradient too.

    Parameters
    ----------
    from_logits : bool, default False
    label_smoothing : float, default 0.0
        s from 0 to 1: t counts as (1 - s) t + s / 2.
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = BinaryCrossentropy(from_logits=True)
    >>> loss(np.array([[0.0, 1.0]]), np.array([[1e4, 1e4]]))       # one sure mistake, one sure hit
    5000.0
    >>> loss.backward()
    array([[0.5, 0. ]])
    """

    activation = Sigmoid
    kernel = "binary_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(from_logits, reduction=reduction)
        self.label_smoothing = check_number(label_smoothing, f"{self.name}: label_smoothing", 0, 1)

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets lie between 0 and 1."""
        need_yes_no(self.name, y_true, prediction_shape)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the cross-entropies."""
        xp = array_module(y_pred)
        t = y_true.astype(y_pred.dtype, copy=False)
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.from_logits and self.fused(y_pred):
            return self.call_fused(t, y_pred)
        if self.from_logits:
            z = y_pred
            e = xp.exp(xp.minimum(z, -z))         # exp(-|z|)
            v = xp.maximum(z, 0) - z * t + xp.log1p(e)
            p = xp.where(z >= 0, 1, e) / (1 + e)
        else:
            p = xp.minimum(xp.maximum(y_pred, EPSILON), 1 - EPSILON)
            v = -(t * xp.log(p) + (1 - t) * xp.log(1 - p))
        self.cache = t, p
        return v

    def call_fused(self, t: Array, z: Array) -> Any:
        """Do what call does with logits, in one pass."""
        v, p = fused_kernels(t).binary_crossentropy(t, z)
        self.cache = t, p
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dz or dp."""
        t, p = self.take_cache()
        if self.from_logits and self.fused_backward(p):
            return fused_kernels(p).binary_crossentropy_backward(dv, t, p)
        if self.from_logits:
            dz = dv * (p - t)                     # v = max(z, 0) - z t + log(1 + exp(-|z|))
            return dz
        dp = dv * (p - t) / (p * (1 - p))         # v = -(t log p + (1 - t) log(1 - p))
        return dp


class BinaryFocalCrossentropy(LogitLoss):
    """Binary cross-entropy that looks at the hard cases: each is weighted by m^gamma, its miss (Lin et al. 2017).

    Miss             m = t (1 - p) + (1 - t) p                     how far p is from a target of 0 or 1
    Probabilities p  c = -(t log p + (1 - t) log(1 - p)), v = a m^gamma c
    Logits z         p = sigmoid(z), c computed from z, v as above
    Balance          a = alpha t + (1 - alpha) (1 - t) with `apply_class_balancing`, else 1
    Backward         dc = dv a m^gamma, dm = dv a gamma m^(gamma - 1) c,
                     dp = dc (p - t) / (p (1 - p)) + dm (1 - 2 t), dz = dp p (1 - p)
    Shapes           t, p, z, v (..., C); rows of C answers, whose value is the mean of v

    From logits the loss is as exact as that of `BinaryCrossentropy`; from probabilities, p is held between 1e-7 and
    1 - 1e-7, in the gradient too. A miss below 1e-7 counts as 1e-7.

    Parameters
    ----------
    apply_class_balancing : bool, default False
    alpha : float, default 0.25
        The weight of targets of 1 with `apply_class_balancing`; targets of 0 have 1 - alpha.
    gamma : float, default 2.0
        0 is plain cross-entropy.
    from_logits : bool, default False
    label_smoothing : float, default 0.0
        s from 0 to 1: t counts as (1 - s) t + s / 2.
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> t, p = np.array([[1.0, 1.0]]), np.array([[0.9, 0.5]])
    >>> loss = BinaryFocalCrossentropy(gamma=1.0)
    >>> round(loss(t, p), 4)                    # (0.1 * 0.1054 + 0.5 * 0.6931) / 2
    0.1786
    >>> loss.backward().round(4)
    array([[-0.1082, -0.8466]])
    """

    activation = Sigmoid

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(from_logits, reduction=reduction)
        self.apply_class_balancing = apply_class_balancing
        self.alpha = check_number(alpha, f"{self.name}: alpha", 0, 1)
        self.gamma = check_number(gamma, f"{self.name}: gamma", 0)
        self.label_smoothing = check_number(label_smoothing, f"{self.name}: label_smoothing", 0, 1)

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets lie between 0 and 1."""
        need_yes_no(self.name, y_true, prediction_shape)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the weighted cross-entropies."""
        xp = array_module(y_pred)
        t = y_true.astype(y_pred.dtype, copy=False)
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.from_logits:
            z = y_pred
            e = xp.exp(xp.minimum(z, -z))         # exp(-|z|)
            c = xp.maximum(z, 0) - z * t + xp.log1p(e)
            p = xp.where(z >= 0, 1, e) / (1 + e)
            q = xp.where(z >= 0, e, 1) / (1 + e)  # 1 - p without its rounding
        else:
            p = xp.minimum(xp.maximum(y_pred, EPSILON), 1 - EPSILON)
            q = 1 - p
            c = -(t * xp.log(p) + (1 - t) * xp.log(q))
        m = xp.maximum(t * q + (1 - t) * p, EPSILON)
        a = self.alpha * t + (1 - self.alpha) * (1 - t) if self.apply_class_balancing else 1
        w = a * m**self.gamma
        v = w * c
        self.cache = t, p, q, c, m, w
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dz or dp."""
        t, p, q, c, m, w = self.take_cache()
        dc = dv * w                               # v = w c
        dw = dv * c                               # v = w c
        dm = dw * w * self.gamma / m              # w = a m^gamma
        if self.from_logits:
            dz = dc * (p - t) + dm * (1 - 2 * t) * p * q  # c of z; m = t q + (1 - t) p, p = sigmoid(z), q = 1 - p
            return dz
        dp = dc * (p - t) / (p * q) + dm * (1 - 2 * t)    # c of p; m = t q + (1 - t) p, q = 1 - p
        return dp
