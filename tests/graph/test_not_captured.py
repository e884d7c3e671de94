"""What cannot be captured runs eagerly and says why; and what a replayed step costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests import capturing
from tests.graph.network import EVERY_OPTIMIZER, LABELS, X, both, compiled, fit, need_equal, network
from tests.guard import FakeCuPy, GuardArray
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import layers, optimizers, schedules

pytestmark = pytest.mark.usefixtures("fake_cupy")


# What cannot be captured -------------------------------------------------------------------------------------------


class Counts(layers.Layer):
    """A layer with a number of Python's that changes in each step: a graph would freeze it."""

    steps = 0

    def forward(self, x: Any, training: bool = False) -> Any:
        self.steps += 1
        self.cache = self.steps
        return x * self.steps

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy * self.take_cache()


class Remembers(Counts):
    """A layer that keeps an array of the step before."""

    before: Any = 0.0

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = 1
        y = x + self.before
        self.before = x.mean()
        return y


class Waits(Counts):
    """A layer that asks the device for a number."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = 1.0 if not training else 2.0 if float(x[0, 0]) > 0 else 3.0
        return x * self.cache


class FromHost(Counts):
    """A layer that brings an array from the host in each step."""

    def forward(self, x: Any, training: bool = False) -> Any:
        factor = tinynn.backend.array_module(x).asarray(np.full(1, 2.0, "float32"))
        self.cache = 2.0
        return x * factor


class NotSaid(optimizers.Optimizer):
    """An optimizer of one's own that does not say what it reads."""

    def __init__(self) -> None:
        super().__init__(0.1)

    def update(self, w: Any, dw: Any, scratch: Any, *slots: Any) -> None:
        w -= self.learning_rate / self.iterations * dw


class Said(NotSaid):
    """The same that reads its numbers."""

    reads_numbers = True

    def update(self, w: Any, dw: Any, scratch: Any, *slots: Any) -> None:
        (rate,) = self.numbers
        w -= rate * dw

    def step_numbers(self) -> tuple[float, ...]:
        return (self.learning_rate / self.iterations,)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a count": ({"make": lambda: network(Counts())}, r"counts \(Counts\) sets its attribute 'steps' anew in each step"),
    "an array": ({"make": lambda: network(Remembers())}, r"remembers \(Remembers\) sets its attribute 'before' anew"),
    "waiting": (
        {"make": lambda: network(Waits())},
        r"a step does what no graph can hold \(RuntimeError: the current stream is capturing, so synchronous",
    ),
    "the host": ({"make": lambda: network(FromHost())}, r"no graph can hold \(RuntimeError: .* H2D transfers are"),
    "draws": (
        {"make": lambda: network(layers.Dropout(0.5))},
        r"no graph can hold \(RuntimeError: .* H2D transfers are",
    ),
    "an optimizer": ({"optimizer": NotSaid}, r"NotSaid does not say that its update takes .* \(reads_numbers = True\)"),
    "half": ({"make": lambda: network(dtype="mixed_float16")}, "in half precision the host must know"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_runs_eager_and_says_why(name: str) -> None:
    options, reason = REFUSED[name]
    _, model = both("auto", **options)
    assert model.graph_reason.startswith("eager: ")
    assert re.search(reason, model.graph_reason), model.graph_reason
    asked = compiled(True, **options)
    before = asked.get_weights() if asked.input_shape else None
    with pytest.raises(RuntimeError, match=r"fit: graph=True was asked for in compile, but .*") as caught:
        fit(asked)
    assert re.search(reason, str(caught.value))
    assert before is None or np.isfinite(asked.get_weights()[0]).all()
    asked.compile("adam", "sparse_categorical_crossentropy")
    fit(asked)  # it is usable


def test_an_optimizer_of_ones_own_that_says_what_it_reads_is_captured() -> None:
    both(optimizer=Said)
    both("auto", optimizer=type("Later", (Said,), {"update": NotSaid.update}))


class Many(Said):
    """An optimizer of one's own with many numbers."""

    reads_numbers = True

    def update(self, w: Any, dw: Any, scratch: Any, *slots: Any) -> None:
        for rate in self.numbers:
            w -= rate * dw

    def step_numbers(self) -> tuple[float, ...]:
        return tuple(0.01 * k / self.iterations for k in range(12))


@pytest.mark.parametrize("waits", [None, 2])
def test_an_optimizer_may_have_as_many_numbers_as_it_likes(waits: int | None) -> None:
    def make() -> Any:
        optimizer = Many()
        optimizer.gradient_accumulation_steps = waits
        return optimizer

    both(optimizer=make)


def test_who_looks_at_each_step_gets_eager_steps() -> None:
    _, model = both("auto", fit_options=lambda: {"check_finite": True})
    assert model.graph_reason == "eager: check_finite looks at the numbers of each step"

    class Own(tinynn.Sequential):
        def train_step(self, *step: Any) -> None:
            super().train_step(*step)

    def make() -> Any:
        return Own([layers.Input((6,)), layers.Dense(3, activation="softmax")], seed=1, device="cuda")

    _, model = both("auto", make=make)
    assert model.graph_reason == "eager: Own has a train_step of its own"


def test_on_the_cpu() -> None:
    model = tinynn.Sequential([layers.Input((6,)), layers.Dense(3, activation="softmax")], device="cpu")
    with pytest.raises(ValueError, match="graph=True needs a CUDA device, and the model is on the CPU: the CPU was"):
        model.compile("adam", "mse", graph=True)
    with pytest.raises(ValueError, match="graph must be True, False or 'auto', got 'always'"):
        model.compile("adam", "mse", graph="always")
    with pytest.raises(ValueError, match="matmul_precision must be one of 'float32'"):
        model.compile("adam", "mse", matmul_precision="tf32")
    assert model.graph_reason == "no training yet"
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model, epochs=1)
    assert model.graph_reason == "eager: the model is on the CPU, which has no graphs (the CPU was asked for)"


def test_without_cublaslt(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynn.kernels.cuda import cublaslt

    monkeypatch.setattr(cublaslt, "load", lambda major: (None, "cuBLASLt was not found"))
    model = compiled("auto")
    fit(model)
    assert model.graph_reason == "eager: cuBLASLt was not found"


# Precision ---------------------------------------------------------------------------------------------------------


def test_the_precision_that_was_compiled_holds_everywhere(fake_cupy: FakeCuPy, tmp_path: Path) -> None:
    model = compiled("auto", matmul_precision="tensorfloat32")
    fit(model, epochs=1, validation_data=(X, LABELS))
    model.evaluate(X, LABELS, verbose=0)
    model.predict(X, verbose=0)
    model.train_on_batch(X, LABELS)
    assert set(fake_cupy.cublaslt.compute_types) == {77}
    model.save(tmp_path / "model.tinynn")
    loaded = tinynn.load_model(tmp_path / "model.tinynn", device="cuda")
    assert loaded.matmul_precision == "tensorfloat32"
    fake_cupy.cublaslt.compute_types.clear()
    compiled("auto").predict(X, verbose=0)
    assert set(fake_cupy.cublaslt.compute_types) == {68}


# What a step costs -------------------------------------------------------------------------------------------------


class Costs(tinynn.Callback):
    """Notes at the begin of each batch how often the host has waited and what it has called."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append((GuardArray.waits, capturing.calls_outside, capturing.Graph.launches))


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_replayed_step_waits_for_nothing_and_launches_little(name: str) -> None:
    model, costs = compiled(True, optimizer=name), Costs()
    fit(model, x=X[:64], y=LABELS[:64], callbacks=[costs], epochs=3)
    waits, calls, launches = np.diff(np.array(costs.seen), axis=0)[4:].T
    inside = np.arange(len(waits)) % 4 != 3  # not the last of an epoch, after which scores are read
    assert (waits[inside] == 0).all()
    assert (launches == 1).all()
    # two views of the loss, and one launch with the number of Adam's that is new
    calls = calls[inside]
    first = np.arange(len(calls)) % 3 == 0  # in the first of an epoch the place in the order is written too, and read
    wanted = {"adam": 3, "sgd": 2}[name]
    assert calls.tolist() == [wanted + 2 * begins for begins in first]


def test_an_eager_step_waits_for_nothing() -> None:
    model, costs = compiled(False), Costs()
    fit(model, x=X[:64], y=LABELS[:64], callbacks=[costs], epochs=2)
    waits = np.diff([seen[0] for seen in costs.seen])
    assert waits[[0, 1, 2, 4, 5, 6]].tolist() == [0] * 6


@pytest.mark.parametrize("kind", EVERY_OPTIMIZER, ids=lambda kind: kind.__name__)
def test_no_number_that_changes_is_frozen(kind: Any, fake_cupy: FakeCuPy) -> None:
    """Two captures of one step, at other times of a training, have the same numbers of Python's in them."""
    found = []
    x, y = fake_cupy.asarray(X[:64]), fake_cupy.asarray(LABELS[:64])
    model = compiled(True, optimizer=lambda: kind(schedules.ExponentialDecay(0.1, 2, 0.5), weight_decay=0.1))
    for _ in range(3):
        fit(model, x=x, y=y)
        (recorded,) = model.captured.graphs.values()
        found.append(recorded.graph.capture.scalars)
        model.captured.forget()
    assert found[0] == found[1] == found[2]


# Every layer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", ["plain", "emulated"])
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_is_captured_or_says_why_not(row: Row, kernels: str, request: pytest.FixtureRequest) -> None:
    if kernels == "emulated":
        request.getfixturevalue("emulated_cupy")
    models = []
    for graph in (False, "auto"):
        model = tinynn.Sequential([row.make()], seed=0, dtype="float64", device="cuda")
        x = row.sample((11, *row.example), 0)
        model.build(x.shape[1:])
        y = np.random.default_rng(1).normal(size=(11, *model.output_shape))
        model.compile(optimizers.SGD(0.001), "mse", graph=graph)
        model.fit(x, y, batch_size=4, epochs=4, verbose=0)
        models.append(model)
    need_equal(*models)
    reason = models[1].graph_reason
    print(row, reason)
    assert (
        reason.startswith("captured") or "draws random numbers on the host" in reason or "no graph can hold" in reason
    )
