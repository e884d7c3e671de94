"""A training that is stopped at any moment and resumed ends with the same bits as one that was never stopped."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.io.test_model_file import X, Y, everything, network
from tinynn.callbacks import Callback, CSVLogger, EarlyStopping, History, ReduceLROnPlateau
from tinynn.data import Dataset
from tinynn.io import load_model
from tinynn.io.checkpoints import CheckpointWarning


class Killed(Exception):
    """Stands for a kill: fit ends at once, and the model is thrown away."""


class Kill(Callback):
    """Ends the process after so many batches; never, if that is 0."""

    state_names = ()

    def __init__(self, after: int) -> None:
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class Counts(Callback):
    """A callback of one's own that remembers."""

    def __init__(self) -> None:
        self.batches = 0
        self.sum = np.zeros(2)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        self.sum = self.sum + logs["loss"]


def callbacks() -> list[Callback]:
    return [EarlyStopping("loss", patience=50, restore_best_weights=True), Counts()]


def with_rate_that_falls(seed: int = 0) -> tinynn.Sequential:
    model = network(seed)
    model.compile(tinynn.SGD(0.1, momentum=0.9), "categorical_crossentropy", metrics=["accuracy", "mse", tinynn.AUC()])
    return model


def accumulating(seed: int = 0) -> tinynn.Sequential:
    model = network(seed)
    model.compile(tinynn.Adam(0.01, gradient_accumulation_steps=3), "categorical_crossentropy")
    return model


def arrays() -> dict[str, Any]:
    return {"x": X, "y": Y, "batch_size": 5, "validation_split": 0.2}


def dataset() -> dict[str, Any]:
    return {"x": Dataset.from_arrays(X, Y).shuffle(seed=1).batch(5).map(noisy), "validation_data": [(X, Y)] * 2}


def noisy(x: Any, y: Any, rng: np.random.Generator) -> Any:
    return x + rng.normal(size=x.shape), y


def generator_of_batches() -> dict[str, Any]:
    def batches() -> Iterator[Any]:
        for i in range(10**6):
            rows = np.random.default_rng(i).integers(len(X), size=5)
            yield X[rows], Y[rows]

    return {"x": batches(), "steps_per_epoch": 4}


@pytest.mark.parametrize("make", [network, with_rate_that_falls, accumulating])
@pytest.mark.parametrize("given", [arrays, dataset, generator_of_batches])
@pytest.mark.parametrize("freq", [1, 3, "epoch"])
def test_a_training_killed_again_and_again_ends_as_one_that_was_not(
    make: Callable[[], tinynn.Sequential], given: Callable[[], Any], freq: Any, tmp_path: Path
) -> None:
    def run(folder: str, after: int = 0) -> tuple[tinynn.Sequential, History, list[Callback]]:
        model, mine = make(), callbacks()
        options = {"checkpoint_dir": tmp_path / folder, "checkpoint_freq": freq, "resume": True}
        history = model.fit(**given(), epochs=4, verbose=0, callbacks=[*mine, Kill(after)], **options)
        return model, history, mine

    whole, whole_history, (_, whole_counts) = run("whole")
    for after in (1, 2, 6, 5, 1, 7, 3):
        try:
            run("killed", after)
        except Killed:
            continue
    model, history, (_, counts) = run("killed")
    assert everything(model) == everything(whole)
    assert history.history == whole_history.history
    assert history.epoch == [0, 1, 2, 3]
    assert counts.batches == whole_counts.batches
    np.testing.assert_array_equal(counts.sum, whole_counts.sum)


def test_checkpoints_change_nothing(tmp_path: Path) -> None:
    plain, checked = network(), network()
    plain.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    checked.fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path, checkpoint_freq=2)
    assert everything(plain) == everything(checked)


def test_more_epochs_go_on_from_the_last_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long, short = network(), network()
    long.fit(X, Y, epochs=5, verbose=0)
    short.fit(X, Y, epochs=2, verbose=0, checkpoint_dir=tmp_path)
    again = network()
    history = again.fit(X, Y, epochs=2, verbose=2, checkpoint_dir=tmp_path, resume=True)
    assert len(history.epoch) == 2
    assert "checkpoint-0000000002.tinynn: 2 epochs are done, nothing is left to do." in capsys.readouterr().out
    assert everything(again) == everything(short)
    history = again.fit(X, Y, epochs=5, verbose=2, checkpoint_dir=tmp_path, resume=True)
    assert "checkpoint-0000000002.tinynn: epoch 3 of 5, after 0 of 1 batches." in capsys.readouterr().out
    assert everything(again) == everything(long)


def test_a_training_that_was_stopped_for_good_stays_so_and_ctrl_c_is_not_for_good(tmp_path: Path) -> None:
    def run(folder: str, *others: Callback) -> History:
        options = {"checkpoint_dir": tmp_path / folder, "resume": True, "checkpoint_freq": 100}
        return network().fit(X, Y, batch_size=5, epochs=6, verbose=0, callbacks=others, **options)

    stop = EarlyStopping("loss", patience=1, min_delta=100.0)
    assert len(run("stopped", stop).epoch) == 2
    assert len(run("stopped", stop).epoch) == 2

    class CtrlC(Callback):
        state_names = ()

        def __init__(self, at: int) -> None:
            self.at = at

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.optimizer.iterations == self.at:
                signal.raise_signal(signal.SIGINT)

    history = run("interrupted", CtrlC(7))
    assert (history.interrupted, len(history.epoch)) == (True, 1)
    assert [path.name for path in (tmp_path / "interrupted").iterdir()].count("checkpoint-0000000007.tinynn") == 1
    history = run("interrupted", CtrlC(0))
    assert (history.interrupted, len(history.epoch)) == (False, 6)


def test_the_seed_that_nobody_chose_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    def model() -> tinynn.Sequential:
        made = tinynn.Sequential([tinynn.Dense(3)])
        made.compile("sgd", "mse")
        return made

    first, second = model(), model()
    first.fit(X, Y, verbose=0, checkpoint_dir=tmp_path)
    second.fit(X, Y, verbose=0, checkpoint_dir=tmp_path, resume=True)
    assert second.seed == first.seed
    assert everything(second) == everything(first)


def test_a_checkpoint_is_a_file_of_a_model(tmp_path: Path) -> None:
    model = with_rate_that_falls()
    model.fit(X, Y, epochs=2, verbose=0, checkpoint_dir=tmp_path)
    assert everything(load_model(tmp_path / "checkpoint-0000000002.tinynn")) == everything(model)


def trained(folder: Path, epochs: int = 3) -> None:
    network().fit(X, Y, batch_size=5, epochs=epochs, verbose=0, checkpoint_dir=folder)


def test_only_the_two_newest_are_kept_and_litter_is_removed(tmp_path: Path) -> None:
    trained(tmp_path)
    names = ["checkpoint-0000000010.tinynn", "checkpoint-0000000015.tinynn"]
    assert sorted(os.listdir(tmp_path)) == names
    for name, age in (("1a2b3c4d", 3600), ("5e6f7a8b", 0)):
        litter = tmp_path / f".checkpoint-0000000020.tinynn.{name}.tmp"
        litter.write_bytes(b"half a checkpoi")
        os.utime(litter, (time.time() - age,) * 2)
    (tmp_path / ".other.1a2b3c4d.tmp").write_bytes(b"of somebody else")
    network().fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path, resume=True)
    young = ".checkpoint-0000000020.tinynn.5e6f7a8b.tmp"  # another process may be writing it
    assert sorted(os.listdir(tmp_path)) == [young, ".other.1a2b3c4d.tmp", *names]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_the_newest_whole_checkpoint_is_used_and_the_user_is_told(damage: str, tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    trained(tmp_path / "torn")
    newest = tmp_path / "torn" / "checkpoint-0000000015.tinynn"
    data = bytearray(newest.read_bytes())
    data[-9] ^= 4
    newest.write_bytes({"cut": data[:-99], "flipped": data, "empty": b"", "text": b"not a checkpoint"}[damage])
    model, whole = network(), network()
    whole.fit(X, Y, batch_size=5, epochs=5, verbose=0, checkpoint_dir=tmp_path / "whole", resume=True)
    with pytest.warns(CheckpointWarning, match=r"-0000000015\.tinynn is not a whole file .*/checkpoint-0000000010\.t"):
        model.fit(X, Y, batch_size=5, epochs=5, verbose=0, checkpoint_dir=tmp_path / "torn", resume=True)
    assert everything(model) == everything(whole)


def test_where_none_is_whole_nothing_is_done(tmp_path: Path) -> None:
    trained(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    model = network()
    model.build()
    before = everything(model)
    with pytest.raises(ValueError, match=r"resume: none of the 2 checkpoints in .* is whole\. Take them from another"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path, resume=True)
    assert everything(model) == before


def falling(model: tinynn.Sequential, rate: float) -> None:
    """Compile as `network` does, with another learning rate."""
    schedule = tinynn.schedules.ExponentialDecay(rate, 3, 0.9)
    model.compile(tinynn.Adam(schedule, use_ema=True), "categorical_crossentropy", metrics=["accuracy", tinynn.AUC()])


OTHERS: dict[str, tuple[Callable[[tinynn.Sequential], None], dict[str, Any], str]] = {
    "samples": (lambda model: None, {"x": X[:20], "y": Y[:20]}, "samples: 24 there and 20 here"),
    "batch_size": (lambda model: None, {"batch_size": 4}, "batches an epoch: 5 there and 6 here"),
    "shuffle": (lambda model: None, {"shuffle": False}, "shuffle: True there and False here"),
    "optimizer": (
        lambda model: model.compile("sgd", "categorical_crossentropy"),
        {},
        r"optimizer: Adam\(.* there and SGD\(\)",
    ),
    "rate": (lambda model: falling(model, 0.5), {}, r"\(Adam\): .*: initial_learning_rate: 0.01 there and 0.5 here"),
    "layers": (
        lambda model: model.add(tinynn.Dense(3)),
        {},
        r"\(Sequential\): layers: \d there and \d here\n  missing",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_training_is_refused_and_says_what_differs(name: str, tmp_path: Path) -> None:
    trained(tmp_path)
    change, options, message = OTHERS[name]
    model = network(seed=1)
    change(model)
    model.build()
    before = everything(model)
    given = {"x": X, "y": Y, "batch_size": 5} | options
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(**given, epochs=5, verbose=0, checkpoint_dir=tmp_path, resume=True)
    assert "Nothing was changed" in str(caught.value)
    assert everything(model) == before


def test_wrong_use_is_said(tmp_path: Path) -> None:
    trained(tmp_path)
    model = network()
    with pytest.raises(FileExistsError, match=r"has checkpoints of a training already\. Go on with it by resume=True"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="resume=True needs checkpoint_dir"):
        model.fit(X, Y, verbose=0, resume=True)
    with pytest.raises(ValueError, match="checkpoint_freq needs checkpoint_dir"):
        model.fit(X, Y, verbose=0, checkpoint_freq=5)
    with pytest.raises(ValueError, match="checkpoint_freq must be 'epoch' or a number of batches, got 'batch'"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "new", checkpoint_freq="batch")
    with pytest.raises(ValueError, match="checkpoint_freq must be a whole number from 1 up, got 0"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "new", checkpoint_freq=0)
    model.build()
    model.save(tmp_path / "checkpoint-0000000099.tinynn")
    with pytest.raises(ValueError, match="was written by save, not by a training; load it with load_model"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"checkpoint_dir: the folder .*file/in cannot be made"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "file" / "in")
    with pytest.raises(FileExistsError, match=r"the folder .*file cannot be made \(a file has this name\)"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "file")
    with pytest.raises(TypeError, match="fit: resume must be True or False, got 'no'"):
        model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "new", resume="no")


def no_room(monkeypatch: pytest.MonkeyPatch, code: int, after: int) -> None:
    """Let the system refuse to bring files to the disk, after so many."""
    real, calls = os.fsync, [0]

    def fsync(handle: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{handle}"):
            calls[0] += 1
            if calls[0] > after:
                raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(("code", "advice"), [(errno.ENOSPC, "The disk is full"), (errno.EROFS, "can only be read")])
def test_a_disk_that_takes_nothing_is_an_error_at_the_begin_and_a_warning_later(
    code: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    with monkeypatch.context() as patched:
        no_room(patched, code, after=0)
        with pytest.raises(OSError, match=advice):
            model.fit(X, Y, verbose=0, checkpoint_dir=tmp_path / "begin")
        assert os.listdir(tmp_path / "begin") == []
    whole, model = network(), network()
    whole.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    with monkeypatch.context() as patched:
        no_room(patched, code, after=2)
        with pytest.warns(
            CheckpointWarning, match=f"{advice}.* The training goes on; the newest checkpoint is after 5 of"
        ):
            model.fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path / "later")
    assert everything(model) == everything(whole)
    assert len(os.listdir(tmp_path / "later")) == 2
    again = network()
    again.fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path / "later", resume=True)
    assert everything(again) == everything(whole)


def test_a_checkpoint_of_spoilt_weights_is_not_made(tmp_path: Path) -> None:
    model = network()
    model.compile(tinynn.SGD(1e30), "mse")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        model.fit(X, Y, batch_size=5, verbose=0, checkpoint_dir=tmp_path, checkpoint_freq=1)
    for path in tmp_path.iterdir():
        assert all(np.isfinite(weight).all() for weight in load_model(path).get_weights())


def test_other_versions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(np, "__version__", "1.99")
        trained(tmp_path, epochs=2)
    with pytest.warns(CheckpointWarning, match=r"made with numpy_version 1\.99, and this is .*: the bits may"):
        network().fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path, resume=True)


def test_callbacks_that_came_or_went_are_told(tmp_path: Path) -> None:
    options = {"epochs": 2, "verbose": 0, "checkpoint_dir": tmp_path, "resume": True}
    network().fit(X, Y, callbacks=[Counts()], **options)
    with pytest.warns(CheckpointWarning) as caught:
        network().fit(X, Y, callbacks=[EarlyStopping("loss", patience=9)], **options)
    text = " ".join(str(warning.message) for warning in caught)
    assert "the checkpoint does not know start afresh: EarlyStopping" in text
    assert "are missing now: Counts" in text


SCRIPT = """
import json, sys
import numpy as np, tinynn
from tinynn.callbacks import *
folder, out = sys.argv[1:]
x = np.random.default_rng(0).normal(size=(400, 6))
y = np.eye(3)[np.random.default_rng(1).integers(3, size=400)]
layers = [tinynn.Dense(64, activation="relu"), tinynn.BatchNormalization(), tinynn.Dropout(0.5)]
model = tinynn.Sequential([*layers, tinynn.Dense(3, activation="softmax")], seed=1)
model.compile("adam", "categorical_crossentropy", metrics=["accuracy", tinynn.AUC()])
watchers = [ReduceLROnPlateau("val_loss", patience=1), CSVLogger(out + ".csv")]
watchers += [EarlyStopping("val_loss", patience=50, restore_best_weights=True)]
options = dict(checkpoint_dir=folder, checkpoint_freq=3, resume=True)
history = model.fit(x, y, batch_size=5, epochs=8, verbose=2, callbacks=watchers, validation_split=0.2, **options)
model.save(out + ".tinynn")
with open(out + ".json", "w") as file:
    json.dump(history.history, file)
"""


def start(folder: Path, out: Path, hash_seed: str = "0") -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def results(out: Path) -> list[bytes]:
    return [Path(f"{out}{ending}").read_bytes() for ending in (".tinynn", ".json", ".csv")]


def test_one_seed_gives_the_same_bits_whatever_the_hash_seed(tmp_path: Path) -> None:
    """Weights, optimizer, random states, History and log of two processes, byte by byte."""
    for seed in ("1", "2"):
        with start(tmp_path / seed, tmp_path / f"out{seed}", seed) as process:
            assert process.wait() == 0
    assert results(tmp_path / "out1") == results(tmp_path / "out2")


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    """SIGKILL at any moment of the training, also while a checkpoint is written."""
    with start(tmp_path / "whole", tmp_path / "whole_out") as whole:
        assert whole.wait() == 0
    rng = random.Random(0)
    for kill in range(20):
        with start(tmp_path / "killed", tmp_path / "killed_out") as process:
            assert process.stdout is not None
            first = process.stdout.readline()  # the training has begun
            assert first.startswith("Resuming" if kill else "No checkpoint")
            assert "nothing is left" not in first, "it was not killed in the midst"
            try:
                process.wait(rng.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                process.kill()
            assert process.wait() == -signal.SIGKILL
    with start(tmp_path / "killed", tmp_path / "killed_out") as process:
        assert process.wait() == 0
    assert results(tmp_path / "killed_out") == results(tmp_path / "whole_out")


def test_the_history_in_the_checkpoint_is_of_all_epochs(tmp_path: Path) -> None:
    trained(tmp_path, epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = network().fit(X, Y, batch_size=5, epochs=3, verbose=0, checkpoint_dir=tmp_path, resume=True)
    assert history.epoch == [0, 1, 2]
    assert {len(values) for values in history.history.values()} == {3}
    json.dumps(history.history)  # plain numbers


def test_reduced_rates_and_logs_go_on(tmp_path: Path) -> None:
    def run(folder: str, after: int = 0) -> tuple[float, bytes]:
        model = with_rate_that_falls()
        mine = [
            ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
            CSVLogger(tmp_path / f"{folder}.csv"),
        ]
        options = {"checkpoint_dir": tmp_path / folder, "checkpoint_freq": 2, "resume": True}
        model.fit(X, Y, batch_size=5, epochs=6, verbose=0, callbacks=[*mine, Kill(after)], **options)
        return model.optimizer.learning_rate, (tmp_path / f"{folder}.csv").read_bytes()

    whole = run("whole")
    for after in (8, 9, 3):
        with pytest.raises(Killed):
            run("killed", after)
    assert run("killed") == whole
    assert whole[0] < 0.1
