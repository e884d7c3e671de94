"""What is special about the random layers, statistics, inference, seeds, messages; and about activity penalties."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import FakeCuPy, GuardArray
from tinynn import Dense, Input, Sequential
from tinynn.backend import Device
from tinynn.check import gradients
from tinynn.layers import Layer, ShapeError
from tinynn.layers.activity import ActivityRegularization
from tinynn.layers.regularization import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
)

RATES = [0.1, 0.25, 0.5, 0.9]
MANY = np.ones((100, 2000))

MAKERS: dict[str, tuple[Callable[..., Layer], tuple[int, ...]]] = {
    "Dropout": (lambda **o: Dropout(0.5, **o), (4, 6)),
    "SpatialDropout1D": (lambda **o: SpatialDropout1D(0.5, **o), (4, 3, 6)),
    "SpatialDropout2D": (lambda **o: SpatialDropout2D(0.5, **o), (4, 2, 3, 6)),
    "AlphaDropout": (lambda **o: AlphaDropout(0.5, **o), (4, 6)),
    "GaussianNoise": (lambda **o: GaussianNoise(0.5, **o), (4, 6)),
    "GaussianDropout": (lambda **o: GaussianDropout(0.5, **o), (4, 6)),
}
every_kind = pytest.mark.parametrize("kind", MAKERS)


def five_sigma(stddev: float, count: int = MANY.size) -> float:
    """Return how far the mean of so many numbers may be from its expectation; a fixed seed keeps it there."""
    return 5 * stddev / math.sqrt(count)


@pytest.mark.parametrize("rate", RATES)
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    y = Dropout(rate, seed=0)(MANY, training=True)
    assert set(np.unique(y)) == {0.0, 1 / (1 - rate)}
    assert abs((y == 0).mean() - rate) < five_sigma(math.sqrt(rate * (1 - rate)))
    assert abs(y.mean() - 1) < five_sigma(math.sqrt(rate / (1 - rate)))


@pytest.mark.parametrize("rate", RATES)
def test_dropout_is_independent_from_place_to_place(rate: float) -> None:
    dropped = Dropout(rate, seed=1)(MANY, training=True) == 0
    variance = rate * (1 - rate)
    for a, b in [(dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1])]:
        correlation = ((a - rate) * (b - rate)).mean() / variance
        assert abs(correlation) < five_sigma(1.0)


def test_dropout_drops_anew_each_time() -> None:
    layer = Dropout(0.5, seed=0)
    assert not np.array_equal(layer(MANY, training=True), layer(MANY, training=True))


@pytest.mark.parametrize("kind", ["Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout"])
def test_backward_has_the_mask_of_forward(kind: str) -> None:
    make, shape = MAKERS[kind]
    layer = make(seed=0)
    y = layer(np.ones(shape), training=True)
    dy = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_array_equal(layer.backward(dy), dy * y)


def test_rate_1_drops_all_as_keras_does() -> None:
    layer = Dropout(1)
    np.testing.assert_array_equal(layer(MANY, training=True), 0 * MANY)
    np.testing.assert_array_equal(layer.backward(MANY), 0 * MANY)


def test_spatial_dropout_drops_whole_channels() -> None:
    for layer, shape in [(SpatialDropout1D(0.4, seed=0), (60, 7, 80)), (SpatialDropout2D(0.4, seed=0), (60, 3, 5, 80))]:
        y = layer(np.ones(shape), training=True)
        channels = y.reshape(60, -1, 80)
        assert (channels == channels[:, :1]).all()
        assert abs((channels[:, 0] == 0).mean() - 0.4) < five_sigma(0.5, 60 * 80)


def test_noise_shape_says_what_is_dropped_together() -> None:
    x = np.ones((50, 20, 30))
    y = Dropout(0.5, noise_shape=(None, 1, None), seed=0)(x, training=True)
    assert (y == y[:, :1]).all()
    y = Dropout(0.5, noise_shape=(1, 20, 30), seed=0)(x, training=True)
    assert (y == y[:1]).all()
    y = Dropout(0.5, noise_shape=[50, None, 1], seed=0)(x, training=True)
    assert (y == y[:, :, :1]).all()
    assert 0.4 < (y == 0).mean() < 0.6
    y = AlphaDropout(0.5, noise_shape=(None, 1, None), seed=0)(x, training=True)
    assert (y == y[:, :1]).all()
    assert len(np.unique(y)) == 2


@pytest.mark.parametrize("rate", RATES)
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    x = np.random.default_rng(0).standard_normal((300, 3000))
    y = AlphaDropout(rate, seed=1)(x, training=True)
    assert abs(y.mean()) < five_sigma(1.0, x.size)
    assert abs(y.var() - 1) < five_sigma(math.sqrt(2), x.size)


def test_alpha_dropout_sets_what_it_drops_to_one_number() -> None:
    x = np.random.default_rng(0).standard_normal((100, 100))
    layer = AlphaDropout(0.3, seed=1)
    y = layer(x, training=True)
    dx = layer.backward(np.ones_like(y))
    low = -1.7580993408473766
    a = ((1 - 0.3) * (1 + 0.3 * low**2)) ** -0.5
    b = -a * low * 0.3
    dropped = dx == 0
    assert abs(dropped.mean() - 0.3) < five_sigma(0.46, x.size)
    np.testing.assert_allclose(y[dropped], a * low + b, rtol=1e-14)
    np.testing.assert_allclose(y[~dropped], (a * x + b)[~dropped], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx[~dropped], a, rtol=1e-15)


@pytest.mark.parametrize("stddev", [0.1, 1.0, 3.0])
def test_gaussian_noise_is_normal(stddev: float) -> None:
    n = GaussianNoise(stddev, seed=0)(MANY, training=True) - 1
    assert abs(n.mean()) < five_sigma(stddev)
    assert abs(n.std() / stddev - 1) < five_sigma(math.sqrt(0.5))
    assert abs((n**4).mean() / stddev**4 - 3) < five_sigma(math.sqrt(96))  # the fourth moment of a normal number
    assert abs((np.abs(n) < stddev).mean() - 0.6826895) < five_sigma(0.4655)


@pytest.mark.parametrize("rate", RATES)
def test_gaussian_dropout_has_the_mean_and_variance_of_dropout(rate: float) -> None:
    y = GaussianDropout(rate, seed=0)(2 * MANY, training=True)
    stddev = 2 * math.sqrt(rate / (1 - rate))
    assert abs(y.mean() - 2) < five_sigma(stddev)
    assert abs(y.std() / stddev - 1) < five_sigma(math.sqrt(0.5))


@every_kind
def test_identity_at_inference(kind: str) -> None:
    make, shape = MAKERS[kind]
    x = np.random.default_rng(0).normal(size=shape)
    layer = make()
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    state = layer.random.bit_generator.state
    layer(x)
    assert layer.random.bit_generator.state == state  # nothing is drawn
    assert not np.array_equal(layer(x, training=True), x)


@pytest.mark.parametrize("make", [Dropout, AlphaDropout, GaussianNoise, GaussianDropout, SpatialDropout1D])
def test_nothing_happens_at_0(make: Callable[[float], Layer]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    layer = make(0)
    np.testing.assert_array_equal(layer(x, training=True), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@every_kind
def test_a_seed_decides(kind: str) -> None:
    make, shape = MAKERS[kind]
    x = np.ones(shape)
    first, again, other, none = make(seed=7), make(seed=7), make(seed=8), make()
    y = first(x, training=True)
    np.testing.assert_array_equal(again(x, training=True), y)
    assert not np.array_equal(other(x, training=True), y)
    assert not np.array_equal(none(x, training=True), y)


@every_kind
def test_the_models_seed_decides_unless_the_layer_has_one(kind: str) -> None:
    make, shape = MAKERS[kind]
    x = np.ones(shape, "float32")

    def first_output(model_seed: int, **options: Any) -> np.ndarray:
        return Sequential([Input(shape[1:]), make(**options)], seed=model_seed)(x, training=True)

    np.testing.assert_array_equal(first_output(1), first_output(1))
    assert not np.array_equal(first_output(1), first_output(2))
    np.testing.assert_array_equal(first_output(1, seed=5), first_output(2, seed=5))


@every_kind
def test_the_same_noise_in_every_dtype_and_on_every_device(kind: str, fake_cupy: FakeCuPy) -> None:
    make, shape = MAKERS[kind]
    x = np.random.default_rng(0).normal(size=shape)
    expected = make(seed=3)(x, training=True)
    np.testing.assert_allclose(make(seed=3)(x.astype("float32"), training=True), expected, rtol=1e-5, atol=1e-6)
    before = GuardArray.waits
    there = make(seed=3)(fake_cupy.asarray(x), training=True)
    assert GuardArray.waits == before
    np.testing.assert_array_equal(there.get(), expected)


def test_two_layers_of_a_model_drop_differently() -> None:
    x = np.ones((4, 50), "float32")
    model = Sequential([Input((50,)), Dropout(0.5), Dropout(0.5)], seed=0)
    y = model(x, training=True)
    assert 0.1 < (y == 4).mean() < 0.4  # a quarter passes both; were they alike, a half would


def test_a_network_learns_with_them_and_predicts_without_them() -> None:
    x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    y = x[:, :1] - x[:, 1:2]
    random = [GaussianNoise(0.05), Dropout(0.1), GaussianDropout(0.05), AlphaDropout(0.05)]
    model = Sequential([Input((8,)), Dense(32, "selu", kernel_initializer="lecun_normal"), *random, Dense(1)], seed=0)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=60, batch_size=32, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.1 * float((y**2).mean())
    np.testing.assert_array_equal(model.predict(x), model.predict(x))


def penalized(device: str | Device = "cpu", l1: float = 0.3, l2: float = 0.2) -> Sequential:
    """Return a model whose penalty is deep inside it."""
    inner = Sequential([Dense(3), ActivityRegularization(l1, l2)])
    model = Sequential([Input((4,)), inner, Dense(2)], device=device, seed=0, dtype="float64")
    model.build()
    model.compile(tinynn.SGD(0.1), "mse")
    return model


def test_an_activity_penalty_is_the_formula_whatever_the_batch() -> None:
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    layer = ActivityRegularization(l1=0.5, l2=0.25)
    assert layer(x) is x
    assert layer.activity_penalty == (0.5 * 6 + 0.25 * 14) / 2
    np.testing.assert_array_equal(layer.backward(np.ones((2, 2))), [[1.5, 0.25], [1.0, 2.0]])  # at 0 no slope
    layer(np.concatenate([x, x, x]), training=True)
    assert layer.activity_penalty == (0.5 * 6 + 0.25 * 14) / 2


def test_activity_penalties_count_to_the_loss_in_training_and_evaluation(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 2))
    plain, penal = penalized(l1=0.0, l2=0.0), penalized()
    h = plain.layers[0](x)
    P = (0.3 * np.abs(h).sum() + 0.2 * (h * h).sum()) / 10
    for batch_size in (10, 4):
        assert penal.evaluate(x, y, batch_size) == pytest.approx(plain.evaluate(x, y, batch_size) + P, rel=1e-12)
    assert penal.train_on_batch(x, y) == pytest.approx(plain.train_on_batch(x, y) + P, rel=1e-12)
    assert penal.evaluate(x, y) < plain.evaluate(x, y) + P
    history = penal.fit(x, y, batch_size=4, epochs=30, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    smaller = np.abs(penal.layers[0](x)).sum()
    plain.fit(x, y, batch_size=4, epochs=30, verbose=0)
    assert smaller < 0.8 * np.abs(plain.layers[0](x)).sum()


def test_activity_penalties_count_on_every_device(device: Device, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 2))
    here, there = penalized(), penalized(device)
    for _ in range(2):
        assert there.train_on_batch(x, y) == pytest.approx(here.train_on_batch(x, y), rel=1e-12)


def test_the_check_of_gradients_sees_the_penalty(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    model = penalized()
    assert gradients(model, x).ok
    assert gradients(model, x, y).ok
    inner = model.layers[0].layers[1]
    inner.backward = lambda dy, need_dx=True: dy if inner.take_cache() is not None else None
    assert not gradients(model, x).ok
    assert not gradients(model, x, y).ok


def test_a_layer_of_ones_own_can_add_to_the_loss(rng: np.random.Generator) -> None:
    class SumToOne(Layer):
        activity_penalty = 0.0

        def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
            excess = x.sum(axis=1) - 1
            self.activity_penalty = (excess * excess).mean()
            self.cache = excess
            return x

        def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray:
            excess = self.take_cache()
            return dy + 2 * excess[:, None] / len(excess)

    x = rng.normal(size=(6, 3))
    model = Sequential([Input((3,)), Dense(4), SumToOne(), Dense(1)], seed=0)
    assert gradients(model, x).ok
    model.compile("adam", "mse")
    history = model.fit(x, 0 * x[:, :1], epochs=200, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_a_copied_model_has_penalties_of_its_own(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 2))
    first = penalized()
    second = copy.deepcopy(first)
    expected = first.evaluate(x, y)
    first.train_on_batch(10 * x, y)
    assert second.evaluate(x, y) == expected


MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Dropout(-0.1), ValueError, "Dropout: rate must be a number from 0 to 1, got -0.1"),
    (lambda: Dropout(1.1), ValueError, "Dropout: rate must be a number from 0 to 1, got 1.1"),
    (lambda: Dropout("half"), ValueError, "Dropout: rate must be a number from 0 to 1, got 'half'"),
    (lambda: Dropout(50, name="drop"), ValueError, r"drop \(Dropout\): rate must be .* got 50"),
    (lambda: Dropout(0.5, seed=-1), ValueError, "Dropout: seed must be a whole number from 0 up, or None, got -1"),
    (lambda: GaussianNoise(0.5, seed=0.5), ValueError, "GaussianNoise: seed must be a whole number .* got 0.5"),
    (
        lambda: Dropout(0.5, noise_shape=3),
        ValueError,
        r"noise_shape must be a tuple .* such as \(None, 1, None\), got 3",
    ),
    (lambda: Dropout(0.5, (None, 0)), ValueError, r"noise_shape must be a tuple .* got \(None, 0\)"),
    (
        lambda: Dropout(0.5, (None, 1))(np.ones((2, 3, 4))),
        ShapeError,
        r"Dropout: noise_shape \(None, 1\) does not fit an input of shape \(batch, 3, 4\): it must have an entry",
    ),
    (
        lambda: Dropout(0.5, (None, 2, 4))(np.ones((2, 3, 4))),
        ShapeError,
        r"noise_shape \(None, 2, 4\) does not fit .* each None, 1 or the input's size",
    ),
    (
        lambda: Dropout(0.5, (5, 3, 4))(np.ones((2, 3, 4)), training=True),
        ShapeError,
        r"noise_shape \(5, 3, 4\) is for batches of 5 samples, got 2\. None in its first place fits every batch",
    ),
    (
        lambda: SpatialDropout1D(0.5)(np.ones((2, 3))),
        ShapeError,
        r"SpatialDropout1D expected an input of shape \(batch, steps, channels\), got \(batch, 3\)",
    ),
    (
        lambda: SpatialDropout2D(0.5)(np.ones((2, 3, 4))),
        ShapeError,
        r"SpatialDropout2D expected an input of shape \(batch, height, width, channels\), got \(batch, 3, 4\)",
    ),
    (lambda: SpatialDropout2D(2), ValueError, "SpatialDropout2D: rate must be a number from 0 to 1, got 2"),
    (lambda: AlphaDropout(1), ValueError, "AlphaDropout: rate must be a number from 0 to below 1, got 1"),
    (lambda: GaussianDropout(1), ValueError, "GaussianDropout: rate must be a number from 0 to below 1, got 1"),
    (lambda: GaussianNoise(-1), ValueError, "GaussianNoise: stddev must be a number from 0 up, got -1"),
    (lambda: ActivityRegularization(-1), ValueError, "ActivityRegularization: l1 must be a number from 0 up, got -1"),
    (
        lambda: ActivityRegularization(l2="x", name="a"),
        ValueError,
        r"a \(Activity.*\): l2 must be .* from 0 up, got 'x'",
    ),
    (lambda: GaussianNoise(float("inf")), ValueError, "GaussianNoise: stddev must be a number from 0 up, got inf"),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), MISTAKES, ids=[row[2][:40] for row in MISTAKES])
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()
