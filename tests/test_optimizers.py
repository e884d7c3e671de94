"""Optimizers: against their formulas written out once more, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinynn import optimizers
from tinynn.backend import Device, to_host
from tinynn.layers import Dense
from tinynn.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from tinynn.parameter import Arena


def arena_of(size: int, xp: object = np, dtype: str = "float64") -> Arena:
    layer = Dense(1, use_bias=False)
    layer.build((size,))
    arena = Arena(layer.parameters, dtype, xp)
    return arena


def run(optimizer: Optimizer, gradients: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return w after a step with each row of gradients."""
    arena = arena_of(len(start))
    arena.values[:] = start
    for gradient in gradients:
        arena.grads[:] = gradient
        optimizer.step(arena)
    return arena.values.copy()


def sgd(w: float, gs: np.ndarray, lr: float = 0.1, momentum: float = 0.0, nesterov: bool = False) -> float:
    m = 0.0
    for g in gs:
        m = momentum * m - lr * g
        w += momentum * m - lr * g if nesterov else m
    return w


def rmsprop(w: float, gs: np.ndarray, momentum: float = 0.0, centered: bool = False) -> float:
    v = a = m = 0.0
    for g in gs:
        v = 0.9 * v + 0.1 * g * g
        a = 0.9 * a + 0.1 * g
        step = 0.001 * g / math.sqrt(v - (a * a if centered else 0) + 1e-7)
        m = momentum * m + step
        w -= m if momentum else step
    return w


def adam(w: float, gs: np.ndarray, decay: float = 0.0) -> float:
    m = v = 0.0
    for t, g in enumerate(gs, 1):
        w -= 0.001 * decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w -= 0.001 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (math.sqrt(v) + 1e-7)
    return w


CASES: dict[str, tuple[Callable[[], Optimizer], Callable[[float, np.ndarray], float]]] = {
    "SGD": (lambda: SGD(0.1), sgd),
    "SGD(momentum)": (lambda: SGD(0.1, momentum=0.9), lambda w, g: sgd(w, g, momentum=0.9)),
    "SGD(nesterov)": (lambda: SGD(0.1, 0.9, True), lambda w, g: sgd(w, g, momentum=0.9, nesterov=True)),
    "RMSprop": (RMSprop, rmsprop),
    "RMSprop(momentum)": (lambda: RMSprop(momentum=0.9), lambda w, g: rmsprop(w, g, momentum=0.9)),
    "RMSprop(centered)": (lambda: RMSprop(centered=True), lambda w, g: rmsprop(w, g, centered=True)),
    "RMSprop(both)": (lambda: RMSprop(momentum=0.9, centered=True), lambda w, g: rmsprop(w, g, 0.9, True)),
    "Adam": (Adam, adam),
    "AdamW": (AdamW, lambda w, g: adam(w, g, decay=0.004)),
}


def test_every_optimizer_has_a_case() -> None:
    assert {type(make()) for make, _ in CASES.values()} == set(optimizers.OPTIMIZERS.values())


@pytest.mark.parametrize("name", CASES)
def test_equals_its_formula(name: str, rng: np.random.Generator) -> None:
    make, formula = CASES[name]
    gradients = rng.normal(size=(250, 4)) * np.array([1e-3, 1.0, 100.0, 0.0])
    start = rng.normal(size=4)
    found = run(make(), gradients, start)
    expected = [formula(start[i], gradients[:, i]) for i in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_device_and_dtype(name: str, device: Device, dtype: str, rng: np.random.Generator) -> None:
    make = CASES[name][0]
    here, there = arena_of(10, dtype=dtype), arena_of(10, device.xp, dtype)
    there.values[...] = device.xp.asarray(here.values)
    gradient = rng.normal(size=10).astype(dtype)
    mine, theirs = make(), make()
    for _ in range(3):
        here.grads[...] = gradient
        there.grads[...] = device.xp.asarray(gradient)
        mine.step(here)
        theirs.step(there)
    assert there.values.dtype == dtype
    assert all(slot.dtype == dtype for slot in theirs.slots.values())
    np.testing.assert_allclose(to_host(there.values), here.values, rtol=1e-5)


def test_averages_of_vanished_gradients_become_zero_not_denormal() -> None:
    arena = arena_of(3, dtype="float32")
    adam = Adam()
    arena.grads[:] = 1e-3
    adam.step(arena)
    arena.grads[:] = 0
    for _ in range(1099):
        adam.step(arena)
    assert (adam.slots["M"] == 0).all()
    assert (adam.slots["V"] > 0).all()


def test_centered_rmsprop_survives_the_rounding_of_its_variance() -> None:
    arena = arena_of(1000, dtype="float32")
    arena.grads[:] = np.linspace(90, 110, 1000)
    rmsprop = RMSprop(centered=True)
    for _ in range(300):
        rmsprop.step(arena)
    assert np.isfinite(arena.values).all()


def test_an_optimizer_belongs_to_one_model() -> None:
    adam = Adam()
    adam.step(arena_of(3))
    with pytest.raises(ValueError, match=r"this Adam has trained another model.*an optimizer of its own"):
        adam.step(arena_of(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(learning_rate=-1), "Adam: learning_rate must be a number from 0 up, got -1"),
        (lambda: SGD(learning_rate="fast"), "SGD: learning_rate must be a number"),
        (lambda: SGD(momentum=2), "SGD: momentum must be a number from 0 to 1, got 2"),
        (lambda: Adam(beta_1=1.0), "Adam: beta_1 must be a number from 0 to below 1, got 1.0"),
        (lambda: RMSprop(rho=2), "RMSprop: rho must be a number from 0 to 1, got 2"),
        (lambda: Adam(epsilon=-1), "Adam: epsilon must be a number from 0 up, got -1"),
        (lambda: Adam(True), "Adam: learning_rate must be a number from 0 up, got True"),
        (lambda: optimizers.get("adamm"), "unknown optimizer 'adamm'. Did you mean 'adam'"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
