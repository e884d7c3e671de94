"""Random numbers from a counter: the same bits on the host and on a device."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from tinynn import Sequential
from tinynn.backend import to_host
from tinynn.kernels.draws import Draws
from tinynn.layers import Dense, Dropout, GaussianNoise

KEY = (2**64 - 3, 12345)
SHAPES = [(1,), (7,), (8,), (3, 3), (5000,), (2, 3, 701)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_device_draws_what_the_host_draws(dtype: str, xp: Any) -> None:
    host, device = Draws(KEY), Draws(KEY)
    for shape in SHAPES:
        here, there = np.zeros(1, dtype), xp.zeros(1, dtype=dtype)
        m = device.kept(shape, 0.3, 1.25, there)
        assert m.dtype == dtype
        np.testing.assert_array_equal(to_host(m), host.kept(shape, 0.3, 1.25, here))
        x = device.normal(shape, there)
        assert x.dtype == dtype
        np.testing.assert_allclose(to_host(x), host.normal(shape, here), rtol=0, atol=2e-6)
    assert device.drawn == host.drawn == 2 * len(SHAPES)


def test_draws_go_on_from_device_to_device(xp: Any) -> None:
    host, device = Draws(KEY), Draws(KEY)
    for turn in range(4):
        like = xp.zeros(1, dtype="float32") if turn % 2 else np.zeros(1, "float32")
        np.testing.assert_array_equal(
            to_host(device.kept((9,), 0.5, 1.0, like)), host.kept((9,), 0.5, 1.0, np.zeros(1, "float32"))
        )
    np.testing.assert_equal(device.get_state(), host.get_state())


def test_the_host_draws_from_numpys_philox() -> None:
    draws = Draws(KEY, 5)
    words = np.random.Philox(key=np.array(KEY, np.uint64), counter=[0, 5, 0, 0]).random_raw(2)
    halves = np.array([words[0] & 0xFFFFFFFF, words[0] >> 32, words[1] & 0xFFFFFFFF])
    u = (halves >> 8) / 2**24
    np.testing.assert_array_equal(draws.kept((3,), u[1], 2.0, np.zeros(1)), np.where(u >= u[1], 2.0, 0.0))
    assert draws.drawn == 6


def test_draws_and_keys_differ() -> None:
    one, other = Draws(KEY), Draws((KEY[0], KEY[1] + 1))
    like = np.zeros(1)
    drawn = [one.normal((50,), like), one.normal((50,), like), other.normal((50,), like)]
    for i in range(3):
        for j in range(i):
            assert not np.isin(drawn[i], drawn[j]).any()


def test_the_shares_are_right() -> None:
    m = Draws(KEY).kept((100_000,), 0.3, 2.0, np.zeros(1))
    assert set(np.unique(m)) == {0.0, 2.0}
    assert abs((m == 0).mean() - 0.3) < 0.005
    n = Draws(KEY).normal((100_000,), np.zeros(1))
    assert abs(n.mean()) < 0.02
    assert abs(n.std() - 1) < 0.02
    assert abs((np.abs(n) > 1.96).mean() - 0.05) < 0.005


def test_a_generator_that_is_set_begins_anew_and_a_copy_goes_on_alike() -> None:
    x = np.ones((4, 50))
    layer = Dropout(0.5)
    masks = []
    for _ in range(2):
        layer.rng = np.random.default_rng(3)
        masks.append([layer(x, training=True) for _ in range(2)])
    np.testing.assert_array_equal(*masks)
    assert (masks[0][0] != masks[0][1]).any()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x, training=True), copy.deepcopy(layer)(x, training=True))


def test_a_state_goes_on(xp: Any) -> None:
    draws = Draws(KEY)
    like = xp.zeros(1, dtype="float32")
    draws.kept((5,), 0.5, 1.0, like)
    other = Draws.from_state(draws.get_state())
    np.testing.assert_array_equal(to_host(other.kept((5,), 0.5, 1.0, like)), to_host(draws.kept((5,), 0.5, 1.0, like)))


def test_training_with_noise_goes_on_from_a_checkpoint(xp: Any) -> None:
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")

    def made() -> Sequential:
        layers = [Dense(8, "relu", input_shape=(5,)), Dropout(0.4), GaussianNoise(0.1), Dense(1)]
        model = Sequential(layers, seed=3, device="cuda")
        model.compile("adam", "mean_squared_error")
        return model

    one, other = made(), made()
    one.fit(x, x[:, :1], epochs=1, verbose=0)
    other.fit(x, x[:, :1], epochs=2, verbose=0)  # elsewhere
    other.set_weights(one.get_weights())
    other.set_training_state(one.get_training_state() or {})
    for model in (one, other):
        model.fit(x, x[:, :1], epochs=1, verbose=0)
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_seed_trains_the_same_network_on_every_device(xp: Any) -> None:
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    weights = []
    for device in ("cpu", "cuda"):
        model = Sequential([Dense(8, "tanh", input_shape=(5,)), Dropout(0.4), Dense(1)], seed=3, device=device)
        model.compile("adam", "mean_squared_error")
        model.fit(x, x[:, :1], epochs=3, verbose=0)
        weights.append(model.get_weights())
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
