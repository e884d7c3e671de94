"""Half precision: the layers compute with 16 bits, the weights keep 32, and small gradients are not lost.

There is no such thing on the CPU, so the pretended CuPy stands for a device.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import FakeCuPy
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn.backend import to_device, to_host
from tinynn.io import load_model

X = np.random.default_rng(0).normal(size=(60, 5))
Y = (X[:, :3] + 0.1 * np.random.default_rng(1).normal(size=(60, 3))).argmax(axis=1)


def network(dtype: str = "mixed_float16", optimizer: Any = "adam", device: str = "cuda") -> tinynn.Sequential:
    layers = [
        tinynn.Dense(16, "tanh", kernel_regularizer="l2"),
        tinynn.BatchNormalization(),
        tinynn.Dense(3, "softmax"),
    ]
    model = tinynn.Sequential([tinynn.Input((5,)), *layers], seed=0, dtype=dtype, device=device)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dtype_seen(model: tinynn.Sequential) -> Any:
    """Return the dtype that the second layer gets."""
    seen = []
    model.observers.append(lambda place, y: seen.append(y.dtype))
    model.train_on_batch(X, Y)
    model.observers.clear()
    return seen[0]


def test_layers_compute_with_16_bits_and_weights_keep_32(fake_cupy: FakeCuPy) -> None:
    model = network()
    assert dtype_seen(model) == np.float16
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype("float32")}
    assert model.layers[0].W.dtype == np.float16
    assert model.arena is not None
    np.testing.assert_array_equal(model.layers[0].W.get().ravel(), model.get_weights()[0].ravel().astype("float16"))


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_computes_with_16_bits(row: Row, fake_cupy: FakeCuPy) -> None:
    """Output and gradients are those of full precision to its accuracy, and in training of its kind."""
    outputs, gradients = [], []
    for dtype in ("mixed_float16", "float32"):
        model = tinynn.Sequential([row.make()], seed=0, dtype=dtype, device="cuda")
        x = row.sample((4, *row.example), 0)
        y = model(to_device(x, model.device), True)
        assert y.dtype == (np.float16 if dtype == "mixed_float16" else np.float32)
        dy = np.random.default_rng(1).normal(size=y.shape)
        model.backward(to_device(dy, model.device).astype(y.dtype), need_dx=not row.tokens)
        outputs.append(to_host(y).astype(float))
        names = [(parameter.owner, f"d{parameter.name}") for parameter in model.parameters if parameter.trainable]
        gradients.append([to_host(getattr(owner, name)).astype(float) for owner, name in names])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=0.01 * max(1, abs(outputs[1]).max()))
    for half, full in zip(*gradients, strict=True):
        np.testing.assert_allclose(half, full, atol=0.02 * max(1, abs(full).max()))


def test_it_learns_as_full_precision_does(fake_cupy: FakeCuPy) -> None:
    """The same seed, the same weights to begin with; 16 bits have a relative error of 5e-4."""
    half, full = network(), network("float32")
    histories = [model.fit(X, Y, batch_size=20, epochs=15, verbose=0).history["loss"] for model in (half, full)]
    np.testing.assert_allclose(*histories, rtol=0.02)
    np.testing.assert_allclose(half.predict(X, verbose=0), full.predict(X, verbose=0), atol=0.02)
    np.testing.assert_allclose(half.evaluate(X, Y, verbose=0), full.evaluate(X, Y, verbose=0), atol=0.02)


def test_steps_too_small_for_16_bits_add_up(fake_cupy: FakeCuPy) -> None:
    """1 + 1e-4 is 1 in half precision; a hundred such steps are 0.01."""
    model = tinynn.Sequential([tinynn.Input((1,)), tinynn.Dense(1, use_bias=False, kernel_initializer="ones")],
                              dtype="mixed_float16", device="cuda")  # fmt: skip
    model.compile(tinynn.SGD(1e-4), "mean_absolute_error")
    for _ in range(100):
        model.train_on_batch([[1.0]], [[5.0]])
    assert model.get_weights()[0].item() == pytest.approx(1.01, abs=1e-5)


def test_gradients_too_small_for_16_bits_are_not_lost(fake_cupy: FakeCuPy) -> None:
    def gradient(scale: float) -> float:
        layer = tinynn.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = tinynn.Sequential([tinynn.Input((1,)), layer], dtype="mixed_float16", device="cuda")
        model.compile(tinynn.LossScaleOptimizer(tinynn.SGD(1.0), initial_scale=scale), "mse")
        model.train_on_batch([[1e-4]], [[1e-4]])
        return float(model.get_weights()[0].item())

    assert gradient(1.0) == 0  # 2e-8 is 0 in half precision
    assert gradient(2.0**15) == pytest.approx(2e-8, rel=0.01)


def test_a_scale_too_large_costs_a_step_and_is_halved_and_grows_again(fake_cupy: FakeCuPy) -> None:
    model = network(optimizer=tinynn.LossScaleOptimizer(tinynn.SGD(0.1), 2.0**40, dynamic_growth_steps=3))
    model.build()
    before = model.get_weights()
    optimizer = model.optimizer
    assert isinstance(optimizer, tinynn.LossScaleOptimizer)
    with np.errstate(over="ignore", invalid="ignore"):
        model.train_on_batch(X, Y)
        assert (optimizer.iterations, optimizer.scale) == (0, 2.0**39)
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        while optimizer.iterations == 0:
            model.train_on_batch(X, Y)
    found = optimizer.scale
    assert 1 < found < 2.0**30
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(2):
            model.train_on_batch(X, Y)
    assert optimizer.scale == 2 * found
    assert np.isfinite(model.get_weights()[0]).all()


def test_weights_that_are_set_loaded_or_averaged_reach_the_layers(fake_cupy: FakeCuPy, tmp_path: Path) -> None:
    model, other = network(optimizer=tinynn.Adam(use_ema=True)), network(optimizer=tinynn.Adam(use_ema=True))
    model.fit(X, Y, epochs=2, verbose=0)
    expected = model.predict(X, verbose=0)
    other.build()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other.predict(X, verbose=0), expected)
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn", device="cuda")
    np.testing.assert_array_equal(twin.predict(X, verbose=0), expected)
    model.save_weights(tmp_path / "weights")
    other = network()
    other.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(other.predict(X, verbose=0), expected)
    np.testing.assert_array_equal(copy.deepcopy(model).predict(X, verbose=0), expected)
    for _ in range(2):
        np.testing.assert_array_equal(twin.train_on_batch(X, Y), model.train_on_batch(X, Y))
    assert twin.optimizer.scale == model.optimizer.scale


def test_resumed_it_ends_with_the_same_bits(fake_cupy: FakeCuPy, tmp_path: Path) -> None:
    whole, resumed = network(), network()
    whole.fit(X, Y, batch_size=20, epochs=4, verbose=0)
    network().fit(X, Y, batch_size=20, epochs=2, verbose=0, checkpoint_dir=tmp_path)
    resumed.fit(X, Y, batch_size=20, epochs=4, verbose=0, checkpoint_dir=tmp_path, resume=True)
    for mine, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_on_the_cpu_it_is_full_precision() -> None:
    half, full = network(device="cpu"), network("float32", device="cpu")
    for model in (half, full):
        model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(half.get_weights()[0], full.get_weights()[0])
    assert dtype_seen(half) == np.float32


def test_callbacks_set_the_rate_of_the_inner_optimizer() -> None:
    model = network(device="cpu")
    slower = tinynn.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[slower])
    assert model.optimizer.learning_rate == 0.001 * 0.25
    with pytest.raises(TypeError, match="inner_optimizer must be an optimizer that does not scale the loss already"):
        tinynn.LossScaleOptimizer(model.optimizer)
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64' or 'mixed_float16', got 'float16'"):
        network("float16", device="cpu")
