"""ProgressBar: what fit shows; and the bars of evaluate and predict."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinynn.arguments import check_number
from tinynn.callbacks.base import Callback, Logs


class ProgressBar(Callback):
    """What fit shows: a live bar on a terminal, one line an epoch elsewhere.

    The bar has the epoch, the batch, samples a second, time left, and the loss and metrics so far. Where nobody knows
    how many batches an epoch has, as with a generator, it shows how many there were. It is drawn by the training loop
    itself, a few times a second: a thread of its own would take time from the products.

    fit makes one, as its `verbose` says. Give it one of your own for other settings, ``callbacks=[ProgressBar(...)]``;
    that takes its place.

    Parameters
    ----------
    live : bool, optional
        Whether to draw the bar; by default if standard output is a terminal.
    interval : float, default 0.1
        At least so many seconds lie between two drawings. On a GPU the numbers are fetched for each.
    names : sequence of str, optional
        Which of the logs to show, in this order; by default all. What an epoch has not is left out.

    Examples
    --------
    >>> bar = ProgressBar(live=False)
    >>> bar.params = {"epochs": 5}
    >>> bar.on_epoch_begin(0)
    >>> bar.on_epoch_end(0, {"loss": 0.25})
    Epoch 1/5 - 0.0s - loss: 0.2500
    """

    state_names = ()

    def __init__(self, live: bool | None = None, interval: float = 0.1, names: Sequence[str] | None = None) -> None:
        if names is not None and (isinstance(names, str) or not all_names(names)):
            raise TypeError(
                f"ProgressBar: names must be a list of names in the logs, such as ['loss'], got {names!r:.60}."
            )
        self.live = on_terminal() if live is None else live
        self.interval = check_number(interval, "ProgressBar: interval", 0)
        self.names = names
        self.progress: Any = None
        self.drawn = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self.start = time.perf_counter()
        self.title = f"Epoch {epoch + 1}/{self.params['epochs']}"

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Open the epoch's bar before its first batch, or the first after the checkpoint it is resumed from."""
        if not self.live or self.progress is not None:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        def fixed() -> Column:
            return Column(no_wrap=True)

        steps = self.params["steps"]
        # In a narrow terminal the bar gives way first, then the logs; the numbers keep their places.
        columns = [
            TextColumn("{task.description}", table_column=fixed()),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4, max_width=24)),
            MofNCompleteColumn(table_column=fixed()),
            TextColumn("{task.fields[rate]}", table_column=fixed()),
            TimeRemainingColumn(compact=True, table_column=fixed()),
            TextColumn("{task.fields[logs]}", table_column=Column(no_wrap=True, ratio=3, overflow="ellipsis")),
        ]
        if steps is None:  # no bar, no time left
            columns = [columns[0], TextColumn("batch {task.completed}", table_column=fixed()), columns[3], columns[5]]
        self.progress = Progress(*columns, auto_refresh=False, transient=True, expand=True)
        self.first = batch
        self.task = self.progress.add_task(self.title, total=steps, completed=batch, rate="", logs="")
        self.progress.start()

    def wants_batch(self) -> bool:
        """Whether it is time to draw again."""
        return self.progress is not None and time.perf_counter() - self.drawn > self.interval

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draw the bar."""
        if self.progress is None:
            return
        self.drawn = time.perf_counter()
        done = batch + 1
        steps, samples = self.params["steps"], self.params["samples"]
        rate = (done - self.first) / (self.drawn - self.start)
        known = steps is not None and samples is not None
        shown = f"{rate * samples / steps:,.0f}/s" if known else f"{rate:,.0f} batches/s"
        self.progress.update(self.task, completed=done, rate=shown, logs=" - ".join(shown_logs(logs, self.names)))
        self.progress.refresh()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Take the bar away and print the epoch's line."""
        self.close()
        seconds = time.perf_counter() - self.start
        print(" - ".join([self.title, f"{seconds:.1f}s", *shown_logs(logs, self.names)]), flush=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Take the bar away if the epoch did not finish."""
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def shown_logs(logs: Logs | None, names: Sequence[str] | None = None) -> list[str]:
    """Return each of the logs as it is shown; small numbers with an exponent, as Keras does.

    Examples
    --------
    >>> shown_logs({"loss": 2.5e-5, "accuracy": 0.9, "zero": 0.0, "of_my_own": [1, 2]})
    ['loss: 2.5000e-05', 'accuracy: 0.9000', 'zero: 0.0000', 'of_my_own: [1, 2]']
    """
    shown = []
    found: dict[str, Any] = dict(logs or {})
    for name in found if names is None else names:
        value = found.get(name)
        if isinstance(value, int | float | np.integer | np.floating):
            shown.append(f"{name}: {value:.4e}" if 0 < abs(float(value)) <= 1e-3 else f"{name}: {value:.4f}")
        elif name in found:
            shown.append(f"{name}: {value}")
    return shown


def all_names(names: Any) -> bool:
    """Whether these are names, one after another."""
    return isinstance(names, Sequence) and all(isinstance(name, str) for name in names)


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def bar_over(batches: Iterable[Any], steps: float | None, title: str, verbose: str | int) -> Iterable[Any]:
    """Return `batches`, under a bar that goes away at the end if `verbose` asks for one and there is a terminal.

    Where nobody knows how many there are, `steps` is None.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"{title}: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
    if verbose in (0, 2) or not on_terminal():
        return batches
    from rich.progress import track

    return track(batches, title, total=steps, transient=True)
