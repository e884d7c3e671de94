"""Scores: the loss and metrics of an epoch while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host
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
        for metric, weight in zip(self.all_metrics, self.weights(y_pred, sample_weight, mask), strict=True):
            count(metric, y_true, y_pred, weight)

    @property
    def all_metrics(self) -> list[Metric]:
        """The metrics, and then the weighted ones."""
        return [*self.metrics, *self.weighted]

    def weights(self, y_pred: Array, sample_weight: Array | None, mask: Array | None) -> list[Array | None]:
        """Return how much samples count in each of `all_metrics`; None: all the same."""
        weight = None if mask is None else mask.astype(y_pred.dtype)
        if self.weighted and mask is not None:
            sample_weight = apply_mask(sample_weight, mask, "sum", y_pred.dtype)
        return [weight] * len(self.metrics) + [sample_weight] * len(self.weighted)

    def read(self) -> None:
        """Fetch the losses that are still on the device: those that were noted there one after another, at once."""
        for loss, (_, samples, where) in zip(fetch([L for L, _, _ in self.unread]), self.unread, strict=True):
            check_finite(loss, where, "seen later, for a look at each step would slow the device; weights are spoilt")
            self.total += loss * samples
        self.unread.clear()

    def get_state(self) -> dict[str, Any]:
        """Return what was counted so far, as plain data and arrays; see `set_state`."""
        self.result()
        metrics = [metric.get_state() for metric in self.all_metrics]
        return {"samples": self.samples, "total": self.total, "metrics": metrics}

    def set_state(self, state: Mapping[str, Any], xp: Any) -> None:
        """Go on counting from what `get_state` returned, of the same metrics, with the arrays of a library."""
        self.samples, self.total = state["samples"], state["total"]
        for metric, counted in zip(self.all_metrics, state["metrics"], strict=True):
            metric.set_state(counted, xp)

    def result(self) -> dict[str, float]:
        """Return the mean loss and the metrics."""
        self.read()
        metrics = {metric.name: metric.result() for metric in self.all_metrics}
        return {"loss": self.total / self.samples, **metrics}


class Recorder(Scores):
    """The scores of one step that is captured: where its loss and predictions go, now and at each replay.

    Parameters
    ----------
    scores : Scores
        Of the epoch at hand; a replay has its own.
    steps : CapturedSteps
        Its ``sums`` are the arrays that metrics count in, by the metric's place and the attribute's name.
    capturing : bool, default False
        Whether the step is captured and not done.
    """

    def __init__(self, scores: Scores, steps: Any, capturing: bool = False) -> None:
        self.metrics, self.weighted = scores.metrics, scores.weighted
        self.steps, self.capturing = steps, capturing
        self.counts: list[tuple[int, str, Any]] = []  # what a replay adds to plain numbers of metrics
        self.later: list[tuple[int, tuple[Any, ...]]] = []  # what a replay gives to metrics that are not captured

    def add_loss(self, L: Any, samples: int, where: str | None) -> None:
        """Write the loss to where it is read later."""
        self.steps.add_loss(L, samples)

    def add_predictions(
        self, y_true: Array, y_pred: Array, sample_weight: Array | None = None, mask: Array | None = None
    ) -> None:
        """Count the predictions in metrics that only add, and keep them for the others."""
        weights = self.weights(y_pred, sample_weight, mask)
        for index, (metric, weight) in enumerate(zip(self.all_metrics, weights, strict=True)):
            if metric.only_adds:
                before = dict(vars(metric))
                count(metric, y_true, y_pred, weight)
                self.note(index, metric, before)
            elif self.capturing:
                self.later.append((index, (y_true, y_pred, weight)))
            else:
                count(metric, y_true, y_pred, weight)

    def note(self, index: int, metric: Metric, before: dict[str, Any]) -> None:
        """Bring what a metric has counted to the arrays that all replays know, and note how its plain numbers grew."""
        for name, value in vars(metric).items():
            if value is before.get(name):
                continue
            if hasattr(value, "dtype"):
                mine = self.steps.sums.setdefault((index, name), value)
                if mine is not value:
                    mine[...] = value
                    setattr(metric, name, mine)
            else:
                self.counts.append((index, name, value - before[name]))

    def replayed(self, scores: Scores) -> None:
        """Do for the scores of an epoch what the graph, which was launched, has left to the host."""
        metrics = scores.all_metrics
        for index, name, more in self.counts:
            setattr(metrics[index], name, getattr(metrics[index], name) + more)
        for index, given in self.later:
            count(metrics[index], *given)


def count(metric: Metric, y_true: Array, y_pred: Array, weight: Array | None) -> None:
    """Count one batch in a metric."""
    if weight is None:
        metric.update_state(y_true, y_pred)  # one's own metric may know no weights
    else:
        metric.update_state(y_true, y_pred, weight)


def fetch(losses: Sequence[Any]) -> list[float]:
    """Return numbers of the device, by one copy."""
    if not losses:
        return []
    return [float(loss) for loss in to_host(array_module(losses[0]).stack(losses))]


def check_finite(loss: float, where: str | None, what_is_lost: str) -> None:
    """Raise FloatingPointError if the loss of a training step is NaN or infinite."""
    if where is None or math.isfinite(loss):
        return
    raise FloatingPointError(
        f"the loss became {loss} at {where} ({what_is_lost}). Try a smaller learning rate (a tenth of this one), "
        "inputs scaled to about -1 to 1, or targets without extreme values; fit(..., check_finite=True) names the line."
    )
