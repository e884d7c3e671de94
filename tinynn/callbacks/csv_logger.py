"""CSVLogger: the logs of every epoch in a file."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.files import make_folder, writing


class CSVLogger(Callback):
    """Write the loss and metrics of every epoch to a CSV file, a line each, there when the epoch is over.

    The columns are ``epoch``, from 0, and the names in the first epoch's logs, sorted; where none of them is of
    validation data, a ``val_`` column for each follows, as in Keras. What an epoch has no value for is ``NA``.
    Other callbacks' additions to the logs, such as ``learning_rate``, are there if this one stands after them.

    Parameters
    ----------
    filename : str or path
        Folders that are missing are made.
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

    state_names = ("columns", "position")

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: separator must be one character, got {separator!r}.")
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.file: IO[bytes] | None = None
        self.forget()

    def forget(self) -> None:
        """Forget the last training."""
        self.columns: list[str] = []
        self.position = 0  # so many bytes of the file count
        self.cut = False  # whether what follows them was cut off
        self.checked = False  # whether the logs have been compared with the columns

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file; what it holds stays until the first epoch begins, for `set_state` may want to go on in it."""
        self.close()
        self.forget()
        make_folder(os.path.dirname(self.filename), "CSVLogger")
        with writing("CSVLogger", self.filename):
            self.file = open(self.filename, "ab")  # noqa: SIM115
        if self.append:
            self.position = os.path.getsize(self.filename)
            with open(self.filename, newline="", encoding="utf-8") as file:
                self.columns = next(csv.reader(file, delimiter=self.separator), [])

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Cut off what does not count."""
        self.cut_off()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line."""
        logs = logs or {}
        new = not self.columns
        if new:
            self.columns = ["epoch", *columns_for(logs)]
        if not self.checked:
            missing = [name for name in ("epoch", *sorted(logs)) if name not in self.columns]
            if missing:
                raise ValueError(
                    f"CSVLogger: {self.filename} has the columns {', '.join(self.columns)}, and none for "
                    f"{', '.join(missing)}; append to a file of such a training, or start a new one."
                )
            self.checked = True
        values = {**logs, "epoch": epoch}
        row = [cell(values.get(name, "NA")) for name in self.columns]
        self.write([self.columns, row] if new else [row])

    def write(self, rows: list[list[Any]]) -> None:
        """Write lines, so that they are in the file at once."""
        self.cut_off()
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.separator).writerows(rows)
        data = text.getvalue().encode()
        assert self.file is not None
        with writing("CSVLogger", self.filename):
            self.file.write(data)
            self.file.flush()
        self.position += len(data)

    def cut_off(self) -> None:
        """Cut off the lines of an older training, or those written after the checkpoint from which one is resumed."""
        if not self.cut:
            assert self.file is not None
            self.file.truncate(self.position)
            self.cut = True

    def get_state(self) -> dict[str, Any]:
        """Return how far the file counts, and bring it to the disk so far."""
        if self.file is not None:
            os.fsync(self.file.fileno())
        return super().get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on in the file where the checkpoint was made; lines written after it will be written again."""
        size = os.path.getsize(self.filename)
        if size < state["position"]:
            warnings.warn(
                f"CSVLogger: {self.filename} has {size} bytes, and had {state['position']} when the checkpoint was "
                "made: the lines of the epochs before it are missing; those that follow are written.",
                stacklevel=5,
            )
            return
        super().set_state(state)
        self.cut_off()

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
