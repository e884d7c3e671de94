"""What every loss is, and what the losses share."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.layers.activations import ActivationFunction
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
