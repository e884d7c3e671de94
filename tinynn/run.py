"""Run: one training from its begin to its end. Where it stands, and how it goes on from there.

A batch is the smallest thing that is done or not done. Where a run stands is therefore a few numbers, the epoch, how
many of its batches are done, and what its order was drawn from; and beside the model's own state the loss and metrics
counted so far, and what the callbacks remember. That is what a checkpoint holds, and all that the loop below needs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinynn.backend import Array, generator
from tinynn.callbacks import CallbackList
from tinynn.config import differences, from_plain
from tinynn.data.sources import IterableSource, Source
from tinynn.io.checkpoints import Checkpoints, CheckpointWarning
from tinynn.io.files import Contents
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
        parts = model.trained_parts("fit")
        train_step = model.checked_train_step if self.check_finite else model.train_step
        watchers.epoch_begin(self.epoch, resumed=self.step > 0)
        if self.step == 0:
            optimizer = parts.optimizer
            self.order_of = (optimizer.iterations, *([optimizer.waiting] if optimizer.waiting else []))
            self.scores = model.scores_for(self.source.first.y)
        for batch in self.source.batches(self.epoch, self.step, self.order if self.shuffle else None):
            watchers.batch_begin(self.step)
            x, y, sample_weight = model.cast_batch(batch)
            train_step(parts, x, y, self.scores, f"epoch {self.epoch + 1}, batch {self.step + 1}", sample_weight)
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
        """Make a checkpoint. If it cannot be written, the training goes on, and the user is warned."""
        assert self.checkpoints is not None
        self.model.need_finite_weights(self.epoch)
        try:
            self.checkpoints.save(self.model, self.get_state(), self.batches)
        except OSError as error:
            if self.batches == 0:
                raise  # before the first batch nothing is lost by an error
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
                "epochs_before": self.source.epochs_before if isinstance(self.source, IterableSource) else 0,
                "settings": self.settings(),
            },
        }

    def settings(self) -> dict[str, Any]:
        """Return what must be the same in a run that is resumed."""
        return {"samples": self.source.samples, "batches an epoch": self.source.steps, "shuffle": self.shuffle}

    def find_checkpoint(self) -> dict[str, Any] | None:
        """Go on from the newest whole checkpoint; see `resume`. None where there is none."""
        assert self.checkpoints is not None
        found = self.checkpoints.newest()
        if found is None:
            return None
        self.resumed_from = found[0]
        return self.resume(*found)

    def tell(self) -> None:
        """Print from where the run goes on."""
        assert self.checkpoints is not None
        if self.resumed_from is None:
            print(f"No checkpoint in {self.checkpoints.folder}: the training starts anew.")
            return
        steps = "" if self.source.steps is None else f" of {self.source.steps}"
        where = f"epoch {self.epoch + 1} of {self.epochs}, after {self.step}{steps} batches"
        if self.epoch >= self.epochs or self.model.stop_training:
            where = f"{self.epoch} epochs are done, nothing is left to do"
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
        here, there = describe(model, "fit: resume"), dict(contents.document)
        seed = forget_seeds(here["model"], there["model"])
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
        model.set_training_state(state["training"])
        write_parameters(parameters, contents)
        model.seed = model.seed if seed is None else seed
        self.epoch, self.step, self.batches = run["epoch"], run["step"], run["batches"]
        self.order_of = tuple(run["order_of"])
        model.stop_training = run["stopped"] and self.epoch < self.epochs
        if isinstance(self.source, IterableSource):
            self.source.epochs_before = run["epochs_before"]
        if self.step:
            self.scores.set_state(run["scores"], model.device.xp)
        callbacks: dict[str, Any] = run["callbacks"]
        return callbacks


def forget_seeds(here: Any, there: Any) -> int | None:
    """Take the seeds out of two descriptions of a model, for one that nobody chose differs each time; return theirs."""
    found = [model["config"].pop("seed", None) for model in (here, there) if isinstance(model.get("config"), dict)]
    return found[-1] if found and isinstance(found[-1], int) else None
