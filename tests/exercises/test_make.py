"""A teacher makes exercises from his own layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exercises.student import screen

TEACHER = '''"""Mine."""
import numpy as np
from tinynn.layers import Layer


class Swish(Layer):
    """y = x sigmoid(x)."""

    def forward(self, x, training=False):
        s = 1 / (1 + np.exp(-x))
        y = x * s
        self.cache = x, s
        return y

    def backward(self, dy, need_dx=True):
        x, s = self.take_cache()
        ds = dy * x                       # y = x s
        dx_y = dy * s                     # y = x s
        dx = dx_y + ds * s * (1 - s)      # s = sigmoid(x)
        return dx


def forward(x, W):
    z = x @ W
    y = np.tanh(z)
    return y, (x, W, y)


def backward(dy, cache):
    x, W, y = cache
    dz = dy * (1 - y * y)
    dW = x.T @ dz
    dx = dz @ W.T
    return dx, dW
'''


def test_a_teacher_makes_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(TEACHER)
    status, out, _ = screen(capsys, "make", "mine.py:Swish", "--input", "4,5")
    assert status == 0
    assert "exercises/swish.py" in out
    text = Path("exercises/swish.py").read_text()
    assert "Swish.backward is still blank" in text
    assert "ds * s" not in text
    assert Path("mine.py").read_text() == TEACHER
    assert screen(capsys, "check", "exercises/swish.py")[0] == 1
    _, out, _ = screen(capsys, "hint", "exercises/swish.py")
    assert "ds is the gradient of the loss by s" in out
    assert "y = x * s" in out
    assert "self.cache" not in out
    assert screen(capsys, "solution", "exercises/swish.py")[0] == 2
    todo = text[text.index("        # TODO") : text.index("        )\n", text.index("# TODO")) + len("        )\n")]
    lines = "        ds = dy * x\n        dx = dy * s + ds * s * (1 - s)\n        return dx\n"
    Path("exercises/swish.py").write_text(text.replace(todo, lines))
    assert screen(capsys, "check", "exercises/swish.py")[0] == 0
    Path("exercises/swish.py").write_text(text.replace(todo, lines.replace("1 - s", "1 + s")))
    assert screen(capsys, "check", "exercises/swish.py")[0] == 1
    Path("exercises/swish.py").write_text(text.replace(todo, lines).replace("y = x * s", "y = x * s * 1"))
    status, out, _ = screen(capsys, "check", "exercises/swish.py")
    assert status == 1
    assert "Swish.forward is no longer what you were given" in out


def test_a_teacher_makes_one_of_two_functions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(TEACHER)
    assert screen(capsys, "make", "mine.py:forward", "--input", "4,5", "--arg", "W=5,3", "--to", "out")[0] == 0
    status, out, _ = screen(capsys, "check", "out/forward.py")
    assert status == 1
    assert "backward is still blank" in out
    text = Path("out/forward.py").read_text()
    start, end = text.index("    # TODO"), text.index("    )\n", text.index("    # TODO")) + len("    )\n")
    right = TEACHER[TEACHER.index("    dz = dy") :]
    Path("out/forward.py").write_text(text[:start] + right + text[end:])
    status, out, _ = screen(capsys, "check", "out/forward.py")
    assert status == 0, out


def test_a_wrong_layer_makes_no_exercise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(TEACHER.replace("ds = dy * x ", "ds = dy * s "))
    status, out, _ = screen(capsys, "make", "mine.py:Swish", "--input", "4,5")
    assert status == 1
    assert "WRONG" in out
    assert "No exercise was made" in out
    assert not Path("exercises").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mine.py:Swich", "--input", "4,5"), "has no Swich"),
        (("other.py:Swish", "--input", "4,5"), "there is no file other.py"),
        (("mine.py:Swish", "--input", "4,x"), "must be a shape"),
    ],
)
def test_what_a_teacher_gets_wrong(
    arguments: tuple[str, ...], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text(TEACHER)
    status, _, err = screen(capsys, "make", *arguments)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_first_line_that_was_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("swish.py").write_text('# tinynn exercise: {"name": 3\n')
    status, _, err = screen(capsys, "check", "swish.py")
    assert status == 2
    assert "leave it as it was" in err
