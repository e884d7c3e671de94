"""Metrics of numbers: how far predictions are from targets. All sums are in float64, whatever the model's dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array, to_host
from tinynn.losses.base import need_same_shape
from tinynn.metrics.base import MeanMetric, Metric, spread_weight


class MeanSquaredError(MeanMetric):
    """The mean of (y - t)^2 over all numbers.

    Examples
    --------
    >>> import numpy as np
    >>> MeanSquaredError()(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    """

    name = "mean_squared_error"
    direction = "min"

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        e = errors(self, y_true, y_pred)
        self.add(e * e, sample_weight)


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (y - t)^2 over all numbers.

    Examples
    --------
    >>> import numpy as np
    >>> RootMeanSquaredError()(np.array([[1.0, 2.0]]), np.array([[2.0, 9.0]]))
    5.0
    """

    name = "root_mean_squared_error"

    def result(self) -> float:
        """Return the root of the mean; 0 before anything was counted."""
        return math.sqrt(super().result())


class MeanAbsoluteError(MeanSquaredError):
    """The mean of |y - t| over all numbers.

    Examples
    --------
    >>> import numpy as np
    >>> MeanAbsoluteError()(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    1.0
    """

    name = "mean_absolute_error"

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        e = errors(self, y_true, y_pred)
        self.add(abs(e), sample_weight)


class R2Score(Metric):
    """The part of the targets' variance that the predictions explain: 1 - sum (y - t)^2 / sum (t - mean t)^2.

    Each column has a score of its own, of which this is the mean. 1 is perfect, 0 as good as always saying the mean;
    it has no lower end. A column of equal targets has the score 1 if all are hit, else 0.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average"}, default "uniform_average"
        Whether columns count the same, or by their variance.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> R2Score()(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]]))
    0.5
    """

    name = "r2_score"
    direction = "max"

    def __init__(self, class_aggregation: str = "uniform_average", *, name: str | None = None) -> None:
        super().__init__(name=name)
        if class_aggregation not in ("uniform_average", "variance_weighted_average"):
            raise ValueError(
                "R2Score: class_aggregation must be 'uniform_average' or 'variance_weighted_average', "
                f"got {class_aggregation!r}."
            )
        self.class_aggregation = class_aggregation

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.origin: Any = None
        self.sum: Any = 0
        self.squared_sum: Any = 0
        self.residual: Any = 0
        self.count: Any = 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        columns = y_pred.shape[-1] if y_pred.ndim > 1 else 1
        e = errors(self, y_true, y_pred).reshape(-1, columns)
        t = y_true.astype(np.float64).reshape(-1, columns)
        if self.origin is None:
            self.origin = t[:1].copy()  # seen from the first targets, squares are small enough not to hide the variance
        t = t - self.origin
        w: Any = 1.0
        if sample_weight is not None:
            rows = tuple(y_pred.shape[:-1]) if y_pred.ndim > 1 else tuple(y_pred.shape)
            w = spread_weight("R2Score", sample_weight, rows).reshape(-1, 1)
        self.sum = self.sum + (w * t).sum(axis=0)
        self.squared_sum = self.squared_sum + (w * t * t).sum(axis=0)
        self.residual = self.residual + (w * e * e).sum(axis=0)
        self.count = self.count + (len(t) if sample_weight is None else w.sum())

    def result(self) -> float:
        """Return the score; 0 before anything was counted."""
        count = float(self.count)
        if not count:
            return 0.0
        residual, total = to_host(self.residual), to_host(self.squared_sum - self.sum * self.sum / count)
        equal = total <= 0
        scores = np.where(equal, residual == 0, 1 - residual / np.where(equal, 1, total))
        if self.class_aggregation == "uniform_average" or equal.all():
            return float(scores.mean())
        return float((total * scores).sum() / total.sum())


def errors(metric: Metric, y_true: Array, y_pred: Array) -> Array:
    """Return y - t in float64; raise ValueError if they have two shapes, for one would be broadcast to the other."""
    need_same_shape(type(metric).__name__, y_true, tuple(y_pred.shape))
    return y_pred.astype(np.float64) - y_true
