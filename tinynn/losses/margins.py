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
    """v = max(0, 1 - t y) for targets t of -1 and 1; 0 counts as -1 (Cortes & Vapnik 1995).

    dy = -dv t where t y < 1, else 0. The predictions y are any numbers: their sign is the answer. A row's value is the
    mean of v.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

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

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return what is missing to the margin."""
        xp = array_module(y_pred)
        t = xp.where(y_true > 0, 1, -1).astype(y_pred.dtype)
        v = xp.maximum(1 - t * y_pred, 0)
        self.cache = t, v
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        t, v = self.take_cache()
        dy = -dv * t * (v > 0)             # v = max(0, 1 - t y)
        return dy


class SquaredHinge(Loss):
    """v = max(0, 1 - t y)^2 for targets t of -1 and 1; 0 counts as -1.

    dy = -2 dv t max(0, 1 - t y). A row's value is the mean of v.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

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

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the squares of what is missing to the margin."""
        xp = array_module(y_pred)
        t = xp.where(y_true > 0, 1, -1).astype(y_pred.dtype)
        m = xp.maximum(1 - t * y_pred, 0)
        v = m * m
        self.cache = t, m
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        t, m = self.take_cache()
        dm = 2 * dv * m                    # v = m^2
        dy = -dm * t                       # m = max(0, 1 - t y)
        return dy


class CategoricalHinge(Loss):
    """v = max(0, 1 + n - p): the right class's output p wants to lead every other, and 0, by 1.

    p = sum_i t_i y_i,  n = max_i (1 - t_i) y_i  for one-hot targets t
    Backward dy_i = dv (1 - t_i) [i = argmax] - dv t_i where the lead is too small, else 0; the first of equals
    Shapes   t, y (..., C), v (..., 1); rows of C classes

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

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

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return what is missing to the lead in every row."""
        xp = array_module(y_pred)
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        p = (t * y).sum(axis=-1, keepdims=True)
        others = (1 - t) * y
        n = others.max(axis=-1, keepdims=True)
        m = 1 + n - p
        v = xp.maximum(m, 0)
        self.cache = t, others, v
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        t, others, v = self.take_cache()
        xp = array_module(v)
        largest = xp.arange(t.shape[-1]) == others.argmax(axis=-1)[..., None]
        dm = dv * (v > 0).astype(v.dtype)  # v = max(0, m)
        dn = dm                            # m = 1 + n - p
        dp = -dm                           # m = 1 + n - p
        dothers = dn * largest             # n = max others
        dy = dothers * (1 - t) + dp * t    # others = (1 - t) y, p = sum t y
        return dy
