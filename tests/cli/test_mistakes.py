"""What users get wrong: one line each that says what to do, exit status 2, no traceback."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynn
from tests.cli.conftest import Small, write_idx
from tinynn.cli import main, models, summary
from tinynn.cli.mistakes import told

Said = Callable[..., tuple[str, str]]
TRAIN = ["train", "digits.npz"]


@pytest.fixture
def bad(folder: Path, digits: tuple[Small, Small]) -> Path:
    """Fill the folder with files that are not what they should be."""
    images, labels = digits[1]
    np.savez("part.npz", x_train=images, y_train=labels)
    np.savez("text.npz", x_train=np.array(["a"]), y_train=[0], x_test=[[1.0]], y_test=[0])
    np.savez("uneven.npz", x_train=images, y_train=labels[:-1], x_test=images, y_test=labels)
    np.savez("flat.npz", x_train=labels, y_train=labels, x_test=labels, y_test=labels)
    np.savez("nan.npz", x_train=[[np.nan]], y_train=[0], x_test=[[1.0]], y_test=[0])
    np.savez("pickle.npz", x_train=np.array([{}]), y_train=[0], x_test=[[1.0]], y_test=[0])
    np.savez("minus.npz", x_train=[[1.0]], y_train=[-1], x_test=[[1.0]], y_test=[0])
    np.savez("wide.npz", x_train=[[1.0]], y_train=[[1.0, 2.0, 3.0]], x_test=[[1.0]], y_test=[[1.0, 2.0, 3.0]])
    np.savez("small.npz", x_test=images[:, :14], y_test=labels)
    np.savez("high.npz", x_test=images, y_test=labels + 5)
    Path("torn.npz").write_bytes(Path("digits.npz").read_bytes()[:-100])
    Path("empty").mkdir()
    os.mkfifo("pipe")
    os.mkfifo("pipe.npy")
    Path("half").mkdir()
    Path("begun").mkdir()
    Path("begun/checkpoint-0000000000.tinynn").write_text("hello")
    Path("half/train-images-idx3-ubyte").write_bytes(b"GIF89a")
    Path("half/train-labels-idx1-ubyte").write_bytes(b"GIF89a")
    Path("note.txt").write_text("hello")
    Path("note.png").write_text("hello")
    Path("note.npy").write_text("hello")
    Path("note.idx").write_text("hello")
    np.save("objects.npy", np.array([{}]))
    np.save("words.npy", np.array(["a", "b"]))
    np.save("none.npy", np.zeros((0, 28, 28)))
    np.save("half.npy", images[:, :14])
    np.save("float.npy", images / 255)
    np.save("nan.npy", np.full((1, 28, 28), np.nan))
    Path("torn.npy").write_bytes(Path("x.npy").read_bytes()[:-1])
    Path("npz.npy").write_bytes(Path("digits.npz").read_bytes())
    write_idx(Path("labels.idx"), labels)
    Image.new("L", (28, 28)).save("black.png")
    Path("torn.png").write_bytes(Path("black.png").read_bytes()[:50])
    bare = tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(2)])
    bare.compile("sgd", "mse")
    bare.build()
    models.save(bare, "three.tinynn")
    bare = tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(2)])
    bare.build()
    models.save(bare, "bare.tinynn")
    return folder


# $ COMMAND, and the lines that follow until an empty one.
TRANSCRIPT = (Path(__file__).parent / "mistakes.txt").read_text()
MISTAKES = re.findall(r"^\$ tinynn (.*)\n((?:.+\n?)+)", TRANSCRIPT, flags=re.MULTILINE)
MISTAKES = [(command, answer.rstrip()) for command, answer in MISTAKES]


@pytest.mark.parametrize(("command", "answer"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake(command: str, answer: str, bad: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    out, err = said(shlex.split(command), 2)
    assert re.fullmatch(re.escape(answer).replace(re.escape("..."), ".*"), err.rstrip()), err
    assert out == ""
    assert Path("pipe").is_fifo()


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) > 60


def test_a_number_without_end_is_cut_in_the_message(folder: Path, said: Said) -> None:
    assert len(said([*TRAIN, "--epochs", "9" * 5000], 2)[1]) < 200


def test_where_json_is_asked_for_the_mistake_is_json_too(folder: Path, said: Said) -> None:
    for arguments in (["train", "no"], ["predict", "no", "x.npy"], ["evaluate", "no", "mnist"], ["summary", "no"]):
        out, err = said([*arguments, "--json"], 2)
        assert out == ""
        assert json.loads(err)["ok"] is False
        assert "no" in json.loads(err)["error"]


def test_a_folder_that_cannot_be_written_is_told_before_the_training(
    folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    out, err = said([*TRAIN, "--save", "new.tinynn"], 2)
    assert err.startswith("tinynn train: --save: you may not write into the folder ")
    assert out == ""


def test_a_bug_of_tinynn_keeps_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: Any) -> int:
        raise KeyError("a bug")

    monkeypatch.setattr(summary, "run", broken)
    with pytest.raises(KeyError, match="a bug"):
        main(["summary", "model.tinynn"])


def test_a_reader_who_has_gone_is_no_mistake() -> None:
    with pytest.raises(BrokenPipeError), told(OSError):
        raise BrokenPipeError
