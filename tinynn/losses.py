"""Losses: one number to make smaller, and where its gradient starts.

Every loss is the mean over the batch, and ``backward`` returns the gradient of that mean. Targets come first, as in
Keras: ``loss(y_true, y_pred)``.

Shapes are never broadcast against each other: (n,) against (n, 1) would make an (n, n) loss that trains on nonsense.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinynn.arguments import resolve
from tinynn.backend import Array, array_module
from tinynn.layers.activations import ActivationFunction, Sigmoid, Softmax
from tinynn.layers.base import Layer

FLATTEN = "The predictions have more axes than the targets: is a Flatten() missing before the first Dense layer?"
EPSILON = 1e-7  # Keras's: a probability below it counts as this much, so that log stays finite


class Loss:
    """Base class of the losses.

    One's own loss subclasses this and writes ``forward`` and ``backward``, and ``check`` if it can tell wrong targets.

    Examples
    --------
    >>> import numpy as np
    >>> class SumOfSquares(Loss):
    ...     def forward(self, y_true, y_pred):
    ...         e = y_pred - y_true
    ...         self.cache = e
    ...         return (e * e).sum() / len(e)
    ...     def backward(self):
    ...         e = self.take_cache()
    ...         return 2 * e / len(e)
    >>> SumOfSquares()(np.zeros((2, 3)), np.ones((2, 3)))
    3.0
    """

    cache: Any = None
    target_kind = "float"  # "int" where targets are class numbers; others are cast to the model's dtype

    @property
    def name(self) -> str:
        """The class's name, for messages."""
        return type(self).__name__

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        """Return the loss as a float, after checking the targets; lists and integers are taken as arrays of numbers."""
        y_true, y_pred = (np.asarray(y) if isinstance(y, list | tuple | float | int) else y for y in (y_true, y_pred))
        if y_pred.dtype.kind in "iub":
            y_pred = y_pred.astype(float)
        self.check(y_true, tuple(y_pred.shape))
        return float(self.forward(y_true, y_pred))

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError if `y_true` cannot be targets of predictions of this shape."""
        need_same_shape(self.name, y_true, prediction_shape)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean loss of the batch as an array of no axes, and keep what backward needs."""
        raise TypeError(f"{self.name} needs a method forward(self, y_true, y_pred) that returns the mean loss")

    def backward(self) -> Array:
        """Return the gradient of the loss by y_pred."""
        raise TypeError(f"{self.name} needs a method backward(self) that returns the gradient by y_pred")

    def take_cache(self) -> Any:
        """Return what forward kept, and forget it."""
        cache = self.cache
        if cache is None:
            raise RuntimeError(f"{self.name}: backward was called without a forward before it.")
        self.cache = None
        return cache


class LogitLoss(Loss):
    """A loss of probabilities that can take the logits before the softmax or sigmoid instead.

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are logits (any number) or probabilities.
    """

    activation: type[ActivationFunction]  # whose inputs the logits are

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = from_logits

    def can_take_logits_of(self, activation: Layer | None) -> bool:
        """Whether this loss, given the logits before `activation`, can do what it does with what comes after it.

        A subclass that writes forward anew has a meaning of its own, and is left alone.
        """
        mine = next(vars(kind) for kind in type(self).__mro__ if "forward" in vars(kind))
        known = "activation" in mine and type(activation) is self.activation
        return known and not self.from_logits and getattr(activation, "axis", -1) == -1

    def on_logits(self) -> LogitLoss:
        """Return the same loss for logits: what training uses for a model that ends in the activation."""
        twin = copy.copy(self)
        twin.from_logits = True
        return twin


class CategoricalCrossentropy(LogitLoss):
    """Cross-entropy of one-hot targets (or any distribution) t over classes.

    Probabilities p  q = p / sum_j p_j, L = -mean_B sum_i t_i log q_i      dq_i = -t_i / q_i / B
    Logits z         q = softmax(z), L as above                            dz_i = (q_i sum_j t_j - t_i) / B
    Shapes           t, p, z (..., C); B rows of C classes

    From logits the loss is computed as log(sum exp z) - z, which is exact however large z is. Probabilities that do
    not sum to 1 are divided by their sum, as Keras does. A q below 1e-7 counts as 1e-7, in the gradient too, so that a
    sure mistake still has a gradient.

    Parameters
    ----------
    from_logits : bool, default False

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

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are one-hot or distributions."""
        classes = prediction_shape[-1]
        if y_true.dtype.kind in "iu" and classes > 1 and tuple(y_true.shape) in (
            prediction_shape[:-1],
            (*prediction_shape[:-1], 1),
        ):
            raise ValueError(
                f"{self.name} expected one-hot targets of shape {prediction_shape}, got {tuple(y_true.shape)} "
                f"of dtype {y_true.dtype}, which looks like class numbers. Use the loss "
                f"'sparse_categorical_crossentropy', or tinynn.to_categorical(y, {classes})."
            )
        need_same_shape(self.name, y_true, prediction_shape)
        if y_true.min() < 0 or y_true.max() > 1 or abs(y_true.sum(axis=-1) - 1).max() > 1e-3:
            raise ValueError(
                f"{self.name} expected targets between 0 and 1 that sum to 1 in every row, got values from "
                f"{y_true.min()} to {y_true.max()}. For class numbers use tinynn.to_categorical(y, {classes}); "
                "for several labels at once use the loss 'binary_crossentropy'."
            )

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean cross-entropy."""
        xp = array_module(y_pred)
        t = y_true.astype(y_pred.dtype, copy=False)
        B = y_pred.size // y_pred.shape[-1]
        if self.from_logits:
            z = y_pred - y_pred.max(axis=-1, keepdims=True)
            e = xp.exp(z)
            s = e.sum(axis=-1, keepdims=True)
            L = (t * (xp.log(s) - z)).sum() / B
            self.cache = t, e / s, s, B
        else:
            s = y_pred.sum(axis=-1, keepdims=True)
            q = xp.maximum(y_pred / s, EPSILON)
            L = -(t * xp.log(q)).sum() / B
            self.cache = t, q, s, B
        return L

    def backward(self) -> Array:
        """Return dz or dp."""
        t, q, s, B = self.take_cache()
        if self.from_logits:
            T = t.sum(axis=-1, keepdims=True)     # 1 for one-hot targets
            dz = (q * T - t) / B                  # L = sum t (log sum exp z - z) / B
            return dz
        dq = -t / q / B                           # L = -sum t log q / B
        dp = (dq - (dq * q).sum(axis=-1, keepdims=True)) / s  # q = p / s, s = sum p
        return dp


class SparseCategoricalCrossentropy(LogitLoss):
    """Cross-entropy of class numbers k: `CategoricalCrossentropy` without writing out the zeros.

    Probabilities p  q = p / sum_j p_j, L = -mean_B log q_k     dq_k = -1 / q_k / B, else 0
    Logits z         q = softmax(z), L as above                 dz_i = (q_i - [i = k]) / B
    Shapes           k (...), integers from 0 to C - 1; p, z (..., C)

    Parameters
    ----------
    from_logits : bool, default False

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

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean cross-entropy."""
        xp = array_module(y_pred)
        k = y_true.reshape(-1)
        B = len(k)
        p = y_pred.reshape(B, -1)
        here = xp.arange(B), k                    # the places of the true classes
        if self.from_logits:
            z = p - p.max(axis=-1, keepdims=True)
            e = xp.exp(z)
            s = e.sum(axis=-1, keepdims=True)
            q = e / s
            L = (xp.log(s[:, 0]) - z[here]).sum() / B
        else:
            s = p.sum(axis=-1, keepdims=True)
            q = xp.maximum(p / s, EPSILON)
            L = -xp.log(q[here]).sum() / B
        self.cache = q, s, here, y_pred.shape
        return L

    def backward(self) -> Array:
        """Return dz or dp."""
        q, s, here, shape = self.take_cache()
        xp = array_module(q)
        B = len(q)
        if self.from_logits:
            dz = q / B
            dz[here] -= 1 / B                     # L = sum (log sum exp z - z_k) / B
            return dz.reshape(shape)
        dq = xp.zeros_like(q)
        dq[here] = -1 / q[here] / B               # L = -sum log q_k / B
        dp = (dq - (dq * q).sum(axis=-1, keepdims=True)) / s  # q = p / s, s = sum p
        return dp.reshape(shape)


class BinaryCrossentropy(LogitLoss):
    """Cross-entropy of independent yes-no targets t in [0, 1].

    Probabilities p  L = -mean (t log p + (1 - t) log(1 - p))      dp = (p - t) / (p (1 - p)) / N
    Logits z         p = sigmoid(z), L as above                    dz = (p - t) / N
    Shapes           t, p, z (...), N numbers in all

    From logits the loss is computed as max(z, 0) - z t + log(1 + exp(-|z|)), exact however large z is. From
    probabilities, p is held between 1e-7 and 1 - 1e-7, in the gradient too.

    Parameters
    ----------
    from_logits : bool, default False

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

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets lie between 0 and 1."""
        need_same_shape(self.name, y_true, prediction_shape)
        if y_true.min() < 0 or y_true.max() > 1:
            raise ValueError(
                f"{self.name} expected targets between 0 and 1, got values from {y_true.min()} to {y_true.max()}. "
                "For several classes use the loss 'sparse_categorical_crossentropy'."
            )

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean cross-entropy."""
        xp = array_module(y_pred)
        t = y_true.astype(y_pred.dtype, copy=False)
        N = y_pred.size
        if self.from_logits:
            z = y_pred
            e = xp.exp(xp.minimum(z, -z))         # exp(-|z|)
            L = (xp.maximum(z, 0) - z * t + xp.log1p(e)).sum() / N
            p = xp.where(z >= 0, 1, e) / (1 + e)
        else:
            p = xp.minimum(xp.maximum(y_pred, EPSILON), 1 - EPSILON)
            L = -(t * xp.log(p) + (1 - t) * xp.log(1 - p)).sum() / N
        self.cache = t, p, N
        return L

    def backward(self) -> Array:
        """Return dz or dp."""
        t, p, N = self.take_cache()
        if self.from_logits:
            dz = (p - t) / N                      # L = sum (max(z, 0) - z t + log(1 + exp(-|z|))) / N
            return dz
        dp = (p - t) / (p * (1 - p)) / N          # L = -sum (t log p + (1 - t) log(1 - p)) / N
        return dp


class MeanSquaredError(Loss):
    """L = mean (y - t)^2 over all numbers; dy = 2 (y - t) / N.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    >>> loss.backward()
    array([[0., 2.]])
    """

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean squared error."""
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        L = (e * e).sum() / e.size
        self.cache = e
        return L

    def backward(self) -> Array:
        """Return dy."""
        e = self.take_cache()
        dy = 2 * e / e.size                # L = sum e^2 / N
        return dy


def need_same_shape(who: str, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless targets and predictions have one shape."""
    given = tuple(y_true.shape)
    if given == prediction_shape:
        return
    message = f"{who} expected targets of the predictions' shape {prediction_shape}, got {given}. "
    if (*given, 1) == prediction_shape:
        fix = "Shapes are never broadcast: use y[:, None] for one column."
    elif given == (*prediction_shape, 1):
        fix = "Shapes are never broadcast: use y[:, 0] to drop the column."
    elif len(given) < len(prediction_shape) and len(prediction_shape) > 2:
        fix = FLATTEN
    elif y_true.dtype.kind in "iu" and given in (prediction_shape[:1], (*prediction_shape[:1], 1)):
        fix = (
            "If these are class numbers, use the loss 'sparse_categorical_crossentropy', "
            f"or tinynn.to_categorical(y, {prediction_shape[-1]})."
        )
    else:
        fix = f"The model's last layer has {prediction_shape[-1]} outputs; targets must have as many columns."
    raise ValueError(message + fix)


LOSSES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get(loss: Any) -> Loss:
    """Return the loss for a name, a class or an instance.

    Examples
    --------
    >>> get("mse").name
    'MeanSquaredError'
    """
    result: Loss = resolve("loss", loss, Loss, LOSSES)
    return result
