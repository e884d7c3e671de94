"""A model in a file: everything of it comes back, training goes on, and nothing else than a model comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.conftest import Device
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import config
from tinynn.config import to_plain
from tinynn.io import load_model, read_metadata

X = np.random.default_rng(0).normal(size=(24, 6))
Y = np.eye(3, dtype="float32")[np.random.default_rng(1).integers(3, size=24)]


def network(seed: int = 0, **options: Any) -> tinynn.Sequential:
    """Return a network with everything that has a memory: dropout, running statistics, slots, a schedule."""
    model = tinynn.Sequential(
        [
            tinynn.Input((6,)),
            tinynn.Dense(8, activation="relu", kernel_regularizer="l2"),
            tinynn.BatchNormalization(),
            tinynn.Dropout(0.5),
            tinynn.Residual([tinynn.Dense(8), tinynn.GaussianNoise(0.1)]),
            tinynn.Dense(3, activation="softmax"),
        ],
        seed=seed,
        **options,
    )
    schedule = tinynn.schedules.ExponentialDecay(0.01, 3, 0.9)
    model.compile(tinynn.Adam(schedule, use_ema=True), "categorical_crossentropy", metrics=["accuracy", tinynn.AUC()])
    return model


def everything(model: tinynn.Sequential) -> Any:
    """Return all that a model is, as text and bytes that can be compared."""
    arrays: dict[str, Any] = {}
    plain = [to_plain([model, model.get_compile_config()], "the model")]
    plain.append(to_plain(model.get_training_state(), "its training", arrays))
    return plain, [a.tobytes() for a in arrays.values()], [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_comes_back_from_a_file(row: Row, tmp_path: Path) -> None:
    model = tinynn.Sequential([row.make()], seed=3)
    model.build(row.example)
    for parameter in model.parameters:
        parameter.value[...] = np.random.default_rng(0).uniform(0.1, 0.9, size=parameter.shape)
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    assert everything(twin)[0][0] == everything(model)[0][0]
    for mine, theirs in zip(model.walk(), twin.walk(), strict=True):
        theirs.plain = mine.plain  # how it is computed is no setting
    x = row.sample((2, *row.example), 0)
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_as_if_nothing_had_been(dtype: str, tmp_path: Path) -> None:
    model = network(dtype=dtype)
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    assert everything(twin) == everything(model)
    assert all(p.value.base is not None for p in twin.parameters)  # views into the arena, and not arrays of their own
    ours = model.fit(X, Y, batch_size=5, epochs=2, verbose=0).history
    assert twin.fit(X, Y, batch_size=5, epochs=2, verbose=0).history == ours
    assert everything(twin) == everything(model)


def test_a_model_that_was_not_trained_or_not_compiled_comes_back_so(tmp_path: Path) -> None:
    new = network()
    new.build()
    new.save(tmp_path / "new")
    assert everything(load_model(tmp_path / "new")) == everything(new)
    assert load_model(tmp_path / "new").optimizer.iterations == 0
    bare = tinynn.Sequential([tinynn.Dense(2)])
    with pytest.raises(RuntimeError, match="has no weights yet, and save needs them"):
        bare.save(tmp_path / "bare")
    bare.build((3,))
    bare.save(tmp_path / "bare")
    twin = load_model(tmp_path / "bare")
    assert twin.optimizer is None
    assert (twin.input_shape, twin.given_input_shape) == ((3,), None)


def test_without_the_optimizer_or_without_compiling(tmp_path: Path) -> None:
    model = network()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "small", include_optimizer=False)
    model.save(tmp_path / "large")
    assert (tmp_path / "small").stat().st_size < (tmp_path / "large").stat().st_size / 2
    small = load_model(tmp_path / "small")
    assert small.optimizer.iterations == 0
    np.testing.assert_array_equal(small.predict(X, verbose=0), model.predict(X, verbose=0))
    assert load_model(tmp_path / "large", compile=False).optimizer is None


def test_the_file_says_where_it_comes_from_and_gives_its_weights(tmp_path: Path) -> None:
    model = network(seed=7)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.tinynn")
    metadata = read_metadata(tmp_path / "model.tinynn")
    assert metadata["seed"] == "7"
    assert metadata["tinynn_version"] == tinynn.__version__
    assert metadata["numpy_version"] == np.__version__
    twin = network(seed=8)
    twin.load_weights(tmp_path / "model.tinynn")
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(tmp_path / "model.tinynn")["dense.W"], model.get_weights()[0])


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        model = network()
        model.fit(X, Y, verbose=0)
        model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_goes_from_device_to_device(device: Device, tmp_path: Path) -> None:
    model = network(device=device.name)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.tinynn")
    here = load_model(tmp_path / "model.tinynn", device="cpu")
    np.testing.assert_allclose(here.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    there = load_model(tmp_path / "model.tinynn", device=device.name)
    assert there.device.name == model.device.name
    there.fit(X, Y, verbose=0)


class Scale(tinynn.Layer):
    """A layer of one's own."""

    s: Any
    ds: Any

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.start = start

    def build(self, input_shape: Any) -> Any:
        self.add_weight("s", input_shape, tinynn.initializers.Constant(self.start))
        return input_shape

    def forward(self, x: Any, training: bool = False) -> Any:
        y = x * self.s
        self.cache = x
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x = self.take_cache()
        self.ds = (dy * x).sum(axis=0)
        return dy * self.s


class Cubed(tinynn.losses.MeanSquaredError):
    """A loss of one's own."""


def test_classes_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "registered", {})
    path = tmp_path / "own.tinynn"
    model = tinynn.Sequential([tinynn.Input((6,)), Scale(2.0)])
    model.compile("sgd", Cubed())
    model.fit(X, X, verbose=0)
    model.save(path)
    with pytest.raises(ValueError, match=r"load_model: .*own\.tinynn: there is no class called 'Scale' here"):
        load_model(path)
    with pytest.raises(ValueError, match="there is no class called 'Cubed' here"):
        load_model(path, {"Scale": Scale})
    assert load_model(path, {"Scale": Scale}, compile=False).layers[0].start == 2.0
    twin = load_model(path, {"Scale": Scale, "Cubed": Cubed})
    assert type(twin.loss) is Cubed
    assert everything(twin) == everything(model)
    with pytest.raises(TypeError, match=r"custom_objects must be a dictionary of classes, got \[<class"):
        load_model(path, [Scale])


def test_what_cannot_be_written_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    class Odd(Scale):
        def __init__(self, function: Any) -> None:
            super().__init__()

    model = tinynn.Sequential([tinynn.Input((6,)), Odd(abs)])
    model.build()
    with pytest.raises(TypeError, match=r"Sequential: save: odd \(Odd\): function is <built-in function abs>, which"):
        model.save(tmp_path / "odd.tinynn")
    assert not list(tmp_path.iterdir())
