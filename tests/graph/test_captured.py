"""On a pretended device a captured run equals an eager one, bit by bit."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tests import capturing
from tests.graph.network import EVERY_OPTIMIZER, LABELS, X, both, compiled, fit, network
from tests.guard import FakeCuPy
from tinynn import layers, optimizers, schedules
from tinynn.backend import to_host
from tinynn.optimizers import base

pytestmark = pytest.mark.usefixtures("fake_cupy")


# A captured run equals an eager one --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_OPTIMIZER, ids=lambda kind: kind.__name__)
def test_every_optimizer(kind: Any) -> None:
    before = capturing.Graph.launches
    both(optimizer=lambda: kind(0.01))
    assert capturing.Graph.launches - before == 4 * 5 - 2  # all but two rehearsals


OPTIONS: dict[str, Callable[[], Any]] = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "centered": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "decay": lambda: optimizers.AdamW(schedules.ExponentialDecay(0.1, 3, 0.5), weight_decay=0.3),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.01),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "ema that overwrites": lambda: optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "accumulation with decay": lambda: optimizers.SGD(
        schedules.CosineDecay(0.1, 5), weight_decay=0.1, gradient_accumulation_steps=2
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_optimizers(name: str) -> None:
    _, captured = both(optimizer=OPTIONS[name], fit_options=lambda: {"epochs": 8})
    assert captured.captured.graphs is not None


def test_tiny_numbers_are_flushed_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "FLUSH_EVERY", 4)
    monkeypatch.setattr(base, "TINY", 0.2)
    steps = 20
    _, captured = both(fit_options=lambda: {"epochs": steps // 5})
    assert (to_host(captured.optimizer.slots["V"]) == 0).any()


SCHEDULES = {
    "exponential": lambda: schedules.ExponentialDecay(0.1, 2, 0.5),
    "staircase": lambda: schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True),
    "cosine": lambda: schedules.CosineDecay(0.1, 12),
    "pieces": lambda: schedules.PiecewiseConstantDecay([3, 9], [0.1, 0.01, 0.001]),
    "inverse time": lambda: schedules.InverseTimeDecay(0.1, 2, 0.5),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam], ids=lambda kind: kind.__name__)
def test_every_schedule(name: str, kind: Any) -> None:
    both(optimizer=lambda: kind(SCHEDULES[name]()))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("samples", [70, 64, 10])
def test_batches_that_fit_and_that_do_not(shuffle: bool, samples: int) -> None:
    both(fit_options=lambda: {"x": X[:samples], "y": LABELS[:samples], "shuffle": shuffle})


@pytest.mark.parametrize("dtype", ["uint8", "float64", "int32"])
def test_data_are_cast_in_the_step(dtype: str) -> None:
    both(fit_options=lambda: {"x": (X * 20).astype(dtype), "y": LABELS.astype("uint8")})


def test_float64() -> None:
    both(make=lambda: network(dtype="float64"))


class Own(tinynn.metrics.Metric):
    """A metric of one's own, that counts on the host."""

    name = "own"

    def reset_state(self) -> None:
        self.seen: list[float] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen.append(len(self.seen) + float(y_pred[0, 0]) + float(y_true[0]))

    def result(self) -> float:
        return sum(self.seen)


def test_metrics_of_all_kinds() -> None:
    """Those that only add are in the graph, the others look at its outputs after the launch."""
    one_hot = {"y": tinynn.to_categorical(LABELS, 3), "sample_weight": np.linspace(0, 2, 70)}
    names = ["accuracy", "auc", "precision", "mse", "f1_score"]
    both(fit_options=lambda: one_hot, loss="categorical_crossentropy", metrics=names)
    both(metrics=["accuracy", Own])
    names, weighted = ["accuracy", "r2_score"], ["accuracy", "recall"]
    both(fit_options=lambda: one_hot, loss="categorical_crossentropy", metrics=names, weighted_metrics=weighted)


def test_weights_of_samples_and_classes() -> None:
    both(fit_options=lambda: {"sample_weight": np.linspace(0, 2, 70)}, weighted_metrics=["accuracy"])
    both(fit_options=lambda: {"class_weight": {0: 1.0, 1: 5.0, 2: 0.5}})


def test_masks() -> None:
    x = np.random.default_rng(2).normal(size=(70, 5, 4)).astype("float32")
    x[::2, 3:] = 0

    def make() -> Any:
        inside = [layers.Masking(), layers.LSTM(6, return_sequences=True), layers.Dense(3, activation="softmax")]
        return tinynn.Sequential([layers.Input((5, 4)), *inside], seed=1, device="cuda")

    y = np.random.default_rng(3).integers(0, 3, (70, 5))
    both(make=make, fit_options=lambda: {"x": x, "y": y}, weighted_metrics=["accuracy"])


def test_ctc_of_many_steps() -> None:
    """CuPy puts more than 8 arrays together by a table of where they lie, which it copies from the host."""

    def make() -> Any:
        return tinynn.Sequential([layers.Input((12, 4)), layers.Dense(4)], seed=1, device="cuda")

    x, y = np.random.default_rng(2).normal(size=(70, 12, 4)), np.random.default_rng(3).integers(1, 4, (70, 3))
    both(make=make, fit_options=lambda: {"x": x, "y": y}, loss=tinynn.losses.CTC, metrics=None)


def test_penalties_and_running_means() -> None:
    def make() -> Any:
        inside = [layers.Dense(5, kernel_regularizer="l2"), layers.ActivityRegularization(l2=0.1)]
        return network(*inside)

    both(make=make)


def test_validation_and_a_split() -> None:
    both(fit_options=lambda: {"validation_data": (X[:20], LABELS[:20])})
    both(fit_options=lambda: {"validation_split": 0.3})


def test_batches_of_an_iterable() -> None:
    batches = [(X[start : start + 16], LABELS[start : start + 16]) for start in range(0, 70, 16)]
    _, captured = both(fit_options=lambda: {"x": batches, "y": None})
    assert len(captured.captured.graphs) == 2
    both(fit_options=lambda: {"x": tinynn.data.Dataset.from_arrays(X, LABELS).shuffle(70).batch(16), "y": None})


def test_losses_are_read_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinynn.graph.MOST_LOSSES", 3)
    both()


def test_too_many_kinds_of_batches_are_not_all_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinynn.graph.MOST_GRAPHS", 2)
    sizes = [(X[:size], LABELS[:size]) for size in range(1, 7)]
    _, captured = both(fit_options=lambda: {"x": sizes, "y": None})
    assert len(captured.captured.graphs) == len(captured.captured.inputs) == 2


def test_batches_that_do_not_come_again_leave_nothing() -> None:
    sizes = [(X[:size], LABELS[:size]) for size in range(1, 7)]
    _, captured = both(fit_options=lambda: {"x": sizes, "y": None, "epochs": 1})
    assert captured.captured.inputs == {}


# Memory ------------------------------------------------------------------------------------------------------------


def test_the_workspace_of_products_is_from_no_graphs_memory(
    fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once and stays, and the memory of graphs goes with them."""
    found = []

    def alloc(size: int) -> Any:
        found.append((capturing.Allocator.current, capturing.Capture.current))
        return types.SimpleNamespace(ptr=1)

    monkeypatch.setattr(fake_cupy.cuda, "alloc", alloc)
    both()
    assert found == [(None, None)] * 2  # of the default stream and of the one that is captured


def test_the_memory_of_graphs_is_not_freed_where_the_device_is_full(
    fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no array has any more, the graphs that were captured before still write to."""
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    model = compiled(True)
    fit(model, x=x, y=y)
    pool, freed = model.captured.pool, model.captured.pool.freed
    assert pool.limit == 0
    assert isinstance(pool.malloc(1000), capturing.Memory)
    monkeypatch.setattr(capturing.Memory, "left", 1000)
    with pytest.raises(MemoryError, match=r"allocating 1,001 bytes: cudaErrorMemoryAllocation"):
        pool.malloc(1001)
    assert pool.freed == freed
