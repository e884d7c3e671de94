"""Trainer: fit, evaluate and predict for anything that has a forward and a backward pass.

One training step, which is all of it (`Trainer.train_step`)::

    z, mask = net.forward(x)            the layers, one after another; which steps of sequences count
    L = loss.forward(y, z, w, mask)     each sample as much as its weight w; and the penalties of regularizers
    dz = loss.backward()
    net.backward(dz)                    the layers in reverse; gradients land in the arena
    optimizer.step(arena)               one formula on the flat vectors
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn import data
from tinynn.arguments import check_count
from tinynn.backend import Array, generator, to_device, to_host
from tinynn.callbacks import Callback, CallbackList, History, ProgressBar, bar_over, check_list
from tinynn.compiled import Compiled, TrainedParts
from tinynn.data import ArraySource, IterableSource, Samples, Source
from tinynn.graph import CapturedSteps
from tinynn.interrupt import on_first_interrupt
from tinynn.io.checkpoints import Checkpoints, CheckpointWarning
from tinynn.kernels.precision import precision
from tinynn.memory import explains_memory
from tinynn.model import SPLITTING
from tinynn.parameter import Arena
from tinynn.run import Run, seed_in
from tinynn.scores import Scores


class Trainer(Compiled):
    """A model that can be trained; `Sequential` is the one to use. The parameters are those of `Model`."""

    stop_training = False
    history: History | None = None
    captured: CapturedSteps | None = None
    graph_reason = "no training yet"

    # Training ----------------------------------------------------------------------------------------------------

    @explains_memory
    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        *,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        check_finite: bool = False,
        checkpoint_dir: Any = None,
        checkpoint_freq: int | str = "epoch",
        resume: bool = False,
    ) -> History:
        """Train on `x` and `y`.

        Ctrl-C ends the training after the batch at hand and returns the History so far: the model stays usable, and
        ``history.interrupted`` is True. A second Ctrl-C raises KeyboardInterrupt at once.

        With `checkpoint_dir` a training that ends before its time, by a kill or a power failure, goes on where it
        stood when it is started again with ``resume=True``: with the same weights, to the bit, as if it had never been
        stopped, on the same machine with as many threads.

        Parameters
        ----------
        x : array, shape (samples, ...), or iterable of batches
            Inputs. Any numbers; cast to the model's dtype batch by batch. Or instead of x, y and sample_weight their
            batches, (x, y) or (x, y, sample_weight): a `tinynn.data.Dataset`, a generator, a DataLoader of PyTorch.
        y : array, shape (samples, ...)
            Targets, as the loss wants them.
        batch_size : int, optional
            Samples a step, 32 by default; the last batch of an epoch may be smaller. Batches have their size already.
        epochs : int, default 1
            How often to go through the data.
        verbose : {"auto", 0, 1, 2}, default "auto"
            0 silent, 1 a live bar, 2 one line an epoch; "auto" a bar on a terminal and lines elsewhere.
        callbacks : sequence of Callback, optional
            What else to do while it trains, called in this order; see `tinynn.callbacks`.
        validation_split : float, default 0.0
            The part of the data to hold out for validation, drawn at random with the model's seed. (Keras takes the
            last samples, which is a trap where data are sorted.)
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of batches, optional
            Data to evaluate after each epoch; instead of `validation_split`.
        shuffle : bool, default True
            Whether to take the samples of arrays in a new order in every epoch. Batches keep their order; a Dataset has
            its own ``shuffle``.
        class_weight : dict of int to float, optional
            How much each class counts in the loss of the training, ``{0: 1.0, 1: 5.0}``: a rare class counts more.
        sample_weight : array, shape (samples,) or (samples, steps), optional
            How much each sample counts in the loss, or each step of sequences. The loss is divided by the number of
            samples, not by the sum of the weights, so larger weights make larger steps, as in Keras. Metrics do not
            look at weights, but for those in compile's ``weighted_metrics``.
        steps_per_epoch, validation_steps : int, optional
            How many batches make an epoch, where batches are given; by default as many as there are.
        check_finite : bool, default False
            Whether to look after every step for NaN and infinity, and name the line where the first one arose; the
            weights are then those before that step. Slower, by a copy of the model at each step; see
            `tinynn.check.finite`.
        checkpoint_dir : str or path-like, optional
            A folder for checkpoints, made if it is not there; the two newest are kept.
        checkpoint_freq : int or "epoch", default "epoch"
            After how many batches a checkpoint is made, or after each epoch. One is made at the begin and after Ctrl-C
            too.
        resume : bool, default False
            Whether to go on from the newest whole checkpoint in `checkpoint_dir`; if there is none the training starts
            anew. Model, compile and data must be as they were; `epochs`, which counts from the very begin, may be more.

        Returns
        -------
        History
            Of all epochs, those before a resume too.

        Raises
        ------
        ValueError
            For data the model or the loss cannot take; with `resume`, for checkpoints of another training.
        RuntimeError
            If the model was not compiled, or with ``graph=True`` cannot be captured.
        MemoryError
            If a device's memory is full; the message has what was asked for and what to lower.
        OSError
            If no checkpoint can be written when the training begins. Later that is a warning, and the training goes on.
        FloatingPointError
            If the loss becomes NaN or infinite; the message has the step and what to try, and with `check_finite` the
            line. With the callback `TerminateOnNaN` training ends there and the History is returned.
        """
        optimizer, _ = self.need_compiled("fit")
        epochs = check_count(epochs, "fit: epochs")
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"fit: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
        others = check_list(callbacks)
        checkpoints = self._checkpoints(checkpoint_dir, checkpoint_freq, resume)
        found = checkpoints.newest() if resume and checkpoints is not None else None
        if validation_split and validation_data is not None:
            raise ValueError("fit: give validation_split or validation_data, not both.")
        source: Source = self._source(
            x, y, sample_weight, 32 if batch_size is None else batch_size, steps_per_epoch, "fit", class_weight
        )
        if batch_size is not None and isinstance(source, IterableSource):
            raise ValueError("fit: batch_size is for arrays; batches have their size already.")
        validation: Source | None = None
        if validation_data is not None:
            validation = self._validation_source(validation_data, validation_steps)
        elif validation_split:
            source, validation = self._split(source, validation_split, seed_in(found))

        history = self.history = History()
        bar = [ProgressBar(live=None if verbose in ("auto", 1) else False)] if verbose else []
        watchers = CallbackList([*bar, *others, history])
        self.stop_training = False
        scores = self.scores_for(source.first.y)
        run = Run(self, source, validation, watchers, epochs, shuffle, check_finite, checkpoints, scores)
        begun = False
        memories = None if found is None else run.resume(*found)
        try:
            params = {"epochs": epochs, "steps": source.steps, "samples": source.samples, "verbose": int(verbose != 0)}
            watchers.begin(self, params)
            if memories is not None:
                for sentence in watchers.set_states(memories):
                    warnings.warn(f"fit: resume: {sentence}", CheckpointWarning, stacklevel=3)
            elif checkpoints is not None:
                run.save()
            if resume and verbose:
                run.tell()
            begun = True
            with on_first_interrupt(self.stop_after_batch), precision(self.matmul_precision):
                run.go()
        except FloatingPointError as error:
            if not watchers.not_finite(error):
                raise
        finally:
            if checkpoints is not None:
                run.finish_saving()
                checkpoints.close()
            if begun:
                optimizer.finish(self.need_arena())
            self.forget()
            if self.captured is not None:
                self.captured.end()
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
        scores.add_loss(L, len(y), where)
        if scores.counts_predictions:
            scores.add_predictions(y, parts.predictions(z), sample_weight, mask)
        dz = parts.loss.backward()
        parts.net.backward(dz, need_dx=False)
        for parameter, regularizer in arena.regularized:
            parameter.grad += regularizer.gradient(parameter.value)
        parts.optimizer.step(arena)

    def checked_train_step(self, *step: Any) -> None:
        """Do `train_step`, and name the line if a NaN or an infinity arises in it."""
        from tinynn.check import finite_check

        finite_check.train_step(self, *step)

    @explains_memory
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
        x, y, sample_weight = self.cast_batch(self.prepare(samples, "train_on_batch", class_weight))
        scores = self.scores_for(y)
        parts = self.trained_parts("train_on_batch")
        with precision(self.matmul_precision):
            self.train_step(parts, x, y, scores, "this batch", sample_weight)
        values = list(scores.result().values())
        return values if len(values) > 1 else values[0]

    # Using -------------------------------------------------------------------------------------------------------

    @explains_memory
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        *,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Return the mean loss and the metrics on `x` and `y`, without training.

        Parameters
        ----------
        x, y : array, or iterable of batches
            As for `fit`.
        batch_size : int, optional
            Samples at a time, 1024 by default. It changes the speed, not the result, but where steps are masked: the
            loss of a batch is the mean over the steps that count in it, as in Keras.
        verbose : {"auto", 0, 1, 2}, default "auto"
            "auto" and 1 draw a bar on a terminal, which goes away at the end; 0 and 2 draw nothing.
        sample_weight : array, optional
            As for `fit`.
        steps : int, optional
            How many batches to take, where batches are given; by default all.
        callbacks : sequence of Callback, optional
            Their ``on_test_...`` are called.
        return_dict : bool, default False
            Whether to return names with the values.

        Returns
        -------
        list of float, dict or float
            ``[loss, metric, ...]``, or the loss alone where there are no metrics.
        """
        self.need_compiled("evaluate")
        watchers = CallbackList(check_list(callbacks, "evaluate"), "evaluate")
        self.need_weights("evaluate", None)
        source: Source = self._source(
            x, y, sample_weight, 1024 if batch_size is None else batch_size, steps, "evaluate"
        )
        watchers.attach(self, {"steps": source.steps, "samples": source.samples, "verbose": int(verbose != 0)})
        scores = self.score(source, watchers, verbose)
        if return_dict:
            return scores
        values = list(scores.values())
        return values if len(values) > 1 else values[0]

    def score(self, source: Source, watchers: CallbackList, verbose: str | int = 0) -> dict[str, float]:
        """Return loss and metrics of data that are checked and on the device already."""
        scores = self.scores_for(source.first.y)
        parts = self.trained_parts("evaluate")
        watchers.test_begin()
        batches = bar_over(source.batches(0, 0, None), source.steps, "evaluate", verbose)
        for step, batch in enumerate(batches):
            watchers.test_batch_begin(step)
            x, y, sample_weight = self.cast_batch(batch)
            with precision(self.matmul_precision):
                z, mask = parts.forward(x)
            L = parts.loss.forward(y, z, sample_weight, mask) + penalty(self.need_arena())
            scores.add_loss(L, len(y), None)
            if scores.counts_predictions:
                scores.add_predictions(y, parts.predictions(z), sample_weight, mask)
            watchers.test_batch_end(step, scores)
        parts.loss.cache = None
        self.forget()
        logs = scores.result()
        watchers.test_end(logs)
        return logs

    @explains_memory
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Array:
        """Return the outputs for `x` as a NumPy array.

        Parameters
        ----------
        x : array, shape (samples, ...), or iterable of batches
            Of batches that are tuples the first entry is taken.
        batch_size : int, optional
            Samples at a time, 1024 by default. It changes the speed, not the result.
        verbose : {"auto", 0, 1, 2}, default "auto"
            As for `evaluate`.
        steps : int, optional
            How many batches to take, where batches are given; by default all.
        callbacks : sequence of Callback, optional
            Their ``on_predict_...`` are called.

        Raises
        ------
        RuntimeError
            If the model has no weights yet.
        """
        self.need_weights("predict")
        watchers = CallbackList(check_list(callbacks, "predict"), "predict")
        source = self._inputs(x, 1024 if batch_size is None else batch_size, steps)
        watchers.attach(self, {"steps": source.steps, "samples": source.samples, "verbose": int(verbose != 0)})
        watchers.predict_begin()
        outputs = []
        batches = bar_over(source.batches(0, 0, None), source.steps, "predict", verbose)
        for step, batch in enumerate(batches):
            watchers.predict_batch_begin(step)
            with precision(self.matmul_precision):
                y = self.forward(self.cast(batch.x))
            outputs.append(to_host(y.astype(self.dtype, copy=False)))
            watchers.predict_batch_end(step, outputs[-1])
        self.forget()
        watchers.predict_end()
        return np.concatenate(outputs)

    # What is gone through ----------------------------------------------------------------------------------------

    def _source(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        steps: int | None,
        who: str,
        class_weight: dict[int, float] | None = None,
    ) -> Source:
        """Return what was given to train or evaluate on, checked."""
        steps_name = "steps_per_epoch" if who == "fit" else "steps"
        if y is None and data.is_batches(x):
            if sample_weight is not None:
                raise ValueError(
                    f"{who}: with batches the sample weights are their third entry, (x, y, sample_weight)."
                )
            steps = None if steps is None else check_count(steps, f"{who}: {steps_name}")

            def ready(batch: Any) -> Samples:
                return self.prepare(data.batch_samples(batch, who), who, class_weight)

            return IterableSource(x, ready, steps, who)
        if y is not None and data.is_batches(x) and not isinstance(x, list | tuple):
            raise ValueError(f"{who}: x is an iterable of batches (x, y), so their targets are in it: leave y out.")
        if y is None and callable(x):
            raise TypeError(
                f"{who}: x is a function. If it makes batches (x, y), give Dataset.from_generator(function), of "
                "tinynn.data, which calls it for each epoch."
            )
        if steps is not None:
            raise ValueError(f"{who}: {steps_name} is for batches; arrays are gone through to their end.")
        if y is None:
            raise ValueError(f"{who}: y is missing: give the targets of x, or an iterable of batches (x, y).")
        batch_size = check_count(batch_size, f"{who}: batch_size")
        samples = data.check_samples(x, y, sample_weight, who)
        return ArraySource(self.prepare(samples, who, class_weight), batch_size, device=self.device)

    def _validation_source(self, given: Any, steps: int | None) -> Source:
        """Return the validation data that were given, checked."""
        who = "fit: validation_data"
        if isinstance(given, tuple | list) and not data.is_batches(given):
            if len(given) not in (2, 3):
                raise ValueError(
                    f"{who} must be a tuple (x, y), got {len(given)} entries. A third entry may be the sample weights."
                )
            return self._source(given[0], given[1], given[2] if len(given) == 3 else None, 1024, steps, who)
        if not data.is_batches(given):
            raise ValueError(
                f"{who} must be a tuple (x, y), got {type(given).__name__}. A third entry may be the sample weights."
            )
        return self._source(given, None, None, 1024, steps, who)

    def _split(self, source: Source, part: float, seed: int | None) -> tuple[Source, Source]:
        """Hold out a random part of arrays for validation, as `seed` says; where that is None, the model's."""
        if not isinstance(source, ArraySource):
            raise ValueError("fit: validation_split is for arrays; with batches give validation_data.")
        training, held_out = data.split(source.count, part, generator(self.seed if seed is None else seed, SPLITTING))
        return (
            ArraySource(source.first, source.batch_size, training, self.device),
            ArraySource(source.first, 1024, held_out, self.device),
        )

    def _inputs(self, x: Any, batch_size: int, steps: int | None) -> Source:
        """Return what was given to predict, checked."""

        def ready(batch: Any) -> Samples:
            inputs = data.check_array(batch[0] if data.is_tuple(batch) else batch, "predict", "x")
            self.check_input(inputs)
            self.check_values(inputs)
            inputs = to_device(inputs, self.device)
            return Samples(inputs, inputs)

        if data.is_batches(x) and not isinstance(x, list | tuple):
            return IterableSource(x, ready, steps, "predict")
        if steps is not None:
            raise ValueError("predict: steps is for batches; arrays are gone through to their end.")
        return ArraySource(ready(x), check_count(batch_size, "predict: batch_size"))

    def _checkpoints(self, folder: Any, freq: int | str, resume: bool) -> Checkpoints | None:
        """Return where checkpoints go, None if nobody wants any."""
        if not isinstance(resume, bool):
            raise TypeError(f"fit: resume must be True or False, got {resume!r:.60}.")
        if folder is not None:
            return Checkpoints(folder, freq, resume)
        if resume:
            raise ValueError("fit: resume=True needs checkpoint_dir, the folder with the checkpoints to go on from.")
        if freq != "epoch":
            raise ValueError("fit: checkpoint_freq needs checkpoint_dir, a folder for the checkpoints.")
        return None

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
    total: Any = 0
    for parameter, regularizer in arena.regularized:
        total = total + regularizer(parameter.value)
    for layer in arena.penalized:
        total = total + layer.activity_penalty
    return total
