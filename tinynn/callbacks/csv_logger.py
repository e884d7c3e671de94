"""CSVLogger: the logs of every epoch in a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from tinynn.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """Write the loss and metrics of every epoch to a CSV file, a line each, there when the epoch is over.

    The columns are ``epoch``, from 0, and the names in the first epoch's logs, sorted; where none of them is of
    validation data, a ``val_`` column for each follows, as in Keras. What an epoch has no value for is ``NA``.
    Other callbacks' additions to the logs, such as ``learning_rate``, are there if this one stands after them.

    Parameters
    ----------
    filename : str or path
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to go on in a file that exists, with its columns; otherwise it starts anew.

    Raises
    ------
    OSError
        In fit, if the file cannot be written.
    ValueError
        In fit, if the logs have names for which the file to append to has no column.

    Examples
    --------
    >>> import numpy as np, os, tempfile, tinynn
    >>> model = tinynn.Sequential([tinynn.Dense(1, kernel_initializer="zeros")])
    >>> model.compile(tinynn.SGD(0.0), "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "log.csv")
    ...     _ = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0, callbacks=[CSVLogger(path)])
    ...     with open(path) as file:
    ...         print(file.read())
    epoch,loss,val_loss
    0,1.0,NA
    1,1.0,NA
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: separator must be one character, got {separator!r}.")
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.file: IO[str] | None = None
        self.columns: list[str] = []
        self.writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file."""
        self.close()
        self.columns = []
        self.writer = None
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                self.columns = next(csv.reader(file, delimiter=self.separator), [])
        self.file = open(self.filename, "a" if self.append else "w", newline="", encoding="utf-8")  # noqa: SIM115

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line."""
        logs = logs or {}
        assert self.file is not None
        if self.writer is None:
            new = not self.columns
            if new:
                self.columns = ["epoch", *columns_for(logs)]
            missing = [name for name in ("epoch", *sorted(logs)) if name not in self.columns]
            if missing:
                raise ValueError(
                    f"CSVLogger: {self.filename} has the columns {', '.join(self.columns)}, and none for "
                    f"{', '.join(missing)}; append to a file of such a training, or start a new one."
                )
            self.writer = csv.writer(self.file, delimiter=self.separator)
            if new:
                self.writer.writerow(self.columns)
        values = {**logs, "epoch": epoch}
        self.writer.writerow([cell(values.get(name, "NA")) for name in self.columns])
        self.file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, if it is open."""
        if self.file is not None:
            self.file.close()
            self.file = None


def columns_for(logs: Logs) -> list[str]:
    """Return Keras's columns for logs.

    Examples
    --------
    >>> columns_for({"loss": 0.5, "accuracy": 0.9})
    ['accuracy', 'loss', 'val_accuracy', 'val_loss']
    """
    names = sorted(logs)
    if any(name.startswith("val_") for name in names):
        return names
    return names + [f"val_{name}" for name in names]


def cell(value: Any) -> Any:
    """Return a value as it is written: several numbers in brackets, as Keras writes them.

    Examples
    --------
    >>> cell([1, 2])
    '"[1, 2]"'
    """
    if isinstance(value, Iterable) and not isinstance(value, str) and np.ndim(value) > 0:  # type: ignore[arg-type]
        return f'"[{", ".join(map(str, value))}]"'
    return value
