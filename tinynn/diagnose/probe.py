"""Probe: what two training steps on a copy of a model show, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host
from tinynn.compiled import TrainedParts
from tinynn.data import Samples, batches
from tinynn.diagnose.costs import short_label
from tinynn.diagnose.limits import SATURATED_SLOPE
from tinynn.diagnose.neutral import neutral_loss
from tinynn.layers import Dense, HardSigmoid, HardTanh, ReLU, Sigmoid, SimpleRNN, Tanh
from tinynn.layers.activation_function import ActivationFunction
from tinynn.layers.base import Layer
from tinynn.scores import Scores
from tinynn.training import Trainer


@dataclass
class LayerFacts:
    """What was measured of one layer; None where it does not apply.

    Attributes
    ----------
    layer : str
        Its name, after those of the layers it stands in.
    units : int or None
        How many units a ReLU has.
    dead : float or None
        The part of them that is 0 for every sample.
    saturated : float or None
        The part of the outputs of a tanh or sigmoid that is near its limits.
    gradient : float or None
        The norm of the loss's gradient by the layer's output, of one batch.
    update : float or None
        The norm of one step of the optimizer, divided by that of the weights; of the weights with two axes and more.
    """

    layer: str
    units: int | None = None
    dead: float | None = None
    saturated: float | None = None
    gradient: float | None = None
    update: float | None = None


class LastLoss(Scores):
    """Scores that keep the loss of the last batch, finite or not, and count nothing."""

    last = float("nan")

    def add_loss(self, L: Any, samples: int, where: str | None) -> None:
        """Keep the loss."""
        self.last = float(L)


def step(model: Trainer, parts: TrainedParts, batch: Samples) -> float:
    """Do one training step, as fit does it, and return its loss."""
    scores = LastLoss([])
    with np.errstate(all="ignore"):
        model.train_step(parts, model.cast(batch.x), batch.y, scores, "", batch.sample_weight)
    return scores.last


@dataclass
class Watched:
    """What was seen at one layer, while data went through; arrays stay on the device until they are asked for."""

    squares: Any = 0
    inputs: int = 0
    lowest_input: float = math.inf
    highest_input: float = -math.inf
    largest: Any = None
    near_limits: Any = 0
    outputs: int = 0
    gradients: list[float] = field(default_factory=list)

    def see_input(self, x: Array) -> None:
        """Note the size of what comes in, of each column of a table."""
        if x.dtype.kind == "f":  # not the numbers of things
            wide = x.astype("float64")
            self.squares += (wide * wide).sum(axis=0 if x.ndim == 2 else None)
            self.inputs += len(x) if x.ndim == 2 else x.size
            self.lowest_input = min(self.lowest_input, float(x.min()))
            self.highest_input = max(self.highest_input, float(x.max()))

    def see_relu(self, y: Array) -> None:
        """Note the largest output of each unit."""
        largest = y.max(axis=tuple(range(y.ndim - 1)))
        self.largest = largest if self.largest is None else array_module(y).maximum(self.largest, largest)

    def see_tanh(self, y: Array) -> None:
        """Note how many outputs have a slope near 0."""
        self.near_limits += (1 - y * y < SATURATED_SLOPE).sum()
        self.outputs += y.size

    def see_sigmoid(self, y: Array) -> None:
        """Note how many outputs have a slope near 0, of which the largest is 1/4."""
        self.near_limits += (4 * y * (1 - y) < SATURATED_SLOPE).sum()
        self.outputs += y.size

    def see_gradient(self, dy: Array) -> None:
        """Note the norm of the gradient by the output."""
        wide = dy.astype("float64")
        self.gradients.append(float(array_module(dy).sqrt((wide * wide).sum())))


class Probe:
    """A copy of a model, whose layers tell what passes through them. It is spoilt by that: do not use it elsewhere.

    Parameters
    ----------
    model : Trainer
        The copy, compiled and built.
    trained : bool
        Whether it has been trained: its last layer may then be as sure as it likes.
    """

    def __init__(self, model: Trainer, trained: bool) -> None:
        self.model = model
        self.parts = model.trained_parts("doctor")
        self.watched: dict[str, Watched] = {}
        self.owners: dict[str, Layer] = {}
        self.low, self.high = math.inf, -math.inf  # of what the loss is given
        last = self.parts.net.last_activation
        for place, layer in places(self.parts.net):
            if isinstance(layer, Dense):
                layer.plain = True  # in one pass with the bias its activation would not be called
            see = seer_of(layer)
            if see is not None and not (trained and layer is last):
                after(layer, "forward", getattr(self.watched.setdefault(place, Watched()), see))
            if any(parameter.trainable and len(parameter.shape) > 1 for parameter in layer.own_parameters):
                self.owners[place] = layer
                if len(self.owners) == 1:  # the first: its inputs are the data, as the layers before it make them
                    before(layer, "forward", self.watched.setdefault(place, Watched()).see_input)
                before(layer, "backward", self.watched.setdefault(place, Watched()).see_gradient)

    def losses(self, samples: Samples, batch_size: int) -> tuple[float, float | None]:
        """Run the samples forward; return their loss, and that of a model that knows nothing (None: no one knows)."""
        loss, total, neutral = self.parts.loss, 0.0, 0.0
        with np.errstate(all="ignore"):
            for rows in batches(len(samples.x), batch_size):
                x, y, weight = samples.rows(rows)
                z, mask = self.parts.forward(self.model.cast(x), training=True)
                self.low, self.high = min(self.low, float(z.min())), max(self.high, float(z.max()))
                total += len(x) * float(loss.forward(y, z, weight, mask))
                neutral += len(x) * neutral_loss(loss, y, z, weight, mask)
        loss.cache = None
        self.model.forget()
        count = len(samples.x)
        return total / count, None if np.isnan(neutral) else neutral / count

    def two_steps(self, batch: Samples) -> dict[str, float]:
        """Do two training steps; return how large the first was, against the weights, by place.

        The second is for what lies behind weights that start at zero: nothing comes through them in the first.
        """
        changes: dict[str, float] = {}
        for _ in range(2):
            weights = {place: matrices(layer) for place, layer in self.owners.items()}
            step(self.model, self.parts, batch)
            for place, layer in self.owners.items():
                change = relative_change(weights[place], matrices(layer))
                if change is not None and not changes.get(place):
                    changes[place] = change
        return changes

    def facts(self, changes: dict[str, float]) -> list[LayerFacts]:
        """Return all that was seen, in the order of the layers."""
        found = []
        for place, seen in self.watched.items():
            fact = LayerFacts(place, update=changes.get(place))
            if seen.largest is not None:
                dead = to_host(seen.largest) <= 0
                fact.units, fact.dead = int(dead.size), float(dead.mean())
            if seen.outputs:
                fact.saturated = float(seen.near_limits) / seen.outputs
            if seen.gradients:
                first, second = (*seen.gradients, 0.0)[:2]
                fact.gradient = first if first else second
            found.append(fact)
        return found


def places(net: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield the layers inside a model with their places, such as ``"residual > dense"``.

    An activation has the place of the layer that it stands in, and so has what a list of layers became.
    """

    def inside(layer: Layer, place: str) -> Iterator[tuple[str, Layer]]:
        yield place, layer
        names: list[str] = []
        for child in layer.children:
            name = child.name or child.default_name
            if (not child.name and isinstance(child, ActivationFunction)) or name == "chain":
                yield from inside(child, place)
                continue
            names.append(name)
            number = f"_{names.count(name) - 1}" if name in names[:-1] else ""
            yield from inside(child, f"{place} > {name}{number}")

    for layer in net.children:
        yield from inside(layer, short_label(layer))


def seer_of(layer: Layer) -> str | None:
    """Return the method of `Watched` that looks at the outputs of this layer, None if none does."""
    if isinstance(layer, ReLU):
        return "see_relu" if layer.negative_slope == 0 else None
    if isinstance(layer, Tanh | HardTanh):
        return "see_tanh"
    if isinstance(layer, Sigmoid | HardSigmoid):
        return "see_sigmoid"
    if isinstance(layer, SimpleRNN) and layer.activation.name == "tanh" and not layer.return_state:
        return "see_tanh"
    return None


def after(layer: Layer, method: str, see: Callable[[Array], None]) -> None:
    """Have `see` look at what a method returns, each time it is called."""
    original = getattr(layer, method)

    def watched(*arguments: Any, **others: Any) -> Any:
        result = original(*arguments, **others)
        see(result)
        return result

    vars(layer)[method] = watched


def before(layer: Layer, method: str, see: Callable[[Array], None]) -> None:
    """Have `see` look at the first argument of a method, each time it is called."""
    original = getattr(layer, method)

    def watched(first: Any, *arguments: Any, **others: Any) -> Any:
        if hasattr(first, "dtype"):  # not the list of a layer that returns states
            see(first)
        return original(first, *arguments, **others)

    vars(layer)[method] = watched


def matrices(layer: Layer) -> list[Array]:
    """Return copies of what a layer learns and has two axes or more: biases and scales start at 0 or 1, not by draw."""
    return [to_host(p.value).astype("float64") for p in layer.own_parameters if p.trainable and len(p.shape) > 1]


def relative_change(old: Sequence[Array], new: Sequence[Array]) -> float | None:
    """Return |new - old| / |old|, None where the old ones are 0.

    Examples
    --------
    >>> relative_change([np.array([3.0, 4.0])], [np.array([3.0, 4.5])])
    0.1
    """
    size = sum(float((w * w).sum()) for w in old)
    change = sum(float(((v - w) ** 2).sum()) for v, w in zip(new, old, strict=True))
    return float(np.sqrt(change / size)) if size else None
