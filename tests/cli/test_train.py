"""``tinynn train``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.cli.conftest import Small, save_npz, write_idx
from tinynn.callbacks import Callback
from tinynn.cli import dataset, main, models, train
from tinynn.datasets import mnist

Said = Callable[..., tuple[str, str]]
FAST = ["--layers", "32:relu,10:softmax", "--epochs", "1"]


def test_it_trains_tests_and_saves(folder: Path, said: Said) -> None:
    out, err = said(["train", "digits.npz", *FAST, "--save", "new.tinynn"])
    lines = out.splitlines()
    assert lines[0].startswith("Epoch 1/1 - ")
    assert lines[1].startswith("test accuracy 0.")
    assert lines[1].endswith("  (200 samples)")
    assert lines[2] == "saved new.tinynn"
    assert err == ""
    assert (folder / "new.tinynn").is_file()


def test_by_default_it_is_the_network_of_the_article(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tinynn.Sequential] = []

    def fit(model: tinynn.Sequential, options: Any, training: Any) -> Any:
        made.append(model)
        assert (options.epochs, options.batch_size, options.seed) == (5, 128, 0)
        assert training.x.shape == (60000, 28, 28)
        raise FloatingPointError("that is enough")

    monkeypatch.setattr(train, "fit", fit)
    assert main(["train", "mnist"]) == 1
    [model] = made
    assert [type(layer).__name__ for layer in model.layers] == ["Rescaling", "Flatten", "Dense", "Dense"]
    assert model.count_params() == 784 * 784 + 784 + 7840 + 10
    assert isinstance(model.optimizer, tinynn.Adam)
    assert isinstance(model.loss, tinynn.SparseCategoricalCrossentropy)


def test_mnist_has_its_two_parts() -> None:
    x, y = dataset.load("mnist", "test")
    assert (x.shape, len(y)) == ((10000, 28, 28), 10000)
    assert len(dataset.load("mnist", "train", 7).x) == 7


def test_json_is_one_object_with_all_that_matters(folder: Path, said: Said) -> None:
    out, err = said(["train", "digits.npz", *FAST, "--seed", "7", "--dtype", "float64", "--json", "--limit", "50"])
    data = json.loads(out)
    assert err == ""
    assert set(data["history"]) == {"loss", "accuracy"}
    assert set(data["test"]) == {"loss", "accuracy"}
    assert data["versions"] == {
        "tinynn": tinynn.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    wanted = {"seed": 7, "dtype": "float64", "epochs": 1, "interrupted": False, "device": "cpu", "saved": None}
    assert {name: data[name] for name in wanted} == wanted
    assert data["parameters"] == 785 * 32 + 33 * 10


def test_the_seed_decides_all(folder: Path, said: Said) -> None:
    def losses(seed: int) -> Any:
        return json.loads(said(["train", "digits.npz", *FAST, "--seed", str(seed), "--json"])[0])["history"]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_quiet_prints_the_result_alone(folder: Path, said: Said) -> None:
    assert len(said(["train", "digits.npz", *FAST, "--quiet"])[0].splitlines()) == 1


def test_the_scale_of_pixels_is_in_the_model(folder: Path, said: Said) -> None:
    said(["train", "digits.npz", *FAST, "--save", "new.tinynn", "--quiet"])
    first = models.load("new.tinynn", "cpu").layers[0]
    assert (type(first), first.scale, first.offset) == (tinynn.Rescaling, 1 / 255, 0)


def test_numbers_that_are_no_pixels_are_taken_as_they_are(folder: Path, said: Said) -> None:
    x = np.linspace(-1, 1, 60)[:, None]
    np.savez("line.npz", x_train=x, y_train=2 * x[:, 0], x_test=x[:5], y_test=2 * x[:5])
    arguments = ["train", "line.npz", "--layers", "1", "--optimizer", "sgd", "--learning-rate", "0.5", "--epochs", "9"]
    data = json.loads(said([*arguments, "--json", "--batch-size", "10"])[0])
    assert set(data["test"]) == {"loss", "mean_absolute_error"}
    assert data["test"]["loss"] < 1e-4


@pytest.mark.parametrize(
    ("layers", "more", "targets", "loss"),
    [
        ("10:softmax", [], "numbers", tinynn.SparseCategoricalCrossentropy),
        ("10:softmax", [], "one-hot", tinynn.CategoricalCrossentropy),
        ("10:softmax", ["--loss", "categorical_crossentropy"], "numbers", tinynn.CategoricalCrossentropy),
        ("10:softmax", ["--loss", "sparse_categorical_crossentropy"], "one-hot", tinynn.SparseCategoricalCrossentropy),
        ("10", ["--loss", "categorical_hinge"], "numbers", tinynn.CategoricalHinge),
        ("10:sigmoid", [], "one-hot", tinynn.BinaryCrossentropy),
        ("10", [], "numbers", tinynn.MeanSquaredError),
        ("1:sigmoid", [], "two", tinynn.BinaryCrossentropy),
        ("2:softmax", [], "two", tinynn.SparseCategoricalCrossentropy),
        ("1", [], "two", tinynn.MeanSquaredError),
    ],
)
def test_the_loss_goes_by_the_last_activation(
    layers: str,
    more: list[str],
    targets: str,
    loss: type,
    folder: Path,
    digits: tuple[Small, Small],
    said: Said,
) -> None:
    def form(y: np.ndarray) -> np.ndarray:
        return {"numbers": y, "one-hot": np.eye(10)[y], "two": y // 5}[targets]

    (x_train, y_train), (x_test, y_test) = digits
    save_npz(folder / "digits.npz", ((x_train, form(y_train)), (x_test, form(y_test))))
    said(["train", "digits.npz", "--layers", layers, "--epochs", "1", "--save", "m.tinynn", "--quiet", *more])
    model = models.load("m.tinynn", "cpu")
    assert type(model.loss) is loss
    assert list(model.metric_names) == ["mean_absolute_error" if layers == "1" else "accuracy"]


def test_one_linear_output_predicts_whole_numbers_too(folder: Path, said: Said) -> None:
    x = np.arange(-40, 40)
    np.savez("ages.npz", x_train=x[:, None] / 40, y_train=x, x_test=x[:, None] / 40, y_test=x)
    options = ["--layers", "1", "--optimizer", "sgd", "--learning-rate", "0.3", "--epochs", "60", "--batch-size", "8"]
    assert json.loads(said(["train", "ages.npz", *options, "--json"])[0])["test"]["loss"] < 1e-2
    assert "class numbers from 0 up, got -40" in said(["train", "ages.npz", "--layers", "1:sigmoid"], 2)[1]


def test_a_folder_of_idx_files_is_a_data_set(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    for part, (images, labels) in zip(("train", "t10k"), digits, strict=True):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    here = json.loads(said(["train", ".", *FAST, "--json"])[0])
    there = json.loads(said(["train", "digits.npz", *FAST, "--json"])[0])
    assert here["history"] == there["history"]
    os.unlink("t10k-labels-idx1-ubyte")
    shutil.copy(mnist.FILES / "t10k-labels-idx1-ubyte.gz", folder)
    assert "200 samples and 10,000 targets" in said(["train", ".", *FAST], 2)[1]


def test_early_stopping_and_the_log(folder: Path, said: Said) -> None:
    arguments = ["--layers", "10:softmax", "--epochs", "30", "--learning-rate", "0.5", "--validation-split", "0.5"]
    data = json.loads(said(["train", "digits.npz", *arguments, "--early-stopping", "2", "--log", "l.csv", "--json"])[0])
    assert 3 <= data["epochs"] < 30
    losses = data["history"]["val_loss"]
    assert losses.index(min(losses)) == len(losses) - 3
    with open("l.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == losses
    best = [*arguments, "--epochs", str(len(losses) - 2), "--json"]  # the last one counts
    assert data["test"] == json.loads(said(["train", "digits.npz", *best])[0])["test"]


def test_a_loss_that_is_not_finite_ends_with_1(folder: Path, said: Said) -> None:
    arguments = ["--layers", "64,64,10", "--optimizer", "sgd", "--learning-rate", "1e30", "--save", "new.tinynn"]
    with np.errstate(all="ignore"):
        _, err = said(["train", "digits.npz", *arguments], 1)
    assert err.startswith("tinynn train: ")
    assert err.count("\n") == 1
    assert not (folder / "new.tinynn").exists()


class PressCtrlC(Callback):
    """Send this process what Ctrl-C sends."""

    def __init__(self, times: int) -> None:
        self.times = times

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        for _ in range(self.times if batch == 2 else 0):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("more", [[], ["--quiet"], ["--json"]])
def test_ctrl_c_ends_the_training_but_tests_and_saves(
    more: list[str], folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "EarlyStopping", lambda **_: PressCtrlC(1))
    arguments = ["--batch-size", "10", "--validation-split", "0.1", "--early-stopping", "1", "--save", "new.tinynn"]
    out, err = said(["train", "digits.npz", *FAST, *arguments, *more], 130)
    assert err == "tinynn train: note: Ctrl-C: the network is tested and saved as it is now\n"
    assert models.load("new.tinynn", "cpu").optimizer.iterations == 3
    if more == ["--json"]:
        assert json.loads(out)["interrupted"] is True
    else:
        assert out.endswith("(200 samples)\nsaved new.tinynn as Ctrl-C left it\n")


def test_a_second_ctrl_c_ends_at_once(folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "EarlyStopping", lambda **_: PressCtrlC(2))
    arguments = ["--batch-size", "10", "--validation-split", "0.1", "--early-stopping", "1", "--save", "new.tinynn"]
    _, err = said(["train", "digits.npz", *FAST, *arguments, "--quiet"], 130)
    assert err == "tinynn train: interrupted\n"
    assert not (folder / "new.tinynn").exists()


def test_the_program_from_end_to_end(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "tinynn", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    options = ["--layers", "32:relu,10:softmax", "--epochs", "3", "--batch-size", "32", "--limit", "1000"]
    trained = json.loads(run("train", "mnist", *options, "--save", "m.tinynn", "--json"))
    assert trained["test"]["accuracy"] > 0.5
    tested = json.loads(run("evaluate", "m.tinynn", "mnist", "--limit", "1000", "--json"))
    assert tested["test"] == trained["test"]
    np.save(tmp_path / "x.npy", mnist.load_data()[1][0][:3])
    assert len(run("predict", "m.tinynn", "x.npy").splitlines()) == 4
    assert "25,450" in run("summary", "m.tinynn")


def test_a_training_that_was_stopped_goes_on(folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--layers", "16:relu,dropout0.2,10:softmax", "--epochs", "3", "--batch-size", "50", "--json"]
    straight = json.loads(said(["train", "digits.npz", *options])[0])
    kept = [*options, "--checkpoint-dir", "kept", "--checkpoint-freq", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(train, "CSVLogger", lambda path: PressCtrlC(1))
        said(["train", "digits.npz", *kept, "--log", "log.csv"], 130)
    assert sorted(path.name[-9:] for path in Path("kept").iterdir()) == ["02.tinynn", "03.tinynn"]  # after 2 and 3
    resumed = json.loads(said(["train", "digits.npz", *kept, "--resume"])[0])
    for name in ("history", "test", "epochs", "seed"):
        assert resumed[name] == straight[name]
    assert said(["evaluate", sorted(map(str, Path("kept").iterdir()))[-1], "digits.npz"])[1] == ""


def test_a_damaged_checkpoint_is_a_note(folder: Path, said: Said) -> None:
    kept = ["--layers", "10:softmax", "--checkpoint-dir", "kept", "--quiet"]
    said(["train", "digits.npz", *kept, "--epochs", "2"])
    newest = sorted(Path("kept").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    err = said(["train", "digits.npz", *kept, "--epochs", "3", "--resume"])[1]
    assert err.startswith("tinynn train: note: fit: resume: ")
    assert "An older checkpoint" in err
    assert err.count("\n") == 1
