"""``tinynn check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinynn.cli import main

LAYER = """
import numpy as np
from tinynn.layers import Layer


class Square(Layer):
    def forward(self, x, training=False):
        y = x * x
        self.cache = x
        return y

    def backward(self, dy, need_dx=True):
        x = self.take_cache()
        dx = {} * x * dy                          # y = x * x
        return dx
"""

FUNCTIONS = """
import numpy as np


def init_params():
    rng = np.random.default_rng(0)
    return {"W": rng.normal(size=(5, 2)), "b": rng.normal(size=2)}


def forward(params, x):
    y = x @ params["W"] + params["b"]
    return y, x


def backward(params, dy, cache):
    x = cache
    dW = x.T @ dy
    db = dy.sum(axis=0)
    return {"W": dW, "b": db}


def forward_scale(x, s):
    return x * s


def backward_scale(dy, x, s):
    return dy * s, (dy * x).sum(axis=0)


class Needs:
    def __init__(self, size):
        self.s = np.ones(size)

    def forward(self, x):
        self.x = x
        return x * self.s

    def backward(self, dy):
        self.ds = (dy * self.x).sum(axis=0)
        return dy * self.s


def make():
    return Needs(5)


def broken():
    raise KeyError("no")


three = 3
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "right.py").write_text(LAYER.format(2))
    (tmp_path / "wrong.py").write_text(LAYER.format(3))
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "broken.py").write_text("import numpy as np\nx = 1 / 0\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_exits_with_0_where_all_is_right(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "right.py:Square", "--input", "4,5"]) == 0
    out = capsys.readouterr().out
    assert "Square" in out
    assert "backward  dx    ok" in out
    assert main(["check", "right.py", "--input", "4,5"]) == 0  # the only one there is


def test_check_exits_with_1_and_names_the_wrong_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "wrong.py:Square", "--input", "4,5"]) == 1
    out = capsys.readouterr().out
    assert "line 14  dx = 3 * x * dy    WRONG   relative error 3.3e-01" in out
    assert "undoes   line 8  y = x * x" in out
    assert "every entry is 3/2 times the truth" in out


def test_check_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "wrong.py:Square", "--input", "4,5", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    [line] = data["subjects"][0]["lines"]
    assert (line["name"], line["verdict"], line["line"]["number"]) == ("dx", "WRONG", 14)
    assert main(["check", "wrong.py:Circle", "--input", "4,5", "--json"]) == 2
    assert "no Circle" in json.loads(capsys.readouterr().err)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["functions.py:forward", "--input", "4,5"],
        ["functions.py:forward,backward", "--input", "4,5"],
        ["functions.py:forward_scale", "--input", "4,5", "--arg", "s=5"],
        ["functions.py:Needs(5)", "--input", "4,5"],
        ["functions.py:make", "--input", "4,5"],
        ["functions.py:make()", "--input", "4,5"],
    ],
)
def test_check_takes_what_students_have(files: Path, arguments: list[str]) -> None:
    assert main(["check", *arguments]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.py:Square", "--input", "4,5"], "there is no file no.py"),
        (
            ["broken.py:Square", "--input", "4,5"],
            "broken.py does not import: line 2: ZeroDivisionError: division by zero",
        ),
        (["syntax.py:Square", "--input", "4,5"], "syntax.py does not import: line 1: SyntaxError: "),
        (["right.py:Circle", "--input", "4,5"], "right.py has no Circle; it has Square"),
        (
            ["right.py:Square", "--input", "4,x"],
            "--input must be a shape such as 4,5 (4 samples of 5 numbers), got '4,x'",
        ),
        (["right.py:Square", "--input", "0"], "--input must be a shape"),
        (["empty.py", "--input", "4,5"], "but it has no layer, loss, or pair of functions"),
        (
            ["functions.py", "--input", "4,5"],
            "say what to check: functions.py:NAME; it has Needs, forward, forward_scale",
        ),
        (["functions.py:Needs", "--input", "4,5"], "the class Needs needs other arguments"),
        (
            ["functions.py:Needs(4)", "--input", "4,5"],
            "line 36 return x * self.s raises ValueError: operands could not",
        ),
        (["functions.py:three", "--input", "4,5"], "three is int, which is no layer"),
        (["functions.py:broken", "--input", "4,5"], "broken(...) fails: line 48: KeyError: 'no'"),
        (["functions.py:forward_scale", "--input", "4,5"], "no value for forward's argument 's'"),
        (["functions.py:forward_scale", "--input", "4,5", "--arg", "s"], "--arg must be NAME=SHAPE"),
        (["functions.py:Needs(open('x'))", "--input", "4,5"], "is no name, nor a call with plain values"),
    ],
)
def test_check_tells_mistakes_in_one_line_and_exits_with_2(
    files: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tinynn check: ")
    assert error.count("\n") == 1
    assert said in error


def test_check_tells_a_wrong_input_shape(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "from tinynn.layers import Conv2D, Dense\nlayer = Dense(3, input_shape=(4,))\nconv = Conv2D(2, 3)\n"
    (files / "given.py").write_text(text)
    assert main(["check", "given.py:layer", "--input", "4,5"]) == 2
    assert "was declared for inputs of shape (batch, 4), got (batch, 5)" in capsys.readouterr().err
    assert main(["check", "given.py:conv", "--input", "4,5"]) == 2
    assert "expected an input of shape (batch, height, width, channels)" in capsys.readouterr().err
