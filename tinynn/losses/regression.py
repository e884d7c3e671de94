"""Losses of numbers and of directions: how far they are from the ones wanted."""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.losses.base import EPSILON, Loss, need_distributions, need_same_shape


class MeanSquaredError(Loss):
    """v = (y - t)^2, a row's value is the mean; dy = 2 dv (y - t).

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    >>> loss.backward()
    array([[0., 2.]])
    """

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the squared errors."""
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        v = e * e
        self.cache = e
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        e = self.take_cache()
        dy = 2 * dv * e                    # v = e^2
        return dy


class MeanAbsoluteError(Loss):
    """v = |y - t|, a row's value is the mean; dy = dv sign(y - t), 0 where y = t.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanAbsoluteError()
    >>> loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    1.0
    >>> loss.backward()
    array([[0. , 0.5]])
    """

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the absolute errors."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        v = xp.maximum(e, -e)
        self.cache = e
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = dv * xp.sign(e)               # v = |e|
        return dy


class Huber(Loss):
    """Squares of small errors, absolute values of large ones: outliers pull no harder than delta (Huber 1964).

    e = y - t,  v = e^2 / 2 where |e| <= delta, delta |e| - delta^2 / 2 elsewhere;  dy = dv clip(e)

    A row's value is the mean of v.

    Parameters
    ----------
    delta : float, default 1.0
        Where the straight lines begin.
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Huber()
    >>> loss(np.array([[0.0, 0.0]]), np.array([[0.5, -3.0]]))     # (0.125 + 2.5) / 2
    1.3125
    >>> loss.backward()
    array([[ 0.25, -0.5 ]])
    """

    def __init__(self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size") -> None:
        super().__init__(reduction)
        self.delta = check_number(delta, "Huber: delta", 0)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the losses."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        size = xp.maximum(e, -e)           # |e|
        c = xp.minimum(size, self.delta)
        v = c * (size - c / 2)             # e^2 / 2 where |e| <= delta, for c = |e| there
        self.cache = e
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = dv * xp.clip(e, -self.delta, self.delta)  # v = c (|e| - c / 2)
        return dy


class LogCosh(Loss):
    """v = log cosh(y - t): about e^2 / 2 for small errors e, |e| - log 2 for large ones; dy = dv tanh(e).

    Computed as |e| + log(1 + exp(-2 |e|)) - log 2, which does not overflow. A row's value is the mean of v.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = LogCosh()
    >>> round(loss(np.array([[0.0, 0.0]]), np.array([[0.0, 1000.0]])), 4)
    499.6534
    >>> loss.backward()
    array([[0. , 0.5]])
    """

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the losses."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        size = xp.maximum(e, -e)           # |e|
        v = size + xp.log1p(xp.exp(-2 * size)) - math.log(2)
        self.cache = e
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = dv * xp.tanh(e)               # v = log cosh e
        return dy


class Poisson(Loss):
    """Counts t with the mean y: v = y - t log(y + 1e-7), the likelihood up to a constant.

    dy = dv (1 - t / (y + 1e-7)). The predictions must be above 0: let the model end in an exponential or a softplus.
    A row's value is the mean of v.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Poisson()
    >>> round(loss(np.array([[3.0, 0.0]]), np.array([[1.0, 2.0]])), 4)
    1.5
    >>> loss.backward().round(4)
    array([[-1. ,  0.5]])
    """

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are counts."""
        need_same_shape(self.name, y_true, prediction_shape)
        if y_true.min() < 0:
            raise ValueError(
                f"{self.name} expected counts from 0 up as targets, got {y_true.min()}. "
                "For numbers of any sign use the loss 'mean_squared_error'."
            )

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return the losses."""
        xp = array_module(y_pred)
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        s = y + EPSILON
        v = y - t * xp.log(s)
        self.cache = t, s
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        t, s = self.take_cache()
        dy = dv * (1 - t / s)              # v = y - t log s, s = y + 1e-7
        return dy


class KLDivergence(Loss):
    """How much the distribution p differs from the wanted one, t: v_i = t_i log(t_i / p_i).

    Backward dp_i = -dv t_i / p_i
    Shapes   t, p, v (..., C); rows of C classes, whose value is the sum of v               (Kullback & Leibler 1951)

    Both are held between 1e-7 and 1, in the gradient too. p is not divided by its sum, as it is in
    `CategoricalCrossentropy`, whose gradient is otherwise the same.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = KLDivergence()
    >>> round(loss(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])), 4)
    0.1438
    >>> loss.backward().round(4)
    array([[-2.    , -0.6667]])
    """

    sums_rows = True

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are distributions."""
        need_distributions(self.name, y_true, prediction_shape)

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return each class's part of the divergence."""
        xp = array_module(y_pred)
        t = xp.minimum(xp.maximum(y_true.astype(y_pred.dtype, copy=False), EPSILON), 1)
        p = xp.minimum(xp.maximum(y_pred, EPSILON), 1)
        v = t * (xp.log(t) - xp.log(p))
        self.cache = t, p
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dp."""
        t, p = self.take_cache()
        dp = -dv * t / p                   # v = t (log t - log p)
        return dp


class CosineSimilarity(Loss):
    """Minus the cosine between prediction and target: -1 where they point the same way, 1 where opposite ways.

    r = t / |t|,  u = y / |y|,  v = -sum_i r_i u_i
    Backward du = -dv r, dy = (du - u sum_i du_i u_i) / |y|
    Shapes   t, y (..., C), v (..., 1); vectors along `axis`

    A length below 1e-7 counts as 1e-7, in the gradient too, so that a vector of zeros has the cosine 0 with any other.

    Parameters
    ----------
    axis : int, default -1
        The axis that the vectors lie along.
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the rows; see `Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss = CosineSimilarity()
    >>> round(loss(np.array([[0.0, 1.0]]), np.array([[3.0, 4.0]])), 4)
    -0.8
    >>> loss.backward().round(4)
    array([[ 0.096, -0.072]])
    """

    def __init__(self, axis: int = -1, reduction: str | None = "sum_over_batch_size") -> None:
        super().__init__(reduction)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise ValueError(f"CosineSimilarity: axis must be a whole number, got {axis!r}.")
        self.axis = axis

    def rows(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the values: without the axis of the vectors."""
        axis = self.axis % len(prediction_shape)
        return prediction_shape[:axis] + prediction_shape[axis + 1 :]

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return minus the cosine of every vector."""
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        r = t / self.length(t)
        n = self.length(y)
        u = y / n
        v = -(r * u).sum(axis=self.axis, keepdims=True)
        self.cache = r, u, n
        return v

    def length(self, x: Array) -> Array:
        """Return the lengths of the vectors along the axis, at least 1e-7."""
        xp = array_module(x)
        s = (x * x).sum(axis=self.axis, keepdims=True)
        return xp.sqrt(xp.maximum(s, EPSILON**2))

    def gradient(self, dv: Any) -> Array:
        """Return dy."""
        r, u, n = self.take_cache()
        du = -dv * r                       # v = -sum r u
        dy = (du - u * (du * u).sum(axis=self.axis, keepdims=True)) / n  # u = y / |y|
        return dy
