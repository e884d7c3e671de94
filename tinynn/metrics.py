"""Metrics: numbers for people. They are counted over a whole epoch, not averaged over its batches."""

from __future__ import annotations

import copy
from typing import Any

from tinynn.arguments import find, resolve
from tinynn.backend import Array


class Metric:
    """Base class of the metrics.

    Attributes
    ----------
    name : str
        The key in the logs and the History.
    """

    name = "metric"

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        raise TypeError(f"{type(self).__name__} needs a method reset_state(self)")

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        """Count one batch."""
        raise TypeError(f"{type(self).__name__} needs a method update_state(self, y_true, y_pred)")

    def result(self) -> float:
        """Return the metric of everything counted so far."""
        raise TypeError(f"{type(self).__name__} needs a method result(self)")

    def __call__(self, y_true: Array, y_pred: Array) -> float:
        """Return the metric of one batch by itself."""
        self.reset_state()
        self.update_state(y_true, y_pred)
        return self.result()


class Accuracy(Metric):
    """The part of the predictions that is right; base class of the three kinds.

    The count stays on the device; `result` is what fetches it.
    """

    name = "accuracy"

    def __init__(self) -> None:
        self.reset_state()

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.right: Any = 0
        self.count = 0

    def result(self) -> float:
        """Return right / count; 0 before anything was counted."""
        return float(self.right) / self.count if self.count else 0.0


class CategoricalAccuracy(Accuracy):
    """How often the largest output stands where the largest target stands (one-hot targets).

    Examples
    --------
    >>> import numpy as np
    >>> CategoricalAccuracy()(np.array([[0, 1], [1, 0]]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    0.5
    """

    name = "categorical_accuracy"

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        """Count one batch."""
        hits = y_pred.argmax(axis=-1) == y_true.argmax(axis=-1)
        self.right = self.right + hits.sum()
        self.count += hits.size


class SparseCategoricalAccuracy(Accuracy):
    """How often the largest output stands at the target's class number.

    Examples
    --------
    >>> import numpy as np
    >>> SparseCategoricalAccuracy()(np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    0.5
    """

    name = "sparse_categorical_accuracy"

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        """Count one batch."""
        hits = y_pred.argmax(axis=-1) == y_true
        self.right = self.right + hits.sum()
        self.count += hits.size


class BinaryAccuracy(Accuracy):
    """How often output and target lie on the same side of `threshold`.

    Parameters
    ----------
    threshold : float, default 0.5

    Examples
    --------
    >>> import numpy as np
    >>> BinaryAccuracy()(np.array([[1], [0]]), np.array([[0.8], [0.6]]))
    0.5
    """

    name = "binary_accuracy"

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        """Count one batch."""
        hits = (y_pred > self.threshold) == (y_true > 0.5)
        self.right = self.right + hits.sum()
        self.count += hits.size


METRICS: dict[str, type[Metric]] = {
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
}
ACCURACY_NAMES = ("accuracy", "acc")


def get(metric: Any, target_axes: int = 0, prediction_shape: tuple[int, ...] = ()) -> Metric:
    """Return the metric for a name, a class or an instance.

    Parameters
    ----------
    metric : str, type or Metric
        ``"accuracy"`` becomes the kind that fits, as in Keras: binary for one output, categorical where targets have
        as many axes as predictions, else sparse categorical.
    target_axes : int
        The axes of a batch of targets.
    prediction_shape : tuple of int
        The shape of a batch of predictions.

    Examples
    --------
    >>> type(get("accuracy", target_axes=1, prediction_shape=(32, 10))).__name__
    'SparseCategoricalAccuracy'
    """
    if isinstance(metric, str) and metric in ACCURACY_NAMES:
        kind: type[Accuracy]
        if prediction_shape[-1] == 1:
            kind = BinaryAccuracy
        elif target_axes == len(prediction_shape):
            kind = CategoricalAccuracy
        else:
            kind = SparseCategoricalAccuracy
        accuracy = kind()
        accuracy.name = metric
        return accuracy
    result: Metric = resolve("metric", metric, Metric, METRICS)
    return copy.deepcopy(result)  # whoever asked counts by himself: an instance may be in use elsewhere


def check_name(metric: Any) -> str:
    """Return the name a metric will have in the logs; raise at compile time for one that `get` would not know."""
    if isinstance(metric, str):
        find("metric", metric, dict.fromkeys(ACCURACY_NAMES) | METRICS)
        return metric
    return get(metric).name
