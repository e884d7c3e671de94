"""What every loss is, and what the losses share."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.config import Configured
from tinynn.kernels import can_fuse
from tinynn.layers.activations import ActivationFunction
from tinynn.layers.base import Layer

FLATTEN = "The predictions have more axes than the targets: is a Flatten() missing before the first Dense layer?"
EPSILON = 1e-7  # Keras's: a probability below it counts as this much, so that log stays finite
TINY = 1e-30  # in place of 0 where something is divided by a sum that may be 0
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


class Loss(Configured):
    """Base class of the losses: a value for every row of predictions, and one number of all of them.

    ==========================  =====================================================================================
    ``call(y_true, y_pred)``    return values v, and keep what gradient needs
    ``gradient(dv)``            return the gradient by y_pred; dv is a number, or an array that fits v
    ==========================  =====================================================================================

    v has the shape of y_pred, and a row's value is the mean of its values, or with ``sums_rows = True`` their sum; or v
    has one value a row, the last axis kept with size 1.

    ``forward`` weighs the rows and makes one number of their values r, ``backward`` is its gradient by y_pred. dv is
    dr, divided by the number of values that r is the mean of:

    =============================  ============================================  ======================
    reduction                      L, of N rows with weights w (1 if none)       dr
    =============================  ============================================  ======================
    ``"sum_over_batch_size"``      sum w r / N                                   w / N
    ``"mean"``                     the same, by another name                     w / N
    ``"sum"``                      sum w r                                       w
    ``"mean_with_sample_weight"``  sum w r / sum w                               w / sum w
    ``"none"`` or None             no number: every w r                          w: of their sum
    =============================  ============================================  ======================

    One's own loss subclasses this and writes ``call`` and ``gradient``, and ``check`` if it can tell wrong targets.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        How values become one number.

    Examples
    --------
    >>> import numpy as np
    >>> class SumOfSquares(Loss):
    ...     sums_rows = True
    ...     def call(self, y_true, y_pred):
    ...         e = y_pred - y_true
    ...         v = e * e
    ...         self.cache = e
    ...         return v
    ...     def gradient(self, dv):
    ...         e = self.take_cache()
    ...         dy = 2 * dv * e                    # v = e^2
    ...         return dy
    >>> loss, t, y = SumOfSquares(), np.zeros((2, 3)), np.ones((2, 3))
    >>> loss(t, y), loss(t, y, sample_weight=[1, 3])
    (3.0, 6.0)
    >>> loss.backward()
    array([[1., 1., 1.],
           [3., 3., 3.]])
    >>> SumOfSquares(reduction="none")(t, y)
    array([3., 3.])
    """

    cache: Any = None
    dv: Any = 1.0
    reduction: str | None = "sum_over_batch_size"  # on the class, for a subclass that forgets super().__init__()
    sums_rows = False  # True where a row's value is the sum of its values, not their mean
    plain = False  # True: run the lines that are read in call where a fused kernel would run
    kernel = ""  # the one that call_fused runs: where there is none for an array, the plain lines run
    target_kind = "float"  # "int" where targets are class numbers; others are cast to the model's dtype

    def __init__(self, reduction: str | None = "sum_over_batch_size") -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"{self.name}: reduction must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}."
            )
        self.reduction = reduction

    @property
    def name(self) -> str:
        """The class's name, for messages."""
        return type(self).__name__

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss as a float, after checking what is given; lists and integers are taken as arrays of numbers.

        Parameters
        ----------
        y_true, y_pred : array_like
        sample_weight : array_like, optional
            How much each sample counts, or each step of a sequence: of the shape of the values, or of their first axes.

        Returns
        -------
        float
            Without a reduction, an array: the value of every row.
        """
        y_true, y_pred = (np.asarray(y) if isinstance(y, list | tuple | float | int) else y for y in (y_true, y_pred))
        if y_pred.dtype.kind in "iub":
            y_pred = y_pred.astype(float)
        self.check(y_true, tuple(y_pred.shape))
        if sample_weight is not None:
            sample_weight = array_module(y_pred).asarray(sample_weight)
            sample_weight = self.check_weight(sample_weight, tuple(y_pred.shape))
        L = self.forward(y_true, y_pred, sample_weight)
        return L if self.reduction in ("none", None) else float(L)

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError if `y_true` cannot be targets of predictions of this shape."""
        need_same_shape(self.name, y_true, prediction_shape)

    def check_weight(self, sample_weight: Array, prediction_shape: tuple[int, ...]) -> Array:
        """Return weights for predictions of this shape, without a last axis of 1 that the values have not.

        Raises
        ------
        ValueError
            If they have another shape than the values, or the values' first axes.
        """
        rows, given = self.rows(prediction_shape), tuple(sample_weight.shape)
        if not rows:
            raise ValueError(
                f"{self.name}: predictions of one axis are one row with one value, as in Keras, so weights of samples "
                "have nothing to weigh. Give the model an output of shape (batch, 1)."
            )
        if given and given[-1] == 1 and given != rows[: len(given)]:
            sample_weight = sample_weight.reshape(given[:-1])
        if not 0 < sample_weight.ndim <= len(rows) or tuple(sample_weight.shape) != rows[: sample_weight.ndim]:
            shapes = " or ".join(str(rows[:axes]) for axes in range(1, len(rows) + 1))
            raise ValueError(
                f"{self.name} expected weights of shape {shapes}, one for each value of the loss, got {given}."
            )
        return sample_weight

    def rows(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the rows' values for predictions of this shape."""
        return prediction_shape[:-1]

    def forward(
        self, y_true: Array, y_pred: Array, sample_weight: Array | None = None, mask: Array | None = None
    ) -> Any:
        """Return the loss of the batch as an array of no axes, and keep what backward needs.

        Parameters
        ----------
        y_true, y_pred : array
        sample_weight : array, optional
            How much each row counts: of the shape that `rows` returns, or its first axes.
        mask : array of bool, optional
            True where a row counts at all; likewise.
        """
        v = self.call(y_true, y_pred)
        rows = self.rows(tuple(y_pred.shape))
        N = math.prod(rows)
        C = 1 if self.sums_rows else v.size // N      # r = sum v / C for every row
        w: Any = 1.0
        total: Any = N
        if mask is not None:
            sample_weight = apply_mask(sample_weight, mask, self.reduction, v.dtype)
        if sample_weight is not None:
            w = spread(sample_weight, rows).astype(v.dtype, copy=False)
            if self.reduction == "mean_with_sample_weight":
                total = array_module(w).maximum(w.sum(), TINY)  # where all weigh 0, the loss is 0
            w = w.reshape(v.shape if v.size == N else (*rows, 1))
        weighted = v if sample_weight is None else w * v
        if self.reduction == "none" or self.reduction is None:
            self.dv = w / C
            return weighted.reshape(*rows, -1).sum(axis=-1) / C
        if self.reduction == "sum":
            total = 1
        L = weighted.sum() / (C * total)
        self.dv = w / (C * total)                     # L = sum w v / (C total)
        return L

    def backward(self) -> Array:
        """Return the gradient of the loss by y_pred; without a reduction, that of the sum."""
        return self.gradient(self.dv)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return values of the shape of y_pred, or one a row with the last axis kept, and keep what gradient needs."""
        raise TypeError(f"{self.name} needs a method call(self, y_true, y_pred) that returns the values")

    def gradient(self, dv: Any) -> Array:
        """Return the gradient by y_pred for the gradient `dv` by the values."""
        raise TypeError(f"{self.name} needs a method gradient(self, dv) that returns the gradient by y_pred")

    def fused(self, y_pred: Array) -> bool:
        """Whether call hands its arrays to its fused twin, ``call_fused``: see `tinynn.kernels.can_fuse`."""
        return not self.plain and can_fuse(y_pred, self.kernel)

    def fused_backward(self, kept: Array) -> bool:
        """Whether gradient runs a kernel, with an array that call kept."""
        return not self.plain and can_fuse(kept, f"{self.kernel}_backward")

    def take_cache(self) -> Any:
        """Return what call kept, and forget it."""
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
    reduction : str or None, default "sum_over_batch_size"
    """

    activation: type[ActivationFunction]  # whose inputs the logits are

    def __init__(self, from_logits: bool = False, *, reduction: str | None = "sum_over_batch_size") -> None:
        super().__init__(reduction)
        self.from_logits = from_logits

    def can_take_logits_of(self, activation: Layer | None) -> bool:
        """Whether this loss, given the logits before `activation`, can do what it does with what comes after it.

        A subclass that writes one of the passes anew has a meaning of its own, and is left alone.
        """
        for kind in type(self).__mro__:
            if "activation" in vars(kind):
                break
            if any(method in vars(kind) for method in ("forward", "call", "gradient", "backward")):
                return False
        known = type(activation) is getattr(self, "activation", None)
        return known and not self.from_logits and getattr(activation, "axis", -1) == -1

    def on_logits(self) -> LogitLoss:
        """Return the same loss for logits: what training uses for a model that ends in the activation."""
        twin = copy.copy(self)
        twin.from_logits = True
        return twin


def spread(weight: Array, shape: tuple[int, ...]) -> Array:
    """Return weights of the first axes of `shape` repeated along the others.

    Examples
    --------
    >>> spread(np.array([1.0, 2.0]), (2, 3))
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    if tuple(weight.shape) == shape:
        return weight
    weight = weight.reshape(*weight.shape, *(1,) * (len(shape) - weight.ndim))
    return array_module(weight).broadcast_to(weight, shape)


def apply_mask(sample_weight: Array | None, mask: Array, reduction: str | None, dtype: Any) -> Array:
    """Return weights that leave out what is masked; a mean is then one over what is left, as in Keras.

    Parameters
    ----------
    sample_weight : array or None
    mask : array of bool
        False at what is left out.
    reduction : str or None
        Of the loss.
    dtype : dtype
        Of the weights returned.

    Examples
    --------
    Two of three steps count, so each counts 3 / 2 in a sum that is divided by 3:

    >>> apply_mask(None, np.array([[True, True, False]]), "mean", "float64")
    array([[1.5, 1.5, 0. ]])
    """
    xp = array_module(mask)
    weight = mask.astype(dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        weight = weight * (mask.size / xp.maximum(weight.sum(), 1))  # all masked: all weigh 0
    if sample_weight is None:
        return weight
    shape = tuple(mask.shape) if mask.ndim > sample_weight.ndim else tuple(sample_weight.shape)
    return spread(sample_weight, shape) * spread(weight, shape)


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


def need_distributions(who: str, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless every row of targets is a distribution over the classes, such as a one-hot row."""
    classes = prediction_shape[-1]
    if y_true.dtype.kind in "iu" and classes > 1 and tuple(y_true.shape) in (
        prediction_shape[:-1],
        (*prediction_shape[:-1], 1),
    ):
        raise ValueError(
            f"{who} expected one-hot targets of shape {prediction_shape}, got {tuple(y_true.shape)} "
            f"of dtype {y_true.dtype}, which looks like class numbers. Use the loss "
            f"'sparse_categorical_crossentropy', or tinynn.to_categorical(y, {classes})."
        )
    need_same_shape(who, y_true, prediction_shape)
    if y_true.min() < 0 or y_true.max() > 1 or abs(y_true.sum(axis=-1) - 1).max() > 1e-3:
        raise ValueError(
            f"{who} expected targets between 0 and 1 that sum to 1 in every row, got values from "
            f"{y_true.min()} to {y_true.max()}. For class numbers use tinynn.to_categorical(y, {classes}); "
            "for several labels at once use the loss 'binary_crossentropy'."
        )


def need_yes_no(who: str, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the targets have the predictions' shape and lie between 0 and 1."""
    need_same_shape(who, y_true, prediction_shape)
    if y_true.min() < 0 or y_true.max() > 1:
        raise ValueError(
            f"{who} expected targets between 0 and 1, got values from {y_true.min()} to {y_true.max()}. "
            "For several classes use the loss 'sparse_categorical_crossentropy'."
        )
