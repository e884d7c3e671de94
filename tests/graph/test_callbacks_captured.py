"""Callbacks change, stop and look at a captured training as at an eager one; so does one training after another."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests import capturing
from tests.graph.network import LABELS, X, both, compiled, fit, need_equal, network
from tests.guard import FakeCuPy
from tinynn import callbacks, layers, optimizers, schedules
from tinynn.backend import to_host

pytestmark = pytest.mark.usefixtures("fake_cupy")


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


@pytest.mark.parametrize("options", [{"use_ema": True}, {"clipnorm": 0.1}], ids=str)
@pytest.mark.parametrize("kind", [optimizers.Adam, optimizers.SGD], ids=lambda kind: kind.__name__)
def test_a_state_that_is_set_between_two_trainings(fake_cupy: FakeCuPy, kind: Any, options: dict[str, Any]) -> None:
    """The optimizer's memory is another one then, and graphs would go on with the old."""
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    models = [compiled(graph, optimizer=lambda: kind(0.01, **options)) for graph in (False, True)]
    for model in models:
        fit(model, x=x, y=y)
        weights, state = model.get_weights(), copy.deepcopy(model.get_training_state())
        fit(model, x=x, y=y)
        used = [*model.optimizer.slots.values(), model.optimizer.made_scratch]
        model.set_weights(weights)
        model.set_training_state(state)
        model.train_on_batch(x[:16], y[:16])
        for array in used:
            array[...] = 7  # as if somebody else had it now
        fit(model, x=x, y=y)
        assert all((to_host(array) == 7).all() for array in used)
    need_equal(*models)


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


def test_a_training_that_is_not_captured_after_one_that_is(fake_cupy: FakeCuPy, tmp_path: Path) -> None:
    model = compiled("auto")
    fit(model, check_finite=False)
    fit(model, check_finite=True)
    assert model.graph_reason == "eager: check_finite looks at the numbers of each step"

    class Refuses(tinynn.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise KeyError("the callback's own")

    with pytest.raises(KeyError, match="the callback's own"):
        fit(model, callbacks=[Refuses()])
    for _ in range(2):  # the second time nothing is left to do
        fit(model, checkpoint_dir=tmp_path, resume=True)
    refused = compiled("auto", make=lambda: network(layers.Dropout(0.5)))
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    for _ in range(2):
        fit(refused, x=x, y=y)
        assert refused.graph_reason.startswith("eager: a step does what no graph can hold")


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


def test_the_memory_of_graphs_is_given_back_with_them(fake_cupy: FakeCuPy) -> None:
    """At once where others take their place, and with the model at last; a pool that goes would keep it."""
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(LABELS)
    gc.disable()
    try:
        for replace in (
            lambda model: model.compile("sgd", "sparse_categorical_crossentropy", graph=True),
            lambda model: fit(model, epochs=1),
        ):
            model = compiled(True)
            fit(model, x=x, y=y)
            pool, steps = model.captured.pool, weakref.ref(model.captured)
            freed = pool.freed
            replace(model)
            assert pool.freed > freed
            assert steps() is None
    finally:
        gc.enable()
    model = compiled(True)
    fit(model, x=x, y=y)
    pool, freed = model.captured.pool, model.captured.pool.freed
    del model
    gc.collect()
    assert pool.freed > freed


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
