"""Scores: the loss and metrics of an epoch while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.metrics import Metric


class Scores:
    """The loss and metrics of an epoch so far, over all its samples.

    On a GPU the numbers stay there until somebody asks, for fetching one waits for everything before it.

    Parameters
    ----------
    metrics : sequence of Metric
        Counted from zero.

    Attributes
    ----------
    samples : int
        How many samples were counted.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        for metric in metrics:
            metric.reset_state()
        self.samples = 0
        self.total = 0.0
        self.unread: list[tuple[Any, int, str | None]] = []

    def add(self, L: Any, y_true: Array, y_pred: Array, where: str | None) -> None:
        """Count one batch; `where` is its place in the training, None outside of it."""
        self.samples += len(y_true)
        if isinstance(L, float | np.generic):
            check_finite(float(L), where, "training stopped before that step changed the weights")
            self.total += float(L) * len(y_true)
        else:
            self.unread.append((L, len(y_true), where))
        for metric in self.metrics:
            metric.update_state(y_true, y_pred)

    def result(self) -> dict[str, float]:
        """Return the mean loss and the metrics."""
        for L, samples, where in self.unread:
            loss = float(L)
            check_finite(loss, where, "seen later, for a look at each step would slow the device; weights are spoilt")
            self.total += loss * samples
        self.unread.clear()
        return {"loss": self.total / self.samples, **{metric.name: metric.result() for metric in self.metrics}}


def check_finite(loss: float, where: str | None, what_is_lost: str) -> None:
    """Raise FloatingPointError if the loss of a training step is NaN or infinite."""
    if where is None or math.isfinite(loss):
        return
    raise FloatingPointError(
        f"the loss became {loss} at {where} ({what_is_lost}). Try a smaller learning rate (a tenth of this one), "
        "inputs scaled to about -1 to 1, or targets without extreme values."
    )
