"""Weights to a file and back: for every layer, with messages for everything that does not fit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import BatchNormalization, Dense, Input, Layer, Sequential
from tinynn.backend import Device, to_host
from tinynn.io import load_weights, read_metadata, save_weights


def network(units: int = 5, seed: int = 0, **options: Any) -> Sequential:
    model = Sequential([Input((4,)), Dense(units), BatchNormalization(), Dense(3)], seed=seed, **options)
    model.build()
    return model


def read_header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_survives_save_and_load(row: Row, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    first, second = (Sequential([Input(row.example), row.make()], seed=seed, dtype=dtype) for seed in (0, 1))
    x = row.cast(row.sample((3, *row.example), 0), dtype)
    first.build()
    first(x, training=True)  # so that what is kept, running statistics say, is not as it starts
    for parameter in first.parameters:
        parameter.value += np.random.default_rng(2).uniform(0, 1, parameter.shape).astype(dtype)
    first.save_weights(path)
    second.build()
    places = [parameter.value.__array_interface__["data"] for parameter in second.parameters]
    second.load_weights(path)
    assert places == [parameter.value.__array_interface__["data"] for parameter in second.parameters]
    for (name, mine), (twin, other) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert name == twin
        assert other.value.dtype == dtype
        assert mine.value.tobytes() == other.value.tobytes()
    np.testing.assert_array_equal(second(x), first(x))
    # the package that the format comes from reads the same
    stored = safetensors.numpy.load_file(path)
    assert set(stored) == {name for name, _ in first.named_parameters()}
    for name, parameter in first.named_parameters():
        np.testing.assert_array_equal(stored[name], parameter.value)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_by_itself_survives_save_and_load(row: Row, tmp_path: Path) -> None:
    first, second = row.make(), row.make()
    x = row.sample((3, *row.example), 0)
    first(x)
    second(x)
    for parameter in first.parameters:
        parameter.value += 1
    save_weights(first, tmp_path / "layer.safetensors")
    load_weights(second, tmp_path / "layer.safetensors")
    for mine, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_weights_go_from_device_to_device(device: Device, tmp_path: Path) -> None:
    here, there = network(seed=0, device="cpu"), network(seed=1, device=device)
    here.save_weights(tmp_path / "a")
    there.load_weights(tmp_path / "a")
    there.save_weights(tmp_path / "b")
    for mine, other in zip(here.parameters, there.parameters, strict=True):
        np.testing.assert_array_equal(mine.value, to_host(other.value))
    assert read_header(tmp_path / "a")["dense.W"] == read_header(tmp_path / "b")["dense.W"]


def test_names_and_metadata(tmp_path: Path) -> None:
    model = network(seed=42)
    model.save_weights(str(tmp_path / "a"))
    header = read_header(tmp_path / "a")
    meta = header.pop("__metadata__")
    assert list(header) == [name for name, _ in model.named_parameters()]
    assert header["dense.W"] == {"dtype": "F32", "shape": [4, 5], "data_offsets": [0, 80]}
    assert (meta["tinynn_format"], meta["tinynn_version"]) == ("1", tinynn.__version__)
    assert (meta["seed"], meta["dtype"], meta["numpy_version"]) == ("42", "float32", np.__version__)
    assert read_metadata(tmp_path / "a") == meta
    assert int.from_bytes((tmp_path / "a").read_bytes()[:8], "little") % 8 == 0  # a memory map can read the numbers


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    network().save_weights(tmp_path / "a")
    network().save_weights(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_training_goes_on_with_loaded_weights_in_the_arena(tmp_path: Path) -> None:
    x, y = np.ones((8, 4)), np.ones((8, 3))
    model = network()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "a")
    values = model.arena.values
    saved = values.copy()
    model.fit(x, y, verbose=0)
    assert (values != saved).any()
    model.load_weights(tmp_path / "a")
    assert model.arena.values is values
    np.testing.assert_array_equal(values, saved)


def test_everything_that_differs_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "other"
    other = Sequential([Input((4,)), Dense(6), Dense(3, name="out")], seed=0, dtype="float64")
    other.save_weights(path)
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match="do not fit") as caught:
        model.load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "missing in the file: 'batch_normalization.gamma'" in message
    assert "'dense_1.W', 'dense_1.b'" in message
    assert "unexpected in the file: 'out.W', 'out.b'" in message
    assert "other shape: 'dense.W' is (4, 6) in the file and (4, 5) here, 'dense.b' is (6,)" in message
    assert "other dtype: 'dense.W' is float64 in the file and float32 here" in message
    assert "No weight was changed" in message
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_files_of_other_programs_and_of_a_later_format_are_refused(tmp_path: Path) -> None:
    model = network()
    arrays = {name: parameter.value for name, parameter in model.named_parameters()}
    safetensors.numpy.save_file(arrays, tmp_path / "other")
    with pytest.raises(ValueError, match="does not say that tinynn wrote it"):
        model.load_weights(tmp_path / "other")
    safetensors.numpy.save_file(arrays, tmp_path / "late", {"tinynn_format": "2", "tinynn_version": "9.0"})
    with pytest.raises(ValueError, match=r"has format '2' \(tinynn '9.0'\), this tinynn reads '1'"):
        model.load_weights(tmp_path / "late")


def test_two_layers_of_one_kind_in_a_layer_of_ones_own_have_names_of_their_own(tmp_path: Path) -> None:
    class Twice(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = [Dense(4), Dense(4)]

        def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            for dense in self.dense:
                input_shape = dense.build_for(input_shape)
            return input_shape

    layer = Twice()
    layer.build_for((4,))
    assert [name for name, _ in layer.named_parameters()] == ["dense.W", "dense.b", "dense_1.W", "dense_1.b"]
    save_weights(layer, tmp_path / "a")
    load_weights(layer, tmp_path / "a")
    layer.more = Dense(2, name="dense_1")
    layer.more.build_for((4,))
    with pytest.raises(
        ValueError, match=r"save_weights: parameters need names of their own.* 'dense_1.W', 'dense_1.b'"
    ):
        save_weights(layer, tmp_path / "a")


def test_an_interrupt_cannot_come_between_two_arrays(tmp_path: Path) -> None:
    first, second = network(seed=0), network(seed=1)
    first.save_weights(tmp_path / "a")

    class Interrupting(np.ndarray):
        """An array that is written while Ctrl-C is pressed."""

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            signal.raise_signal(signal.SIGINT)

    parameter = second.parameters[0]
    parameter.value = parameter.value.view(Interrupting)
    with pytest.raises(KeyboardInterrupt):
        second.load_weights(tmp_path / "a")
    for mine, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("method", ["save_weights", "load_weights"])
def test_a_path_that_is_none_and_a_model_without_weights(method: str, tmp_path: Path) -> None:
    for path in (None, 5, "", [tmp_path]):
        with pytest.raises(TypeError, match=f"{method}: path must be the name of a file"):
            getattr(network(), method)(path)
    with pytest.raises(RuntimeError, match=f"has no weights yet, and {method} needs them"):
        getattr(Sequential([Dense(3)]), method)(tmp_path / "a")
    with pytest.raises(RuntimeError, match=f"has no weights yet, and {method} needs them: build it first"):
        getattr(tinynn.io, method)(Dense(3), tmp_path / "a")
    assert os.listdir(tmp_path) == []
