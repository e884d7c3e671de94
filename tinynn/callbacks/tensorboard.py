"""TensorBoard: the numbers of the logs, and histograms of what goes on in the layers, for TensorBoard to show."""

from __future__ import annotations

import math
import os
import platform
import secrets
import time
import warnings
from collections.abc import Iterator
from typing import Any

from tinynn.arguments import check_count
from tinynn.backend import Array, array_module
from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.event_file import EventFile, histogram
from tinynn.callbacks.files import make_folder
from tinynn.extras import need
from tinynn.layers.base import Layer

RUNS = ("train", "validation")


class TensorBoard(Callback):
    """Write what TensorBoard shows: ``tensorboard --logdir logs``. Needs the extra ``tensorboard``.

    Under the folders ``train`` and ``validation`` of `log_dir`, with Keras's names:

    - ``epoch_loss`` and likewise all of the logs, and ``epoch_learning_rate``, at the number of the epoch, from 0;
    - ``batch_loss`` and likewise the scores of the epoch so far, at the number of the batch, from 1, counted over
      epochs, if `update_freq` asks for it;
    - ``evaluation_loss_vs_iterations`` and likewise the scores of each evaluation, at the number of steps made.

    With `histogram_freq`, of every so many epochs, at the number of the epoch:

    - ``weights/LAYER/NAME``, after the epoch;
    - of the first step in the epoch: ``gradients/LAYER/NAME``; ``activations/LAYER``, of each layer in a `Sequential`,
      as the training step computed them; ``update_ratios_log10/LAYER/NAME``, log10 of abs(update / weight) for each
      number that is not 0; and, as one number, ``update_ratio/LAYER/NAME``, the norm of the update divided by that of
      the weights: about 1e-3 is usual, far more is too fast, far less too slow.

    A training that is resumed goes on in its files, without what was written after the checkpoint: no step is there
    twice. Give each other training a `log_dir` of its own, or TensorBoard draws them over each other.

    Keras's ``write_graph``, ``write_images``, ``profile_batch``, ``embeddings_freq`` and ``embeddings_metadata`` are
    not here.

    Parameters
    ----------
    log_dir : str or path, default "logs"
        It is made if it is missing.
    histogram_freq : int, default 0
        Write histograms in every so many epochs; 0 is never.
    write_steps_per_second : bool, default False
        Whether to write ``epoch_steps_per_second``.
    update_freq : "epoch", "batch" or int, default "epoch"
        Whether to write scores after every batch, or every so many, too.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    OSError
        In fit, if the files cannot be written; before the training where that can be seen.

    Examples
    --------
    >>> import numpy as np, os, tempfile, tinynn
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    >>> model.compile(tinynn.SGD(0.5), "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     board = TensorBoard(os.path.join(folder, "logs"), histogram_freq=1)
    ...     _ = model.fit(x, 2 * x, epochs=2, validation_split=0.2, verbose=0, callbacks=[board])
    ...     sorted(os.listdir(os.path.join(folder, "logs")))
    ['train', 'validation']
    """

    state_names = ("batches", "epoch", "looked", "name")

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        *,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
    ) -> None:
        need("the callback TensorBoard", "tensorboardX", "tensorboard")
        if not isinstance(log_dir, str | os.PathLike) or not os.fspath(log_dir):
            raise TypeError(f"TensorBoard: log_dir must be the name of a folder, got {log_dir!r:.60}.")
        self.log_dir = os.fsdecode(log_dir)
        self.histogram_freq = check_count(histogram_freq, "TensorBoard: histogram_freq", 0)
        self.write_steps_per_second = write_steps_per_second
        if update_freq == "batch":
            update_freq = 1
        if update_freq != "epoch" and (isinstance(update_freq, str) or update_freq is None):
            raise ValueError(
                f"TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches, got {update_freq!r}."
            )
        self.update_freq = 0 if update_freq == "epoch" else check_count(update_freq, "TensorBoard: update_freq")
        self.files: dict[str, EventFile] = {}
        self.training = False
        self.forget()

    def forget(self) -> None:
        """Forget the last training."""
        self.batches = 0  # done and begun, over all epochs
        self.epoch = 0
        self.looked = False  # at the first step of this epoch
        self.before: Array | None = None  # the weights before that step, while it is done
        self.activations: dict[str, Any] = {}
        self.observed: list[tuple[Any, Any]] = []  # every Sequential with what it calls
        self.name = f"events.out.tfevents.{time.time():010.0f}.{platform.node()}.{secrets.token_hex(4)}"

    # When to do what ---------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look whether the folder can be written to."""
        self.close()
        self.forget()
        make_folder(self.log_dir, "TensorBoard")
        self.training = True
        self.start_clock()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the number of the epoch."""
        self.epoch = epoch
        self.looked = False
        self.look_away()
        self.start_clock()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Count, and watch the first step of the epoch."""
        self.batches += 1
        if self.histogram_freq and self.epoch % self.histogram_freq == 0 and not self.looked and self.before is None:
            optimizer, _ = self.model.need_compiled("TensorBoard")
            self.before, self.steps_before = self.model.need_arena().values.copy(), optimizer.iterations
            self.observe()

    def wants_batch(self) -> bool:
        """Whether there is something to write after the batch."""
        return self.step_is_done() or (self.update_freq > 0 and self.batches % self.update_freq == 0)

    def step_is_done(self) -> bool:
        """Whether the optimizer made the step that is watched."""
        optimizer, _ = self.model.need_compiled("TensorBoard")
        return self.before is not None and optimizer.iterations > self.steps_before

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the scores so far, and what was watched."""
        if self.update_freq > 0 and self.batches % self.update_freq == 0:
            self.file("train").write(self.batches, {f"batch_{name}": value for name, value in (logs or {}).items()})
        if self.step_is_done():
            self.write_step()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the logs, and histograms of the weights."""
        optimizer, _ = self.model.need_compiled("TensorBoard")
        logs = logs or {}
        scores = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
        scores.setdefault("epoch_learning_rate", optimizer.learning_rate)
        if self.write_steps_per_second:
            seconds = time.perf_counter() - self.clock
            scores["epoch_steps_per_second"] = (self.batches - self.clock_batches) / seconds
        found = {}
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, parameter in self.model.named_parameters():
                found[f"weights/{tag(name)}"] = histogram(parameter.value)
        self.file("train").write(epoch, scores, without_none(found))
        validated = {f"epoch_{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
        if validated:
            self.file("validation").write(epoch, validated)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Write the scores of an evaluation."""
        optimizer, _ = self.model.need_compiled("TensorBoard")
        scores = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self.file("validation").write(optimizer.iterations, scores)
        if not self.training:
            self.close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        self.training = False
        self.look_away()
        self.close()

    # The first step of an epoch ----------------------------------------------------------------------------------

    def observe(self) -> None:
        """Have every Sequential in the model show what its layers return."""
        parts = self.model.trained_parts("TensorBoard")
        ends: list[Layer] = []  # the model, the Sequential it ends in, and so on: there an activation may be set aside
        end: Any = self.model
        while hasattr(end, "observers"):
            ends.append(end)
            end = end.layers[-1]
        for path, sequence in sequences(self.model):

            def keep(place: int, y: Array, path: str = path, sequence: Any = sequence) -> None:
                if sequence in ends and place == len(sequence.layers) - 1:
                    y = parts.predictions(y)
                self.activations[f"activations/{path}{sequence.layers[place].name}"] = histogram(y)

            sequence.observers.append(keep)
            self.observed.append((sequence, keep))

    def write_step(self) -> None:
        """Write gradients, activations and updates."""
        assert self.before is not None
        numbers, found = {}, self.activations
        start = 0
        for name, parameter in self.model.named_parameters():
            if parameter.trainable:
                before = self.before[start : start + parameter.size].reshape(parameter.shape)
                start += parameter.size
                update = parameter.value - before
                found[f"gradients/{tag(name)}"] = histogram(parameter.grad)
                found[f"update_ratios_log10/{tag(name)}"] = histogram(log_ratios(update, before))
                size = norm(before)
                if size > 0:
                    numbers[f"update_ratio/{tag(name)}"] = norm(update) / size
        self.file("train").write(self.epoch, numbers, without_none(found))
        self.looked = True
        self.look_away()

    def look_away(self) -> None:
        """Watch no more."""
        self.before = None
        self.activations = {}
        while self.observed:
            sequence, keep = self.observed.pop()
            sequence.observers.remove(keep)

    # Files and memory --------------------------------------------------------------------------------------------

    def path(self, run: str) -> str:
        """Return the path of the file of a run."""
        return os.path.join(self.log_dir, run, self.name)

    def file(self, run: str) -> EventFile:
        """Return the file of a run, open."""
        if run not in self.files:
            self.files[run] = EventFile(self.path(run))
        return self.files[run]

    def close(self) -> None:
        """Close the files."""
        while self.files:
            self.files.popitem()[1].close()

    def start_clock(self) -> None:
        """Count steps a second from here."""
        self.clock, self.clock_batches = time.perf_counter(), self.batches

    def get_state(self) -> dict[str, Any]:
        """Return how many batches there were, and how far the files count; bring these to the disk so far."""
        return {**super().get_state(), "positions": {run: file.sync() for run, file in self.files.items()}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on in the files as they were when the checkpoint was made."""
        new_name = self.name
        super().set_state({name: state[name] for name in self.state_names})
        self.start_clock()
        missing = []
        for run in RUNS:
            path, position = self.path(run), state["positions"].get(run, 0)
            size = os.path.getsize(path) if os.path.exists(path) else 0
            if size < position:
                missing.append(f"{path} has {size} bytes of {position}")
            elif size:
                os.truncate(path, position)
                self.file(run)  # so that the next state has its position, whether or not anything is written until then
        if missing:
            warnings.warn(
                f"TensorBoard: {' and '.join(missing)} that it had when the checkpoint was made; what was written "
                "before is missing, what follows is written to new files.",
                stacklevel=5,
            )
            self.close()
            self.name = new_name


def sequences(layer: Layer, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every Sequential in a model, and its place: "" for the model, "residual/sequential/" inside a layer."""
    if hasattr(layer, "observers"):
        yield path, layer
    names: list[str] = []
    for child in layer.children:
        names.append(child.name or child.default_name)  # two of one name are numbered, as their parameters are
        number = f"_{names.count(names[-1]) - 1}" if names[-1] in names[:-1] else ""
        yield from sequences(child, f"{path}{names[-1]}{number}/")


def tag(name: str) -> str:
    """Return the tag of a parameter: TensorBoard folds what stands before a slash."""
    return name.replace(".", "/")


def without_none(found: dict[str, Any]) -> dict[str, Any]:
    """Return the histograms of which there is one."""
    return {name: value for name, value in found.items() if value is not None}


def log_ratios(update: Array, before: Array) -> Array:
    """Return log10 of abs(update / before) where neither is 0.

    Examples
    --------
    >>> import numpy as np
    >>> log_ratios(np.array([0.1, 1.0, 0.0]), np.array([-10.0, 0.0, 1.0]))
    array([-2.])
    """
    xp = array_module(update)
    some = (update != 0) & (before != 0)
    return xp.log10(xp.abs(update[some].astype("float64") / before[some].astype("float64")))


def norm(x: Array) -> float:
    """Return the square root of the sum of squares."""
    x = x.astype("float64")
    return math.sqrt(float((x * x).sum()))
