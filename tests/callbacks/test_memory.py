"""What callbacks remember when a training is killed and resumed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Callback, CSVLogger, Dense, EarlyStopping, History, Input, ReduceLROnPlateau, Sequential
from tinynn.callbacks import CallbackList, LambdaCallback, LearningRateScheduler, ProgressBar, TerminateOnNaN


def regression() -> Sequential:
    model = Sequential([Input((4,)), Dense(1)], seed=0)
    model.compile(tinynn.SGD(0.1), "mse")
    model.build()
    return model


def stored(state: Any) -> Any:
    """As it comes back from a file: nothing is the same object any more."""
    if isinstance(state, np.ndarray):
        return np.frombuffer(bytes(state.data), state.dtype).reshape(state.shape)
    if isinstance(state, dict):
        return {key: stored(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)([stored(value) for value in state])
    return json.loads(json.dumps(state))


def test_the_own_callback_is_remembered_without_a_word() -> None:
    class Mine(Callback):
        def __init__(self) -> None:
            self.seen = 0
            self.best = np.float32(0.1)
            self.tables = {"a": [np.arange(3), None, (1, "b", 2.5, True)]}
            self.function = print
            self.by_number = {1: "no"}
            self.open: Any = [1, print]
            self.complex = np.zeros(2, complex)

    first = Mine()
    first.model, first.params = regression(), {"epochs": 1}
    first.seen = 7
    state = first.get_state()
    assert list(state) == ["seen", "best", "tables"]
    first.tables["a"][0][:] = 9  # the state is a copy
    again = Mine()
    again.set_state(stored(state))
    assert again.seen == 7
    assert type(again.best) is np.float32
    assert again.best == np.float32(0.1)
    np.testing.assert_array_equal(again.tables["a"][0], [0, 1, 2])
    again.tables["a"][0][0] = 5  # it can be written to
    assert again.tables["a"][1:] == [None, (1, "b", 2.5, True)]
    assert again.function is print


def test_what_cannot_be_remembered_is_an_error_if_it_was_named() -> None:
    class Mine(Callback):
        state_names = ("seen",)
        seen = frozenset({1, 2})

    with pytest.raises(
        TypeError, match=r"Mine: 'seen' stands in state_names, and .* has in it a frozenset; see Callback"
    ):
        Mine().get_state()

    for names, kind, message in [
        ("seen", TypeError, r"Mine: state_names must be a tuple of names, as in state_names = \('seen',\)"),
        (("sene",), AttributeError, "Mine: 'sene' stands in state_names, and the callback has no such attribute"),
    ]:
        Mine.state_names = names
        with pytest.raises(kind, match=message):
            Mine().get_state()

    class Other(Callback):
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def get_state(self) -> Any:
            return self.answer

    with pytest.raises(TypeError, match="Other: get_state returned a builtin_function_or_method, which"):
        CallbackList([Other({"a": [print]})]).get_states()
    with pytest.raises(TypeError, match="Other: get_state must return a dict, got None"):
        CallbackList([Other(None)]).get_states()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (EarlyStopping, {"patience": 3, "restore_best_weights": True}),
        (EarlyStopping, {"patience": 2, "baseline": 0.3}),
        (ReduceLROnPlateau, {"patience": 2, "cooldown": 1, "factor": 0.5}),
    ],
)
def test_resumed_at_any_epoch_it_does_the_same(kind: Any, settings: dict[str, Any]) -> None:
    losses = list(np.random.default_rng(3).uniform(size=12).round(1))

    def drive(kill_after: int) -> list[Any]:
        model = regression()
        callback = kind(**settings)
        callback.model = model
        callback.on_train_begin({})
        did = []
        for epoch, loss in enumerate(losses):
            model.set_weights([np.full((4, 1), epoch), np.zeros(1)])
            callback.on_epoch_end(epoch, {"val_loss": loss})
            did.append((callback.wait, callback.best, model.stop_training, model.optimizer.learning_rate))
            if model.stop_training:
                break
            if epoch == kill_after:
                state = stored(callback.get_state())
                callback = kind(**settings)
                callback.model = model
                callback.on_train_begin({})
                callback.set_state(state)
        callback.on_train_end({})
        return [*did, *(weight.tolist() for weight in model.get_weights())]

    expected = drive(-1)
    for epoch in range(len(expected) - 2):
        assert drive(epoch) == expected


def test_settings_are_those_of_the_constructor() -> None:
    stop = EarlyStopping(patience=2)
    stop.wait, stop.best = 2, 0.5
    again = EarlyStopping(patience=9)
    again.set_state(stored(stop.get_state()))
    assert (again.patience, again.wait, again.best) == (9, 2, 0.5)
    for callback in (ProgressBar(), TerminateOnNaN(), LearningRateScheduler(lambda e: 1.0), LambdaCallback(print)):
        assert callback.get_state() == {}


@pytest.mark.parametrize(("patience", "epochs"), [(2, [0, 1, 2]), (3, [0, 1, 2, 3])])
def test_one_that_was_stopped_stays_stopped_unless_the_patience_grew(patience: int, epochs: list[int]) -> None:
    """Killed after the last epoch, before the best weights came back."""

    def train(patience: int, first: int, state: Any = None) -> tuple[list[int], EarlyStopping, Any]:
        model, stop = regression(), EarlyStopping(patience=patience, restore_best_weights=True)
        stop.model = model
        stop.on_train_begin({})
        done = list(range(first))
        if state is not None:
            stop.set_state(stored(state))
        for epoch in range(first, 5):
            if model.stop_training:
                break
            model.set_weights([np.full((4, 1), epoch), np.zeros(1)])
            stop.on_epoch_end(epoch, {"val_loss": 1.0 + epoch})
            done.append(epoch)
        return done, stop, model

    done, killed, _ = train(2, 0)
    assert done == [0, 1, 2]
    done, stop, model = train(patience, 3, killed.get_state())
    assert done == epochs
    assert stop.stopped_epoch == done[-1]
    stop.on_train_end({})
    assert (model.get_weights()[0] == 0).all()


def test_more_patience_goes_on_with_a_training_that_was_stopped(tmp_path: Path) -> None:
    x = np.ones((8, 4))

    def train(patience: int) -> list[int]:
        stop = EarlyStopping("loss", min_delta=99, patience=patience)  # nothing is ever better
        options: Any = {"verbose": 0, "checkpoint_dir": tmp_path, "resume": True}
        return regression().fit(x, x[:, :1], epochs=9, callbacks=[stop], **options).epoch

    assert [len(train(patience)) for patience in (2, 2, 1, 4)] == [3, 3, 3, 5]


def test_history_goes_on() -> None:
    history = History()
    history.on_epoch_end(0, {"loss": 0.5})
    again = History()
    again.set_state(stored(history.get_state()))
    again.on_epoch_end(1, {"loss": 0.25})
    assert (again.epoch, again.history) == ([0, 1], {"loss": [0.5, 0.25]})
    assert history.epoch == [0]


# CSVLogger -------------------------------------------------------------------------------------------------------


def begin(path: Path, **options: Any) -> CSVLogger:
    logger = CSVLogger(path, **options)
    logger.on_train_begin({})
    return logger


def log(logger: CSVLogger, *epochs: int) -> None:
    for epoch in epochs:
        logger.on_epoch_begin(epoch, {})
        logger.on_epoch_end(epoch, {"loss": epoch / 3, "näme": 1})


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("checkpoint", [0, 1, 3])
def test_the_resumed_file_has_the_lines_of_one_training(tmp_path: Path, append: bool, checkpoint: int) -> None:
    once, path = tmp_path / "once.csv", tmp_path / "killed.csv"
    for file in (once, path):
        old = begin(file)
        log(old, 7, 8)
        old.on_train_end({})
    logger = begin(once, append=append)
    log(logger, 0, 1, 2, 3)
    logger.on_train_end({})

    logger = begin(path, append=append)
    log(logger, *range(checkpoint))
    state = stored(logger.get_state())
    log(logger, *range(checkpoint, 4))  # written after the checkpoint
    with path.open("a") as file:
        file.write("4,0.3")  # and half a line, then the kill
    again = begin(path, append=append)
    again.set_state(state)
    assert path.stat().st_size == state["position"]  # at once: there may be no epoch left to run
    log(again, *range(checkpoint, 4))
    again.on_train_end({})
    logger.close()
    assert path.read_bytes() == once.read_bytes()


def test_a_file_stays_until_an_epoch_begins(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    logger = begin(path)
    assert path.read_text() == "old\n"
    logger.on_epoch_begin(0, {})
    assert path.read_text() == ""
    logger.close()


@pytest.mark.parametrize("append", [False, True])
def test_a_file_that_lost_lines_is_told_of(tmp_path: Path, append: bool) -> None:
    path = tmp_path / "log.csv"
    logger = begin(path)
    log(logger, 0, 1)
    state = stored(logger.get_state())
    logger.on_train_end({})
    path.unlink()
    again = begin(path, append=append)
    with pytest.warns(UserWarning, match=rf"log\.csv has 0 bytes, and had {state['position']} when the checkpoint"):
        again.set_state(state)
    log(again, 2)
    again.on_train_end({})
    assert path.read_text().splitlines()[0].startswith("epoch,loss")
    assert len(path.read_text().splitlines()) == 2


# All of one fit --------------------------------------------------------------------------------------------------


def test_each_callback_gets_its_own_memory() -> None:
    first, second, bar = EarlyStopping("loss"), EarlyStopping("loss"), ProgressBar(live=False)
    first.wait, second.wait = 1, 2
    states = stored(CallbackList([bar, first, second, History()]).get_states())
    assert list(states) == ["EarlyStopping", "EarlyStopping_1", "History"]
    one, other = EarlyStopping("loss"), EarlyStopping("loss")
    assert CallbackList([one, other, History()]).set_states(states) == []
    assert (one.wait, other.wait) == (1, 2)
    assert CallbackList([one, ReduceLROnPlateau(), History()]).set_states(states) == [
        "callbacks that the checkpoint does not know start afresh: ReduceLROnPlateau.",
        "callbacks of the checkpoint are missing now: EarlyStopping_1.",
    ]


def test_an_epoch_that_is_resumed_begins_for_the_bars_alone(capsys: pytest.CaptureFixture[str]) -> None:
    begun: list[int] = []
    watch = LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    watchers = CallbackList([ProgressBar(live=False), watch])
    watchers.begin(regression(), {"epochs": 5, "steps": 10, "samples": 100, "verbose": 1})
    watchers.epoch_begin(3, resumed=True)
    watchers.epoch_end(3, {"loss": 0.5})
    watchers.epoch_begin(4)
    assert begun == [4]
    assert re.fullmatch(r"Epoch 4/5 - [\d.]+s - loss: 0\.5000\n", capsys.readouterr().out)
