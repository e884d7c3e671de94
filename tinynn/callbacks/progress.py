"""ProgressBar: what fit shows; and the bars of evaluate and predict."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from tinynn.callbacks.base import Callback, Logs


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

    state_names = ()

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
