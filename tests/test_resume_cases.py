"""Resuming where something stands in the way: no seed, a model that has trained already, much to remember."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn.callbacks import Callback
from tinynn.io.checkpoints import CheckpointWarning

X = np.arange(40.0)[:, None] / 40
Y = X


class Fail(Callback):
    """Ends the training by an error."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        raise RuntimeError("by the user")


def network(optimizer: Any = "adam", seed: int | None = 0, inside: int = 1) -> tinynn.Sequential:
    """Return a model, not yet built."""
    model = tinynn.Sequential([tinynn.Sequential([tinynn.Dense(2)]), tinynn.Dense(inside), tinynn.Dense(1)], seed=seed)
    model.compile(optimizer, "mse")
    return model


def test_what_is_held_out_stays_so_though_nobody_chose_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = []
    score = tinynn.Sequential.score

    def watched(model: Any, source: Any, *rest: Any) -> Any:
        held_out.append(source.rows.tolist())
        return score(model, source, *rest)

    monkeypatch.setattr(tinynn.Sequential, "score", watched)
    for epochs in (1, 2):
        network(seed=None).fit(
            X, Y, epochs=epochs, verbose=0, validation_split=0.25, checkpoint_dir=tmp_path, resume=True
        )
    assert len(held_out) == 2
    assert held_out[0] == held_out[1]


def test_a_model_in_a_model_is_resumed_though_nobody_chose_a_seed(tmp_path: Path) -> None:
    for epochs in (1, 2):
        history = network(seed=None).fit(X, Y, epochs=epochs, verbose=0, checkpoint_dir=tmp_path, resume=True)
    assert history.epoch == [0, 1]


def test_a_model_that_has_trained_goes_back_to_before_its_first_step(tmp_path: Path) -> None:
    model, whole = network(), network()
    with pytest.raises(RuntimeError, match="by the user"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path, callbacks=[Fail()])
    with pytest.warns(CheckpointWarning, match="Fail"):
        model.fit(X, Y, epochs=2, verbose=0, checkpoint_dir=tmp_path, resume=True)
    whole.fit(X, Y, epochs=2, verbose=0)
    assert [w.tolist() for w in model.get_weights()] == [w.tolist() for w in whole.get_weights()]


class Remembers(Callback):
    """A callback of one's own, as people write them."""

    def __init__(self, batches: int = 0) -> None:
        self.best = (np.inf, 0)
        self.losses = [0.1234567890123] * batches
        self.counts = list(range(batches))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.best = min(self.best, (logs["loss"], epoch))


def test_tuples_and_long_lists_come_back_as_they_were(tmp_path: Path) -> None:
    whole, first, second = (Remembers(400_000) for _ in range(3))  # 14 MB as text, and a file holds 4 of that
    network().fit(X, Y, epochs=2, verbose=0, callbacks=[whole])
    network().fit(X, Y, epochs=1, verbose=0, checkpoint_dir=tmp_path, callbacks=[first])
    network().fit(X, Y, epochs=2, verbose=0, checkpoint_dir=tmp_path, callbacks=[second], resume=True)
    assert (second.best, second.counts) == (whole.best, whole.counts)
    assert second.losses == whole.losses
    assert type(second.losses[0]) is float


class Writes(Callback):
    """Remembers more text than a file can hold, from some epoch on."""

    text = ""
    state_names = ("text",)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.text = "x" * 5 * 2**20 if epoch == 1 else ""


def test_a_memory_too_large_for_a_file_does_not_end_the_training(tmp_path: Path) -> None:
    with pytest.warns(CheckpointWarning, match=r"a file can\s+hold 4194304.*the newest checkpoint is after 2 of \d"):
        history = network().fit(X, Y, epochs=3, verbose=0, checkpoint_dir=tmp_path, callbacks=[Writes()])
    assert history.epoch == [0, 1, 2]


class Removes(Callback):
    """Stands for somebody who tidies up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def test_a_folder_that_goes_away_does_not_end_the_training(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    with pytest.warns(CheckpointWarning, match="the newest checkpoint is gone"):
        history = network().fit(X, Y, epochs=2, verbose=0, checkpoint_dir=folder, callbacks=[Removes(folder)])
    assert history.epoch == [0, 1]


def test_another_size_of_batches_is_refused_though_an_epoch_has_as_many(tmp_path: Path) -> None:
    network().fit(X, Y, 25, verbose=0, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="batch_size: 25 there and 30 here"):
        network().fit(X, Y, 30, epochs=2, verbose=0, checkpoint_dir=tmp_path, resume=True)


def test_the_setting_that_differs_is_named(tmp_path: Path) -> None:
    network(tinynn.Adam(0.1)).fit(X, Y, verbose=0, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="is of another training") as caught:
        network(tinynn.Adam(0.2), inside=3).fit(X, Y, epochs=2, verbose=0, checkpoint_dir=tmp_path, resume=True)
    message = str(caught.value)
    assert "layers[1] (Dense): units: 1 there and 3 here\n" in message
    assert "compile: optimizer (Adam): learning_rate: 0.1 there and 0.2 here\n" in message


def test_validation_batches_of_a_generator_go_on_where_they_were(tmp_path: Path) -> None:
    def batches() -> Iterator[Any]:
        for number in range(100):
            yield X + number, Y

    def fit(epochs: int = 3, **options: Any) -> dict[str, list[float]]:
        history = network().fit(
            X, Y, epochs=epochs, verbose=0, validation_data=batches(), validation_steps=2, **options
        )
        return history.history

    fit(epochs=2, checkpoint_dir=tmp_path)
    assert fit(checkpoint_dir=tmp_path, resume=True) == fit()


class Median(tinynn.metrics.Metric):
    """A metric of one's own that keeps a list."""

    name = "median"

    def reset_state(self) -> None:
        self.values: list[float] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.values.append(float(y_pred.mean()))

    def result(self) -> float:
        return float(np.median(self.values)) if self.values else 0.0


def test_what_a_metric_keeps_in_a_list_is_resumed(tmp_path: Path) -> None:
    class FailLate(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                raise RuntimeError("by the user")

    def fit(*callbacks: Callback, **options: Any) -> dict[str, list[float]]:
        model = network()
        model.compile("sgd", "mse", metrics=[Median()])
        return model.fit(X, Y, 4, verbose=0, callbacks=callbacks, **options).history

    with pytest.raises(RuntimeError, match="by the user"):
        fit(FailLate(), checkpoint_dir=tmp_path, checkpoint_freq=1)
    with pytest.warns(CheckpointWarning, match="FailLate"):
        resumed = fit(checkpoint_dir=tmp_path, resume=True)
    assert resumed == fit()


def test_a_training_that_a_callback_ended_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Ends(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    for epochs in (2, 5):
        network().fit(
            X,
            Y,
            epochs=epochs,
            verbose=0 if epochs == 2 else 2,
            checkpoint_dir=tmp_path,
            resume=True,
            callbacks=[Ends()],
        )
    assert "a callback ended the training after 1 of 5 epochs, nothing is left to do." in capsys.readouterr().out
