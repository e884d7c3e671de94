"""History: what fit returns."""

from __future__ import annotations

from typing import Any

from tinynn.callbacks.base import Callback, Logs


class History(Callback):
    """What fit returns: the loss and metrics of every epoch.

    Attributes
    ----------
    epoch : list of int
        The finished epochs, from 0.
    history : dict of list of float
        ``history["loss"][i]`` is the mean loss of epoch i while it ran; likewise every metric, and ``val_`` of the
        validation data.
    interrupted : bool
        Whether Ctrl-C ended the training.

    Examples
    --------
    >>> history = History()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    state_names = ("epoch", "history")

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.interrupted = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the epoch's logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: Any = None) -> Any:
        """Draw loss and metrics over the epochs; see `tinynn.plots.history`. Needs the extra ``viz``."""
        from tinynn import plots

        return plots.history(self, path)
