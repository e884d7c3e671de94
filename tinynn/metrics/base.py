"""What every metric is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.config import Configured
from tinynn.losses.base import spread


class Metric(Configured):
    """Base class of the metrics.

    One's own metric subclasses this and writes `reset_state`, which the constructor calls, `update_state` and `result`.

    Parameters
    ----------
    name : str, optional
        The key in the logs and the History; each kind has one of its own.

    Attributes
    ----------
    direction : {"max", "min"} or None
        Whether large or small is better, for callbacks that ask; None where nobody said.
    """

    name = "metric"
    direction: str | None = None
    only_adds = False  # True: its state is sums, a batch after another, which a captured step can count (docs/gpu.md)

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self.reset_state()

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        raise TypeError(f"{type(self).__name__} needs a method reset_state(self)")

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch.

        Parameters
        ----------
        y_true, y_pred : array
        sample_weight : array, optional
            How much each sample counts, or each step of a sequence: of the first axes of `y_pred`.
        """
        raise TypeError(f"{type(self).__name__} needs a method update_state(self, y_true, y_pred, sample_weight=None)")

    def result(self) -> float:
        """Return the metric of everything counted so far."""
        raise TypeError(f"{type(self).__name__} needs a method result(self)")

    def get_state(self) -> dict[str, Any]:
        """Return what was counted so far: the attributes that are numbers, texts or arrays, or lists of such."""
        return {name: value for name, value in vars(self).items() if can_be_kept(value)}

    def set_state(self, state: Mapping[str, Any], xp: Any) -> None:
        """Go on counting from what `get_state` returned, with the arrays of a library."""
        for name, value in state.items():
            setattr(self, name, on_device(value, xp))

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Any = None) -> float:
        """Return the metric of one batch by itself."""
        self.reset_state()
        if sample_weight is None:
            self.update_state(y_true, y_pred)
        else:
            self.update_state(y_true, y_pred, array_module(y_pred).asarray(sample_weight))
        return self.result()


def can_be_kept(value: Any) -> bool:
    """Whether a checkpoint can hold an attribute."""
    if isinstance(value, list | tuple):
        return all(can_be_kept(entry) for entry in value)
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and can_be_kept(value[key]) for key in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic) or hasattr(value, "dtype")


def on_device(value: Any, xp: Any) -> Any:
    """Return what a checkpoint held with the arrays of a library."""
    if isinstance(value, list | tuple):
        return type(value)(on_device(entry, xp) for entry in value)
    if isinstance(value, dict):
        return {key: on_device(value[key], xp) for key in value}
    return xp.asarray(value) if hasattr(value, "dtype") else value


class MeanMetric(Metric):
    """A metric that is the mean of values, weighted where there are weights: sum w v / sum w.

    Sums are in float64, whatever the model's dtype, and stay on the device; `result` is what fetches them.
    """

    only_adds = True

    def reset_state(self) -> None:
        """Forget everything counted so far."""
        self.total: Any = 0
        self.count: Any = 0

    def add(self, values: Array, sample_weight: Array | None) -> None:
        """Count values; weights of their first axes hold for all that is inside."""
        if sample_weight is None:
            self.total = self.total + values.sum()
            self.count = self.count + values.size
            return
        w = spread_weight(type(self).__name__, sample_weight, tuple(values.shape))
        self.total = self.total + (w * values).sum()
        self.count = self.count + w.sum()

    def result(self) -> float:
        """Return the mean; 0 before anything was counted."""
        count = float(self.count)
        return float(self.total) / count if count else 0.0


def spread_weight(who: str, sample_weight: Array, shape: tuple[int, ...]) -> Array:
    """Return weights in float64, repeated to a shape whose first axes theirs are.

    Raises
    ------
    ValueError
        If their shape is another one: nothing is broadcast by chance.
    """
    given = tuple(sample_weight.shape)
    if given and given[-1] == 1 and given != shape[: len(given)]:
        given = given[:-1]
        sample_weight = sample_weight.reshape(given)
    if not given or given != shape[: len(given)]:
        raise ValueError(f"{who} expected weights whose shape is the first axes of {shape}, got {given}.")
    return spread(sample_weight.astype(np.float64), shape)
