"""Accuracies: the part of the predictions that is right."""

from __future__ import annotations

from tinynn.arguments import check_count
from tinynn.backend import Array, array_module
from tinynn.metrics.base import MeanMetric


class Accuracy(MeanMetric):
    """The part of the predictions that is right; base class of the five kinds."""

    name = "accuracy"
    direction = "max"


class CategoricalAccuracy(Accuracy):
    """How often the largest output stands where the largest target stands (one-hot targets).

    Examples
    --------
    >>> import numpy as np
    >>> CategoricalAccuracy()(np.array([[0, 1], [1, 0]]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    0.5
    """

    name = "categorical_accuracy"

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        hits = y_pred.argmax(axis=-1) == y_true.argmax(axis=-1)
        self.add(hits, sample_weight)


class SparseCategoricalAccuracy(Accuracy):
    """How often the largest output stands at the target's class number.

    Examples
    --------
    >>> import numpy as np
    >>> SparseCategoricalAccuracy()(np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    0.5
    """

    name = "sparse_categorical_accuracy"

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        hits = y_pred.argmax(axis=-1) == y_true
        self.add(hits, sample_weight)


class BinaryAccuracy(Accuracy):
    """How often output and target lie on the same side of `threshold`.

    Parameters
    ----------
    threshold : float, default 0.5
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> BinaryAccuracy()(np.array([[1], [0]]), np.array([[0.8], [0.6]]))
    0.5
    """

    name = "binary_accuracy"

    def __init__(self, threshold: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.threshold = threshold

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        hits = (y_pred > self.threshold) == (y_true > 0.5)
        self.add(hits, sample_weight)


class TopKCategoricalAccuracy(Accuracy):
    """How often fewer than `k` outputs are larger than the one of the target's class (one-hot targets).

    Parameters
    ----------
    k : int, default 5
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> y, p = np.array([[0, 0, 1], [1, 0, 0]]), np.array([[0.2, 0.5, 0.3], [0.1, 0.4, 0.5]])
    >>> TopKCategoricalAccuracy(k=2)(y, p)
    0.5
    """

    name = "top_k_categorical_accuracy"

    def __init__(self, k: int = 5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.k = check_count(k, f"{type(self).__name__}: k")

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        self.count_hits(y_true.argmax(axis=-1), y_pred, sample_weight)

    def count_hits(self, labels: Array, y_pred: Array, sample_weight: Array | None) -> None:
        """Count the rows whose label's output is among the `k` largest."""
        xp = array_module(y_pred)
        own = xp.take_along_axis(y_pred, labels[..., None], axis=-1)
        larger = y_pred.shape[-1] - (y_pred <= own).sum(axis=-1)  # NaN is a miss
        hits = larger < self.k
        self.add(hits, sample_weight)


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often fewer than `k` outputs are larger than the one at the target's class number.

    Parameters
    ----------
    k : int, default 5
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> y, p = np.array([2, 0]), np.array([[0.2, 0.5, 0.3], [0.1, 0.4, 0.5]])
    >>> SparseTopKCategoricalAccuracy(k=2)(y, p)
    0.5
    """

    name = "sparse_top_k_categorical_accuracy"

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        self.count_hits(y_true.astype(int), y_pred, sample_weight)
