"""Scores: the loss and metrics of an epoch while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.losses.base import apply_mask
from tinynn.metrics import Metric


class Scores:
    """The loss and metrics of an epoch so far, over all its samples.

    On a GPU the numbers stay there until somebody asks, for fetching one waits for everything before it.

    Parameters
    ----------
    metrics : sequence of Metric
        Counted from zero; every sample counts the same, and what is masked does not count.
    weighted : sequence of Metric
        In these samples count by their weights, too.

    Attributes
    ----------
    samples : int
        How many samples were counted.
    """

    def __init__(self, metrics: Sequence[Metric], weighted: Sequence[Metric] = ()) -> None:
        self.metrics = metrics
        self.weighted = weighted
        for metric in (*metrics, *weighted):
            metric.reset_state()
        self.samples = 0
        self.total = 0.0
        self.unread: list[tuple[Any, int, str | None]] = []

    def add_loss(self, L: Any, samples: int, where: str | None) -> None:
        """Count the loss of one batch.

        Parameters
        ----------
        L : array of no axes
            In the epoch's loss it counts by its number of samples, whatever their weights, as in Keras.
        samples : int
        where : str or None
            Its place in the training, None outside of it.
        """
        self.samples += samples
        if isinstance(L, (float, np.generic)):
            loss = float(L)
            check_finite(loss, where, "training stopped before that step changed the weights")
            self.total += loss * samples
        else:
            self.unread.append((L, samples, where))

    @property
    def counts_predictions(self) -> bool:
        """Whether there are metrics at all: if not, nobody needs to make predictions for them."""
        return bool(self.metrics or self.weighted)

    def add_predictions(
        self, y_true: Array, y_pred: Array, sample_weight: Array | None = None, mask: Array | None = None
    ) -> None:
        """Count the predictions of one batch in every metric.

        Parameters
        ----------
        y_true, y_pred : array
        sample_weight, mask : array, optional
            As the loss got them.
        """
        weight = None if mask is None else mask.astype(y_pred.dtype)
        count(self.metrics, y_true, y_pred, weight)
        if self.weighted:
            if mask is not None:
                sample_weight = apply_mask(sample_weight, mask, "sum", y_pred.dtype)
            count(self.weighted, y_true, y_pred, sample_weight)

    def get_state(self) -> dict[str, Any]:
        """Return what was counted so far, as plain data and arrays; see `set_state`."""
        self.result()
        metrics = [metric.get_state() for metric in (*self.metrics, *self.weighted)]
        return {"samples": self.samples, "total": self.total, "metrics": metrics}

    def set_state(self, state: Mapping[str, Any], xp: Any) -> None:
        """Go on counting from what `get_state` returned, of the same metrics, with the arrays of a library."""
        self.samples, self.total = state["samples"], state["total"]
        for metric, counted in zip((*self.metrics, *self.weighted), state["metrics"], strict=True):
            metric.set_state(counted, xp)

    def result(self) -> dict[str, float]:
        """Return the mean loss and the metrics."""
        for L, samples, where in self.unread:
            loss = float(L)
            check_finite(loss, where, "seen later, for a look at each step would slow the device; weights are spoilt")
            self.total += loss * samples
        self.unread.clear()
        metrics = {metric.name: metric.result() for metric in (*self.metrics, *self.weighted)}
        return {"loss": self.total / self.samples, **metrics}


def count(metrics: Sequence[Metric], y_true: Array, y_pred: Array, weight: Array | None) -> None:
    """Count one batch in every metric."""
    for metric in metrics:
        if weight is None:
            metric.update_state(y_true, y_pred)  # one's own metric may know no weights
        else:
            metric.update_state(y_true, y_pred, weight)


def check_finite(loss: float, where: str | None, what_is_lost: str) -> None:
    """Raise FloatingPointError if the loss of a training step is NaN or infinite."""
    if where is None or math.isfinite(loss):
        return
    raise FloatingPointError(
        f"the loss became {loss} at {where} ({what_is_lost}). Try a smaller learning rate (a tenth of this one), "
        "inputs scaled to about -1 to 1, or targets without extreme values; fit(..., check_finite=True) names the line."
    )
