"""Trials: trainings of copies that tell what cannot be seen without training. They take up to a few hundred steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinynn.backend import array_module
from tinynn.compiled import TrainedParts
from tinynn.data import Samples, batches
from tinynn.diagnose import limits
from tinynn.diagnose.neutral import best_constant_loss
from tinynn.diagnose.probe import step
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.regularization import Noise
from tinynn.optimizers import Adam
from tinynn.training import Trainer, penalty


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test saw (Smith 2015).

    Attributes
    ----------
    rates, losses : tuple of float
        The rates that were tried, one step each, and the average of the losses so far.
    suggested : float or None
        A tenth of the rate with the lowest loss; None if nothing was learned at any rate.
    diverges : float or None
        The rate at which all that was learned was lost again; None if no rate did.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float | None
    diverges: float | None


@dataclass(frozen=True)
class Overfit:
    """What training on a few samples brought, at the rate that did best.

    Attributes
    ----------
    samples : int
    losses : tuple of float
        After each step; the first is that before them.
    rate : float
        Of Adam.
    constant : float or None
        The loss of the best constant answer; None where nobody knows it.
    """

    samples: int
    losses: tuple[float, ...]
    rate: float
    constant: float | None

    @property
    def learned(self) -> bool:
        """Whether the samples were learned, as far as can be said of this loss."""
        first, last = self.losses[0], self.losses[-1]
        if self.constant is None:  # some losses have no 0 to go to
            return last < first - limits.OVERFIT_FELL * abs(first)
        return last < limits.OVERFIT_LEFT * self.constant


def range_test(
    model: Trainer, samples: Samples, batch_size: int, rng: np.random.Generator, neutral: float | None
) -> RangeTest:
    """Train `model`, a copy, with rates that rise from step to step until it diverges.

    Batches differ more than a step at a small rate changes, so each loss is taken against that of the model as it was,
    on the same batch.

    Parameters
    ----------
    model : Trainer
    samples : Samples
    batch_size : int
    rng : numpy.random.Generator
        Shuffles the samples.
    neutral : float or None
        The loss of a model that knows nothing: losses are large or small against it, or against the first ones.
    """
    still = copy.deepcopy(model)
    parts, still_parts = model.trained_parts("doctor"), still.trained_parts("doctor")
    rates, changes, before = [], [], []
    average, best = 0.0, 0.0
    diverges = None
    learned = False
    stream = endless(samples, batch_size, rng)
    for i, rate in enumerate(np.geomspace(limits.RANGE_FIRST, limits.RANGE_LAST, limits.RANGE_STEPS)):
        batch = next(stream)
        parts.optimizer.learning_rate = float(rate)
        before.append(loss_of(still, still_parts, batch))
        change = step(model, parts, batch) - before[-1]
        average = limits.RANGE_SMOOTHING * average + (1 - limits.RANGE_SMOOTHING) * change
        rates.append(float(rate))
        changes.append(average / (1 - limits.RANGE_SMOOTHING ** (i + 1)))  # without the pull of the first average, 0
        size = max(abs(float(np.mean(before))), neutral or 0.0)
        best = min(best, changes[-1])
        learned = best < -limits.RANGE_IMPROVED * size
        if not changes[-1] <= (0 if learned else limits.RANGE_WORSE * size):
            diverges = float(rate)
            break
    lowest = rates[int(np.nanargmin(changes))] if learned else None
    start = float(np.mean(before))
    return RangeTest(
        rates=tuple(rates),
        losses=tuple(start + change for change in changes),
        suggested=None if lowest is None else lowest / limits.RANGE_BELOW_BEST,
        diverges=diverges,
    )


def loss_of(model: Trainer, parts: TrainedParts, batch: Samples) -> float:
    """Return the loss of a batch in training, with penalties, without a step."""
    with np.errstate(all="ignore"):
        z, mask = parts.forward(model.cast(batch.x), training=True)
        L = float(parts.loss.forward(batch.y, z, batch.sample_weight, mask) + penalty(model.need_arena()))
    parts.loss.cache = None
    model.forget()
    return L


def endless(samples: Samples, batch_size: int, rng: np.random.Generator) -> Iterator[Samples]:
    """Yield batches of shuffled samples, over and over."""
    while True:
        order = array_module(samples.x).asarray(rng.permutation(len(samples.x)))
        for rows in batches(len(samples.x), batch_size, order):
            yield samples.rows(rows)


def overfit(model: Trainer, samples: Samples) -> Overfit | None:
    """Train copies of `model` on the same few samples, until one has learned them; without dropout and penalties.

    Returns
    -------
    Overfit or None
        None where there is nothing to learn: one answer is right for all of them.
    """
    parts = model.trained_parts("doctor")
    rows = math.prod(parts.loss.rows((1, *(model.output_shape or ()))))
    count = min(len(samples.x), limits.OVERFIT_SAMPLES, max(limits.OVERFIT_TARGETS // max(rows, 1), 4))
    few = samples.rows(slice(0, count))
    z, mask = parts.forward(model.cast(few.x), training=True)
    constant = best_constant_loss(parts.loss, few.y, z, few.sample_weight, mask)
    model.forget()
    if constant is not None and not constant > limits.OVERFIT_NOTHING:
        return None
    best: Overfit | None = None
    for rate in limits.OVERFIT_RATES:
        tried = overfit_at(copy.deepcopy(model), few, rate, constant)
        if best is None or tried.losses[-1] < best.losses[-1] or math.isnan(best.losses[-1]):
            best = tried
        if best.learned:
            break
    return best


def overfit_at(model: Trainer, few: Samples, rate: float, constant: float | None) -> Overfit:
    """Train `model`, a copy, with Adam at this rate."""
    model.optimizer = Adam(rate)
    arena = model.need_arena()
    arena.regularized, arena.penalized = [], []
    for layer in model.walk():
        if isinstance(layer, Noise):
            vars(layer).update(rate=0.0, stddev=0.0)  # one of the two is what this kind of noise reads
        if isinstance(layer, Recurrent):
            layer.dropout = layer.recurrent_dropout = 0.0
    parts = model.trained_parts("doctor")
    seen = []
    for _ in range(limits.OVERFIT_STEPS):
        seen.append(step(model, parts, few))
        if math.isnan(seen[-1]) or (constant is not None and seen[-1] < limits.OVERFIT_DONE * constant):
            break
    return Overfit(len(few.x), tuple(seen), rate, constant)
