"""TensorBoard: read back with TensorBoard's own reader."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator as reader
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

import tinynn
from tinynn import Callback, Dense, Dropout, Input, Sequential, TensorBoard
from tinynn.callbacks import CallbackList

x = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")
y = np.eye(3, dtype="float32")[np.random.default_rng(2).integers(3, size=40)]


def network(**options: Any) -> Sequential:
    layers = [Input((4,)), Dense(5, activation="tanh"), Dropout(0.5), Dense(3, activation="softmax")]
    model = Sequential(layers, seed=0, **options)
    model.compile(tinynn.SGD(0.1, momentum=0.5), "categorical_crossentropy", metrics=["accuracy"])
    model.build()
    return model


def train(callbacks: list[Any], epochs: int, model: Sequential | None = None, **options: Any) -> Any:
    options = {"batch_size": 10, "verbose": 0} | options
    return (model or network()).fit(x, y, epochs=epochs, callbacks=callbacks, **options)


def read(folder: Path) -> Any:
    """What TensorBoard sees in one run."""
    accumulator = reader.EventAccumulator(str(folder), size_guidance={reader.SCALARS: 0})
    accumulator.Reload()
    return accumulator


def numbers(run: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in run.Scalars(tag)]


def histograms(folder: Path) -> dict[str, dict[int, Any]]:
    """The histograms by tag and step, as they were written."""
    found: dict[str, dict[int, Any]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("histo"):
                assert event.step not in found.setdefault(value.tag, {})
                found[value.tag][event.step] = value.histo
    return found


def events(folder: Path) -> list[Any]:
    return [event for path in sorted(folder.iterdir()) for event in LegacyEventFileLoader(str(path)).Load()]


# Scalars ---------------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_history(tmp_path: Path) -> None:
    history = train([TensorBoard(tmp_path)], 3, validation_split=0.25).history
    runs = {run: read(tmp_path / run) for run in ("train", "validation")}
    for name, values in history.items():
        run, short = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
        expected = [(epoch, float(np.float32(value))) for epoch, value in enumerate(values)]
        assert numbers(runs[run], f"epoch_{short}") == expected
    assert numbers(runs["train"], "epoch_learning_rate") == [(epoch, float(np.float32(0.1))) for epoch in range(3)]
    assert sorted(runs["train"].Tags()["scalars"]) == ["epoch_accuracy", "epoch_learning_rate", "epoch_loss"]
    assert len(list((tmp_path / "train").iterdir())) == 1


@pytest.mark.parametrize(("update_freq", "steps"), [("batch", [1, 2, 3, 4, 5, 6, 7, 8]), (3, [3, 6])])
def test_batches_count_over_epochs(tmp_path: Path, update_freq: Any, steps: list[int]) -> None:
    seen = []

    class Keeps(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(float(np.float32(logs["loss"])))

    train([Keeps(), TensorBoard(tmp_path, update_freq=update_freq)], 2)
    run = read(tmp_path / "train")
    assert numbers(run, "batch_loss") == [(step, seen[step - 1]) for step in steps]
    assert [step for step, _ in numbers(run, "batch_accuracy")] == steps


def test_what_is_written_is_there_at_once(tmp_path: Path) -> None:
    seen = []

    class Reads(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(numbers(read(tmp_path / "train"), "epoch_loss"))
            assert seen[-1][-1] == (epoch, float(np.float32(logs["loss"])))

    train([TensorBoard(tmp_path), Reads()], 2)
    assert [len(found) for found in seen] == [1, 2]


def test_steps_a_second_and_a_rate_of_another_callback(tmp_path: Path) -> None:
    slower = tinynn.LearningRateScheduler(lambda epoch: 0.5**epoch)
    train([slower, TensorBoard(tmp_path, write_steps_per_second=True)], 2)
    run = read(tmp_path / "train")
    assert numbers(run, "epoch_learning_rate") == [(0, 1.0), (1, 0.5)]
    assert all(value > 4 for _, value in numbers(run, "epoch_steps_per_second"))


def test_an_evaluation_of_its_own_is_written_and_closed(tmp_path: Path) -> None:
    model, board = network(), TensorBoard(tmp_path)
    watchers = CallbackList([board])
    watchers.attach(model, {})
    watchers.test_begin()
    watchers.test_end({"loss": 0.5})
    assert board.files == {}
    assert numbers(read(tmp_path / "validation"), "evaluation_loss_vs_iterations") == [(0, 0.5)]


# Histograms ------------------------------------------------------------------------------------------------------


class Watch(Callback):
    """Keeps what the first step of each epoch did, and the weights after each epoch."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.after: list[Any] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.before = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            gradients = [parameter.grad.copy() for parameter in self.model.parameters]
            self.steps.append((self.before, gradients, self.model.get_weights()))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.after.append(self.model.get_weights())


def same(found: Any, expected: np.ndarray) -> None:
    expected = np.asarray(expected, "float64")
    assert found.num == sum(found.bucket) == expected.size
    assert (found.min, found.max) == (expected.min(), expected.max())
    assert found.sum == pytest.approx(expected.sum(), abs=1e-12)
    assert found.sum_squares == pytest.approx((expected**2).sum())
    edges = [found.min, *found.bucket_limit]
    if len(found.bucket) > 1:
        assert list(np.histogram(expected, edges)[0]) == list(found.bucket)


def test_histograms_are_of_the_weights_gradients_and_updates(tmp_path: Path) -> None:
    watch = Watch()
    train([watch, TensorBoard(tmp_path, histogram_freq=2)], 4, shuffle=False)
    found = histograms(tmp_path / "train")
    run = read(tmp_path / "train")
    names = ["dense/W", "dense/b", "dense_1/W", "dense_1/b"]
    layers = ["dense", "dropout", "dense_1"]
    assert sorted(found) == sorted(
        [f"{kind}/{name}" for kind in ("weights", "gradients", "update_ratios_log10") for name in names]
        + [f"activations/{name}" for name in layers]
    )
    for epoch in (0, 2):
        before, gradients, after = watch.steps[epoch]
        for i, name in enumerate(names):
            same(found[f"weights/{name}"][epoch], watch.after[epoch][i])
            same(found[f"gradients/{name}"][epoch], gradients[i])
            update = after[i] - before[i]
            some = (update != 0) & (before[i] != 0)
            if some.any():
                ratios = np.log10(abs(update[some].astype(float) / before[i][some].astype(float)))
                same(found[f"update_ratios_log10/{name}"][epoch], ratios)
            if before[i].any():
                ratio = np.linalg.norm(update.astype(float)) / np.linalg.norm(before[i].astype(float))
                assert dict(numbers(run, f"update_ratio/{name}"))[epoch] == pytest.approx(ratio)
    assert {step for steps in found.values() for step in steps} == {0, 2}
    assert 0 not in dict(numbers(run, "update_ratio/dense/b"))  # weights of 0 have no ratio


def test_activations_are_those_of_the_step_also_where_softmax_is_set_aside(tmp_path: Path) -> None:
    inner = Sequential([Dense(6, activation="relu"), tinynn.Residual(Sequential([Dense(6)]))], name="inner")
    last = Sequential([Dense(3, activation="softmax")], name="last")
    model = Sequential([Input((4,)), inner, last], seed=3)
    model.compile("sgd", "categorical_crossentropy")
    model.build()
    weights = model.get_weights()
    train([TensorBoard(tmp_path, histogram_freq=1)], 1, model, shuffle=False)
    found = histograms(tmp_path / "train")
    model.set_weights(weights)
    first = inner.layers[0].forward(x[:10])
    second = inner.layers[1].forward(first)
    same(found["activations/inner/dense"][0], first)
    same(found["activations/inner/residual"][0], second)
    same(found["activations/inner"][0], second)
    same(found["activations/inner/residual/sequential/dense"][0], inner.layers[1].children[0].forward(first))
    for tag in ("activations/last", "activations/last/dense"):
        same(found[tag][0], last.forward(second))
        assert found[tag][0].sum == pytest.approx(10)  # probabilities, not logits
    assert all(sequence.observers == [] for sequence in (model, inner, last))


def test_watching_changes_no_number(tmp_path: Path) -> None:
    plain, watched = network(), network()
    train([], 3, plain)
    train([TensorBoard(tmp_path, histogram_freq=1, update_freq=1)], 3, watched)
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_on_every_device(tmp_path: Path, device: Any) -> None:
    train([TensorBoard(tmp_path, histogram_freq=1, update_freq=2)], 2, network(device=device))
    assert len(histograms(tmp_path / "train")) == 15
    assert len(numbers(read(tmp_path / "train"), "batch_loss")) == 4


def test_an_error_in_the_step_leaves_the_model_unwatched(tmp_path: Path) -> None:
    class Fails(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise OSError("enough")

    model, board = network(), TensorBoard(tmp_path, histogram_freq=1)
    with pytest.raises(OSError, match="enough"):
        train([Fails(), board], 1, model)
    assert model.observers == []
    assert board.before is None
    assert board.files == {}


@pytest.mark.parametrize(
    "values",
    [
        [np.inf, np.nan],
        [],
        [2.0],
        [0.0, 5e-324],
        [1.0, np.nextafter(1, 2)],
        [-1e300, 1e300],
        [-1.7e308, 1.7e308],
        [3, 4, np.nan],
    ],
)
def test_histograms_of_odd_numbers(values: list[float]) -> None:
    found = tinynn.callbacks.event_file.histogram(np.array(values, "float64"))
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        assert found is None
        return
    assert found.num == sum(found.bucket) == len(finite)
    assert (found.min, found.max) == (min(finite), max(finite))
    assert list(found.bucket_limit) == sorted(found.bucket_limit)


# Killed and resumed ----------------------------------------------------------------------------------------------


def drive(folder: Path, checkpoint: int | None = None, extra: int = 0) -> None:
    """Train 3 epochs of 4 batches; killed `extra` batches after a checkpoint, and resumed from it; twice."""
    options: Any = {"histogram_freq": 2, "update_freq": 3}
    model, board = network(), TensorBoard(folder, **options)
    board.model = model
    board.on_train_begin({})

    def go(model: Sequential, board: TensorBoard, first: int, last: int) -> None:
        for number in range(first, last):
            epoch, batch = divmod(number, 4)
            if batch == 0:
                board.on_epoch_begin(epoch, {})
            rows = slice(batch * 10, batch * 10 + 10)
            board.on_train_batch_begin(batch, {})
            logs = dict(zip(("loss", "accuracy"), model.train_on_batch(x[rows], y[rows]), strict=True))
            if board.wants_batch():
                board.on_train_batch_end(batch, logs)
            if batch == 3:
                board.on_epoch_end(epoch, logs | {"val_loss": logs["loss"]})

    done = 0
    if checkpoint is not None:
        go(model, board, 0, checkpoint)
        done = checkpoint
        for _ in range(2):
            state = copy.deepcopy(board.get_state())
            killed, killed_board = copy.deepcopy(model), board
            killed_board.model = killed
            go(killed, killed_board, done, min(done + extra, 12))
            killed_board.close()  # by the kill; no on_train_end
            board = TensorBoard(folder, **options)
            board.model = model
            board.on_train_begin({})
            board.set_state(state)
    go(model, board, done, 12)
    board.on_train_end({})


@pytest.mark.parametrize("checkpoint", [0, 1, 4, 6, 9, 12])
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_no_step_is_there_twice_and_none_is_missing(tmp_path: Path, checkpoint: int, extra: int) -> None:
    drive(tmp_path / "once")
    drive(tmp_path / "killed", checkpoint, extra)

    def content(folder: Path) -> list[Any]:
        found = []
        for event in events(folder):
            event.wall_time = 0
            found.append(event.SerializeToString(deterministic=True))
        return found

    for run in ("train", "validation"):
        assert content(tmp_path / "killed" / run) == content(tmp_path / "once" / run)
        assert len(list((tmp_path / "killed" / run).iterdir())) == 1


def test_half_a_record_is_cut_off_and_lost_files_are_told_of(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.model = network()
    board.on_train_begin({})
    board.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    state = board.get_state()
    path = Path(board.path("train"))
    board.close()
    with path.open("ab") as file:
        file.write(b"half")
    again = TensorBoard(tmp_path)
    again.model = board.model
    again.on_train_begin({})
    again.set_state(state)
    again.on_epoch_end(1, {"loss": 0.5})
    assert numbers(read(tmp_path / "train"), "epoch_loss") == [(0, 1.0), (1, 0.5)]
    again.on_train_end({})
    path.unlink()
    third = TensorBoard(tmp_path)
    third.model = board.model
    third.on_train_begin({})
    with pytest.warns(UserWarning, match=r"train.events.* has 0 bytes of \d+ that it had .* written to new files"):
        third.set_state(state)
    third.on_epoch_end(1, {"loss": 0.5})
    third.on_train_end({})
    assert numbers(read(tmp_path / "train"), "epoch_loss") == [(1, 0.5)]


# What is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"update_freq": "step"}, "update_freq must be 'epoch', 'batch' or a number of batches, got 'step'"),
        ({"update_freq": 0}, "update_freq must be a whole number from 1 up, got 0"),
        ({"histogram_freq": -1}, "histogram_freq must be a whole number from 0 up, got -1"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorBoard(**settings)


@pytest.mark.parametrize("log_dir", [None, 5, ""])
def test_what_is_no_folder(log_dir: Any) -> None:
    with pytest.raises(TypeError, match="TensorBoard: log_dir must be the name of a folder, got"):
        TensorBoard(log_dir)


def test_a_folder_that_cannot_be_made_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"TensorBoard: could not make the folder .*file.logs \(Not a directory\)"):
        train([TensorBoard(tmp_path / "file" / "logs")], 1)

    def full(self: Any, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    board = TensorBoard(tmp_path / "logs")
    board.model = network()
    board.on_train_begin({})
    file = board.file("train")
    file.close()
    monkeypatch.setattr(file, "file", type("Full", (), {"write": full})())
    with pytest.raises(OSError, match=r"TensorBoard: could not write .*tfevents.* \(No space left on device\)"):
        board.on_epoch_end(0, {"loss": 1.0})


def test_without_tensorboardx_the_error_names_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['tensorboardX'] = None; import tinynn; tinynn.TensorBoard()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 1
    assert "ImportError: the callback TensorBoard needs tensorboardX" in done.stderr
    assert "pip install '.[tensorboard]'" in done.stderr
