"""Schedules: values by hand, ends, corners, and the settings they refuse. Keras's values are in test_parity."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tinynn.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    OneCycle,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

VALUES = [
    (ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 10: 0.05, 15: 0.1 * 0.5**1.5, 30: 0.0125}),
    (ExponentialDecay(0.1, 10, 0.5, staircase=True), {0: 0.1, 9: 0.1, 10: 0.05, 19: 0.05, 20: 0.025}),
    (InverseTimeDecay(0.1, 10, 2.0), {0: 0.1, 5: 0.05, 10: 0.1 / 3}),
    (InverseTimeDecay(0.1, 10, 2.0, staircase=True), {0: 0.1, 9: 0.1, 10: 0.1 / 3}),
    (PiecewiseConstantDecay([10, 20], [3.0, 2.0, 1.0]), {0: 3, 10: 3, 11: 2, 20: 2, 21: 1, 1000: 1}),
    (PiecewiseConstantDecay([], [3.0]), {0: 3, 1000: 3}),
    (PolynomialDecay(1.0, 10, 0.5), {0: 1, 5: 0.75, 10: 0.5, 11: 0.5, 1000: 0.5}),
    (PolynomialDecay(1.0, 10, 0.5, power=2.0), {0: 1, 5: 0.625, 10: 0.5}),
    (PolynomialDecay(1.0, 10, 0.0, cycle=True), {0: 1, 5: 0.5, 10: 0, 11: 1 - 11 / 20, 20: 0, 21: 1 - 21 / 30}),
    (CosineDecay(1.0, 10), {0: 1, 5: 0.5, 10: 0, 1000: 0}),
    (CosineDecay(1.0, 10, alpha=0.5), {0: 1, 5: 0.75, 10: 0.5, 1000: 0.5}),
    (
        CosineDecay(0.5, 10, alpha=0.1, warmup_target=2.0, warmup_steps=3),
        {0: 0.5, 1: 1.0, 2: 1.5, 3: 2.0, 8: 1.1, 13: 0.2, 1000: 0.2},
    ),
    (CosineDecayRestarts(1.0, 10), {0: 1, 5: 0.5, 10: 1, 20: 0.5, 30: 1, 50: 0.5, 70: 1}),
    (CosineDecayRestarts(1.0, 10, t_mul=1.0, m_mul=0.5), {0: 1, 5: 0.5, 10: 0.5, 15: 0.25, 20: 0.25}),
    (OneCycle(1.0, 11, pct_start=0.5, div_factor=10, final_div_factor=5), {0: 0.1, 10: 0.02, 11: 0.02, 1000: 0.02}),
    (OneCycle(1.0, 10, pct_start=0.5, div_factor=10), {0: 0.1, 2: 0.55, 4: 1.0, 9: 1e-5}),
]


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=[str(schedule) for schedule, _ in VALUES])
def test_values(schedule: LearningRateSchedule, values: dict[int, float]) -> None:
    for step, rate in values.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15), step
        assert type(schedule(step)) is float


@pytest.mark.parametrize("t_mul", [1.0, 1.1, 2.0, 3.0])
def test_every_restart_is_at_the_top(t_mul: float) -> None:
    """Also where a logarithm of the step, rounded, would see the end of the wave before."""
    schedule = CosineDecayRestarts(1.0, 10, t_mul=t_mul)
    start, length = 0.0, 10.0
    while start < 100_000:
        step = math.ceil(start - 1e-6)
        assert schedule(step) > 0.9, step
        start, length = start + length, length * t_mul


def test_one_cycle_goes_up_then_down() -> None:
    schedule = OneCycle(0.1, 100)
    rates = [schedule(step) for step in range(100)]
    top = rates.index(max(rates))
    assert (top, rates[top]) == (29, 0.1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 / 25 / 1e4)


def test_a_schedule_without_a_call_says_so() -> None:
    with pytest.raises(TypeError, match="LearningRateSchedule needs a method __call__"):
        LearningRateSchedule()(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialDecay(-0.1, 10, 0.5), "ExponentialDecay: initial_learning_rate must be a number from 0"),
        (lambda: ExponentialDecay(0.1, 0, 0.5), "ExponentialDecay: decay_steps must be a whole number from 1 up"),
        (lambda: InverseTimeDecay(0.1, 10, -1), "InverseTimeDecay: decay_rate must be a number from 0 up, got -1"),
        (lambda: PiecewiseConstantDecay([1, 2], [1.0]), "one value more than boundaries, got 1 values and 2"),
        (lambda: PiecewiseConstantDecay([2, 2], [1.0, 2.0, 3.0]), r"boundaries must grow, got \[2, 2\]"),
        (lambda: PolynomialDecay(0.1, 10, power=-1), "PolynomialDecay: power must be a number from 0 up"),
        (lambda: CosineDecay(0.1, 10, warmup_steps=3), "CosineDecay: warmup_steps=3 needs a warmup_target"),
        (lambda: CosineDecay(0.1, 10, warmup_target=1, warmup_steps=0.5), "warmup_steps must be a whole number"),
        (lambda: CosineDecayRestarts(0.1, 10, t_mul=0.5), "t_mul must be a number from 1 up, got 0.5"),
        (lambda: OneCycle(0.1, 10, pct_start=1), "OneCycle: pct_start must be a number from 0 to below 1"),
        (lambda: OneCycle(0.1, 2), "pct_start of total_steps must be more than one step, got 0.3 of 2"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
