"""Trainer: fit, evaluate and predict for anything that has a forward and a backward pass.

One training step, which is all of it (`Trainer.train_step`)::

    z, mask = net.forward(x)            the layers, one after another; which steps of sequences count
    L = loss.forward(y, z, w, mask)     each sample as much as its weight w; and the penalties of regularizers
    dz = loss.backward()
    net.backward(dz)                    the layers in reverse; gradients land in the arena
    optimizer.step(arena)               one formula on the flat vectors
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn import data
from tinynn.arguments import check_count
from tinynn.backend import Array, generator, to_device, to_host
from tinynn.callbacks import Callback, CallbackList, History, ProgressBar, bar_over, check_list
from tinynn.compiled import Compiled, TrainedParts
from tinynn.data import Samples
from tinynn.interrupt import on_first_interrupt
from tinynn.model import SHUFFLING, SPLITTING
from tinynn.parameter import Arena
from tinynn.scores import Scores


class Trainer(Compiled):
    """A model that can be trained; `Sequential` is the one to use. The parameters are those of `Model`."""

    stop_training = False
    history: History | None = None

    # Training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[Any, ...] | None = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        *,
        check_finite: bool = False,
    ) -> History:
        """Train on `x` and `y`.

        Ctrl-C ends the training after the batch at hand and returns the History so far: the model stays usable, and
        ``history.interrupted`` is True. A second Ctrl-C raises KeyboardInterrupt at once.

        Parameters
        ----------
        x : array, shape (samples, ...)
            Inputs. Any numbers; cast to the model's dtype batch by batch.
        y : array, shape (samples, ...)
            Targets, as the loss wants them.
        batch_size : int, default 32
            Samples a step; the last batch of an epoch may be smaller.
        epochs : int, default 1
            How often to go through the data.
        verbose : {"auto", 0, 1, 2}, default "auto"
            0 silent, 1 a live bar, 2 one line an epoch; "auto" a bar on a terminal and lines elsewhere.
        callbacks : sequence of Callback, optional
            What else to do while it trains, called in this order; see `tinynn.callbacks`.
        validation_split : float, default 0.0
            The part of the data to hold out for validation, drawn at random with the model's seed. (Keras takes the
            last samples, which is a trap where data are sorted.)
        validation_data : tuple (x, y) or (x, y, sample_weight), optional
            Data to evaluate after each epoch; instead of `validation_split`.
        shuffle : bool, default True
            Whether to take the samples in a new order in every epoch.
        class_weight : dict of int to float, optional
            How much each class counts in the loss of the training, ``{0: 1.0, 1: 5.0}``: a rare class counts more.
        sample_weight : array, shape (samples,) or (samples, steps), optional
            How much each sample counts in the loss, or each step of sequences. The loss is divided by the number of
            samples, not by the sum of the weights, so larger weights make larger steps, as in Keras. Metrics do not
            look at weights, but for those in compile's ``weighted_metrics``.
        check_finite : bool, default False
            Whether to look after every step for NaN and infinity, and name the line where the first one arose; the
            weights are then those before that step. Slower, by a copy of the model at each step; see
            `tinynn.check.finite`.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            For data the model or the loss cannot take.
        RuntimeError
            If the model was not compiled.
        FloatingPointError
            If the loss becomes NaN or infinite; the message has the step and what to try, and with `check_finite` the
            line. With the callback `TerminateOnNaN` training ends there and the History is returned.
        """
        optimizer, _ = self.need_compiled("fit")
        batch_size = check_count(batch_size, "fit: batch_size")
        epochs = check_count(epochs, "fit: epochs")
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"fit: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
        others = check_list(callbacks)
        samples = data.check_samples(x, y, sample_weight, "fit")
        validation = self._validation(validation_split, validation_data)
        if validation_split:
            samples, validation = data.split(samples, validation_split, generator(self.seed, SPLITTING))
        samples = self.prepare(samples, "fit", class_weight)
        if validation is not None:
            validation = self.prepare(validation, "fit: validation_data")

        history = self.history = History()
        bar = [ProgressBar(live=None if verbose in ("auto", 1) else False)] if verbose else []
        watchers = CallbackList([*bar, *others, history])
        count = len(samples.x)
        steps = math.ceil(count / batch_size)
        self.stop_training = False
        try:
            watchers.begin(self, {"epochs": epochs, "steps": steps, "samples": count, "verbose": int(verbose != 0)})
            with on_first_interrupt(self.stop_after_batch):
                for epoch in range(epochs):
                    if self.stop_training:
                        break
                    self._run_epoch(samples, epoch, batch_size, shuffle, watchers, validation, check_finite)
        except FloatingPointError as error:
            if not watchers.not_finite(error):
                raise
        finally:
            optimizer.finish(self.need_arena())
            self.forget()
            watchers.end()
        if history.interrupted and verbose:
            print(
                f"Interrupted after {optimizer.iterations} steps, {len(history.epoch)} of {epochs} epochs finished; "
                "the model keeps what it has learned."
            )
        return history

    def stop_after_batch(self) -> None:
        """Note that Ctrl-C was pressed."""
        self.stop_training = True
        if self.history is not None:
            self.history.interrupted = True

    def _run_epoch(
        self,
        samples: Samples,
        epoch: int,
        batch_size: int,
        shuffle: bool,
        watchers: CallbackList,
        validation: Samples | None,
        check_finite: bool,
    ) -> None:
        """Train one epoch; a batch is the smallest thing that is done or not done."""
        parts = self.trained_parts("fit")
        train_step = self.checked_train_step if check_finite else self.train_step
        scores = self.scores_for(samples.y)
        count = len(samples.x)
        watchers.epoch_begin(epoch)
        order = None
        if shuffle:
            order = to_device(
                generator(self.seed, SHUFFLING, parts.optimizer.iterations).permutation(count), self.device
            )
        for step, rows in enumerate(data.batches(count, batch_size, order)):
            watchers.batch_begin(step)
            x, y, sample_weight = samples.rows(rows)
            where = f"epoch {epoch + 1}, batch {step + 1}"
            train_step(parts, self.cast(x), y, scores, where, sample_weight)
            watchers.batch_end(step, scores)
            if self.stop_training:
                break
        if scores.samples < count and self.history is not None and self.history.interrupted:
            return  # an epoch cut short by Ctrl-C is no epoch
        logs = scores.result()
        self.need_finite_weights(epoch)
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self._score(validation, 1024).items()}
        watchers.epoch_end(epoch, logs)

    def train_step(
        self,
        parts: TrainedParts,
        x: Array,
        y: Array,
        scores: Scores,
        where: str,
        sample_weight: Array | None = None,
    ) -> None:
        """Do one step on a batch that is checked and on the device already."""
        arena = self.need_arena()
        z, mask = parts.forward(x, training=True)
        L = parts.loss.forward(y, z, sample_weight, mask) + penalty(arena)
        scores.add(L, y, parts.predictions(z), where, sample_weight, mask)
        dz = parts.loss.backward()
        parts.net.backward(dz, need_dx=False)
        for parameter, regularizer in arena.regularized:
            parameter.grad += regularizer.gradient(parameter.value)
        parts.optimizer.step(arena)

    def checked_train_step(self, *step: Any) -> None:
        """Do `train_step`, and name the line if a NaN or an infinity arises in it."""
        from tinynn.check import finite_check

        finite_check.train_step(self, *step)

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: dict[int, float] | None = None
    ) -> float | list[float]:
        """Do one step on one batch and return its loss, followed by the metrics if there are any.

        Examples
        --------
        >>> import tinynn
        >>> model = tinynn.Sequential([tinynn.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.train_on_batch([[1.0], [2.0]], [[2.0], [4.0]])
        10.0
        """
        self.need_compiled("train_on_batch")
        samples = data.check_samples(x, y, sample_weight, "train_on_batch")
        x, y, sample_weight = self.prepare(samples, "train_on_batch", class_weight)
        scores = self.scores_for(y)
        parts = self.trained_parts("train_on_batch")
        self.train_step(parts, self.cast(x), y, scores, "this batch", sample_weight)
        values = list(scores.result().values())
        return values if len(values) > 1 else values[0]

    # Using -------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int = 1024,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        *,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Return the mean loss and the metrics on `x` and `y`, without training.

        Parameters
        ----------
        x, y : array
            As for `fit`.
        batch_size : int, default 1024
            Samples at a time. It changes the speed, not the result, but where steps are masked: the loss of a batch is
            the mean over the steps that count in it, as in Keras.
        verbose : {"auto", 0, 1, 2}, default "auto"
            "auto" and 1 draw a bar on a terminal, which goes away at the end; 0 and 2 draw nothing.
        sample_weight : array, optional
            As for `fit`.
        return_dict : bool, default False
            Whether to return names with the values.

        Returns
        -------
        list of float, dict or float
            ``[loss, metric, ...]``, or the loss alone where there are no metrics.
        """
        self.need_compiled("evaluate")
        batch_size = check_count(batch_size, "evaluate: batch_size")
        samples = data.check_samples(x, y, sample_weight, "evaluate")
        self.need_weights("evaluate")
        scores = self._score(self.prepare(samples, "evaluate"), batch_size, verbose)
        if return_dict:
            return scores
        values = list(scores.values())
        return values if len(values) > 1 else values[0]

    def _score(self, samples: Samples, batch_size: int, verbose: str | int = 0) -> dict[str, float]:
        """Return loss and metrics of data that are checked and on the device already."""
        scores = self.scores_for(samples.y)
        parts = self.trained_parts("evaluate")
        count = len(samples.x)
        for rows in bar_over(data.batches(count, batch_size), count / batch_size, "evaluate", verbose):
            x, y, sample_weight = samples.rows(rows)
            z, mask = parts.forward(self.cast(x))
            L = parts.loss.forward(y, z, sample_weight, mask) + penalty(self.need_arena())
            scores.add(L, y, parts.predictions(z), None, sample_weight, mask)
        parts.loss.cache = None
        self.forget()
        return scores.result()

    def predict(self, x: Any, batch_size: int = 1024, verbose: str | int = "auto") -> Array:
        """Return the outputs for `x` as a NumPy array.

        Parameters
        ----------
        x : array, shape (samples, ...)
        batch_size : int, default 1024
            Samples at a time. It changes the speed, not the result.
        verbose : {"auto", 0, 1, 2}, default "auto"
            As for `evaluate`.

        Raises
        ------
        RuntimeError
            If the model has no weights yet.
        """
        self.need_weights("predict")
        batch_size = check_count(batch_size, "predict: batch_size")
        x = data.check_array(x, "predict", "x")
        self.check_input(x)
        self.check_values(x)
        x = to_device(x, self.device)
        outputs = []
        for rows in bar_over(data.batches(len(x), batch_size), len(x) / batch_size, "predict", verbose):
            outputs.append(to_host(self.forward(self.cast(x[rows]))))
        self.forget()
        return np.concatenate(outputs)

    # Checking ----------------------------------------------------------------------------------------------------

    def _validation(self, part: float, given: Any) -> Samples | None:
        """Return the validation data that were given, checked."""
        if given is None:
            return None
        if part:
            raise ValueError("fit: give validation_split or validation_data, not both.")
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            got = f"{len(given)} entries" if isinstance(given, tuple | list) else type(given).__name__
            raise ValueError(
                f"fit: validation_data must be a tuple (x, y), got {got}. A third entry may be the sample weights."
            )
        return data.check_samples(given[0], given[1], given[2] if len(given) == 3 else None, "fit: validation_data")

    def need_finite_weights(self, epoch: int) -> None:
        """Raise FloatingPointError if an epoch's last step spoilt the weights, which no later loss would tell."""
        arena = self.need_arena()
        with np.errstate(over="ignore", invalid="ignore"):
            total = arena.values.sum()  # not finite if a number in it is not; a quick look, and a slow one in doubt
        if not bool(arena.xp.isfinite(total)) and not bool(arena.xp.isfinite(arena.values).all()):
            raise FloatingPointError(
                f"the weights became NaN or infinite in the last step of epoch {epoch + 1}. Try a smaller learning "
                "rate (a tenth of this one), and inputs scaled to about -1 to 1."
            )


def penalty(arena: Arena) -> Any:
    """Return what counts to the loss beside it: the penalties of the weights, and of activities in the last forward."""
    of_weights = sum(regularizer(parameter.value) for parameter, regularizer in arena.regularized)
    return of_weights + sum(layer.activity_penalty for layer in arena.penalized)
