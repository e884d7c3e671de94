"""Callbacks: what happens beside the training loop. Names and arguments are Keras's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynn.scores import Scores
    from tinynn.training import Trainer

Logs = dict[str, float]


class Callback:
    """Base class of the callbacks; one's own overrides the moments it wants.

    Attributes
    ----------
    model : Trainer
        The model being trained. Setting ``self.model.stop_training = True`` stops it after the batch.
    params : dict
        ``epochs``, ``steps`` (batches an epoch), ``samples`` and ``verbose``.

    Examples
    --------
    >>> class StopWhenGood(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         if logs["accuracy"] > 0.98:
    ...             self.model.stop_training = True
    """

    model: Trainer
    params: dict[str, Any]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when fit begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when fit ends, also after Ctrl-C and after an error."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before an epoch; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch with the mean loss and the metrics of it, and ``val_...`` of the validation data."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch; `batch` counts from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch with the loss and metrics of the epoch so far."""


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


class ProgressBar(Callback):
    """What fit shows: a live bar on a terminal, one line an epoch elsewhere.

    The bar has the epoch, the batch, samples a second, time left, and the loss and metrics so far. It is drawn by
    the training loop itself at most ten times a second: a thread of its own would take time from the products.

    Parameters
    ----------
    live : bool, optional
        Whether to draw the bar; by default if standard output is a terminal.

    Examples
    --------
    >>> bar = ProgressBar(live=False)
    >>> bar.params = {"epochs": 5}
    >>> bar.on_epoch_begin(0)
    >>> bar.on_epoch_end(0, {"loss": 0.25})
    Epoch 1/5 - 0.0s - loss: 0.2500
    """

    def __init__(self, live: bool | None = None) -> None:
        self.live = on_terminal() if live is None else live
        self.progress: Any = None
        self.drawn = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock and bar."""
        self.start = time.perf_counter()
        self.title = f"Epoch {epoch + 1}/{self.params['epochs']}"
        if self.live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            # In a narrow terminal the bar gives way first, then the logs; the numbers keep their places.
            self.progress = Progress(
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4, max_width=24)),
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
                TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[logs]}", table_column=Column(no_wrap=True, ratio=3, overflow="ellipsis")),
                auto_refresh=False,
                transient=True,
                expand=True,
            )
            self.task = self.progress.add_task(self.title, total=self.params["steps"], rate="", logs="")
            self.progress.start()

    def wants_batch(self) -> bool:
        """Whether it is time to draw again."""
        return self.progress is not None and time.perf_counter() - self.drawn > 0.1

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw the bar."""
        if self.progress is None:
            return
        self.drawn = time.perf_counter()
        done = batch + 1
        rate = done / self.params["steps"] * self.params["samples"] / (self.drawn - self.start)
        self.progress.update(self.task, completed=done, rate=f"{rate:,.0f}/s", logs=show_logs(logs))
        self.progress.refresh()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Take the bar away and print the epoch's line."""
        self.close()
        seconds = time.perf_counter() - self.start
        print(f"{self.title} - {seconds:.1f}s - {show_logs(logs)}", flush=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Take the bar away if the epoch did not finish."""
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def show_logs(logs: Logs | None) -> str:
    """Return logs in one line.

    Examples
    --------
    >>> show_logs({"loss": 0.25, "accuracy": 0.9})
    'loss: 0.2500 - accuracy: 0.9000'
    """
    return " - ".join(f"{name}: {value:.4f}" for name, value in (logs or {}).items())


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def bar_over(batches: Iterable[Any], steps: float, title: str, verbose: str | int) -> Iterable[Any]:
    """Return `batches`, under a bar that goes away at the end if `verbose` asks for one and there is a terminal."""
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"{title}: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
    if verbose in (0, 2) or not on_terminal():
        return batches
    from rich.progress import track

    return track(batches, title, total=steps, transient=True)


class CallbackList:
    """All callbacks of one fit, called together; batches only for those that look at batches."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        callbacks = list(callbacks)
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"fit: callbacks must be instances of tinynn.callbacks.Callback, got {callback!r:.60}.")
        self.all: list[Callback] = callbacks
        self.bars = [callback for callback in self.all if isinstance(callback, ProgressBar)]
        others = [callback for callback in self.all if not isinstance(callback, ProgressBar)]
        self.at_batch_begin = [callback for callback in others if overrides(callback, "on_train_batch_begin")]
        self.at_batch_end = [callback for callback in others if overrides(callback, "on_train_batch_end")]

    def begin(self, model: Trainer, params: dict[str, Any]) -> None:
        """Tell them the model and that training begins."""
        for callback in self.all:
            callback.model, callback.params = model, params
            callback.on_train_begin()

    def end(self) -> None:
        """Tell all of them that training ends, also those after one that raises."""
        with ExitStack() as stack:
            for callback in reversed(self.all):
                stack.callback(callback.on_train_end)

    def epoch_begin(self, epoch: int) -> None:
        """Tell them that an epoch begins."""
        for callback in self.all:
            callback.on_epoch_begin(epoch)

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        """Tell them how an epoch went."""
        for callback in self.all:
            callback.on_epoch_end(epoch, logs)

    def batch_begin(self, batch: int) -> None:
        """Tell those that look at batches."""
        for callback in self.at_batch_begin:
            callback.on_train_batch_begin(batch)

    def batch_end(self, batch: int, scores: Scores) -> None:
        """Tell those that look at batches; the scores are worked out only if anybody does."""
        watching = [*self.at_batch_end, *(bar for bar in self.bars if bar.wants_batch())]
        if watching:
            logs = scores.result()
            for callback in watching:
                callback.on_train_batch_end(batch, logs)


def overrides(callback: Callback, method: str) -> bool:
    """Whether a callback has a method of its own in place of Callback's."""
    return getattr(type(callback), method) is not getattr(Callback, method)
