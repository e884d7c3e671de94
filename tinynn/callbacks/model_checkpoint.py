"""ModelCheckpoint: the model in a file, every epoch or so many batches, or only when it has become better."""

from __future__ import annotations

import errno
import math
import os
import re
import string
import warnings
from typing import Any

from tinynn.arguments import check_count, check_number
from tinynn.callbacks.base import Logs
from tinynn.callbacks.files import make_folder
from tinynn.callbacks.monitor import MonitorCallback, advice_for
from tinynn.io.atomic import path_of


class ModelCheckpoint(MonitorCallback):
    """Save the model while it trains: after every epoch, or after so many batches; all of it, or only better ones.

    A file is whole or not there, also if the program is killed while it is written. Folders that are missing are made.
    To go on with a training that was killed there is ``fit(..., checkpoint_dir=...)``; the files made here are for use.

    A Keras user changes the endings, ``.keras`` to ``.tinynn`` and ``.weights.h5`` to ``.safetensors``, which are the
    custom here but not required. What there is a warning in Keras (the monitored number is not in the logs) is an
    error here, and NaN is never the best.

    Parameters
    ----------
    filepath : str or path
        Where to. In braces may stand ``epoch``, from 1, names in the logs, and with `save_freq` a number ``batch``,
        from 1, each with a format: ``"models/{epoch:02d}-{val_loss:.2f}.tinynn"``. Without any, the newest file takes
        the place of the older one.
    monitor : str, default "val_loss"
        With `save_best_only`, the number to watch: the loss or a metric, with ``val_`` that of the validation data.
    verbose : {0, 1}, default 0
        Whether to say what was done.
    save_best_only : bool, default False
        Whether to save only when the number is better than ever. What is the best so far outlasts a fit: a second one
        does not overwrite a better model of the first.
    save_weights_only : bool, default False
        Whether to write the weights alone, as `Model.save_weights` does, and not the whole model.
    mode : {"auto", "min", "max"}, default "auto"
        Whether small or large is better; "auto" asks the metric.
    save_freq : "epoch" or int, default "epoch"
        When to save: after every epoch, or after so many batches, counted over epochs. The numbers are then those of
        the epoch so far, and there are none of validation data.
    initial_value_threshold : float, optional
        With `save_best_only`, the best value before the first.

    Attributes
    ----------
    best : float or None
        The best value so far.

    Raises
    ------
    ValueError
        If `filepath` cannot be filled: at once for what no log ever has, in fit for other names; or, in fit, if there
        is nothing of the name `monitor` in the logs, or "auto" does not know which way is better.
    OSError
        In fit, if a file cannot be written, with the reason and what to do; before the training where that can be
        seen.

    Examples
    --------
    >>> import numpy as np, os, tempfile, tinynn
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    >>> model.compile(tinynn.SGD(0.5), "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "models", "{epoch:02d}-{loss:.1f}.tinynn")
    ...     _ = model.fit(x, 2 * x, epochs=2, verbose=0, callbacks=[ModelCheckpoint(path)])
    ...     sorted(os.listdir(os.path.join(folder, "models")))
    ...     again = tinynn.load_model(os.path.join(folder, "models", "02-0.9.tinynn"))
    ['01-2.2.tinynn', '02-0.9.tinynn']
    """

    state_names = ("batches", "best", "epoch")

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, 0)
        self.filepath = path_of(filepath, "ModelCheckpoint")
        self.fields = fields_of(self.filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        if save_freq != "epoch" and (isinstance(save_freq, str) or save_freq is None):
            raise ValueError(f"ModelCheckpoint: save_freq must be 'epoch' or a number of batches, got {save_freq!r}.")
        self.save_freq = save_freq if save_freq == "epoch" else check_count(save_freq, "ModelCheckpoint: save_freq")
        if self.save_freq == "epoch" and "batch" in self.fields:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} has {{batch}}, and with save_freq='epoch' there is none; "
                "leave it out, or give save_freq a number of batches."
            )
        if initial_value_threshold is not None:
            who = "ModelCheckpoint: initial_value_threshold"
            self.best = check_number(initial_value_threshold, who, -math.inf)
        self.batches = 0  # since the last saving
        self.epoch = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look for what would fail after an epoch: names, and a folder that cannot be written to."""
        self.batches = 0
        if self.save_best_only:
            self.find_direction()
        names = self.model.log_names()
        if self.save_freq == "epoch":
            names += [*(f"val_{name}" for name in names), "learning_rate"]
        elif self.save_best_only and self.monitor.startswith("val_"):
            raise ValueError(
                f"ModelCheckpoint: monitor is {self.monitor!r}, and while an epoch runs (save_freq={self.save_freq}) "
                f"the logs have only {', '.join(names)}."
            )
        strangers = [name for name in self.fields if name not in ("epoch", "batch", *names)]
        if strangers:
            warnings.warn(
                f"ModelCheckpoint: filepath {self.filepath!r} asks for {', '.join(strangers)}; the logs have "
                f"{', '.join(names)}. If no other callback puts it there, saving will fail.",
                stacklevel=5,
            )
        else:
            self.path_for(0, 0, dict.fromkeys(names, 0.5))
        folder = os.path.dirname(self.filepath)
        if "{" not in folder:
            make_folder(folder, "ModelCheckpoint")
        if not self.fields and os.path.isdir(self.filepath):
            raise IsADirectoryError(
                errno.EISDIR,
                f"ModelCheckpoint: {self.filepath} is a folder; give the name of a file in it, such as "
                f"{os.path.join(self.filepath, '{epoch:02d}.tinynn')}",
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the number of the epoch."""
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Count."""
        self.batches += 1

    def wants_batch(self) -> bool:
        """Whether it is time to save."""
        return self.save_freq != "epoch" and self.batches >= int(self.save_freq)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.wants_batch():
            self.batches = 0
            self.save(self.epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.save_freq == "epoch":
            self.save(epoch, None, logs or {})

    def save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        """Save the model, if it should be."""
        path = self.path_for(epoch, batch, logs)
        if self.save_best_only:
            current, best = self.monitored(logs), "None" if self.best is None else f"{self.best:.5f}"
            if not self.is_improvement(current, self.best):
                self.say(epoch, f"{self.monitor} did not improve from {best}")
                return
            self.best = current
            self.say(epoch, f"{self.monitor} improved from {best} to {current:.5f}, saving model to {path}")
        else:
            self.say(epoch, f"saving model to {path}")
        make_folder(os.path.dirname(path), "ModelCheckpoint")
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        self.say(epoch, f"finished saving model to {path}")

    def say(self, epoch: int, what: str) -> None:
        """Print what is done, with `verbose`."""
        if self.verbose:
            print(f"Epoch {epoch + 1}: {what}")

    def path_for(self, epoch: int, batch: int | None, logs: Logs) -> str:
        """Return `filepath` with its braces filled."""
        values: dict[str, Any] = {**logs, "epoch": epoch + 1} | ({} if batch is None else {"batch": batch + 1})
        try:
            return self.filepath.format(**values)
        except KeyError as error:
            missing, names = error.args[0], ", ".join(values)
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} asks for {missing!r}, and there are only {names}."
                f"{advice_for(missing, logs)}"
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"ModelCheckpoint: filepath {self.filepath!r} cannot be filled: {error}.") from None


def fields_of(filepath: str) -> list[str]:
    """Return the names in braces.

    Examples
    --------
    >>> fields_of("{epoch:02d}-{val_loss:.2f}.tinynn")
    ['epoch', 'val_loss']
    """
    what = "write {epoch:02d} or the name of a number in the logs, and a brace that is none as {{ or }}"
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(filepath) if name is not None]
    except ValueError as error:
        raise ValueError(f"ModelCheckpoint: filepath {filepath!r} cannot be filled ({error}); {what}.") from None
    fields = [re.split(r"[.\[]", name)[0] for name in names]
    if any(not field or field.isdigit() for field in fields):
        raise ValueError(f"ModelCheckpoint: filepath {filepath!r} has braces without a name; {what}.")
    return fields
