"""Rules about the data, and about whether the last layer and the loss fit them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn import layers, losses
from tinynn.backend import to_host
from tinynn.diagnose import limits
from tinynn.diagnose.neutral import REGRESSIONS
from tinynn.diagnose.probe import Probe
from tinynn.diagnose.report import Finding
from tinynn.layers.base import Layer
from tinynn.training import Trainer

TOLERANCE = 1e-3  # by which a number may leave its range

# Between which numbers the outputs of an activation lie.
REACH: dict[type[Layer], tuple[float, float]] = {
    layers.ReLU: (0, math.inf),
    layers.ReLU6: (0, 6),
    layers.Softplus: (0, math.inf),
    layers.Exponential: (0, math.inf),
    layers.Sigmoid: (0, 1),
    layers.HardSigmoid: (0, 1),
    layers.Softmax: (0, 1),
    layers.Tanh: (-1, 1),
    layers.HardTanh: (-1, 1),
    layers.Softsign: (-1, 1),
}


def of_targets(model: Trainer, y: Any, weighted: bool) -> Iterator[Finding]:
    """Yield what is the matter with the targets.

    Parameters
    ----------
    model : Trainer
    y : array
        All targets that were given, on the host.
    weighted : bool
        Whether the samples have weights: rare classes are known then.
    """
    _, loss = model.need_compiled("doctor")
    if type(loss) in REGRESSIONS:
        rms = float(np.sqrt(np.square(y, dtype="float64").mean()))
        if rms > limits.TARGET_LARGE:
            yield Finding(
                "targets",
                "warning",
                "",
                f"targets from {y.min():.4g} to {y.max():.4g}; their root mean square is {rms:.3g}",
                "train on (y - mean) / deviation, and undo it on the predictions: a network starts near 0 and would "
                "take many steps to come there",
            )
    numbers = model.output_shape == (1,) and type(loss) in (*REGRESSIONS, losses.Poisson)  # 0 and 1 are no classes then
    counts = None if numbers else class_counts(y, model.output_shape or ())
    if counts is not None and not weighted and counts.sum() >= limits.SAMPLES_A_CLASS * len(counts):
        rarest = int(counts.argmin())
        fair = counts.sum() / len(counts)
        if counts[rarest] < limits.RAREST_CLASS * fair:
            yield Finding(
                "labels",
                "warning",
                "",
                f"class {rarest} has {counts[rarest]:,} of {counts.sum():,} samples, class {int(counts.argmax())} has "
                f"{counts.max():,}",
                "look at more than the accuracy (F1Score, a confusion matrix); give class_weight, or more samples of "
                "the rare class; if a class is missing, look at how the data were cut",
            )


def of_inputs(probe: Probe) -> Iterator[Finding]:
    """Yield a finding if what the first weights get is far from what initial weights are made for.

    Layers in front of them may have scaled it: a normalization, a masking, one's own.
    """
    place = next(iter(probe.owners), "")
    seen = probe.watched.get(place)
    if seen is None or not seen.inputs:
        return
    sizes = np.sqrt(np.atleast_1d(to_host(seen.squares)) / seen.inputs)
    largest = int(sizes.argmax())
    measured = f"{place} gets numbers from {seen.lowest_input:.4g} to {seen.highest_input:.4g}"
    if sizes[largest] > limits.INPUT_LARGE:
        of = f" of column {largest}" if sizes.size > 1 else ""
        yield Finding(
            "inputs",
            "error",
            place,
            f"{measured}; the root mean square{of} is {sizes[largest]:.3g}, where initial weights expect about 1",
            "bring x to about -1 to 1: x / 255 for bytes, (x - mean) / deviation of each column of a table; or start "
            "the model with BatchNormalization",
        )
    elif 0 < max(abs(seen.lowest_input), abs(seen.highest_input)) < limits.INPUT_SMALL:
        yield Finding(
            "inputs",
            "warning",
            place,
            f"{measured}, where initial weights expect about -1 to 1",
            "bring x to about -1 to 1; was it divided by 255 twice?",
        )


def class_counts(y: Any, output_shape: tuple[int, ...]) -> Any:
    """Return how often each class occurs, None where a sample has not one class: sequences, numbers, several labels.

    Examples
    --------
    >>> class_counts(np.array([0, 2, 2]), (3,))
    array([1, 0, 2])
    >>> class_counts(np.array([[0.0], [1.0], [1.0]]), (1,))
    array([1, 2])
    """
    if len(output_shape) != 1:
        return None
    if y.ndim == 2 and y.shape[1] == output_shape[0] > 1:
        if not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
            return None
        return y.sum(axis=0).astype(int)
    numbers = y.reshape(-1)
    if len(numbers) != len(y) or not (y.dtype.kind in "iub" or np.isin(numbers, (0, 1)).all()):
        return None
    if output_shape[0] == 1:  # one output: yes or no, or it is no class at all
        return np.bincount(numbers.astype(int), minlength=2) if np.isin(numbers, (0, 1)).all() else None
    return np.bincount(numbers.astype(int), minlength=output_shape[0])


# The last layer ------------------------------------------------------------------------------------------------------


def of_last_layer(model: Trainer, probe: Probe, y: Any) -> Iterator[Finding]:
    """Yield a finding if the last activation, the loss and the targets do not fit each other."""
    _, loss = model.need_compiled("doctor")
    last = model.last_activation
    name = type(last).__name__.lower()
    outputs = (model.output_shape or (0,))[-1]
    measured = advice = ""
    if isinstance(last, layers.Softmax) and outputs == 1:
        measured = "the softmax of a single output is 1, whatever comes in"
        advice = "sigmoid in place of softmax, with the loss 'binary_crossentropy'; or one output for each class"
    elif isinstance(loss, losses.LogitLoss) and loss.from_logits and isinstance(last, layers.Softmax | layers.Sigmoid):
        measured = (
            f"the loss takes logits (from_logits=True), and the model ends in {name}, which is then applied twice"
        )
        advice = f"leave out the last {name}, or from_logits=True: a model so made learns slowly and is never sure"
    elif isinstance(probe.parts.loss, losses.LogitLoss) and not probe.parts.loss.from_logits:
        if probe.low < -TOLERANCE or probe.high > 1 + TOLERANCE:
            wanted = loss.activation.__name__.lower() if isinstance(loss, losses.LogitLoss) else "softmax"
            measured = (
                f"the loss takes probabilities, and the model's outputs go from {probe.low:.3g} to {probe.high:.3g}"
            )
            advice = f"end the model in {wanted}, or tell the loss that it gets logits: from_logits=True"
    elif type(loss) in REGRESSIONS and last is not None and type(last) in REACH:
        low, high = REACH[type(last)]
        if y.min() < low - TOLERANCE or y.max() > high + TOLERANCE:
            measured = (
                f"the model ends in {name}, from {low:g} to {high:g}; targets go from {y.min():.4g} to {y.max():.4g}"
            )
            advice = "no activation at the end of a regression (linear), or targets scaled into its reach"
    if measured:
        yield Finding("last_layer", "error", "", measured, advice)
