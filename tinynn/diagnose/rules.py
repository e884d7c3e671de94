"""Rules about what was measured: each makes at most one finding of a kind."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tinynn.diagnose import limits
from tinynn.diagnose.neutral import allowed_loss
from tinynn.diagnose.probe import LayerFacts, Probe
from tinynn.diagnose.report import Finding
from tinynn.diagnose.trials import Overfit, RangeTest
from tinynn.training import Trainer

# Units and gradients -------------------------------------------------------------------------------------------------


def of_units(facts: list[LayerFacts]) -> Iterator[Finding]:
    """Yield a finding for dead, and one for saturated units."""
    dead = [(fact.dead, fact) for fact in facts if fact.dead is not None and fact.dead > limits.DEAD_UNITS]
    if dead:
        part, worst = max(dead, key=lambda pair: pair[0])
        units = worst.units or 0
        yield Finding(
            "dead_units",
            "error",
            worst.layer,
            f"{round(part * units):,} of {units:,} units are 0 for every sample{others(len(dead))}; they get no "
            "gradient, so they stay so",
            "look at the biases (large and negative?) and at the layer before; HeNormal for the weights, LeakyReLU in "
            "place of ReLU; if it was trained so, a smaller learning rate",
        )
    outputs = [(fact.saturated, fact) for fact in facts if fact.saturated is not None]
    saturated = [pair for pair in outputs if pair[0] > limits.SATURATED_OUTPUTS]
    if saturated:
        part, worst = max(saturated, key=lambda pair: pair[0])
        yield Finding(
            "saturation",
            "error",
            worst.layer,
            f"{100 * part:.0f} % of the outputs lie near the limits{others(len(saturated))}, where the slope is next "
            "to 0",
            "smaller initial weights (GlorotUniform fits tanh and sigmoid), or a normalization before the activation; "
            "if it was trained so, a smaller learning rate",
        )


def others(count: int) -> str:
    """Return how many other layers have the same.

    Examples
    --------
    >>> others(1), others(3)
    ('', ' (and 2 layers more)')
    """
    return "" if count == 1 else f" (and {count - 1} layer{'s' if count > 2 else ''} more)"


def of_gradients(probe: Probe, facts: list[LayerFacts]) -> Iterator[Finding]:
    """Yield a finding if the gradients change by powers of ten on their way back."""
    seen = [(fact.layer, probe.watched[fact.layer].gradients) for fact in facts if fact.gradient is not None]
    if len(seen) < 2:
        return
    last_place, last = seen[-1]
    steps = range(min(len(gradients) for _, gradients in seen))
    good = [i for i in steps if last[i] > 0 and all(math.isfinite(gradients[i]) for _, gradients in seen)]
    if not good:
        return  # nothing comes back, or what comes is broken: other findings say why
    gains = [gradients[good[0]] / last[good[0]] for _, gradients in seen]
    largest = max(range(len(seen)), key=lambda i: gains[i])
    if gains[largest] > limits.GRADIENT_EXPLODED:
        yield Finding(
            "exploding_gradients",
            "error",
            seen[largest][0],
            f"the gradient by its output is {gains[largest]:,.0f} times as large as at {last_place}",
            "smaller initial weights (GlorotUniform, HeNormal for ReLU), a normalization between the layers, or "
            "Residual; clipping (global_clipnorm=1.0) helps against rare peaks only",
        )
    ratios = [max(gradients[i] / last[i] for i in good) for _, gradients in seen]
    smallest = min(range(len(seen)), key=lambda i: ratios[i])
    if ratios[smallest] < limits.GRADIENT_VANISHED:
        yield Finding(
            "vanishing_gradients",
            "error",
            seen[smallest][0],
            f"the gradient by its output is {ratios[smallest]:.1e} of that at {last_place}: the layers in front do "
            "not learn",
            "ReLU or another activation with a slope near 1 in place of sigmoid, HeNormal for it, a normalization "
            "between the layers, Residual, or fewer layers",
        )


# Loss, steps, trials -------------------------------------------------------------------------------------------------


def of_loss(model: Trainer, loss: float, expected: float | None) -> Iterator[Finding]:
    """Yield a finding if the loss is not finite, or higher than that of a new model has to be."""
    if not math.isfinite(loss):
        yield Finding(
            "not_finite",
            "error",
            "",
            f"the loss of a forward pass is {loss}",
            "tinynn.check.finite(model, x, y) names the line where the first NaN or infinity arises",
        )
        return
    _, kind = model.need_compiled("doctor")
    if expected is not None and expected > 0 and allowed_loss(kind, expected) < loss:
        yield Finding(
            "loss_at_start",
            "error",
            "",
            f"{loss:.4g} before training, where a model that knows nothing has {expected:.4g}: it starts sure of "
            "itself and wrong",
            "smaller initial weights in the last layer and a bias of zeros; look whether outputs and targets have the "
            "same scale",
        )


def of_rates(model: Trainer, test: RangeTest | None, facts: list[LayerFacts]) -> Iterator[Finding]:
    """Yield a finding if the learning rate is far from those that work, or a step from the size of the weights."""
    optimizer, _ = model.need_compiled("doctor")
    rate, scheduled = optimizer.learning_rate, optimizer.schedule is not None  # a warm-up may start at 0
    suggested, diverges = (None, None) if test is None else (test.suggested, test.diverges)
    if diverges is not None and rate >= diverges:
        yield Finding(
            "learning_rate",
            "error",
            "",
            f"the rate is {rate:.3g}; when rates rise step by step, training diverges at {diverges:.2g}",
            f"a smaller learning rate{'' if suggested is None else f', such as {suggested:.1g}'}",
        )
    learning = [fact for fact in facts if fact.gradient]  # where nothing comes back, there is nothing to learn
    updates = [(f.update, f.layer) for f in learning if f.update is not None and math.isfinite(f.update)]
    if not updates:
        return
    (largest, large_layer), (smallest, small_layer) = max(updates), min(updates)
    slow = largest < limits.UPDATE_SLOW and not scheduled
    if slow and suggested is not None and rate * limits.RATE_SMALL < suggested:
        yield Finding(
            "learning_rate",
            "warning",
            "",
            f"the rate is {rate:.3g}, and one step changes the weights by {largest:.1g} of their size at most, where "
            f"{limits.UPDATE_GOOD:g} is usual; a range test suggests {suggested:.1g}",
            f"a larger learning rate, such as {suggested:.1g}",
        )
    if largest > limits.UPDATE_LARGE:
        yield Finding(
            "update",
            "error",
            large_layer,
            f"one step changes the weights by {largest:.2g} of their size, where {limits.UPDATE_GOOD:g} is usual",
            "a smaller learning rate, clipping (global_clipnorm=1.0), or larger initial weights if these are tiny",
        )
    elif smallest < limits.UPDATE_SMALL and not scheduled and optimizer.iterations == 0:  # a trained one is there
        yield Finding(
            "update",
            "warning",
            small_layer,
            f"one step changes the weights by {smallest:.1e} of their size, where {limits.UPDATE_GOOD:g} is usual; "
            "float32 rounds at 6e-08",
            "a larger learning rate, or an optimizer that scales steps (Adam); look at the gradients of this layer",
        )


def of_one_batch(trial: Overfit | None) -> Iterator[Finding]:
    """Yield a finding if the model cannot even learn a few samples by heart."""
    if trial is None or trial.learned:
        return
    rates = ", ".join(f"{rate:g}" for rate in limits.OVERFIT_RATES)
    against = f"it was {trial.losses[0]:.3g}"
    if trial.constant is not None:
        against = f"the best constant answer has {trial.constant:.3g}"
    yield Finding(
        "overfit",
        "error",
        "",
        f"{limits.OVERFIT_STEPS} steps on the same {trial.samples} samples, by Adam at {rates}, leave a loss of "
        f"{trial.losses[-1]:.3g}; {against}",
        "something between x and y is broken, or too small: does x hold what y depends on, do equal x have equal y, "
        "are there enough units, are the gradients of layers of your own right (tinynn.check.gradients)",
    )
