"""ModelCheckpoint: which files, when, and what is said when it cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Callback, Dense, Input, ModelCheckpoint, Sequential

x = np.random.default_rng(1).normal(size=(40, 4))
y = x[:, :1] * 2 - 1


def regression() -> Sequential:
    model = Sequential([Input((4,)), Dense(1, kernel_initializer="zeros")], seed=0)
    model.compile(tinynn.SGD(0.1), "mse", metrics=["mae"])
    return model


class Says(Callback):
    """Puts numbers of the test's own into the logs, and keeps the weights of every epoch."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name = name
        self.values = values
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[self.name] = self.values[epoch]
        self.weights.append(self.model.get_weights()[0])


def train(callbacks: list[Any], epochs: int = 1, model: Sequential | None = None, **options: Any) -> Any:
    return (model or regression()).fit(x, y, batch_size=10, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def weights(path: Path, **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(path, save_weights_only=True, **options)


def test_the_file_holds_the_weights_of_that_epoch(tmp_path: Path) -> None:
    says = Says("val_loss", [3, 1, 2, 0.5])
    path = tmp_path / "new" / "folders" / "{epoch:02d}-{val_loss:.1f}.safetensors"
    train([says, weights(path)], 4)
    names = ["01-3.0.safetensors", "02-1.0.safetensors", "03-2.0.safetensors", "04-0.5.safetensors"]
    assert sorted(os.listdir(path.parent)) == names
    for name, expected in zip(names, says.weights, strict=True):
        model = regression()
        model.build()
        model.load_weights(path.parent / name)
        np.testing.assert_array_equal(model.get_weights()[0], expected)


def test_only_the_best_and_over_several_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "best.safetensors"
    keep = weights(path, save_best_only=True, verbose=1)
    says = Says("val_loss", [np.nan, 2, 3, 1])
    model = regression()
    train([says, keep], 4, model)
    assert keep.best == 1
    best = path.read_bytes()
    train([Says("val_loss", [1.5, 1.2]), keep], 2, model)  # a second fit forgets nothing
    assert path.read_bytes() == best
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss did not improve from None",
        f"Epoch 2: val_loss improved from None to 2.00000, saving model to {path}",
        f"Epoch 2: finished saving model to {path}",
        "Epoch 3: val_loss did not improve from 2.00000",
        f"Epoch 4: val_loss improved from 2.00000 to 1.00000, saving model to {path}",
        f"Epoch 4: finished saving model to {path}",
        "Epoch 1: val_loss did not improve from 1.00000",
        "Epoch 2: val_loss did not improve from 1.00000",
    ]


def test_every_so_many_batches_over_epochs(tmp_path: Path) -> None:
    train([weights(tmp_path / "{epoch}-{batch}.safetensors", save_freq=3)], 3)
    assert sorted(os.listdir(tmp_path)) == ["1-3.safetensors", "2-2.safetensors", "3-1.safetensors", "3-4.safetensors"]


def test_scores_are_worked_out_for_the_batches_that_are_saved_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    result = tinynn.scores.Scores.result
    monkeypatch.setattr(tinynn.scores.Scores, "result", lambda self: looks.append(1) or result(self))
    train([weights(tmp_path / "every.safetensors")])
    assert len(looks) == 1  # at the end of the epoch
    looks.clear()
    train([weights(tmp_path / "some.safetensors", save_freq=2)])
    assert len(looks) == 3


def test_resumed_it_saves_the_same_files(tmp_path: Path) -> None:
    def drive(kill_at: tuple[int, int] | None, **options: Any) -> list[str]:
        saved: list[str] = []

        def fresh() -> ModelCheckpoint:
            callback = ModelCheckpoint(tmp_path / "{epoch}-{loss}", "loss", **options)
            callback.model = regression()
            callback.model.save_weights = lambda path: saved.append(os.path.basename(path))
            callback.save_weights_only = True
            callback.on_train_begin({})
            return callback

        callback = fresh()
        losses = np.random.default_rng(0).uniform(size=(3, 4))
        for epoch in range(3):
            callback.on_epoch_begin(epoch, {})
            for batch in range(4):
                callback.on_train_batch_begin(batch, {})
                if callback.wants_batch():
                    callback.on_train_batch_end(batch, {"loss": losses[epoch, batch]})
                if (epoch, batch) == kill_at:
                    state = callback.get_state()
                    callback = fresh()
                    callback.set_state(state)  # and no on_epoch_begin: it was before the kill
            callback.on_epoch_end(epoch, {"loss": losses[epoch, 0]})
        return saved

    for options in ({"save_freq": 3}, {"save_freq": 5, "save_best_only": True}, {"save_best_only": True}):
        expected = drive(None, **options)
        assert expected
        for epoch in range(3):
            for batch in range(4):
                assert drive((epoch, batch), **options) == expected


# What is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filepath", "options", "message"),
    [
        ("{}.tinynn", {}, r"'{}\.tinynn' has braces without a name; write {epoch:02d} or"),
        ("{0}.tinynn", {}, "has braces without a name"),
        ("{epoch.tinynn", {}, r"'{epoch\.tinynn' cannot be filled \(expected '}' before end of string\); write"),
        ("{batch}.tinynn", {}, r"has {batch}, and with save_freq='epoch' there is none; leave it out, or"),
        ("a", {"save_freq": "batch"}, "save_freq must be 'epoch' or a number of batches, got 'batch'"),
        ("a", {"save_freq": 0}, "save_freq must be a whole number from 1 up, got 0"),
        ("a", {"mode": "up"}, "ModelCheckpoint: mode must be 'auto', 'min' or 'max', got 'up'"),
        ("a", {"initial_value_threshold": "low"}, "initial_value_threshold must be a number"),
    ],
)
def test_at_once(filepath: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelCheckpoint(filepath, **options)


def test_what_is_no_path() -> None:
    with pytest.raises(TypeError, match=r"ModelCheckpoint: path must be the name of a file, .* got int \(5\)"):
        ModelCheckpoint(5)


@pytest.mark.parametrize(
    ("filepath", "options", "message"),
    [
        ("{epoch:.2q}", {}, r"'.*{epoch:\.2q}' cannot be filled: (Unknown|Invalid) format"),
        ("{loss:02d}", {}, r"'.*{loss:02d}' cannot be filled: Unknown format code 'd'"),
        ("a", {"save_best_only": True, "monitor": "los"}, r"'los' is better small or large; .* are loss, mae, each"),
        (
            "a",
            {"save_best_only": True, "save_freq": 2},
            r"monitor is 'val_loss', and while .* logs have only loss, mae",
        ),
    ],
)
def test_before_the_first_epoch(tmp_path: Path, filepath: str, options: dict[str, Any], message: str) -> None:
    seen = Says("a", [1])
    with pytest.raises(ValueError, match=message):
        train([ModelCheckpoint(tmp_path / filepath, **options), seen])
    assert seen.weights == []


def test_a_name_that_only_another_callback_could_bring(tmp_path: Path) -> None:
    path = tmp_path / "{epoch}-{mine:.0f}.safetensors"
    warning = r"asks for mine; the logs have loss, mae, val_loss, val_mae, learning_rate\. If no other callback"
    with pytest.warns(UserWarning, match=warning):
        train([Says("mine", [7]), weights(path)])
    assert os.listdir(tmp_path) == ["1-7.safetensors"]
    with (
        pytest.warns(UserWarning, match=warning),
        pytest.raises(ValueError, match=r"asks for 'mine', and there are only loss, mae, epoch\."),
    ):
        train([weights(path)])
    with pytest.raises(ValueError, match=r"asks for 'val_mae', and .* epoch\. Names with 'val_' need validation data"):
        train([weights(tmp_path / "{val_mae}")])
    with pytest.raises(ValueError, match=r"no 'val_loss' in the logs .* validation_split=0\.1"):
        train([weights(tmp_path / "a", save_best_only=True)])
    assert len(os.listdir(tmp_path)) == 1


def test_places_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Says("a", [1])
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"ModelCheckpoint: could not make the folder .*file.sub \(Not a directory\)"):
        train([weights(tmp_path / "file" / "sub" / "a"), seen])
    with pytest.raises(IsADirectoryError, match=r"is a folder; give the name of a file in it, such as .*\.tinynn"):
        train([weights(tmp_path), seen])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="ModelCheckpoint: you may not write into"):
        train([weights(tmp_path / "a"), seen])
    assert seen.weights == []


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    train([weights(path)])
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"save_weights: could not write .* \(No space left .* free some space"):
        train([weights(path)], 2)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]
