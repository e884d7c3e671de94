"""Run: one training from its begin to its end. Where it stands, and how it goes on from there.

A batch is the smallest thing that is done or not done. Where a run stands is therefore a few numbers, the epoch, how
many of its batches are done, and what its order was drawn from; and beside the model's own state the loss and metrics
counted so far, and what the callbacks remember. That is what a checkpoint holds, and all that the loop below needs.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinynn.backend import Array, generator
from tinynn.callbacks import CallbackList
from tinynn.config import from_plain
from tinynn.data.sources import ArraySource, IterableSource, Source
from tinynn.graph import steps_of
from tinynn.io.checkpoints import Checkpoints, CheckpointWarning
from tinynn.io.differences import differences
from tinynn.io.files import Contents, versions
from tinynn.io.model_file import describe
from tinynn.io.weights import compare, parameters_by_name, write_parameters
from tinynn.model import SHUFFLING

if TYPE_CHECKING:
    from tinynn.scores import Scores
    from tinynn.training import Trainer


@dataclass
class Run:
    """One training.

    Attributes
    ----------
    model : Trainer
    source : Source
        What is trained on.
    validation : Source or None
        What is evaluated after each epoch.
    watchers : CallbackList
    epochs : int
        How many there shall be in all.
    shuffle : bool
    check_finite : bool
    checkpoints : Checkpoints or None
    epoch : int
        The one at hand, from 0.
    step : int
        How many of its batches are done.
    batches : int
        How many batches of all epochs are done.
    order_of : list of int
        What the order of the samples in this epoch is drawn from, beside the seed: how many steps the optimizer had
        made when it began.
    resumed_from : str or None
        The path of the checkpoint it went on from.
    scores : Scores
        The loss and metrics of this epoch so far.
    """

    model: Trainer
    source: Source
    validation: Source | None
    watchers: CallbackList
    epochs: int
    shuffle: bool
    check_finite: bool
    checkpoints: Checkpoints | None
    scores: Scores
    epoch: int = 0
    step: int = 0
    batches: int = 0
    order_of: tuple[int, ...] = ()
    resumed_from: str | None = None

    def go(self) -> None:
        """Train, from where the run stands to its end, or until it is stopped."""
        while self.epoch < self.epochs and not self.model.stop_training:
            self.run_epoch()

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        model, watchers = self.model, self.watchers
        steps = steps_of(self, model.trained_parts("fit"))
        watchers.epoch_begin(self.epoch, resumed=self.step > 0)
        if self.step == 0:
            optimizer = model.need_compiled("fit")[0]
            self.order_of = (optimizer.iterations, *([optimizer.waiting] if optimizer.waiting else []))
            self.scores = model.scores_for(self.source.first.y)
        for batch in steps.batches(self.step, self.order if self.shuffle else None):
            watchers.batch_begin(self.step)
            steps.step(batch, self.scores, f"epoch {self.epoch + 1}, batch {self.step + 1}")
            self.step += 1
            self.batches += 1
            watchers.batch_end(self.step - 1, self.scores)
            if self.checkpoints is not None and self.checkpoints.due(self.step):
                self.save()
            if model.stop_training:
                break
        if self.interrupted and self.step != self.source.steps:
            if self.checkpoints is not None:
                self.save()
            return  # an epoch cut short by Ctrl-C is no epoch
        logs = self.scores.result()
        model.need_finite_weights(self.epoch)
        if self.validation is not None:
            logs |= {f"val_{name}": value for name, value in model.score(self.validation, watchers).items()}
        watchers.epoch_end(self.epoch, logs)
        self.epoch, self.step = self.epoch + 1, 0
        if self.checkpoints is not None:
            self.save()

    def order(self, count: int) -> Array:
        """Return the order of the samples in this epoch."""
        return generator(self.model.seed, SHUFFLING, *self.order_of).permutation(count)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.model.history is not None and self.model.history.interrupted

    # Checkpoints -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Make a checkpoint; it is written while the training goes on."""
        assert self.checkpoints is not None
        self.model.need_finite_weights(self.epoch)
        self.finish_saving()
        self.checkpoints.begin(self.model, self.get_state(), self.batches)
        if self.batches == 0:
            self.checkpoints.finish()  # before the first batch nothing is lost by an error

    def finish_saving(self) -> None:
        """Wait for the checkpoint that is being written. If it could not be, warn the user and go on."""
        assert self.checkpoints is not None
        try:
            self.checkpoints.finish()
        except (OSError, ValueError) as error:
            numbers = []
            with suppress(OSError):  # the folder may have gone
                numbers = self.checkpoints.numbers()
            last = f"after {numbers[-1]} of {self.batches} batches" if numbers else "gone"
            text = f"{error} The training goes on; the newest checkpoint is {last}."
            warnings.warn(text, CheckpointWarning, stacklevel=2)

    def get_state(self) -> dict[str, Any]:
        """Return where the run stands, as plain data and arrays."""
        return {
            "training": self.model.get_training_state(),
            "run": {
                "epoch": self.epoch,
                "step": self.step,
                "batches": self.batches,
                "order_of": self.order_of,
                "scores": self.scores.get_state() if self.step else None,
                "callbacks": self.watchers.get_states(),
                "stopped": self.model.stop_training and not self.interrupted,
                "validated": self.validation.taken if isinstance(self.validation, IterableSource) else 0,
                "epochs_before": self.source.epochs_before if isinstance(self.source, IterableSource) else 0,
                "settings": self.settings(),
            },
        }

    def settings(self) -> dict[str, Any]:
        """Return what must be the same in a run that is resumed."""
        settings = {"samples": self.source.samples, "batches an epoch": self.source.steps, "shuffle": self.shuffle}
        return settings | ({"batch_size": self.source.batch_size} if isinstance(self.source, ArraySource) else {})

    def tell(self) -> None:
        """Print from where the run goes on."""
        assert self.checkpoints is not None
        if self.resumed_from is None:
            print(f"No checkpoint in {self.checkpoints.folder}: the training starts anew.")
            return
        steps = "" if self.source.steps is None else f" of {self.source.steps}"
        where = f"epoch {self.epoch + 1} of {self.epochs}, after {self.step}{steps} batches"
        if self.epoch >= self.epochs:
            where = f"{self.epoch} epochs are done, nothing is left to do"
        elif self.model.stop_training:
            where = f"a callback ended the training after {self.epoch} of {self.epochs} epochs, nothing is left to do"
        print(f"Resuming from {self.resumed_from}: {where}.")

    def resume(self, path: str, contents: Contents) -> dict[str, Any]:
        """Take the model and this run to where a checkpoint stood; if it does not fit, nothing is changed.

        Returns
        -------
        dict
            What the callbacks remembered, for whoever tells them that the training begins.

        Raises
        ------
        ValueError
            If it is of another model, or of a training with other settings; the message has all that differs.
        """
        model = self.model
        described = describe(model, "fit: resume")
        here, there = dict(described), dict(contents.document)
        seed = seed_in((path, contents))
        here["model"], there["model"] = without_seeds(here["model"]), without_seeds(there["model"])
        state = from_plain(there["state"], None, contents.aside())
        others = [
            line
            for key, what in (("model", "model"), ("input_shape", "inputs"), ("compiled", "compile"))
            for line in differences(there[key], here[key], what)
        ]
        if not isinstance(state, dict) or "run" not in state:
            raise ValueError(f"fit: resume: {path} was written by save, not by a training; load it with load_model.")
        run, mine = state["run"], self.settings()
        others += [
            f"{name}: {run['settings'].get(name)!r} there and {value!r} here"
            for name, value in mine.items()
            if run["settings"].get(name) != value
        ]
        parameters = parameters_by_name(model, "fit: resume")
        others += compare(contents.header, parameters)
        if others:
            lines = "".join(f"\n  {line}" for line in others[:20])
            raise ValueError(
                f"fit: resume: the checkpoint {path} is of another training:{lines}\nNothing was changed. Make model, "
                "compile and data as they were, or start anew in another folder."
            )
        for key, version in versions().items():
            old = contents.header.metadata.get(key)
            if old is not None and old != version:
                text = f"fit: resume: {path} was made with {key} {old}, and this is {version}: the bits may differ."
                warnings.warn(text, CheckpointWarning, stacklevel=4)
        model.set_training_state(state["training"])
        write_parameters(parameters, contents)
        model.refresh()
        if seed is not None:
            model.seed = described["model"]["config"]["seed"] = seed
        self.resumed_from = path
        self.epoch, self.step, self.batches = run["epoch"], run["step"], run["batches"]
        self.order_of = tuple(run["order_of"])
        model.stop_training = run["stopped"] and self.epoch < self.epochs
        if isinstance(self.source, IterableSource):
            self.source.epochs_before = run["epochs_before"]
        if self.checkpoints is not None:
            self.checkpoints.described = described  # not later, when a callback may have changed a setting
        if isinstance(self.validation, IterableSource):
            self.validation.skip(run["validated"])
        if self.step:
            self.scores.set_state(run["scores"], model.device.xp)
        callbacks: dict[str, Any] = run["callbacks"]
        return callbacks


def seed_in(found: tuple[str, Contents] | None) -> int | None:
    """Return the seed of the model in a checkpoint, None where there is none."""
    model = None if found is None else found[1].document["model"]
    config = model.get("config") if isinstance(model, dict) else None
    seed = config.get("seed") if isinstance(config, dict) else None
    return seed if type(seed) is int and seed >= 0 else None


def without_seeds(plain: Any) -> Any:
    """Return the description of a model without its seed and those of models in it: one nobody chose is always new."""
    if isinstance(plain, list):
        return [without_seeds(entry) for entry in plain]
    if not isinstance(plain, dict):
        return plain
    of_model = {"layers", "seed", "dtype"} <= set(plain)
    return {key: without_seeds(entry) for key, entry in plain.items() if not (of_model and key == "seed")}
