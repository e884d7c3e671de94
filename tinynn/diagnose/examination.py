"""Examination: what `tinynn.doctor` does with a compiled model and a sample of its data.

All is measured on copies (`Probe`, the trials). Then rules make findings of the numbers, and what another finding
explains is set apart as its consequence.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from tinynn import data
from tinynn.arguments import check_count
from tinynn.backend import array_module, to_host
from tinynn.check.finite_check import copy_of
from tinynn.data import Samples
from tinynn.diagnose import limits
from tinynn.diagnose.data_rules import of_inputs, of_last_layer, of_targets
from tinynn.diagnose.probe import LayerFacts, Probe
from tinynn.diagnose.report import DoctorReport
from tinynn.diagnose.rules import of_gradients, of_loss, of_one_batch, of_rates, of_units
from tinynn.diagnose.trials import Overfit, RangeTest, overfit, range_test
from tinynn.training import Trainer

# What may be the reason of what: a finding that another one explains is a consequence, for that one is mended first.
BECAUSE: dict[str, tuple[str, ...]] = {
    "labels": (),
    "inputs": (),
    "last_layer": (),
    "targets": ("last_layer",),
    "not_finite": ("inputs", "targets"),
    "saturation": ("inputs",),
    "dead_units": ("inputs", "last_layer"),
    "exploding_gradients": ("saturation", "last_layer"),
    "vanishing_gradients": ("inputs", "saturation", "dead_units", "last_layer"),
    "loss_at_start": ("inputs", "targets", "last_layer", "saturation", "exploding_gradients"),
}
BECAUSE["learning_rate"] = tuple(kind for kind in BECAUSE if kind != "labels")
BECAUSE["update"] = BECAUSE["overfit"] = (*BECAUSE["learning_rate"], "learning_rate")


def examine(
    model: Any,
    x: Any,
    y: Any,
    batch_size: int,
    sample_weight: Any,
    class_weight: dict[int, float] | None,
    verbose: int,
) -> DoctorReport:
    """Do what `tinynn.doctor` says; the parameters are its."""
    if not isinstance(model, Trainer):
        raise TypeError(
            f"doctor examines a model that can be trained, such as Sequential, got {type(model).__name__}. "
            "Write tinynn.doctor(model, x, y)."
        )
    model.need_compiled("doctor")
    batch_size = check_count(batch_size, "doctor: batch_size")
    if verbose not in (0, 1):
        raise ValueError(f"doctor: verbose must be 0 or 1, got {verbose!r}.")
    given = data.check_samples(x, y, sample_weight, "doctor")
    rng = np.random.default_rng(model.seed)
    twin = copy_of(model, "doctor")
    samples = twin.prepare(some_of(given, rng), "doctor", class_weight)
    y = to_host(given.y)
    new = twin.optimizer.iterations == 0
    probe = Probe(copy.deepcopy(twin), trained=not new)
    loss, neutral = probe.losses(samples, batch_size)
    expected = neutral if new else None
    facts: list[LayerFacts] = []
    rates: RangeTest | None = None
    one_batch: Overfit | None = None
    if math.isfinite(loss):
        changes = probe.two_steps(samples.rows(slice(0, batch_size)))
        facts = probe.facts(changes)
        one_batch = overfit(copy.deepcopy(twin), samples)
        rates = range_test(copy.deepcopy(twin), samples, batch_size, rng, neutral)
    judged = rates if new or neutral is not None else None  # a loss near 0 doubles at good rates too
    findings = [
        *of_targets(twin, y, weighted=class_weight is not None or sample_weight is not None),
        *of_inputs(probe),
        *of_last_layer(twin, probe, y),
        *of_units(facts),
        *of_gradients(probe, facts),
        *of_loss(twin, loss, expected),
        *of_rates(twin, judged, facts),
        *of_one_batch(one_batch),
    ]
    kinds = {finding.kind for finding in findings}
    follows = [finding for finding in findings if kinds & set(BECAUSE[finding.kind])]
    report = DoctorReport(
        model=twin.name or twin.default_name,
        samples=len(samples.x),
        of=len(given.x),
        batch_size=batch_size,
        findings=tuple(finding for finding in findings if finding not in follows),
        consequences=tuple(follows),
        layers=tuple(facts),
        loss=loss,
        expected_loss=expected,
        learning_rate=twin.optimizer.learning_rate,
        range_test=rates,
        overfit=one_batch,
    )
    if verbose:
        from rich.console import Console

        Console().print(report, soft_wrap=True)
    return report


def some_of(given: Samples, rng: np.random.Generator) -> Samples:
    """Return as many samples as are looked at, drawn at random: data are often sorted."""
    rows = rng.permutation(len(given.x))[: limits.SAMPLES]
    return given.rows(rows if array_module(given.x) is np else array_module(given.x).asarray(rows))
