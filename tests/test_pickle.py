"""Models through pickle and copy: the copy's arrays are views into one arena, as the original's are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn.layers import ActivityRegularization, BatchNormalization, Dense, Dropout, Input, Residual


def by_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def need_one_arena(model: Any) -> None:
    """Fail unless what the layers compute with lies in the model's arena."""
    for parameter in model.parameters:
        assert vars(parameter.owner)[parameter.name] is parameter.value
        assert np.shares_memory(parameter.value, model.arena.values if parameter.trainable else model.arena.state)
        assert not parameter.trainable or np.shares_memory(
            vars(parameter.owner)[f"d{parameter.name}"], model.arena.grads
        )


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_survives_pickle(row: Row) -> None:
    model = tinynn.Sequential([Input(row.example), row.make()], seed=0, dtype="float64")
    model.build()
    twin = by_pickle(model)
    need_one_arena(twin)
    assert twin.arena.values.dtype == np.float64
    x = row.sample((3, *row.example), 0)
    np.testing.assert_array_equal(twin(x, row.training), model(x, row.training))


@pytest.mark.parametrize("way", [by_pickle, copy.deepcopy])
@pytest.mark.parametrize("first", ["model", "optimizer", "arena"])
def test_training_goes_on_as_if_nothing_had_happened(way: Callable[[Any], Any], first: str) -> None:
    """Adam's averages, dropout's random numbers, running means, penalties: all there, wherever the copying starts."""
    inside = [Dense(8), ActivityRegularization(l2=0.1)]
    layers = [
        Dense(8, activation="relu", kernel_regularizer="l2"),
        BatchNormalization(),
        Dropout(0.3),
        Residual(inside),
    ]
    model = tinynn.Sequential([Input((4,)), *layers, Dense(3, activation="softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 3
    model.fit(x, y, epochs=2, verbose=0)
    things = {"model": model, "optimizer": model.optimizer, "arena": model.arena}
    copied = way({first: things[first]} | things)
    twin = copied["model"]
    need_one_arena(twin)
    assert copied["arena"] is twin.arena is twin.optimizer.arena
    assert not np.shares_memory(twin.arena.values, model.arena.values)
    for one in (model, twin):
        one.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(twin.predict(x), model.predict(x))


def test_a_model_without_weights_too() -> None:
    model = tinynn.Sequential([Dense(2)], seed=0)
    assert by_pickle(model)(np.ones((1, 3)))[0, 0] == model(np.ones((1, 3)))[0, 0]


def test_on_a_device(device: tinynn.backend.Device) -> None:
    """A copy of a model on a device lives on that device."""
    model = tinynn.Sequential([Input((3,)), Dense(2)], seed=0, device=device)
    model.build()
    ways = (
        [copy.deepcopy] if "pretended" in device.reason else [copy.deepcopy, by_pickle]
    )  # what is pretended has no name
    for twin in (way(model) for way in ways):
        assert twin.device.name == device.name
        assert type(twin.arena.values) is type(model.arena.values)
        np.testing.assert_array_equal(twin.predict(np.ones((1, 3))), model.predict(np.ones((1, 3))))
