"""Captured steps, on a pretended device: a captured run equals an eager one bit by bit, and says why it is none."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests import capturing
from tests.guard import FakeCuPy, GuardArray
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import callbacks, layers, optimizers, schedules
from tinynn.backend import to_host
from tinynn.optimizers import base

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 70)
EVERY_OPTIMIZER = sorted(set(optimizers.OPTIMIZERS.values()), key=lambda kind: kind.__name__)

pytestmark = pytest.mark.usefixtures("fake_cupy")


def network(*inside: layers.Layer, **options: Any) -> tinynn.Sequential:
    """Return a small network with these layers in the middle."""
    return tinynn.Sequential(
        [layers.Input((6,)), layers.Dense(8, activation="relu"), *inside, layers.Dense(3, activation="softmax")],
        seed=1,
        device="cuda",
        **options,
    )


def compiled(graph: Any, optimizer: Any = "adam", make: Callable[[], Any] = network, **options: Any) -> Any:
    model = make()
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options
    model.compile(optimizer() if callable(optimizer) else optimizer, graph=graph, **options)
    return model


def fit(model: Any, x: Any = X, y: Any = LABELS, **options: Any) -> tinynn.callbacks.History:
    """Train on batches of 16 and a last one of 6, so that the fifth step of an epoch has a graph of its own."""
    if "epochs" not in options:
        options["epochs"] = 4
    if isinstance(x, np.ndarray | GuardArray):
        options["batch_size"] = 16
    return model.fit(x, y, verbose=0, **options)


def need_equal(one: Any, other: Any) -> None:
    """Weights, what layers keep, the optimizer's memory and all that was logged have the same bits."""
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name, slot in one.optimizer.slots.items():
        np.testing.assert_array_equal(to_host(slot), to_host(other.optimizer.slots[name]))
    assert one.optimizer.iterations == other.optimizer.iterations
    assert one.optimizer.learning_rate == other.optimizer.learning_rate
    assert one.history.history == other.history.history


def both(graph: Any = True, fit_options: Callable[[], dict[str, Any]] = dict, **options: Any) -> tuple[Any, Any]:
    """Return a model that was trained eagerly and one with graphs, after looking that they are equal."""
    eager, captured = compiled(False, **options), compiled(graph, **options)
    for model in (eager, captured):
        fit(model, **fit_options())
    need_equal(eager, captured)
    assert eager.graph_reason == "eager: graph=False was asked for"
    if graph is True:
        assert captured.graph_reason.startswith("captured")
    return eager, captured


# A captured run equals an eager one --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_OPTIMIZER, ids=lambda kind: kind.__name__)
def test_every_optimizer(kind: Any) -> None:
    if kind is optimizers.LossScaleOptimizer:
        pytest.skip("is for half precision, which is not captured")
    before = capturing.Graph.launches
    both(optimizer=lambda: kind(0.01))
    assert capturing.Graph.launches - before == 4 * 3 + 3 + 3 - 2  # all but two rehearsals


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
    assert len(captured.captured.graphs) == 2


# Callbacks ---------------------------------------------------------------------------------------------------------


class Does(tinynn.Callback):
    """A callback that does something at each batch."""

    def __init__(self, what: Callable[[Any, int], None]) -> None:
        self.what, self.batches = what, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.what(self.model, self.batches)
        self.batches += 1


def both_do(what: Callable[[Any, int], None], **options: Any) -> tuple[Any, Any]:
    return both(fit_options=lambda: {"callbacks": [Does(what)], "epochs": 5}, **options)


def test_a_rate_that_a_callback_changes() -> None:
    def change(model: Any, batch: int) -> None:
        model.optimizer.learning_rate = 0.01 / (1 + batch)

    both_do(change)
    both(
        fit_options=lambda: {"callbacks": [callbacks.LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch)]},
        optimizer=lambda: optimizers.SGD(0.1),
    )
    both(fit_options=lambda: {"callbacks": [callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1)], "epochs": 7})


def set_at(batch_of_change: int, change: Callable[[Any], None]) -> Callable[[Any, int], None]:
    return lambda model, batch: change(model) if batch == batch_of_change else None


SETTINGS: dict[str, Callable[[Any], None]] = {
    "slope": lambda model: setattr(model.layers[1], "negative_slope", 0.9),
    "clipvalue": lambda model: setattr(model.optimizer, "clipvalue", 1e-3),
    "beta_1": lambda model: setattr(model.optimizer, "beta_1", 0.1),
    "weight_decay": lambda model: setattr(model.optimizer, "weight_decay", 0.5),
    "plain": lambda model: setattr(model.layers[0], "plain", True),
    "a schedule": lambda model: setattr(model.optimizer, "learning_rate", schedules.ExponentialDecay(0.1, 2, 0.5)),
    "weights": lambda model: model.set_weights([weight * 0.5 for weight in model.get_weights()]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_a_callback_changes(name: str) -> None:
    both_do(set_at(13, SETTINGS[name]), make=lambda: network(layers.LeakyReLU(0.2)))


def test_a_callback_that_stops() -> None:
    _, captured = both_do(set_at(12, lambda model: setattr(model, "stop_training", True)))
    assert captured.optimizer.iterations == 13
    both(fit_options=lambda: {"callbacks": [callbacks.EarlyStopping("loss", min_delta=1, restore_best_weights=True)]})


def test_an_observer_sees_every_step() -> None:
    """Who looks at what layers return sees it in eager steps alone: as long as somebody does, steps are eager."""
    seen: list[int] = []

    def look(model: Any, batch: int) -> None:
        if batch == 8:
            model.observers.append(lambda place, y: seen.append(batch))
        if batch == 10:
            model.observers.clear()

    both_do(look)
    places = len(seen) // 4
    assert seen == [8] * places * 4  # two steps of each of the two
    assert places >= 2


def test_gradients_and_the_count_of_steps_are_seen() -> None:
    seen: dict[Any, list[Any]] = {False: [], True: []}

    class Looks(tinynn.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            model = self.model
            loss = (logs or {})["loss"]
            seen[model.graph].append((to_host(model.arena.grads).tolist(), model.optimizer.iterations, loss))

    both(fit_options=lambda: {"callbacks": [Looks()]})
    assert seen[True] == seen[False]
    assert len(seen[True]) == 20


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_is_found_and_its_batch_named() -> None:
    messages = []
    for graph in (False, True):
        model = compiled(graph, optimizer=lambda: optimizers.SGD(3e4))
        with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) at epoch ., batch .") as caught:
            fit(model, epochs=20)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_training_that_is_resumed(tmp_path: Path) -> None:
    eager = compiled(False)
    fit(eager)
    for graph in (True, False):
        folder = tmp_path / str(graph)
        stopped = compiled(True)
        stop = Does(set_at(11, lambda model: model.stop_after_batch()))
        fit(stopped, callbacks=[stop], checkpoint_dir=folder, checkpoint_freq=1)
        resumed = compiled(graph)
        fit(resumed, callbacks=[Does(lambda model, batch: None)], checkpoint_dir=folder, resume=True)
        need_equal(eager, resumed)


# One training after another ----------------------------------------------------------------------------------------


def test_with_data_on_the_device_graphs_serve_the_next_fit(fake_cupy: FakeCuPy) -> None:
    eager, model = compiled(False), compiled(True)
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    fit(eager, epochs=4)
    fit(eager, epochs=1)
    fit(model, x=x, y=y)
    kept = dict(model.captured.graphs)
    assert len(kept) == 2
    before = capturing.Graph.launches
    fit(model, x=x, y=y, epochs=1)
    assert model.captured.graphs == kept
    assert capturing.Graph.launches - before == 5
    for mine, theirs in zip(eager.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_when_the_data_go_the_graphs_go(fake_cupy: FakeCuPy) -> None:
    model = compiled(True)
    fit(model)
    assert model.captured.graphs == {}
    x = fake_cupy.asarray(X)
    fit(model, x=x, y=fake_cupy.asarray(LABELS))
    assert model.captured.graphs == {}  # the labels are gone
    fit(model, x=x)
    need_equal_after_more = compiled(False)
    for _ in range(3):
        fit(need_equal_after_more)
    for mine, theirs in zip(need_equal_after_more.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_model_with_graphs_is_copied_and_pickled(fake_cupy: FakeCuPy) -> None:
    model = compiled(True)
    x = fake_cupy.asarray(X)
    fit(model, x=x, epochs=2)
    twin = copy.deepcopy(model)
    assert twin.captured is None
    fit(model, x=x, epochs=2)
    fit(twin, epochs=2)
    for mine, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert pickle.loads(pickle.dumps(model.captured)) is None


def test_compiled_anew_it_captures_anew(fake_cupy: FakeCuPy) -> None:
    model, eager = compiled(True), compiled(False)
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    for each in (model, eager):
        fit(each, x=x, y=y, epochs=2)
        each.compile("sgd", "sparse_categorical_crossentropy", graph=each.graph)
        fit(each, x=x, y=y, epochs=2)
    need_equal(model, eager)


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
    if kind is optimizers.LossScaleOptimizer:
        pytest.skip("is for half precision, which is not captured")
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


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_is_captured_or_says_why_not(row: Row) -> None:
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
