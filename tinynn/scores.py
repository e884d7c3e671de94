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
    """

    def __init__(self, counted: Sequence[Metric]) -> None:
        self.metrics = counted
        for metric in counted:
            metric.reset_state()
        self.losses: list[tuple[Any, int, str | None]] = []

    def add(self, L: Any, y_true: Array, y_pred: Array, where: str | None) -> None:
        """Count one batch; `where` is its place in the training, None outside of it."""
        if isinstance(L, float | np.generic):
            check_finite(float(L), where)
        self.losses.append((L, len(y_true), where))
        for metric in self.metrics:
            metric.update_state(y_true, y_pred)

    def result(self) -> dict[str, float]:
        """Return the mean loss and the metrics."""
        total, count = 0.0, 0
        for L, samples, where in self.losses:
            value = float(L)
            check_finite(value, where)
            total += value * samples
            count += samples
        return {"loss": total / count, **{metric.name: metric.result() for metric in self.metrics}}


def check_finite(loss: float, where: str | None) -> None:
    """Raise FloatingPointError if the loss of a training step is NaN or infinite."""
    if where is None or math.isfinite(loss):
        return
    raise FloatingPointError(
        f"the loss became {loss} at {where}; training stopped before that step changed the weights. Try a smaller "
        "learning rate (a tenth of this one), inputs scaled to about -1 to 1, or targets without extreme values."
    )
