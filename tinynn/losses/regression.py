"""Losses of numbers and of directions: how far they are from the ones wanted."""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.losses.base import EPSILON, Loss, need_distributions, need_same_shape


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


class MeanAbsoluteError(Loss):
    """L = mean |y - t| over all numbers; dy = sign(y - t) / N, 0 where y = t.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanAbsoluteError()
    >>> loss(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    1.0
    >>> loss.backward()
    array([[0. , 0.5]])
    """

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean absolute error."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        L = xp.maximum(e, -e).sum() / e.size
        self.cache = e
        return L

    def backward(self) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = xp.sign(e) / e.size           # L = sum |e| / N
        return dy


class Huber(Loss):
    """Squares of small errors, absolute values of large ones: outliers pull no harder than delta (Huber 1964).

    e = y - t,  L = mean of e^2 / 2 where |e| <= delta, of delta |e| - delta^2 / 2 elsewhere;  dy = clip(e) / N

    Parameters
    ----------
    delta : float, default 1.0
        Where the straight lines begin.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Huber()
    >>> loss(np.array([[0.0, 0.0]]), np.array([[0.5, -3.0]]))     # (0.125 + 2.5) / 2
    1.3125
    >>> loss.backward()
    array([[ 0.25, -0.5 ]])
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = check_number(delta, "Huber: delta", 0)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean loss."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        size = xp.maximum(e, -e)           # |e|
        c = xp.minimum(size, self.delta)
        L = (c * (size - c / 2)).sum() / e.size  # e^2 / 2 where |e| <= delta, for c = |e| there
        self.cache = e
        return L

    def backward(self) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = xp.clip(e, -self.delta, self.delta) / e.size  # L = sum c (|e| - c / 2) / N
        return dy


class LogCosh(Loss):
    """L = mean log cosh(y - t): about e^2 / 2 for small errors e, |e| - log 2 for large ones; dy = tanh(e) / N.

    Computed as |e| + log(1 + exp(-2 |e|)) - log 2, which does not overflow.

    Examples
    --------
    >>> import numpy as np
    >>> loss = LogCosh()
    >>> round(loss(np.array([[0.0, 0.0]]), np.array([[0.0, 1000.0]])), 4)
    499.6534
    >>> loss.backward()
    array([[0. , 0.5]])
    """

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean loss."""
        xp = array_module(y_pred)
        e = y_pred - y_true.astype(y_pred.dtype, copy=False)
        size = xp.maximum(e, -e)           # |e|
        L = (size + xp.log1p(xp.exp(-2 * size)) - math.log(2)).sum() / e.size
        self.cache = e
        return L

    def backward(self) -> Array:
        """Return dy."""
        e = self.take_cache()
        xp = array_module(e)
        dy = xp.tanh(e) / e.size           # L = sum log cosh e / N
        return dy


class Poisson(Loss):
    """Counts t with the mean y: L = mean (y - t log(y + 1e-7)), the likelihood up to a constant.

    dy = (1 - t / (y + 1e-7)) / N. The predictions must be above 0: let the model end in an exponential or a softplus.

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

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean loss."""
        xp = array_module(y_pred)
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        s = y + EPSILON
        L = (y - t * xp.log(s)).sum() / y.size
        self.cache = t, s
        return L

    def backward(self) -> Array:
        """Return dy."""
        t, s = self.take_cache()
        dy = (1 - t / s) / s.size          # L = sum (y - t log s) / N, s = y + 1e-7
        return dy


class KLDivergence(Loss):
    """How much the distribution p differs from the wanted one, t: L = mean_B sum_i t_i log(t_i / p_i).

    Backward dp_i = -t_i / p_i / B
    Shapes   t, p (..., C); B rows of C classes                    (Kullback & Leibler 1951)

    Both are held between 1e-7 and 1, in the gradient too. p is not divided by its sum, as it is in
    `CategoricalCrossentropy`, whose gradient is otherwise the same.

    Examples
    --------
    >>> import numpy as np
    >>> loss = KLDivergence()
    >>> round(loss(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])), 4)
    0.1438
    >>> loss.backward().round(4)
    array([[-2.    , -0.6667]])
    """

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are distributions."""
        need_distributions(self.name, y_true, prediction_shape)

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean divergence."""
        xp = array_module(y_pred)
        t = xp.minimum(xp.maximum(y_true.astype(y_pred.dtype, copy=False), EPSILON), 1)
        p = xp.minimum(xp.maximum(y_pred, EPSILON), 1)
        B = p.size // p.shape[-1]
        L = (t * (xp.log(t) - xp.log(p))).sum() / B
        self.cache = t, p, B
        return L

    def backward(self) -> Array:
        """Return dp."""
        t, p, B = self.take_cache()
        dp = -t / p / B                    # L = sum t (log t - log p) / B
        return dp


class CosineSimilarity(Loss):
    """Minus the cosine between prediction and target: -1 where they point the same way, 1 where opposite ways.

    v = t / |t|,  u = y / |y|,  L = -mean_B sum_i v_i u_i
    Backward du = -v / B, dy = (du - u sum_i du_i u_i) / |y|
    Shapes   t, y (..., C); B vectors along `axis`

    A length below 1e-7 counts as 1e-7, in the gradient too, so that a vector of zeros has the cosine 0 with any other.

    Parameters
    ----------
    axis : int, default -1
        The axis that the vectors lie along.

    Examples
    --------
    >>> import numpy as np
    >>> loss = CosineSimilarity()
    >>> round(loss(np.array([[0.0, 1.0]]), np.array([[3.0, 4.0]])), 4)
    -0.8
    >>> loss.backward().round(4)
    array([[ 0.096, -0.072]])
    """

    def __init__(self, axis: int = -1) -> None:
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise ValueError(f"CosineSimilarity: axis must be a whole number, got {axis!r}.")
        self.axis = axis

    def forward(self, y_true: Array, y_pred: Array) -> Any:
        """Return minus the mean cosine."""
        y, t = y_pred, y_true.astype(y_pred.dtype, copy=False)
        B = y.size // y.shape[self.axis]
        v = t / self.length(t)
        n = self.length(y)
        u = y / n
        L = -(v * u).sum() / B
        self.cache = v, u, n, B
        return L

    def length(self, x: Array) -> Array:
        """Return the lengths of the vectors along the axis, at least 1e-7."""
        xp = array_module(x)
        s = (x * x).sum(axis=self.axis, keepdims=True)
        return xp.sqrt(xp.maximum(s, EPSILON**2))

    def backward(self) -> Array:
        """Return dy."""
        v, u, n, B = self.take_cache()
        du = -v / B                        # L = -sum v u / B
        dy = (du - u * (du * u).sum(axis=self.axis, keepdims=True)) / n  # u = y / |y|
        return dy
