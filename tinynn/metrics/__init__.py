"""Metrics: numbers for people. They are counted over a whole epoch, not averaged over its batches.

What is counted stays on the device; `result` is what fetches it. Names, arguments and values are Keras's; where a
metric of Keras gives several numbers, here it gives one.
"""

from __future__ import annotations

import copy
from typing import Any

from tinynn.arguments import find, resolve
from tinynn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from tinynn.metrics.base import Metric
from tinynn.metrics.confusion import AUC, F1Score, Precision, Recall, confusion_matrix
from tinynn.metrics.probability import Perplexity
from tinynn.metrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError

__all__ = [
    "ACCURACY_NAMES",
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "F1Score",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "check_name",
    "confusion_matrix",
    "direction",
    "get",
]

METRICS: dict[str, type[Metric]] = {
    "auc": AUC,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "f1_score": F1Score,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "perplexity": Perplexity,
    "precision": Precision,
    "r2_score": R2Score,
    "recall": Recall,
    "root_mean_squared_error": RootMeanSquaredError,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
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
    result: Metric = copy.deepcopy(resolve("metric", metric, Metric, METRICS))  # an instance may be in use elsewhere
    if isinstance(metric, str):
        result.name = metric  # "mse" is called so in the logs
    return result


def check_name(metric: Any) -> str:
    """Return the name a metric will have in the logs; raise at compile time for one that `get` would not know."""
    if isinstance(metric, str):
        find("metric", metric, dict.fromkeys(ACCURACY_NAMES) | METRICS)
        return metric
    return get(metric).name


def direction(metric: Any) -> str | None:
    """Return whether a metric is better ``"max"`` or ``"min"``, None where it does not say.

    Examples
    --------
    >>> direction("accuracy"), direction("mse")
    ('max', 'min')
    """
    accuracy = isinstance(metric, str) and metric in ACCURACY_NAMES
    return Accuracy.direction if accuracy else get(metric).direction
