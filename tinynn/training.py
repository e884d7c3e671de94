"""Trainer: compile, fit, evaluate and predict for anything that has a forward and a backward pass.

One training step, which is all of it (`Trainer.train_step`)::

    z = net.forward(x)                  the layers, one after another
    L = loss.forward(y, z)              and the penalties of regularizers
    dz = loss.backward()
    net.backward(dz)                    the layers in reverse; gradients land in the arena
    optimizer.step(arena)               one formula on the flat vectors
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynn import data, losses, optimizers
from tinynn import metrics as metric_kinds
from tinynn.arguments import check_count
from tinynn.backend import Array, generator, to_device, to_host
from tinynn.callbacks import Callback, CallbackList, History, ProgressBar, bar_over
from tinynn.interrupt import on_first_interrupt
from tinynn.layers.activations import Linear
from tinynn.layers.base import Layer, ShapeError
from tinynn.model import Model
from tinynn.parameter import Arena
from tinynn.scores import Scores

# What the random numbers of one seed are for; see backend.generator.
WEIGHTS, SHUFFLING, SPLITTING = 0, 1, 2


class TrainedParts(NamedTuple):
    """What a training step works with.

    Attributes
    ----------
    optimizer : Optimizer
    net : Layer
        The model, or a twin of it with the same weights that returns logits.
    loss : Loss
        The compiled loss, or its form for logits.
    activation : Layer
        What makes predictions of the net's outputs: the softmax or sigmoid that was set aside, else `Linear`.
    """

    optimizer: optimizers.Optimizer
    net: Layer
    loss: losses.Loss
    activation: Layer

    def predictions(self, z: Array) -> Array:
        """Return the predictions for outputs of the net."""
        return self.activation.forward(z)


class Trainer(Model):
    """A model that can be trained; `Sequential` is the one to use. The parameters are those of `Model`."""

    optimizer: optimizers.Optimizer | None = None
    loss: losses.Loss | None = None
    metric_names: Sequence[Any] = ()
    stop_training = False
    history: History | None = None

    # Compiling ---------------------------------------------------------------------------------------------------

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Sequence[Any] | None = None) -> None:
        """Say how to train.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
            ``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"``, or an instance with settings of one's own.
        loss : str or Loss
            ``"categorical_crossentropy"``, ``"sparse_categorical_crossentropy"``, ``"binary_crossentropy"``,
            ``"mean_squared_error"``, or an instance.
        metrics : sequence of str or Metric, optional
            ``"accuracy"`` takes the kind that fits the data.

        Raises
        ------
        ValueError
            For an unknown name; the message has the nearest one.
        """
        if loss is None:
            raise ValueError(
                f"{self.label}: compile needs a loss, such as loss='categorical_crossentropy' for one-hot labels "
                "or loss='sparse_categorical_crossentropy' for class numbers."
            )
        if isinstance(metrics, str):
            raise TypeError(f"{self.label}: compile: metrics must be a list, such as metrics=[{metrics!r}].")
        new_optimizer, new_loss = optimizers.get(optimizer), losses.get(loss)
        names = [metric_kinds.check_name(metric) for metric in metrics or ()]
        if len(set(names)) < len(names) or "loss" in names:
            raise ValueError(f"{self.label}: compile: metrics need names of their own, got {names}.")
        self.optimizer, self.loss, self.metric_names = new_optimizer, new_loss, list(metrics or ())

    def need_compiled(self, who: str) -> tuple[optimizers.Optimizer, losses.Loss]:
        """Return optimizer and loss, or say that compile must come first."""
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(
                f"{self.label}: {who} needs to know how to train: call "
                "compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy']) first."
            )
        return self.optimizer, self.loss

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
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
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
        validation_split : float, default 0.0
            The part of the data to hold out for validation, drawn at random with the model's seed. (Keras takes the
            last samples, which is a trap where data are sorted.)
        validation_data : tuple (x, y), optional
            Data to evaluate after each epoch; instead of `validation_split`.
        shuffle : bool, default True
            Whether to take the samples in a new order in every epoch.

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
            If the loss becomes NaN or infinite; the message has the step and what to try.
        """
        optimizer, _ = self.need_compiled("fit")
        batch_size = check_count(batch_size, "fit: batch_size")
        epochs = check_count(epochs, "fit: epochs")
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"fit: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
        if isinstance(callbacks, Callback):
            raise TypeError(f"fit: callbacks must be a list, such as [{type(callbacks).__name__}(...)].")
        x, y = data.check_pair(x, y, "fit")
        validation = self._validation(validation_split, validation_data)
        if validation_split:
            (x, y), validation = data.split(x, y, validation_split, generator(self.seed, SPLITTING))
        x, y = self._prepare(x, y, "fit")
        if validation is not None:
            validation = self._prepare(*validation, "fit: validation_data")

        history = self.history = History()
        bar = [ProgressBar(live=None if verbose in ("auto", 1) else False)] if verbose else []
        watchers = CallbackList([*bar, *(callbacks or ()), history])
        steps = math.ceil(len(x) / batch_size)
        self.stop_training = False
        try:
            watchers.begin(self, {"epochs": epochs, "steps": steps, "samples": len(x), "verbose": int(verbose != 0)})
            with on_first_interrupt(self.stop_after_batch):
                for epoch in range(epochs):
                    if self.stop_training:
                        break
                    self._run_epoch(x, y, epoch, batch_size, shuffle, watchers, validation)
        finally:
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
        x: Array,
        y: Array,
        epoch: int,
        batch_size: int,
        shuffle: bool,
        watchers: CallbackList,
        validation: tuple[Array, Array] | None,
    ) -> None:
        """Train one epoch; a batch is the smallest thing that is done or not done."""
        parts = self.trained_parts("fit")
        scores = Scores(self.metrics_for(y))
        watchers.epoch_begin(epoch)
        order = None
        if shuffle:
            order = to_device(
                generator(self.seed, SHUFFLING, parts.optimizer.iterations).permutation(len(x)), self.device
            )
        for step, rows in enumerate(data.batches(len(x), batch_size, order)):
            watchers.batch_begin(step)
            x_batch = self.cast(x[rows])
            self.train_step(parts, x_batch, y[rows], scores, f"epoch {epoch + 1}, batch {step + 1}")
            watchers.batch_end(step, scores)
            if self.stop_training:
                break
        if scores.samples < len(x) and self.history is not None and self.history.interrupted:
            return  # an epoch cut short by Ctrl-C is no epoch
        logs = scores.result()
        self.need_finite_weights(epoch)
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self._score(*validation, 1024).items()}
        watchers.epoch_end(epoch, logs)

    def train_step(self, parts: TrainedParts, x: Array, y: Array, scores: Scores, where: str) -> None:
        """Do one step on a batch that is checked and on the device already."""
        arena = self.need_arena()
        z = parts.net.forward(x, training=True)
        L = parts.loss.forward(y, z) + penalty(arena)
        scores.add(L, y, parts.predictions(z), where)
        dz = parts.loss.backward()
        parts.net.backward(dz, need_dx=False)
        for parameter, regularizer in arena.regularized:
            parameter.grad += regularizer.gradient(parameter.value)
        parts.optimizer.step(arena)

    def trained_parts(self, who: str) -> TrainedParts:
        """Return what a step works with: the last softmax or sigmoid set aside where the loss allows it.

        Cross-entropy of a softmax, taken in two steps, divides by probabilities that may be 0. In one step its
        gradient is p - y.
        """
        optimizer, loss = self.need_compiled(who)
        activation = self.last_activation
        if activation is not None and isinstance(loss, losses.LogitLoss) and loss.can_take_logits_of(activation):
            return TrainedParts(optimizer, self.with_activation(Linear()), loss.on_logits(), activation)
        return TrainedParts(optimizer, self, loss, Linear())

    def train_on_batch(self, x: Any, y: Any) -> float | list[float]:
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
        x, y = self._prepare(*data.check_pair(x, y, "train_on_batch"), "train_on_batch")
        scores = Scores(self.metrics_for(y))
        self.train_step(self.trained_parts("train_on_batch"), self.cast(x), y, scores, "this batch")
        values = list(scores.result().values())
        return values if len(values) > 1 else values[0]

    # Using -------------------------------------------------------------------------------------------------------

    def evaluate(
        self, x: Any, y: Any, batch_size: int = 1024, verbose: str | int = "auto", *, return_dict: bool = False
    ) -> float | list[float] | dict[str, float]:
        """Return the mean loss and the metrics on `x` and `y`, without training.

        Parameters
        ----------
        x, y : array
            As for `fit`.
        batch_size : int, default 1024
            Samples at a time. It changes the speed, not the result.
        verbose : {"auto", 0, 1, 2}, default "auto"
            "auto" and 1 draw a bar on a terminal, which goes away at the end; 0 and 2 draw nothing.
        return_dict : bool, default False
            Whether to return names with the values.

        Returns
        -------
        list of float, dict or float
            ``[loss, metric, ...]``, or the loss alone where there are no metrics.
        """
        self.need_compiled("evaluate")
        batch_size = check_count(batch_size, "evaluate: batch_size")
        x, y = data.check_pair(x, y, "evaluate")
        self.need_weights("evaluate")
        scores = self._score(*self._prepare(x, y, "evaluate"), batch_size, verbose)
        if return_dict:
            return scores
        values = list(scores.values())
        return values if len(values) > 1 else values[0]

    def _score(self, x: Array, y: Array, batch_size: int, verbose: str | int = 0) -> dict[str, float]:
        """Return loss and metrics of data that are checked and on the device already."""
        scores = Scores(self.metrics_for(y))
        parts = self.trained_parts("evaluate")
        for rows in bar_over(data.batches(len(x), batch_size), len(x) / batch_size, "evaluate", verbose):
            z = parts.net.forward(self.cast(x[rows]))
            L = parts.loss.forward(y[rows], z) + penalty(self.need_arena())
            scores.add(L, y[rows], parts.predictions(z), None)
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

    def _validation(self, part: float, given: Any) -> tuple[Array, Array] | None:
        """Return the validation data that were given, checked."""
        if given is None:
            return None
        if part:
            raise ValueError("fit: give validation_split or validation_data, not both.")
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ValueError(f"fit: validation_data must be a tuple (x, y), got {type(given).__name__}.")
        return data.check_pair(given[0], given[1], "fit: validation_data")

    def _prepare(self, x: Array, y: Array, who: str) -> tuple[Array, Array]:
        """Check data against the model and the loss, and move them to the device."""
        loss = self.need_compiled(who)[1]
        new = self.input_shape is None
        self.need_weights(who, tuple(x.shape[1:]))
        assert self.output_shape is not None
        y = to_host(y)
        try:
            self.check_input(x)
            self.check_values(x)
        except ShapeError as error:
            raise ShapeError(f"{who}: x: {error}") from None
        except ValueError as error:
            raise ValueError(f"{who}: x: {error}") from None
        try:
            loss.check(y, (len(x), *self.output_shape))
        except ValueError as error:
            if new:
                self.unbuild()  # weights made for these data would refuse the right ones
            raise ValueError(f"{who}: y: {error}") from None
        if loss.target_kind == "float":
            y = y.astype(self.dtype, copy=False)
        return to_device(x, self.device), to_device(y, self.device)

    def need_finite_weights(self, epoch: int) -> None:
        """Raise FloatingPointError if an epoch's last step spoilt the weights, which no later loss would tell."""
        arena = self.need_arena()
        if not bool(arena.xp.isfinite(arena.values.sum())) and not bool(arena.xp.isfinite(arena.values).all()):
            raise FloatingPointError(
                f"the weights became NaN or infinite in the last step of epoch {epoch + 1}. Try a smaller learning "
                "rate (a tenth of this one), and inputs scaled to about -1 to 1."
            )

    def metrics_for(self, y: Array) -> list[metric_kinds.Metric]:
        """Return the compiled metrics for targets like `y`."""
        assert self.output_shape is not None
        return [metric_kinds.get(metric, y.ndim, (len(y), *self.output_shape)) for metric in self.metric_names]


def penalty(arena: Arena) -> Any:
    """Return the sum of the regularizers' penalties, which counts to the loss."""
    return sum(regularizer(parameter.value) for parameter, regularizer in arena.regularized)
