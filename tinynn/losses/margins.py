"""Losses that ask for a margin, and are content once it is there: those of support vector machines."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.losses.base import Loss, need_distributions, need_same_shape


def need_signs(who: str, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the targets have the predictions' shape and are all -1 or 1, or all 0 or 1."""
    need_same_shape(who, y_true, prediction_shape)
    square = y_true * y_true
    if not bool((square == 1).all()) and not bool((square == y_true).all()):
        raise ValueError(
            f"{who} expected targets of -1 and 1, or of 0 and 1, got values from {y_true.min()} to {y_true.max()}. "
            "For several classes use the loss 'categorical_hinge', for numbers 'mean_squared_error'."
        )


class Hinge(Loss):
    """L = mean max(0, 1 - t y) for targets t of -1 and 1; 0 counts as -1 (Cortes & Vapnik 1995).

    dy = -t / N where t y < 1, else 0. The predictions y are any numbers: their sign is the answer.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Hinge()
    >>> loss(np.array([[1, -1]]), np.array([[0.5, -2.0]]))
    0.25
    >>> loss.backward()
    array([[-0.5,  0. ]])
    """

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are -1 and 1, or 0 and 1."""
        need_signs(self.name, y_true, prediction_shape)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean of what is missing to the margin."""
        xp = array_module(y_pred)
        t = xp.where(y_true > 0, 1, -1).astype(y_pred.dtype)
        m = xp.maximum(1 - t * y_pred, 0)
        L = m.sum() / m.size
        self.cache = t, m
        return L

    def backward(self) -> Array:
        """Return dy."""
        t, m = self.take_cache()
        dy = -t * (m > 0) / m.size         # L = sum m / N, m = max(0, 1 - t y)
        return dy


class SquaredHinge(Loss):
    """L = mean max(0, 1 - t y)^2 for targets t of -1 and 1; 0 counts as -1.

    dy = -2 t max(0, 1 - t y) / N.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SquaredHinge()
    >>> loss(np.array([[1, -1]]), np.array([[0.5, -2.0]]))
    0.125
    >>> loss.backward()
    array([[-0.5,  0. ]])
    """

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are -1 and 1, or 0 and 1."""
        need_signs(self.name, y_true, prediction_shape)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean square of what is missing to the margin."""
        xp = array_module(y_pred)
        t = xp.where(y_true > 0, 1, -1).astype(y_pred.dtype)
        m = xp.maximum(1 - t * y_pred, 0)
        L = (m * m).sum() / m.size
        self.cache = t, m
        return L

    def backward(self) -> Array:
        """Return dy."""
        t, m = self.take_cache()
        dy = -2 * t * m / m.size           # L = sum m^2 / N, m = max(0, 1 - t y)
        return dy


class CategoricalHinge(Loss):
    """L = mean_B max(0, 1 + n - p): the right class's output p wants to lead every other, and 0, by 1.

    p = sum_i t_i y_i,  n = max_i (1 - t_i) y_i  for one-hot targets t
    Backward dy_i = (1 - t_i) [i = argmax] / B - t_i / B where the lead is too small, else 0; the first of equals
    Shapes   t, y (..., C); B rows of C classes

    Examples
    --------
    >>> import numpy as np
    >>> loss = CategoricalHinge()
    >>> loss(np.array([[0.0, 1.0, 0.0]]), np.array([[0.25, 0.5, -3.0]]))
    0.75
    >>> loss.backward()
    array([[ 1., -1.,  0.]])
    """

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are one-hot."""
        need_distributions(self.name, y_true, prediction_shape)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean of what is missing to the lead."""
        xp = array_module(y_pred)
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        B = y.size // y.shape[-1]
        p = (t * y).sum(axis=-1, keepdims=True)
        others = (1 - t) * y
        n = others.max(axis=-1, keepdims=True)
        m = xp.maximum(1 + n - p, 0)
        L = m.sum() / B
        self.cache = t, others, m, B
        return L

    def backward(self) -> Array:
        """Return dy."""
        t, others, m, B = self.take_cache()
        xp = array_module(m)
        largest = xp.arange(t.shape[-1]) == others.argmax(axis=-1)[..., None]
        dm = (m > 0).astype(m.dtype) / B   # L = sum m / B
        dothers = dm * largest             # m = max(0, 1 + n - p), n = max others
        dy = dothers * (1 - t) - dm * t    # others = (1 - t) y, p = sum t y
        return dy
