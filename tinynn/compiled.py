"""Compiled: a model that knows how to train: its optimizer, its loss, its metrics, and which data fit them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynn import data, losses, optimizers
from tinynn import metrics as metric_kinds
from tinynn.backend import Array, to_device, to_host
from tinynn.data import Samples
from tinynn.half import HalfPrecision
from tinynn.io.model_file import describe, save_model
from tinynn.kernels.precision import check_precision
from tinynn.layers.activations import Linear
from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.drawing import Drawing
from tinynn.model import Model
from tinynn.scores import Scores


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

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Array | None]:
        """Return the net's output, and which of the loss's values count, None where all do.

        A mask that is not about them, as of steps that a layer has summed up, is dropped.
        """
        z, mask = self.net.forward_with_mask(x, training)
        if mask is not None and self.loss.rows(tuple(z.shape))[: mask.ndim] != tuple(mask.shape):
            mask = None
        return z, mask

    def predictions(self, z: Array) -> Array:
        """Return the predictions for outputs of the net."""
        return self.activation.forward(z)


class Compiled(Model):
    """A model that may be compiled; `Trainer` trains it. The parameters are those of `Model`."""

    optimizer: optimizers.Optimizer | None = None
    loss: losses.Loss | None = None
    captured: Any = None
    metric_names: Sequence[Any] = ()
    weighted_metric_names: Sequence[Any] = ()
    graph: bool | str = "auto"
    matmul_precision = "float32"

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        graph: bool | str = "auto",
        matmul_precision: str = "float32",
    ) -> None:
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
        weighted_metrics : sequence of str or Metric, optional
            Metrics in which samples count by their weights, as in the loss. One whose name is in `metrics` too is
            called ``weighted_...`` in the logs.
        graph : bool or "auto", default "auto"
            Whether `fit` captures its steps as a CUDA graph and replays them, on a CUDA device: "auto" where it can;
            True or an error that says why not; False never. ``model.graph_reason`` says what came of it. It changes
            the speed, not the result; docs/gpu.md.
        matmul_precision : {"float32", "tensorfloat32", "bfloat16"}, default "float32"
            With how many bits a CUDA device multiplies the matrices of a float32 model; the two lower ones are some
            times faster. Sums are in float32 always. The CPU always has all bits.

        Raises
        ------
        ValueError
            For an unknown name; the message has the nearest one. With ``graph=True``, for a model on the CPU.
        """
        if loss is None:
            raise ValueError(
                f"{self.label}: compile needs a loss, such as loss='categorical_crossentropy' for one-hot labels "
                "or loss='sparse_categorical_crossentropy' for class numbers."
            )
        for which, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if isinstance(given, str):
                raise TypeError(f"{self.label}: compile: {which} must be a list, such as {which}=[{given!r}].")
        new_optimizer, new_loss = optimizers.get(optimizer), losses.get(loss)
        if self.mixed and not isinstance(new_optimizer, optimizers.LossScaleOptimizer):
            new_optimizer = optimizers.LossScaleOptimizer(new_optimizer)
        check_loss(new_loss)
        check_precision(matmul_precision, f"{self.label}: compile")
        if graph not in (True, False, "auto"):
            raise ValueError(f"{self.label}: compile: graph must be True, False or 'auto', got {graph!r}.")
        if graph is True and self.device.name != "cuda":
            raise ValueError(
                f"{self.label}: compile: graph=True needs a CUDA device, and the model is on the CPU: "
                f"{self.device.reason}"
            )
        names = [metric_kinds.check_name(metric) for metric in metrics or ()]
        names += [weighted_name(metric_kinds.check_name(metric), names) for metric in weighted_metrics or ()]
        if len(set(names)) < len(names) or "loss" in names:
            raise ValueError(f"{self.label}: compile: metrics need names of their own, got {names}.")
        self.optimizer, self.loss = new_optimizer, new_loss
        self.metric_names, self.weighted_metric_names = list(metrics or ()), list(weighted_metrics or ())
        if self.captured is not None:
            self.captured.forget()
        self.graph, self.matmul_precision, self.captured = graph, matmul_precision, None

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments `compile` was called with, but for `graph`; None where it was not called."""
        if self.optimizer is None:
            return None
        metrics = {"metrics": self.metric_names, "weighted_metrics": self.weighted_metric_names}
        lower = {} if self.matmul_precision == "float32" else {"matmul_precision": self.matmul_precision}
        return {"optimizer": self.optimizer, "loss": self.loss, **metrics, **lower}

    def get_training_state(self) -> dict[str, Any] | None:
        """Return where the training stands beside the weights: the optimizer's memory, and the layers' random states.

        Plain data and arrays; None where the model is not compiled or has no weights.
        """
        if self.optimizer is None or self.arena is None:
            return None
        layers = list(self.walk())
        random = [None if layer.rng is None else layer.rng.bit_generator.state for layer in layers]
        noise = [layer.get_draws_state() if isinstance(layer, Drawing) else None for layer in layers]
        return {"optimizer": self.optimizer.get_state(), "random": random, "noise": noise}

    def set_training_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another model of the same layers, compiled alike, stood.

        Parameters
        ----------
        state : mapping
            As `get_training_state` returns it.

        Raises
        ------
        ValueError
            If it is of another model; nothing has been changed then.
        """
        optimizer = self.need_compiled("set_training_state")[0]
        layers = list(self.walk())
        if len(state["random"]) != len(layers):
            raise ValueError(f"expected the random states of {len(layers)} layers, got {len(state['random'])}.")
        generators = []
        for given in state["random"]:
            generators.append(None if given is None else np.random.default_rng(0))
            if generators[-1] is not None:
                generators[-1].bit_generator.state = given
        noise = state.get("noise", [None] * len(layers))
        optimizer.set_state(self.need_arena(), state["optimizer"])
        for layer, rng, draws in zip(layers, generators, noise, strict=True):
            layer.rng = rng
            if isinstance(layer, Drawing):
                layer.set_draws_state(draws)

    def save(self, path: Any, *, include_optimizer: bool = True) -> None:
        """Write the whole model to one file: layers, weights, how it was compiled, and where its training stands.

        `tinynn.load_model` makes the model again from it. A kill at any moment leaves the old file or the new one. The
        file is in the safetensors format, with the layers in its metadata.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.tinynn``. A file that is there is replaced.
        include_optimizer : bool, default True
            Whether the optimizer's memory goes into the file too, so that a training can go on; for Adam it is twice
            the size of the weights.

        Raises
        ------
        TypeError
            If a layer was made with something that is no plain data, such as a function; the message says which.
        OSError
            If the file cannot be written, with the reason and what to do; the old file is as it was.
        RuntimeError
            If the model has no weights yet.
        """
        self.need_weights("save")
        state = {"training": self.get_training_state()} if include_optimizer and self.optimizer is not None else None
        save_model(self, path, describe(self, "save"), state, "save")

    def need_compiled(self, who: str) -> tuple[optimizers.Optimizer, losses.Loss]:
        """Return optimizer and loss, or say that compile must come first."""
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(
                f"{self.label}: {who} needs to know how to train: call "
                "compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy']) first."
            )
        return self.optimizer, self.loss

    def log_names(self) -> list[str]:
        """Return the names in the logs of an epoch: the loss and the metrics."""
        return ["loss", *self._metrics_by_name()]

    def direction_of(self, name: str) -> str | None:
        """Return whether a number in the logs is better ``"min"`` or ``"max"``, None where nobody knows."""
        name = name.removeprefix("val_")
        if name == "loss":
            return "min"
        found = self._metrics_by_name()
        return metric_kinds.direction(found[name]) if name in found else None

    def _metrics_by_name(self) -> dict[str, Any]:
        """Return the compiled metrics by their names in the logs."""
        found = {metric_kinds.check_name(metric): metric for metric in self.metric_names}
        weighted = {metric_kinds.check_name(metric): metric for metric in self.weighted_metric_names}
        return found | {weighted_name(name, list(found)): metric for name, metric in weighted.items()}

    def trained_parts(self, who: str) -> TrainedParts:
        """Return what a step works with: the last softmax or sigmoid set aside where the loss allows it.

        Cross-entropy of a softmax, taken in two steps, divides by probabilities that may be 0. In one step its
        gradient is p - y.
        """
        optimizer, loss = self.need_compiled(who)
        activation = self.last_activation
        net: Layer = self
        if activation is not None and isinstance(loss, losses.LogitLoss) and loss.can_take_logits_of(activation):
            net, loss = self.with_activation(Linear()), loss.on_logits()
        else:
            activation = Linear()
        if self.computes_half:
            assert isinstance(optimizer, optimizers.LossScaleOptimizer)
            net = HalfPrecision(net, self.need_arena(), optimizer)
        return TrainedParts(optimizer, net, loss, activation)

    def metrics_for(self, y: Array) -> list[metric_kinds.Metric]:
        """Return the compiled metrics for targets like `y`."""
        assert self.output_shape is not None
        return [metric_kinds.get(metric, y.ndim, (len(y), *self.output_shape)) for metric in self.metric_names]

    def scores_for(self, y: Array) -> Scores:
        """Return what counts loss and metrics for targets like `y`, from zero."""
        assert self.output_shape is not None
        metrics = self.metrics_for(y)
        names = [metric.name for metric in metrics]
        weighted = [metric_kinds.get(m, y.ndim, (len(y), *self.output_shape)) for m in self.weighted_metric_names]
        for metric in weighted:
            metric.name = weighted_name(metric.name, names)
        return Scores(metrics, weighted)

    def prepare(self, samples: Samples, who: str, class_weight: Any = None) -> Samples:
        """Check data against the model and the loss, and move them to the device.

        Parameters
        ----------
        samples : Samples
            As `tinynn.data.check_samples` returns them.
        who : str
            For messages: ``"fit"``.
        class_weight : dict of int to float, optional
            How much each class counts: it becomes the samples' weights.

        Raises
        ------
        ValueError
            For data that the model or the loss cannot take.
        """
        loss = self.need_compiled(who)[1]
        x, given, sample_weight = samples
        new = self.input_shape is None
        self.need_weights(who, tuple(x.shape[1:]))
        assert self.output_shape is not None
        outputs = (len(x), *self.output_shape)
        y = to_host(given)
        try:
            self.check_input(x)
            self.check_values(x)
        except ShapeError as error:
            raise ShapeError(f"{who}: x: {error}") from None
        except ValueError as error:
            raise ValueError(f"{who}: x: {error}") from None
        try:
            loss.check(y, outputs)
        except ValueError as error:
            if new:
                self.unbuild()  # weights made for these data would refuse the right ones
            raise ValueError(f"{who}: y: {error}") from None
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(f"{who}: give class_weight or sample_weight, not both; multiply them by hand.")
            sample_weight = data.weights_of_classes(y, class_weight, outputs, f"{who}: class_weight")
        if sample_weight is not None:
            try:
                sample_weight = loss.check_weight(sample_weight, outputs).astype(self.dtype, copy=False)
            except ValueError as error:
                raise ValueError(f"{who}: sample_weight: {error}") from None
            sample_weight = to_device(sample_weight, self.device)
        return Samples(to_device(x, self.device), to_device(given, self.device), sample_weight)

    def cast_batch(self, batch: Samples) -> Samples:
        """Return a batch of what `prepare` returned in the model's dtype: inputs and targets that are numbers."""
        x, y, sample_weight = batch
        if self.need_compiled("fit")[1].target_kind == "float":
            y = y.astype(self.dtype, copy=False)
        return Samples(self.cast(x), y, sample_weight)


def weighted_name(name: str, taken: Sequence[str]) -> str:
    """Return the name of a weighted metric in the logs."""
    return f"weighted_{name}" if name in taken else name


def check_loss(loss: losses.Loss) -> None:
    """Raise an error if training cannot call a loss, or could make nothing of its result."""
    if loss.reduction in ("none", None):
        raise ValueError(
            f"{loss.name}: training makes one number smaller, and the reduction {loss.reduction!r} gives one for every "
            "sample; use 'sum_over_batch_size' or 'sum'."
        )
    try:
        inspect.signature(loss.forward).bind("y_true", "y_pred", "sample_weight", "mask")
    except TypeError:
        raise TypeError(
            f"{loss.name}: training calls forward(self, y_true, y_pred, sample_weight=None, mask=None); give the "
            "method these parameters, or write call(self, y_true, y_pred) and gradient(self, dv) in place of forward "
            "and backward: these need not know of weights."
        ) from None
