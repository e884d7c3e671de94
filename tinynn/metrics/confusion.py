"""Metrics of yes and no: what was found, what was missed, what was raised for nothing, what was taken for what."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import check_count, check_number
from tinynn.backend import Array, array_module, to_host
from tinynn.data import class_numbers
from tinynn.losses.base import TINY, need_same_shape
from tinynn.metrics.base import Metric, spread_weight


class Precision(Metric):
    """The part of the outputs above the threshold whose target is 1.

    Parameters
    ----------
    thresholds : float, optional
        0.5 by default. One number; Keras takes a list as well, and gives a list.
    class_id : int, optional
        Look at this column alone; by default all columns count.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> Precision()(np.array([[1], [0], [1]]), np.array([[0.8], [0.6], [0.4]]))
    0.5
    """

    name = "precision"
    direction = "max"

    def __init__(
        self, thresholds: float | None = None, *, class_id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        who = type(self).__name__
        self.threshold = 0.5 if thresholds is None else check_number(thresholds, f"{who}: thresholds", 0, 1)
        if class_id is not None and (not isinstance(class_id, int) or isinstance(class_id, bool) or class_id < 0):
            raise ValueError(f"{who}: class_id must be a whole number from 0 up, got {class_id!r}.")
        self.class_id = class_id

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.true_positives: Any = 0
        self.positives: Any = 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        need_same_shape(type(self).__name__, y_true, tuple(y_pred.shape))
        if self.class_id is not None:
            classes = y_pred.shape[-1]
            if self.class_id >= classes:
                raise ValueError(
                    f"{type(self).__name__}: class_id must be from 0 to {classes - 1}, for the model has {classes} "
                    f"outputs, got {self.class_id}."
                )
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        wanted, found = y_true > 0.5, y_pred > self.threshold
        hits, positives = wanted & found, self.of_what(wanted, found)
        if sample_weight is not None:
            w = spread_weight(type(self).__name__, sample_weight, tuple(y_pred.shape))
            hits, positives = w * hits, w * positives
        self.true_positives = self.true_positives + hits.sum()
        self.positives = self.positives + positives.sum()

    def of_what(self, wanted: Array, found: Array) -> Array:
        """Return what the true positives are a part of."""
        return found

    def result(self) -> float:
        """Return the part; 0 where there is nothing it could be a part of."""
        positives = float(self.positives)
        return float(self.true_positives) / positives if positives else 0.0


class Recall(Precision):
    """The part of the targets of 1 whose output is above the threshold.

    Parameters
    ----------
    thresholds : float, optional
        0.5 by default.
    class_id : int, optional
        Look at this column alone; by default all columns count.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> Recall()(np.array([[1], [0], [1]]), np.array([[0.8], [0.6], [0.4]]))
    0.5
    """

    name = "recall"

    def of_what(self, wanted: Array, found: Array) -> Array:
        """Return what the true positives are a part of."""
        return wanted


class F1Score(Metric):
    """The harmonic mean of precision and recall: 2 tp / (found + wanted), for each class.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"}, default "macro"
        The mean over classes; the score of all classes' counts together; the mean weighted by how often a class is
        wanted. Keras's default, None, is a number for each class, which a log has no place for.
    threshold : float, optional
        An output above it counts as found. By default the largest output of a row does.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> y, p = np.array([[0, 1], [1, 0], [1, 0]]), np.array([[0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    >>> round(F1Score()(y, p), 4)               # 2 / 3 for both classes
    0.6667
    """

    name = "f1_score"
    direction = "max"

    def __init__(self, average: str = "macro", threshold: float | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if average not in ("macro", "micro", "weighted"):
            raise ValueError(f"F1Score: average must be 'macro', 'micro' or 'weighted', got {average!r}.")
        self.average = average
        self.threshold = None if threshold is None else check_number(threshold, "F1Score: threshold", 0, 1)

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.true_positives: Any = 0
        self.found: Any = 0
        self.wanted: Any = 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        need_same_shape("F1Score", y_true, tuple(y_pred.shape))
        classes = y_pred.shape[-1]
        if classes == 1 and self.threshold is None:
            raise ValueError("F1Score: one output is always the largest; give a threshold, such as threshold=0.5.")
        rows = tuple(y_pred.shape[:-1])
        y_true, y_pred = y_true.reshape(-1, classes), y_pred.reshape(-1, classes)
        wanted = y_true > 0.5
        if self.threshold is None:
            found = (y_pred >= y_pred.max(axis=-1, keepdims=True)) & (abs(y_pred) > 1e-9)  # a row of zeros finds none
        else:
            found = y_pred > self.threshold
        hits = wanted & found
        if sample_weight is not None:
            w = spread_weight("F1Score", sample_weight, rows).reshape(-1, 1)
            hits, found, wanted = w * hits, w * found, w * wanted
        self.true_positives = self.true_positives + hits.sum(axis=0)
        self.found = self.found + found.sum(axis=0)
        self.wanted = self.wanted + wanted.sum(axis=0)

    def result(self) -> float:
        """Return the score; 0 for a class that was neither found nor wanted."""
        hits, found, wanted = (np.atleast_1d(to_host(n)) for n in (self.true_positives, self.found, self.wanted))
        if self.average == "micro":
            hits, found, wanted = (n.sum(keepdims=True) for n in (hits, found, wanted))
        scores = 2 * hits / np.maximum(found + wanted, TINY)
        if self.average == "weighted":
            return float((scores * wanted).sum() / max(wanted.sum(), TINY))
        return float(scores.mean())


class AUC(Metric):
    """The area under the ROC curve: how often a target of 1 has a larger output than a target of 0.

    The curve is drawn as Keras draws it, through the points of `num_thresholds` thresholds from 0 to 1 with straight
    lines between them. Outputs between two thresholds count as equal, so what is exact needs outputs well spread over
    0 to 1, or more thresholds; in return the memory does not grow with the data. Outputs below 0 or above 1 count as
    0 and 1: give probabilities, not logits.

    Parameters
    ----------
    num_thresholds : int, default 200
        Two at least.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> AUC()(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.3, 0.9]))
    0.75
    """

    name = "auc"
    direction = "max"

    def __init__(self, num_thresholds: int = 200, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.num_thresholds = check_count(num_thresholds, "AUC: num_thresholds")
        if self.num_thresholds == 1:
            raise ValueError("AUC: num_thresholds must be 2 or more, got 1: a curve needs two ends.")

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.true_positives: Any = 0
        self.false_positives: Any = 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        need_same_shape("AUC", y_true, tuple(y_pred.shape))
        xp = array_module(y_pred)
        last = self.num_thresholds - 1
        wanted = y_true.reshape(-1) > 0.5
        p = xp.clip(y_pred.reshape(-1), 0, 1)
        highest = xp.maximum(xp.ceil(p * last) - 1, 0)  # the highest threshold that p is above; the first is below 0
        thresholds = xp.arange(self.num_thresholds, dtype=highest.dtype)
        if sample_weight is None:
            for name, those in (("true_positives", wanted), ("false_positives", ~wanted)):
                ordered = xp.sort(xp.where(those, highest, -1))
                above = ordered.size - xp.searchsorted(ordered, thresholds)
                setattr(self, name, getattr(self, name) + above)
            return
        w = spread_weight("AUC", sample_weight, tuple(y_pred.shape)).reshape(-1)
        order = xp.argsort(-highest)
        above = xp.searchsorted(-highest[order], -thresholds, side="right")  # how many are above each threshold
        for name, those in (("true_positives", wanted), ("false_positives", ~wanted)):
            sums = xp.concatenate([xp.zeros(1), xp.cumsum((w * those)[order])])
            setattr(self, name, getattr(self, name) + sums[above])

    def result(self) -> float:
        """Return the area; 0 where targets of one kind are missing."""
        hits, alarms = np.atleast_1d(to_host(self.true_positives)), np.atleast_1d(to_host(self.false_positives))
        y, x = hits / max(hits[0], TINY), alarms / max(alarms[0], TINY)
        return float(((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2).sum())


def confusion_matrix(y_true: Any, y_pred: Any, num_classes: int | None = None) -> Array:
    """Count which class was taken for which: the true class chooses the row, the answer the column.

    A function and not a metric, for a log has no place for a table. `tinynn.plots.confusion_matrix` draws it.

    Parameters
    ----------
    y_true, y_pred : array
        What is true and what was said: class numbers, or rows of one-hot values or probabilities, of which the
        largest counts.
    num_classes : int, optional
        The size of the table; by default as many as there are columns, or the largest class number + 1.

    Returns
    -------
    array of int, shape (num_classes, num_classes)

    Raises
    ------
    ValueError
        If the two have different lengths, hold no class numbers, or more classes than `num_classes`.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1])
    array([[1, 1],
           [0, 2]])
    """
    true, true_classes = class_numbers(y_true, "confusion_matrix", "y_true")
    said, said_classes = class_numbers(y_pred, "confusion_matrix", "y_pred")
    if len(true) != len(said):
        raise ValueError(f"confusion_matrix: y_true has {len(true)} samples and y_pred has {len(said)}.")
    needed = max(true_classes, said_classes)
    classes = needed if num_classes is None else check_count(num_classes, "confusion_matrix: num_classes")
    if classes < needed:
        raise ValueError(f"confusion_matrix: num_classes={classes}, but the data have {needed} classes.")
    return np.bincount(classes * true + said, minlength=classes * classes).reshape(classes, classes)
