"""Callbacks: what they do to a training, and what they say when they cannot."""

from __future__ import annotations

import csv
import inspect
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import (
    Callback,
    CSVLogger,
    Dense,
    EarlyStopping,
    Input,
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
    Sequential,
    TerminateOnNaN,
)
from tinynn.metrics.base import MeanMetric

x = np.random.default_rng(1).normal(size=(40, 4))
y = x[:, :1] * 2 - 1


def regression(rate: Any = 0.1, **options: Any) -> Sequential:
    model = Sequential([Input((4,)), Dense(1, kernel_initializer="zeros")], seed=0, **options)
    model.compile(tinynn.SGD(rate), "mse", metrics=["mae", "r2_score"])
    return model


class Says(Callback):
    """Puts numbers of the test's own into the logs, and keeps the weights of every epoch."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name = name
        self.values = values
        self.weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[self.name] = self.values[epoch]
        self.weights.append(self.model.get_weights())


def read(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def train(callbacks: list[Any], epochs: int, model: Sequential | None = None, **options: Any) -> Any:
    return (model or regression()).fit(x, y, batch_size=10, epochs=epochs, verbose=0, callbacks=callbacks, **options)


# EarlyStopping ---------------------------------------------------------------------------------------------------


def test_early_stopping_stops_and_restores(capsys: pytest.CaptureFixture[str]) -> None:
    says = Says("val_loss", [3, 2, 1, 5, 4, 3, 2])
    stop = EarlyStopping(patience=2, verbose=1, restore_best_weights=True)
    model = regression()
    assert train([says, stop], 7, model).epoch == [0, 1, 2, 3, 4]
    assert (stop.best, stop.best_epoch, stop.stopped_epoch, stop.wait) == (1, 2, 4, 2)
    np.testing.assert_array_equal(model.get_weights()[0], says.weights[2][0])
    assert not np.array_equal(says.weights[2][0], says.weights[4][0])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 5: early stopping",
        "Restoring model weights from the end of the best epoch: 3.",
    ]


@pytest.mark.parametrize("end", ["last epoch", "Ctrl-C", "error", "NaN"])
def test_the_best_weights_come_back_however_the_training_ends(end: str) -> None:
    says = Says("val_loss", [3, 1, 2, 2, 2, 2])
    stop = EarlyStopping(patience=99, restore_best_weights=True)

    class Ends(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch != 3:
                return
            if end == "Ctrl-C":
                os.kill(os.getpid(), signal.SIGINT)
            elif end == "error":
                raise OSError("disk full")
            elif end == "NaN":
                self.model.set_weights([np.full((4, 1), np.nan), np.zeros(1)])

    model = regression()
    if end == "error":
        with pytest.raises(OSError, match="disk full"):
            train([says, stop, Ends()], 4, model)
    else:
        train([says, stop, Ends(), TerminateOnNaN()], 4, model)
    np.testing.assert_array_equal(model.get_weights()[0], says.weights[1][0])


def test_weights_of_an_older_training_do_not_come_back() -> None:
    stop = EarlyStopping("loss", restore_best_weights=True)
    model = regression()
    train([stop], 2, model)
    model.set_weights([np.ones((4, 1)), np.ones(1)])

    class Fails(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        train([Fails(), stop], 2, model)
    assert (model.get_weights()[0] == 1).all()


def test_without_restoring_the_last_weights_stay() -> None:
    says = Says("val_loss", [1, 2, 3])
    model = regression()
    stop = EarlyStopping(patience=2)
    train([says, stop], 3, model)
    np.testing.assert_array_equal(model.get_weights()[0], says.weights[-1][0])
    assert stop.best_weights is None


def test_the_metric_says_which_way_is_better() -> None:
    for monitor, direction in {"loss": "min", "mae": "min", "r2_score": "max", "val_r2_score": "max"}.items():
        stop = EarlyStopping(monitor)
        stop.model = regression()
        stop.on_train_begin()
        assert stop.direction == direction
    model = regression()
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy", "auc"])
    assert model.log_names() == ["loss", "accuracy", "weighted_accuracy", "auc"]
    assert [model.direction_of(name) for name in ("accuracy", "val_weighted_accuracy", "auc")] == ["max"] * 3

    class Mine(MeanMetric):
        name = "mine"

    model.compile("sgd", "mse", metrics=[Mine()])
    with pytest.raises(ValueError, match=r"'val_mine' is better small or large; .* loss, mine,.* say mode='min'"):
        train([EarlyStopping("val_mine")], 1, model)
    Mine.direction = "max"
    assert model.direction_of("val_mine") == "max"


def test_every_metric_says_its_direction() -> None:
    for name in tinynn.metrics.METRICS:
        assert tinynn.metrics.direction(name) in ("min", "max")


def test_nan_is_never_the_best() -> None:
    stop = EarlyStopping(patience=9)
    train([Says("val_loss", [np.nan, 3, np.nan, 2]), stop], 4)
    assert (stop.best, stop.best_epoch) == (2, 3)
    assert train([Says("val_loss", [np.nan, 3, 4]), EarlyStopping()], 3).epoch == [0, 1, 2]  # one epoch tells nothing
    says, model = Says("val_loss", [np.nan, np.nan]), regression()
    train([says, EarlyStopping(restore_best_weights=True)], 2, model)  # all that there is
    np.testing.assert_array_equal(model.get_weights()[0], says.weights[0][0])


def test_what_is_not_there_cannot_be_monitored() -> None:
    with pytest.raises(ValueError, match=r"no 'val_loss' in the logs .* loss, mae, r2_score\. .*validation_split=0\.1"):
        train([EarlyStopping()], 5)
    with pytest.raises(ValueError, match=r"Plateau: there is no 'mea' in the logs .* loss, mae, r2_score, .*an 'mae'"):
        train([ReduceLROnPlateau("mea", mode="min")], 5)
    with pytest.raises(ValueError, match=r"'val_mea' is better .*numbers are loss, mae, r2_score, .*mean 'val_mae'\?"):
        train([EarlyStopping("val_mea")], 5)
    history = train([EarlyStopping()], 2, validation_split=0.25)
    assert "val_loss" in history.history


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_bad_arguments_of_monitors(kind: Any) -> None:
    name = kind.__name__
    with pytest.raises(ValueError, match=f"{name}: mode must be 'auto', 'min' or 'max', got 'down'"):
        kind(mode="down")
    with pytest.raises(TypeError, match=f"{name}: monitor must be a name"):
        kind(5)
    with pytest.raises(ValueError, match=f"{name}: patience must be a whole number from 0 up, got -1"):
        kind(patience=-1)
    with pytest.raises(ValueError, match=f"{name}: min_delta must be a number"):
        kind(min_delta="little")


# The learning rate -----------------------------------------------------------------------------------------------


def test_reduce_on_plateau_steps_down_to_the_least_rate(capsys: pytest.CaptureFixture[str]) -> None:
    says = Says("val_loss", [1.0] * 8)
    model = regression(0.1)
    slower = ReduceLROnPlateau(factor=0.5, patience=2, min_lr=0.04, verbose=1)
    history = train([says, slower], 8, model)
    assert history.history["learning_rate"] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.04, 0.04]
    assert model.optimizer.learning_rate == 0.04
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3: ReduceLROnPlateau reducing learning rate to 0.05.",
        "Epoch 5: ReduceLROnPlateau reducing learning rate to 0.04.",
    ]
    with pytest.raises(ValueError, match="factor must be a number from 0 to below 1, got 1"):
        ReduceLROnPlateau(factor=1)


def test_scheduler_sets_the_rate_of_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    history = train([LearningRateScheduler(lambda epoch, rate: rate / 2, verbose=1)], 2)
    assert history.history["learning_rate"] == [0.05, 0.025]
    assert capsys.readouterr().out.startswith("Epoch 1: LearningRateScheduler setting learning rate to 0.05.\n")
    assert train([LearningRateScheduler(lambda epoch: 1 / (10 + epoch))], 2).history["learning_rate"] == [0.1, 1 / 11]
    decay = tinynn.ExponentialDecay(0.1, decay_steps=1, decay_rate=0.5)
    assert train([LearningRateScheduler(decay)], 3).history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


def test_scheduler_says_what_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"schedule must be a function, got 0\.1"):
        LearningRateScheduler(0.1)
    with pytest.raises(TypeError, match=r"schedule\(epoch\), and has the parameters \(a, b, c\)"):
        LearningRateScheduler(lambda a, b, c: 0.1)
    with pytest.raises(ValueError, match="what schedule returns for epoch 0 must be a number from 0 up, got None"):
        train([LearningRateScheduler(lambda epoch: None)], 1)
    with pytest.raises(TypeError, match="unsupported operand"):  # not hidden, as it is in Keras
        train([LearningRateScheduler(lambda epoch, rate: rate * None)], 1)


@pytest.mark.parametrize("callback", [ReduceLROnPlateau("loss"), LearningRateScheduler(lambda epoch: 0.1)])
def test_a_schedule_of_the_optimizer_and_one_of_a_callback_are_too_many(callback: Any) -> None:
    model = regression(tinynn.CosineDecay(0.1, 100))
    with pytest.raises(TypeError, match=r"sets the learning rate, and the optimizer follows the schedule CosineDecay"):
        train([callback], 1, model)
    assert model.optimizer.schedule is not None


# CSVLogger -------------------------------------------------------------------------------------------------------


def test_csv_logger_writes_starts_anew_and_appends(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = train([CSVLogger(path, separator=";")], 3, validation_split=0.25)
    rows = read(path, ";")
    assert list(rows[0]) == ["epoch", "loss", "mae", "r2_score", "val_loss", "val_mae", "val_r2_score"]
    for name, values in history.history.items():
        assert [float(row[name]) for row in rows] == values  # to the last bit
    logger = CSVLogger(path)
    train([logger], 2)
    assert path.read_text().splitlines()[0] == "epoch,loss,mae,r2_score,val_loss,val_mae,val_r2_score"
    assert path.read_text().splitlines()[1].endswith("NA,NA,NA")
    logger.append = True
    train([logger], 1, validation_split=0.25)
    rows = read(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    assert logger.file is None
    before = path.read_text()
    with pytest.raises(ValueError, match=r"log\.csv has the columns epoch, loss, .*, and none for learning_rate"):
        train([LearningRateScheduler(lambda epoch: 0.1), logger], 1)
    assert path.read_text() == before


def test_csv_lines_are_there_at_once_and_the_file_is_closed_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    seen = []

    class Reads(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(len(path.read_text().splitlines()))
            if epoch == 1:
                raise OSError("enough")

    logger = CSVLogger(path)
    with pytest.raises(OSError, match="enough"):
        train([logger, Reads()], 3)
    assert seen == [2, 3]
    assert logger.file is None
    with pytest.raises(ValueError, match="separator must be one character, got ', '"):
        CSVLogger(path, ", ")
    train([CSVLogger(tmp_path / "new" / "log.csv")], 1)
    assert len((tmp_path / "new" / "log.csv").read_text().splitlines()) == 2
    with pytest.raises(IsADirectoryError, match=r"CSVLogger: could not write .*new \(Is a directory"):
        train([CSVLogger(tmp_path / "new")], 1)
    with pytest.raises(OSError, match=r"CSVLogger: could not make the folder .*log\.csv"):
        train([CSVLogger(path / "log.csv")], 1)


# TerminateOnNaN --------------------------------------------------------------------------------------------------


def test_terminate_on_nan_really_stops(capsys: pytest.CaptureFixture[str]) -> None:
    batches = []

    class Explode(tinynn.MeanSquaredError):
        def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            return super().call(y_true, y_pred) * (np.inf if len(batches) == 3 else 1)

    watch = LambdaCallback(on_train_batch_begin=lambda batch, logs: batches.append(batch))
    stop = TerminateOnNaN()
    model = regression()
    model.compile("sgd", Explode())
    history = train([watch, stop], 5, model)
    assert batches == [0, 1, 2]
    assert history.epoch == []
    assert not history.interrupted
    assert np.isfinite(model.predict(x)).all()
    assert model.optimizer.iterations == 2
    assert "the loss became inf at epoch 1, batch 3" in str(stop.error)
    assert capsys.readouterr().out.startswith("Training terminated: the loss became inf at epoch 1, batch 3 (")
    assert train([stop], 2).epoch == [0, 1]
    assert stop.error is None


def test_terminate_on_nan_may_raise_and_the_others_end() -> None:
    ended = []
    model = regression(1e30)
    with (
        np.errstate(all="ignore"),
        pytest.raises(RuntimeError, match="the loss became inf") as caught,
    ):
        train([TerminateOnNaN(raise_error=True), LambdaCallback(on_train_end=ended.append)], 3, model)
    assert isinstance(caught.value.__cause__, FloatingPointError)
    assert ended == [{}]


def test_terminate_on_nan_on_a_device_and_for_weights(fake_cupy: Any) -> None:
    for rate, device in [(1e30, "cuda"), (1e38, "cpu")]:
        model = regression(rate, device=device)
        stop = TerminateOnNaN()
        with np.errstate(all="ignore"):
            history = model.fit(1e3 * x, y, batch_size=40, epochs=5, verbose=0, callbacks=[stop])
        assert model.optimizer.iterations <= 2
        assert len(history.epoch) <= 1
        assert isinstance(stop.error, FloatingPointError)


# LambdaCallback, and lists ---------------------------------------------------------------------------------------


def test_lambda_callback_calls_each_function_with_its_arguments() -> None:
    calls: list[Any] = []
    names = [name for name in inspect.signature(LambdaCallback).parameters if name != "kwargs"]

    def note(name: str) -> Any:
        return lambda *arguments: calls.append((name, *(a if isinstance(a, int) else sorted(a) for a in arguments)))

    history = regression().fit(
        x, y, batch_size=20, verbose=0, callbacks=[LambdaCallback(**{name: note(name) for name in names})]
    )
    logs = ["loss", "mae", "r2_score"]
    assert calls == [
        ("on_train_begin", []),
        ("on_epoch_begin", 0, []),
        ("on_train_batch_begin", 0, []),
        ("on_train_batch_end", 0, logs),
        ("on_train_batch_begin", 1, []),
        ("on_train_batch_end", 1, logs),
        ("on_epoch_end", 0, logs),
        ("on_train_end", logs),
    ]
    assert history.epoch == [0]


def test_lambda_callback_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"unknown moment .* 'on_epoch_stop'. Did you mean 'on_epoch_"):
        LambdaCallback(on_epoch_stop=print)
    with pytest.raises(TypeError, match="on_epoch_end must be a function, got 5"):
        LambdaCallback(on_epoch_end=5)


def test_a_method_given_to_an_instance_is_called_for_batches() -> None:
    callback = Callback()
    seen: list[int] = []
    callback.on_train_batch_end = lambda batch, logs: seen.append(batch)
    train([callback], 1)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (TerminateOnNaN(), r"fit: callbacks must be a list, such as \[TerminateOnNaN\(...\)\]"),
        (EarlyStopping, r"fit: callbacks must be a list, such as \[EarlyStopping\(...\)\]"),
        ("early", "fit: callbacks must be a list, got 'early'"),
        ({"stop": TerminateOnNaN()}, "fit: callbacks must be a list, got {'stop'"),
        (5, "fit: callbacks must be a list, got 5"),
        ([EarlyStopping], r"must be instances of tinynn.callbacks.Callback, got <class"),
    ],
)
def test_callbacks_stand_in_a_list(callbacks: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        regression().fit(x, y, verbose=0, callbacks=callbacks)


def test_a_method_that_nobody_calls_is_told() -> None:
    class Misspelt(Callback):
        def on_epoche_end(self, epoch: int, logs: Any = None) -> None: ...

        def on_my_own_account(self) -> None: ...

    with pytest.warns(UserWarning, match=r"Misspelt has .* 'on_epoche_end', .* mean 'on_epoch_end'") as told:
        train([Misspelt()], 1)
    assert len(told) == 1
    assert told[0].filename == __file__
