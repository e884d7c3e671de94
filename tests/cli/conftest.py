"""What the tests of the commands share: small data, a trained model, a folder to work in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinynn.cli import main
from tinynn.datasets import mnist

Small = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def digits() -> tuple[Small, Small]:
    """Return some of MNIST: 600 digits to train on, 200 to test."""
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    return (x_train[:600], y_train[:600]), (x_test[:200], y_test[:200])


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an IDX file of bytes."""
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory, digits: tuple[Small, Small]) -> Path:
    """Return the file of a small network that has learned digits a little."""
    folder = tmp_path_factory.mktemp("model")
    save_npz(folder / "digits.npz", digits)
    arguments = ["--layers", "64:relu,10:softmax", "--epochs", "4", "--batch-size", "30", "--quiet"]
    assert main(["train", str(folder / "digits.npz"), *arguments, "--save", str(folder / "model.tinynn")]) == 0
    return folder / "model.tinynn"


def save_npz(path: Path, data: tuple[Small, Small]) -> None:
    """Write a data set as DATASET wants it."""
    (x_train, y_train), (x_test, y_test) = data
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: tuple[Small, Small], model_file: Path) -> Path:
    """Return a folder to work in, with the model, the data set, and digits in every form that predict takes."""
    (tmp_path / "model.tinynn").write_bytes(model_file.read_bytes())
    save_npz(tmp_path / "digits.npz", digits)
    images = digits[1][0]
    np.save(tmp_path / "x.npy", images)
    write_idx(tmp_path / "images.idx", images[:5])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str], int], tuple[str, str]]:
    """Return a function that runs a command, checks its exit status, and returns what it printed: out and err."""

    def run(arguments: list[str], status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        try:
            ended = main(arguments)
        except SystemExit as left:  # argparse leaves so
            ended = int(left.code or 0)
        printed = capsys.readouterr()
        assert ended == status, printed.err
        return printed.out, printed.err

    return run
