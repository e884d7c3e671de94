"""Captured steps on a real device: equal to eager ones, waiting for nothing, and no memory more with each step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import layers
from tinynn.backend import Device, choose_device, to_device
from tinynn.memory import DeviceMemoryError

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def needs_a_device() -> None:
    try:
        choose_device("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))


X = np.random.default_rng(0).normal(size=(1000, 20)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 5, 1000)
IMAGES = np.random.default_rng(2).normal(size=(200, 12, 12, 1)).astype("float32")

NETWORKS: dict[str, Callable[[], tuple[list[layers.Layer], np.ndarray]]] = {
    "mlp": lambda: ([layers.Dense(64, "relu"), layers.Dense(5, "softmax")], X),
    "dropout": lambda: ([layers.Dense(64, "relu"), layers.Dropout(0.5), layers.Dense(5, "softmax")], X),
    "normalization": lambda: (
        [layers.Dense(64), layers.BatchNormalization(), layers.LayerNormalization(), layers.Dense(5, "softmax")],
        X,
    ),
    "cnn": lambda: (
        [layers.Conv2D(8, 3), layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(5, "softmax")],
        IMAGES,
    ),
    "lstm": lambda: ([layers.LSTM(16), layers.Dense(5, "softmax")], X[:200].reshape(200, 5, 4)),
    "gru": lambda: ([layers.GRU(16), layers.Dense(5, "softmax")], X[:200].reshape(200, 5, 4)),
}
CAPTURED = ("mlp", "cnn", "lstm", "gru")  # at least these


def trained(name: str, graph: Any, optimizer: str = "adam", device: str = "cuda", epochs: int = 4) -> Any:
    inside, x = NETWORKS[name]()
    model = tinynn.Sequential([layers.Input(x.shape[1:]), *inside], seed=0, device=device)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], graph=graph)
    model.fit(x, LABELS[: len(x)], batch_size=48, epochs=epochs, verbose=0)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_captured_equals_eager(name: str) -> None:
    """The same kernels on the same numbers; a product may take another algorithm where its memory lies otherwise."""
    eager, captured = trained(name, False), trained(name, "auto")
    assert name not in CAPTURED or captured.graph_reason.startswith("captured"), captured.graph_reason
    for mine, theirs in zip(eager.get_weights(), captured.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(eager.history.history["loss"], captured.history.history["loss"], rtol=1e-4)


@pytest.mark.parametrize("optimizer", sorted(tinynn.optimizers.OPTIMIZERS))
def test_every_optimizer(optimizer: str) -> None:
    eager, captured = trained("mlp", False, optimizer), trained("mlp", True, optimizer)
    for mine, theirs in zip(eager.get_weights(), captured.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_device_equals_the_cpu(name: str) -> None:
    """One epoch, float32: sums in another order, which training multiplies."""
    cpu, device = trained(name, "auto", device="cpu", epochs=1), trained(name, "auto", epochs=1)
    for mine, theirs in zip(cpu.get_weights(), device.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-3)


def small(device: Device) -> tinynn.Sequential:
    """Return a network for X."""
    inside = [layers.Dense(64, "relu"), layers.Dense(5, "softmax")]
    return tinynn.Sequential([layers.Input((20,)), *inside], device=device)


class Steady(tinynn.Callback):
    """Notes the memory at some batches, and forbids all waiting between them."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.seen = xp, {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch in (50, 100, 1000):
            self.seen[batch] = self.xp.get_default_memory_pool().used_bytes()


@pytest.mark.parametrize("graph", [True, False])
def test_memory_does_not_grow_over_a_thousand_steps(graph: bool) -> None:
    device = choose_device("cuda")
    model = small(device)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], graph=graph)
    x, y = to_device(X, device), to_device(LABELS, device)
    steady = Steady(device.xp)
    rows = device.xp.arange(1100 * 8) % 1000
    model.fit(x[rows], y[rows], batch_size=8, verbose=0)  # whatever is made once
    model.fit(x[rows], y[rows], batch_size=8, verbose=0, callbacks=[steady])
    per_step = 512 if not graph else 0  # an eager step keeps its loss, of no axes, until it is read
    assert steady.seen[1000] - steady.seen[100] <= 900 * per_step


@pytest.mark.parametrize("graph", [True, False])
def test_no_step_waits(graph: bool) -> None:
    import cupyx

    device = choose_device("cuda")
    model = small(device)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], graph=graph)
    x, y = to_device(X, device), to_device(LABELS, device)
    model.fit(x, y, batch_size=100, epochs=3, verbose=0)

    class Forbids(tinynn.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                self.context = cupyx.allow_synchronize(False)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # CuPy's: that it does not see all waiting
                    self.context.__enter__()
            if batch == 9:
                self.context.__exit__(None, None, None)

    model.fit(x, y, batch_size=100, verbose=0, callbacks=[Forbids()])


def test_out_of_memory_is_explained_and_the_model_usable() -> None:
    device = choose_device("cuda")
    model = tinynn.Sequential([layers.Input((20,)), layers.Dense(2**14), layers.Dense(5, "softmax")], device=device)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build()
    before = model.get_weights()
    rows = np.arange(4_000_000) % 1000
    with pytest.raises(DeviceMemoryError, match=r"GiB more were asked for, and of .* Lower batch_size"):
        model.fit(X[rows], LABELS[rows], batch_size=4_000_000, verbose=0)  # 262 GB of activations
    for mine, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model.fit(X, LABELS, verbose=0)
