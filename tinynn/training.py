"""Trainer: compile, fit, evaluate and predict for anything that has a forward and a backward pass.

One training step, which is all of it (`Trainer.train_step`)::

    z = forward(x)                      the layers, one after another
    L = loss.forward(y, z)
    dz = loss.backward()
    backward(dz)                        the layers in reverse; gradients land in the arena
    optimizer.step(arena)               one formula on the flat vectors
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynn import data, losses, optimizers
from tinynn import metrics as metric_kinds
from tinynn.backend import Array, Device, array_module, choose_device, generator, to_device, to_host
from tinynn.callbacks import Callback, CallbackList, History, ProgressBar
from tinynn.interrupt import interrupt_after_batch
from tinynn.layers.activations import Linear
from tinynn.layers.base import Layer, Shape, ShapeError, check_shape
from tinynn.parameter import Arena
from tinynn.scores import Scores

# What the random numbers of one seed are for; see backend.generator.
WEIGHTS, SHUFFLING, SPLITTING = 0, 1, 2


class Trainer(Layer):
    """A layer that can be trained as a whole; `Sequential` is the one to use.

    Parameters
    ----------
    name : str, optional
    device : {"auto", "cpu", "cuda"} or Device, optional
        Where the weights live; see `tinynn.backend.choose_device`.
    seed : int, optional
        Decides the initial weights, the shuffling and every other random number of this model. By default a new one
        is drawn; read it in ``model.seed``.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of weights, activations and gradients.
    """

    arena: Arena | None = None
    optimizer: optimizers.Optimizer | None = None
    loss: losses.Loss | None = None
    stop_training = False
    history: History | None = None

    def __init__(
        self,
        *,
        name: str | None = None,
        device: str | Device | None = None,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"{self.label}: dtype must be 'float32' or 'float64', got {dtype!r}.")
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        elif not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"{self.label}: seed must be a whole number from 0 up, got {seed!r}.")
        self.device = choose_device(device)
        self.seed = int(seed)
        self.dtype = dtype
        self.metric_names: list[Any] = []

    # Building ----------------------------------------------------------------------------------------------------

    def connect(self, input_shape: Shape) -> Shape:
        """Build the layers inside for inputs of this shape and return the shape of the output."""
        raise TypeError(f"{type(self).__name__} needs a method connect(self, input_shape) that builds its layers")

    def build_for(self, input_shape: Shape) -> Shape:
        """Build the layers inside; the outermost model then moves all weights into its arena."""
        self.output_shape = self.connect(input_shape)
        self.input_shape = input_shape
        return self.output_shape

    def build(self, input_shape: Any = None) -> Shape:
        """Make the weights of all layers and return the shape of the output.

        Parameters
        ----------
        input_shape : tuple of int, optional
            The shape of one sample; not needed where the model starts with an Input.
        """
        if input_shape is not None:
            input_shape = check_shape(input_shape, f"{self.label}: build: input_shape")
        self.ensure_built(input_shape, "build")
        assert self.output_shape is not None
        return self.output_shape

    def ensure_built(self, input_shape: Shape | None = None, who: str = "this") -> Arena:
        """Make weights and arena if there are none yet.

        Raises
        ------
        RuntimeError
            If no input shape is known.
        """
        if self.arena is not None:
            return self.arena
        input_shape = input_shape if self.given_input_shape is None else self.given_input_shape
        if input_shape is None:
            raise RuntimeError(
                f"{self.label} has no weights yet, and {who} needs them: start the model with Input(shape), or give "
                "its first layer input_shape=..., or call build(input_shape) or fit first."
            )
        for index, layer in enumerate(self.walk()):
            layer.dtype = self.dtype
            layer.rng = generator(self.seed, WEIGHTS, index)
        self.build_for(input_shape)
        for parameter in self.parameters:
            if parameter.in_arena:
                raise ValueError(
                    f"{parameter.owner.label} belongs to another model already: a layer's weights live in one model. "
                    "Make a new layer, and copy the weights with set_weights if they should start alike."
                )
        self.arena = Arena(self.parameters, self.dtype, self.device.xp)
        return self.arena

    def __call__(self, x: Array, training: bool = False) -> Array:
        """Return the output for `x`, an array on any device; builds the model at its first use."""
        array_module(x)
        self.ensure_built(tuple(x.shape[1:]))
        self.check_input(x)
        return self.forward(to_device(x, self.device).astype(self.dtype, copy=False), training)

    def get_weights(self) -> list[Array]:
        """Return copies of all weights as NumPy arrays, in Keras's order and layout."""
        self.ensure_built(who="get_weights")
        return super().get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write all weights or none; see `Layer.set_weights`."""
        self.ensure_built(who="set_weights")
        super().set_weights(weights)

    def count_params(self) -> int:
        """Return how many numbers the model learns."""
        return self.ensure_built(who="count_params").size

    # Compiling ---------------------------------------------------------------------------------------------------

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Sequence[Any] | None = None) -> None:
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
        for metric in metrics or ():
            metric_kinds.check_name(metric)
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
        batch_size = data.check_count(batch_size, "fit: batch_size")
        epochs = data.check_count(epochs, "fit: epochs")
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"fit: verbose must be 'auto', 0, 1 or 2, got {verbose!r}.")
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
        watchers.begin(self, {"epochs": epochs, "steps": steps, "samples": len(x), "verbose": 0 if verbose == 0 else 1})
        self.stop_training = False
        try:
            with interrupt_after_batch(self, history):
                for epoch in range(epochs):
                    self._run_epoch(x, y, epoch, batch_size, shuffle, watchers, validation)
                    if self.stop_training:
                        break
        finally:
            watchers.end()
            self.forget()
        if history.interrupted and verbose:
            print(
                f"Interrupted after {optimizer.iterations} steps, {len(history.epoch)} of {epochs} epochs finished; "
                "the model keeps what it has learned."
            )
        return history

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
        scores = Scores(self.metrics_for(y))
        watchers.epoch_begin(epoch)
        order = None
        if shuffle:
            iterations = 0 if self.optimizer is None else self.optimizer.iterations
            order = to_device(generator(self.seed, SHUFFLING, iterations).permutation(len(x)), self.device)
        for step, rows in enumerate(data.batches(len(x), batch_size, order)):
            watchers.batch_begin(step)
            x_batch = x[rows].astype(self.dtype, copy=False)
            self.train_step(x_batch, y[rows], scores, f"epoch {epoch + 1}, batch {step + 1}")
            watchers.batch_end(step, scores)
            if self.stop_training:
                break
        if scores.samples < len(x) and self.history is not None and self.history.interrupted:
            return  # an epoch cut short by Ctrl-C is no epoch
        logs = scores.result()
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self._score(*validation, 1024).items()}
        watchers.epoch_end(epoch, logs)

    def train_step(self, x: Array, y: Array, scores: Scores, where: str) -> None:
        """Do one step on a batch that is checked and on the device already."""
        optimizer, compiled_loss = self.need_compiled("train_step")
        with self.on_logits(compiled_loss) as (loss, activation):
            z = self.forward(x, training=True)
            L = loss.forward(y, z)
            scores.add(L, y, z if activation is None else activation.forward(z), where)
            dz = loss.backward()
            self.backward(dz, need_dx=False)
        optimizer.step(self.ensure_built())

    @contextmanager
    def on_logits(self, loss: losses.Loss) -> Iterator[tuple[losses.Loss, Layer | None]]:
        """Set the last softmax or sigmoid aside where the loss has a stable form for what comes before it.

        Cross-entropy of a softmax, taken in two steps, divides by probabilities that may be 0. In one step its
        gradient is p - y. So inside this block the model returns logits z; the loss and the activation that makes
        predictions of them are yielded. Where loss and activation do not belong together, nothing is set aside: the
        loss is the one given, and the activation is None.
        """
        activation = self.last_activation
        if not (isinstance(loss, losses.LogitLoss) and loss.can_take_logits_of(activation)):
            yield loss, None
            return
        self.swap_activation(Linear())
        try:
            yield loss.on_logits(), activation
        finally:
            self.swap_activation(activation)

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
        self.train_step(x.astype(self.dtype, copy=False), y, scores, "this batch")
        values = list(scores.result().values())
        return values if len(values) > 1 else values[0]

    # Using -------------------------------------------------------------------------------------------------------

    def evaluate(
        self, x: Any, y: Any, batch_size: int = 1024, return_dict: bool = False
    ) -> float | list[float] | dict[str, float]:
        """Return the mean loss and the metrics on `x` and `y`, without training.

        Parameters
        ----------
        x, y : array
            As for `fit`.
        batch_size : int, default 1024
            Samples at a time. It changes the speed, not the result.
        return_dict : bool, default False
            Whether to return names with the values.

        Returns
        -------
        list of float, dict or float
            ``[loss, metric, ...]``, or the loss alone where there are no metrics.
        """
        self.need_compiled("evaluate")
        batch_size = data.check_count(batch_size, "evaluate: batch_size")
        x, y = data.check_pair(x, y, "evaluate")
        self.ensure_built(who="evaluate")
        scores = self._score(*self._prepare(x, y, "evaluate"), batch_size)
        if return_dict:
            return scores
        values = list(scores.values())
        return values if len(values) > 1 else values[0]

    def _score(self, x: Array, y: Array, batch_size: int) -> dict[str, float]:
        """Return loss and metrics of data that are checked and on the device already."""
        scores = Scores(self.metrics_for(y))
        with self.on_logits(self.need_compiled("evaluate")[1]) as (loss, activation):
            for rows in data.batches(len(x), batch_size):
                z = self.forward(x[rows].astype(self.dtype, copy=False))
                L = loss.forward(y[rows], z)
                scores.add(L, y[rows], z if activation is None else activation.forward(z), None)
            loss.cache = None
        self.forget()
        return scores.result()

    def predict(self, x: Any, batch_size: int = 1024) -> Array:
        """Return the outputs for `x` as a NumPy array.

        Parameters
        ----------
        x : array, shape (samples, ...)
        batch_size : int, default 1024
            Samples at a time. It changes the speed, not the result.

        Raises
        ------
        RuntimeError
            If the model has no weights yet.
        """
        self.ensure_built(who="predict")
        batch_size = data.check_count(batch_size, "predict: batch_size")
        x = data.check_array(x, "predict", "x")
        self.check_input(x)
        x = to_device(x, self.device)
        y = [to_host(self.forward(x[rows].astype(self.dtype, copy=False))) for rows in data.batches(len(x), batch_size)]
        self.forget()
        return y[0] if len(y) == 1 else np.concatenate(y)

    def forget(self) -> None:
        """Drop what the layers keep for a backward pass that will not come."""
        for layer in self.walk():
            layer.cache = None

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
        self.ensure_built(tuple(x.shape[1:]))
        assert self.output_shape is not None
        try:
            self.check_input(x)
        except ShapeError as error:
            raise ShapeError(f"{who}: x: {error}") from None
        y = to_host(y)
        try:
            loss.check(y, (len(x), *self.output_shape))
        except ValueError as error:
            raise ValueError(f"{who}: y: {error}") from None
        if loss.target_kind == "float":
            y = y.astype(self.dtype, copy=False)
        return to_device(x, self.device), to_device(y, self.device)

    def metrics_for(self, y: Array) -> list[metric_kinds.Metric]:
        """Return the compiled metrics for targets like `y`."""
        assert self.output_shape is not None
        return [metric_kinds.get(metric, y.ndim, (len(y), *self.output_shape)) for metric in self.metric_names]
