"""What callbacks share that watch one number of the logs and ask whether it became better."""

from __future__ import annotations

import math

from tinynn.arguments import check_number, guess
from tinynn.callbacks.base import Callback, Logs


class MonitorCallback(Callback):
    """Base class of the callbacks that watch one number of the logs.

    Parameters
    ----------
    monitor : str
        Its name in the logs: ``"val_loss"``, ``"accuracy"``.
    mode : {"auto", "min", "max"}
        Whether small or large is better; "auto" asks the metric of that name.
    min_delta : float
        How much better a value must be to count as better.

    Attributes
    ----------
    best : float or None
        The best value so far.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        who = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{who}: monitor must be a name in the logs, such as 'val_loss', got {monitor!r:.60}.")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{who}: mode must be 'auto', 'min' or 'max', got {mode!r}.")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(check_number(min_delta, f"{who}: min_delta", -math.inf))
        self.best: float | None = None
        self.direction = mode

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the last training, and find out which way is better."""
        self.best = None
        self.find_direction()

    def find_direction(self) -> None:
        """Find out which way is better.

        Raises
        ------
        ValueError
            If `mode` is "auto" and nobody knows: at once, not when the first epoch is over.
        """
        self.direction = self.mode
        if self.mode != "auto":
            return
        found = self.model.direction_of(self.monitor)
        if found is None:
            names = self.model.log_names()
            meant = guess(self.monitor, [*names, *(f"val_{name}" for name in names)])
            raise ValueError(
                f"{type(self).__name__}: cannot tell whether {self.monitor!r} is better small or large; the model's "
                f"numbers are {', '.join(names)}, each with 'val_' for validation data too.{meant} "
                "If the name is right, say mode='min' "
                "or mode='max', or give your metric class direction = 'min' or 'max'."
            )
        self.direction = found

    def monitored(self, logs: Logs | None) -> float:
        """Return the watched number.

        Raises
        ------
        ValueError
            If the logs have none of that name. (Keras warns and goes on, and the training never stops.)
        """
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"{type(self).__name__}: there is no {self.monitor!r} in the logs to monitor; they have "
                f"{', '.join(logs) or 'nothing'}.{advice_for(self.monitor, logs)}"
            )
        return logs[self.monitor]

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether a value is better than another by more than `min_delta`; any number is better than None.

        NaN is never better: as the best value so far, no later one could beat it.
        """
        if math.isnan(value):
            return False
        if reference is None:
            return True
        if self.direction == "max":
            return value - self.min_delta > reference
        return value + self.min_delta < reference


def advice_for(name: str, logs: Logs) -> str:
    """Return what to do about a name that the logs have not, as a sentence to follow another; or nothing.

    Examples
    --------
    >>> advice_for("val_loss", {"loss": 0.5})
    " Names with 'val_' need validation data: fit(..., validation_split=0.1) or validation_data."
    """
    if name.startswith("val_") and not any(known.startswith("val_") for known in logs):
        return " Names with 'val_' need validation data: fit(..., validation_split=0.1) or validation_data."
    return guess(name, logs)
