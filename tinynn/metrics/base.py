"""What every metric is."""

from __future__ import annotations

from tinynn.backend import Array


class Metric:
    """Base class of the metrics.

    One's own metric subclasses this and writes `reset_state`, which the constructor calls, `update_state` and `result`.

    Parameters
    ----------
    name : str, optional
        The key in the logs and the History; each kind has one of its own.
    """

    name = "metric"

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self.reset_state()

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
