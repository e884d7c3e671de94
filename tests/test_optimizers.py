"""Optimizers: against their formulas written out once more, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import tinynn
from tinynn import optimizers
from tinynn.backend import Device, to_host
from tinynn.layers import Dense
from tinynn.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lamb,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
)
from tinynn.parameter import Arena, Parameter
from tinynn.schedules import ExponentialDecay, LearningRateSchedule


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


def adam(w: float, gs: np.ndarray, decay: float = 0.0, amsgrad: bool = False) -> float:
    m = v = largest = 0.0
    for t, g in enumerate(gs, 1):
        w -= 0.001 * decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        largest = max(largest, v)
        root = math.sqrt(largest if amsgrad else v) + 1e-7
        w -= 0.001 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / root
    return w


def adamax(w: float, gs: np.ndarray) -> float:
    m = u = 0.0
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        u = max(0.999 * u, abs(g))
        w -= 0.001 / (1 - 0.9**t) * m / (u + 1e-7)
    return w


def nadam(w: float, gs: np.ndarray, b: float = 0.9) -> float:
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gs, 1):
        now, later = b * (1 - 0.5 * 0.96**t), b * (1 - 0.5 * 0.96 ** (t + 1))
        product *= now
        m = b * m + (1 - b) * g
        v = 0.999 * v + 0.001 * g * g
        n = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
        w -= 0.001 * n / (math.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w


def adagrad(w: float, gs: np.ndarray, start: float = 0.1) -> float:
    a = start
    for g in gs:
        a += g * g
        w -= 0.001 * g / math.sqrt(a + 1e-7)
    return w


def adadelta(w: float, gs: np.ndarray) -> float:
    a = d = 0.0
    for g in gs:
        a = 0.95 * a + 0.05 * g * g
        s = math.sqrt(d + 1e-7) / math.sqrt(a + 1e-7) * g
        d = 0.95 * d + 0.05 * s * s
        w -= 0.001 * s
    return w


def lion(w: float, gs: np.ndarray) -> float:
    m = 0.0
    for g in gs:
        w -= 0.001 * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    return w


def lamb(ws: np.ndarray, gs: np.ndarray) -> np.ndarray:
    """One parameter of several numbers, for its length counts."""
    ws, m, v = list(ws), [0.0] * len(ws), [0.0] * len(ws)
    for t, g in enumerate(gs, 1):
        s = []
        for i in range(len(ws)):
            m[i] = 0.9 * m[i] + 0.1 * g[i]
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i]
            s.append(m[i] / (1 - 0.9**t) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-7))
        ratio = math.hypot(*ws) / math.hypot(*s) if any(ws) and any(s) else 1.0
        ws = [w - 0.001 * ratio * step for w, step in zip(ws, s, strict=True)]
    return np.array(ws)


def adafactor(W: np.ndarray, gs: np.ndarray) -> np.ndarray:
    """One matrix, with the paper's sums in place of means."""
    r, c = np.zeros(W.shape[0]), np.zeros(W.shape[1])
    for t, g in enumerate(gs, 1):
        b = 1 - t**-0.8
        r = b * r + (1 - b) * (g * g + 1e-30).sum(axis=1)
        c = b * c + (1 - b) * (g * g + 1e-30).sum(axis=0)
        u = g / np.sqrt(np.outer(r, c) / r.sum())
        u /= max(1, np.sqrt((u * u).mean()))
        W = W - min(0.3, 1 / math.sqrt(t)) * max(1e-3, np.sqrt((W * W).mean())) * u
    return W


CASES: dict[str, tuple[Callable[[], Optimizer], Callable[[float, np.ndarray], float]]] = {
    "SGD": (lambda: SGD(0.1), sgd),
    "SGD(momentum)": (lambda: SGD(0.1, momentum=0.9), lambda w, g: sgd(w, g, momentum=0.9)),
    "SGD(nesterov)": (lambda: SGD(0.1, 0.9, True), lambda w, g: sgd(w, g, momentum=0.9, nesterov=True)),
    "RMSprop": (RMSprop, rmsprop),
    "RMSprop(momentum)": (lambda: RMSprop(momentum=0.9), lambda w, g: rmsprop(w, g, momentum=0.9)),
    "RMSprop(centered)": (lambda: RMSprop(centered=True), lambda w, g: rmsprop(w, g, centered=True)),
    "RMSprop(both)": (lambda: RMSprop(momentum=0.9, centered=True), lambda w, g: rmsprop(w, g, 0.9, True)),
    "Adam": (Adam, adam),
    "Adam(amsgrad)": (lambda: Adam(amsgrad=True), lambda w, g: adam(w, g, amsgrad=True)),
    "Adam(weight_decay)": (lambda: Adam(weight_decay=0.1), lambda w, g: adam(w, g, decay=0.1)),
    "AdamW": (AdamW, lambda w, g: adam(w, g, decay=0.004)),
    "AdamW(amsgrad)": (lambda: AdamW(amsgrad=True), lambda w, g: adam(w, g, decay=0.004, amsgrad=True)),
    "Adamax": (Adamax, adamax),
    "Nadam": (Nadam, nadam),
    "Nadam(0.999)": (lambda: Nadam(beta_1=0.999), lambda w, g: nadam(w, g, 0.999)),
    "Adagrad": (Adagrad, adagrad),
    "Adagrad(0.7)": (lambda: Adagrad(initial_accumulator_value=0.7), lambda w, g: adagrad(w, g, 0.7)),
    "Adadelta": (Adadelta, adadelta),
    "Lion": (Lion, lion),
}
EVERY: dict[str, Callable[[], Optimizer]] = {name: make for name, (make, _) in CASES.items()} | {
    "Adafactor": Adafactor,
    "Adam(use_ema)": lambda: Adam(use_ema=True, ema_overwrite_frequency=2),
    "Lamb": Lamb,
    "SGD(clipnorm)": lambda: SGD(0.1, clipnorm=0.5),
    "SGD(clipvalue)": lambda: SGD(0.1, clipvalue=0.5),
    "SGD(global_clipnorm)": lambda: SGD(0.1, global_clipnorm=0.5),
    "SGD(schedule)": lambda: SGD(ExponentialDecay(0.1, 1, 0.5)),
}


def test_every_optimizer_has_a_case() -> None:
    assert {type(make()) for make in EVERY.values()} == set(optimizers.OPTIMIZERS.values())


@pytest.mark.parametrize("name", CASES)
def test_equals_its_formula(name: str, rng: np.random.Generator) -> None:
    make, formula = CASES[name]
    gradients = rng.normal(size=(250, 4)) * np.array([1e-3, 1.0, 100.0, 0.0])
    start = rng.normal(size=4)
    found = run(make(), gradients, start)
    expected = [formula(start[i], gradients[:, i]) for i in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_lamb_equals_its_formula(rng: np.random.Generator) -> None:
    gradients = rng.normal(size=(250, 4)) * np.array([1e-3, 1.0, 100.0, 0.0])
    start = rng.normal(size=4)
    np.testing.assert_allclose(run(Lamb(), gradients, start), lamb(start, gradients), rtol=1e-11)
    zero = np.zeros(4)  # no length to measure the step by, at first
    np.testing.assert_allclose(run(Lamb(), gradients, zero), lamb(zero, gradients), rtol=1e-11)
    np.testing.assert_array_equal(run(Lamb(), 0 * gradients, start), start)


def test_adafactor_equals_its_formula(rng: np.random.Generator) -> None:
    arena = two_layers()
    (W, b, *_), optimizer = arena.parameters, Adafactor(0.3)
    start, gradients = W.value.copy(), rng.normal(size=(50, 2, 3)) * np.array([[10.0], [1e-3]])
    for gradient in gradients:
        W.grad[...] = gradient
        optimizer.step(arena)
    np.testing.assert_allclose(W.value, adafactor(start, gradients), rtol=1e-11)
    np.testing.assert_array_equal(b.value, 0)
    assert {name: slot.size for name, slot in optimizer.slots.items()} == {"r": 5, "c": 4, "v": 4}


def test_adafactor_survives_inputs_and_units_that_never_had_a_gradient() -> None:
    arena = two_layers("float32")
    W = arena.parameters[0]
    before = W.value.copy()
    optimizer = Adafactor()
    for _ in range(250):
        W.grad[0] = [0.1, 0.2, 0.0]  # the second input is always 0, and the third unit never active
        optimizer.step(arena)
    assert np.isfinite(arena.values).all()
    np.testing.assert_array_equal(W.value != before, [[True, True, False], [False, False, False]])


def test_the_average_of_the_values_takes_their_place_at_the_end(rng: np.random.Generator) -> None:
    arena, sgd = arena_of(3), SGD(0.1, use_ema=True, ema_momentum=0.8)
    before = arena.values.copy()
    sgd.finish(arena)  # nothing to average yet
    np.testing.assert_array_equal(arena.values, before)
    average = None
    for training in range(2):
        for _ in range(5):
            arena.grads[:] = rng.normal(size=3)
            w = arena.values - 0.1 * arena.grads
            sgd.step(arena)
            np.testing.assert_allclose(arena.values, w, rtol=1e-14)
            average = w if average is None else 0.8 * average + 0.2 * w
        sgd.finish(arena)
        np.testing.assert_allclose(arena.values, average, rtol=1e-14, err_msg=f"training {training}")
    with pytest.raises(ValueError, match="this SGD has trained another model"):
        sgd.finish(arena_of(3))


def test_the_average_takes_the_place_of_the_values_every_so_many_steps(rng: np.random.Generator) -> None:
    arena, sgd = arena_of(3), SGD(0.1, use_ema=True, ema_overwrite_frequency=3)
    for step in range(1, 10):
        arena.grads[:] = rng.normal(size=3)
        sgd.step(arena)
        assert (arena.values == sgd.slots["average"]).all() == (step in (1, 3, 6, 9))


def test_without_an_average_nothing_is_done_at_the_end() -> None:
    arena, sgd = arena_of(3), SGD(0.1)
    arena.grads[:] = 1
    sgd.step(arena)
    w = arena.values.copy()
    sgd.finish(arena)
    np.testing.assert_array_equal(arena.values, w)
    assert sgd.slots == {}


@pytest.mark.parametrize("name", EVERY)
def test_slots_and_the_count_of_steps_are_all_the_memory(name: str, rng: np.random.Generator) -> None:
    first, second = arena_of(6), arena_of(6)
    one, two = EVERY[name](), EVERY[name]()
    gradients = rng.normal(size=(8, 6))

    def steps(optimizer: Optimizer, arena: Arena, rows: np.ndarray) -> None:
        for row in rows:
            arena.grads[:] = row
            optimizer.step(arena)

    steps(one, first, gradients[:5])
    steps(two, second, gradients[:1])  # makes the slots
    second.values[:] = first.values
    two.iterations = one.iterations
    for key, slot in one.slots.items():
        two.slots[key][...] = slot
    steps(one, first, gradients[5:])
    steps(two, second, gradients[5:])
    one.finish(first)
    two.finish(second)
    np.testing.assert_array_equal(second.values, first.values)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_device_and_dtype(name: str, device: Device, dtype: str, rng: np.random.Generator) -> None:
    make = EVERY[name]
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


def two_layers(dtype: str = "float64") -> Arena:
    """Return an arena of W (2, 3), b (3,) and W (3, 1), b (1,)."""
    first, second = Dense(3), Dense(1)
    first.build((2,))
    second.build((3,))
    return Arena([*first.parameters, *second.parameters], dtype, np)


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_gradients_are_clipped_by_value_by_norm_and_by_the_norm_of_all(size: float, rng: np.random.Generator) -> None:
    gradient = size * rng.normal(size=13)
    pieces = [slice(0, 6), slice(6, 9), slice(9, 12), slice(12, 13)]
    by_norm = gradient.copy()
    for piece in pieces:
        by_norm[piece] *= min(1, 0.7 / np.linalg.norm(gradient[piece]))
    for options, expected in (
        ({"clipvalue": 0.7}, np.clip(gradient, -0.7, 0.7)),
        ({"clipnorm": 0.7}, by_norm),
        ({"global_clipnorm": 0.7}, gradient * min(1, 0.7 / np.linalg.norm(gradient))),
    ):
        arena = two_layers()
        arena.grads[:] = gradient
        before = arena.values.copy()
        optimizer = SGD(1.0, **options)
        optimizer.step(arena)
        np.testing.assert_allclose(before - arena.values, expected, rtol=1e-12, atol=1e-15)
        assert optimizer.pieces == pieces


def test_kept_arrays_take_no_place_among_the_pieces() -> None:
    arena = two_layers()
    kept = Parameter(arena.parameters[0].owner, "mean", np.zeros(4), trainable=False)
    arena = Arena([arena.parameters[0], kept, arena.parameters[1]], "float64", np)
    optimizer = SGD(clipnorm=1.0)
    optimizer.step(arena)
    assert optimizer.pieces == [slice(0, 6), slice(6, 9)]


def test_gradients_of_zero_stay_zero_when_they_are_clipped() -> None:
    for options in ({"clipvalue": 0.7}, {"clipnorm": 0.7}, {"global_clipnorm": 0.7}):
        arena = two_layers()
        before = arena.values.copy()
        SGD(1.0, **options).step(arena)
        np.testing.assert_array_equal(arena.values, before)


def test_weights_decay_before_the_step_at_the_steps_rate() -> None:
    arena = arena_of(1)
    sgd = SGD(ExponentialDecay(0.5, 1, 0.5), weight_decay=0.1)
    w = arena.values[0] = 2.0
    for rate in (0.5, 0.25, 0.125):
        arena.grads[:] = 1.0
        sgd.step(arena)
        w = w - rate * 0.1 * w - rate * 1.0
        assert arena.values[0] == pytest.approx(w, rel=1e-14)


def test_a_schedule_counts_the_steps_from_0() -> None:
    class Count(LearningRateSchedule):
        def __call__(self, step: int) -> float:
            return float(step)

    arena, sgd = arena_of(1), SGD(Count())
    rates = []
    for _ in range(4):
        arena.values[:], arena.grads[:] = 0, -1
        sgd.step(arena)
        rates.append(arena.values[0])
        assert sgd.learning_rate == rates[-1]
    assert rates == [0, 1, 2, 3]


def test_the_learning_rate_can_be_set() -> None:
    arena, sgd = arena_of(1), SGD(0.5)
    for rate, first in ((0.25, 0.25), (ExponentialDecay(8.0, 1, 0.5), 4.0), (0.125, 0.125)):
        sgd.learning_rate = rate
        assert sgd.learning_rate == first
        arena.values[:], arena.grads[:] = 0, -1
        sgd.step(arena)
        assert arena.values[0] == first
    with pytest.raises(ValueError, match="SGD: learning_rate must be a number from 0 up, got -1"):
        sgd.learning_rate = -1


def test_repr_has_what_was_given() -> None:
    assert repr(SGD(0.5, clipnorm=1)) == "SGD(learning_rate=0.5, clipnorm=1.0, momentum=0.0, nesterov=False)"
    schedule = "ExponentialDecay(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5, staircase=False)"
    sgd = SGD(ExponentialDecay(0.1, 10, 0.5))
    assert "use_ema=True, ema_momentum=0.5, momentum" in repr(SGD(use_ema=True, ema_momentum=0.5))
    assert repr(Adafactor()).endswith("epsilon_2=0.001, clip_threshold=1.0, relative_step=True)")
    sgd.step(arena_of(1))
    assert repr(sgd) == f"SGD(learning_rate={schedule}, momentum=0.0, nesterov=False)"


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
        (lambda: AdamW(weight_decay=None), "AdamW: weight_decay must be a number from 0 up, got None"),
        (lambda: SGD(weight_decay=-1), "SGD: weight_decay must be a number from 0 up, got -1"),
        (lambda: Adam(clipnorm=0), "Adam: clipnorm must be above 0, got 0. Leave it out"),
        (lambda: Adam(clipvalue=-1), "Adam: clipvalue must be a number from 0 up, got -1"),
        (lambda: Adam(global_clipnorm="1"), "Adam: global_clipnorm must be a number"),
        (lambda: Adam(clipnorm=1, clipvalue=2), "Adam: clip the gradients in one way, got clipnorm=1 and clipvalue=2"),
        (lambda: Nadam(beta_2=1), "Nadam: beta_2 must be a number from 0 to below 1, got 1"),
        (lambda: Adamax(epsilon=-1), "Adamax: epsilon must be a number from 0 up"),
        (lambda: Lion(beta_1=2), "Lion: beta_1 must be a number from 0 to 1, got 2"),
        (lambda: Adagrad(initial_accumulator_value=-1), "Adagrad: initial_accumulator_value must be"),
        (lambda: Adadelta(rho=2), "Adadelta: rho must be a number from 0 to 1"),
        (lambda: Adafactor(beta_2_decay=0.8), "Adafactor: beta_2_decay must be a number from -1 to 0, got 0.8"),
        (lambda: Adafactor(epsilon_1=0), "Adafactor: epsilon_1 must be above 0, got 0"),
        (lambda: Adafactor(epsilon_2=-1), "Adafactor: epsilon_2 must be a number from 0 up, got -1"),
        (lambda: Adafactor(clip_threshold=0), "Adafactor: clip_threshold must be above 0, got 0"),
        (lambda: Adam(use_ema=True, ema_momentum=2), "Adam: ema_momentum must be a number from 0 to 1, got 2"),
        (lambda: Adam(use_ema=True, ema_overwrite_frequency=0), "Adam: ema_overwrite_frequency must be a whole number"),
        (lambda: Adam(ema_overwrite_frequency=5), "Adam: ema_overwrite_frequency needs an average.*set use_ema=True"),
        (lambda: optimizers.get("adamm"), "unknown optimizer 'adamm'. Did you mean 'adam'"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_training_that_does_not_begin_leaves_the_weights_as_they_were() -> None:
    x = np.ones((8, 2))
    model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    model.compile(SGD(0.1, use_ema=True), "mse")
    model.fit(x, x[:, :1], verbose=0)
    model.set_weights([np.full((2, 1), 5), np.full(1, 5)])
    with pytest.raises(ValueError, match="val_los"):
        model.fit(x, x[:, :1], verbose=0, callbacks=[tinynn.callbacks.EarlyStopping("val_los")])
    assert all((weight == 5).all() for weight in model.get_weights())
