"""Hints lead from the chain rule to the line; solutions are the library's own."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tests.exercises.student import screen, with_mistake
from tinynn.exercises import files, hints
from tinynn.exercises.catalogue import WRITE, Exercise, get


@pytest.mark.parametrize("exercise", WRITE, ids=lambda exercise: exercise.name)
def test_hints_lead_from_the_chain_rule_to_the_line(
    exercise: Exercise, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = hints.all_hints(exercise)
    per_line = 2 if exercise.is_optimizer else 3
    assert len(found) == per_line * len(hints.targets(exercise))
    assert {hint.method for hint in found} == set(exercise.blanks)
    for place in range(0, len(found), per_line):
        *steps, line = found[place : place + per_line]
        code = line.texts[-1].strip()
        assert line.what == "line"
        assert code in re.sub(r"\s+#\s.*", "", files.right_source(exercise)), code
        docstrings = "".join(inspect.getdoc(piece.kind) or "" for piece in exercise.pieces)
        assert code in docstrings or not any(code in text for step in steps for text in step.texts), code
    status, out, _ = screen(capsys, "hint", exercise.name)
    assert status == 0
    assert f"hint 1 of {len(found)}" in out
    assert f"tinynn exercise hint {exercise.name} 2" in out


def test_the_chain_rule_names_the_ways_and_leaves_out_mere_shapes() -> None:
    rule = {hint.name: "\n".join(hint.texts) for hint in hints.all_hints(get("dense")) if hint.what == "chain rule"}
    assert "z2 = matmul(x2, self.W)" in rule["dW"]
    assert "The chain rule: dz2 times the derivative of the right side by W." in rule["dW"]
    assert "array_module" not in rule["dx"]
    rule = {hint.name: "\n".join(hint.texts) for hint in hints.all_hints(get("attention")) if hint.what == "chain rule"}
    assert "So x has 3 ways to the loss" in rule["dx"]
    sizes = {hint.name: "\n".join(hint.texts) for hint in hints.all_hints(get("perceptron")) if hint.what == "shapes"}
    assert "dW has the shape of W: (5, 1)" in sizes["dW"]
    assert "dW = x^T dz" in sizes["dW"]


def test_the_hint_is_for_the_line_where_the_file_is_stuck(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen(capsys, "start", "perceptron")
    assert "da, the chain rule" in screen(capsys, "hint", "perceptron")[1]
    Path("perceptron.py").write_text(with_mistake("perceptron", "x.T @ dz", "(2 * x).T @ dz"))
    assert "dW, the chain rule" in screen(capsys, "hint", "perceptron")[1]
    Path("perceptron.py").write_text(with_mistake("perceptron", "x.T @ dz", "x @ dz"))  # it stops there
    out = screen(capsys, "hint", "perceptron")[1]
    assert "dW, the chain rule" in out
    assert "cannot be checked yet" in out
    status, _, err = screen(capsys, "hint", "perceptron", "99")
    assert status == 2
    assert "has the hints 1 to 15, got 99" in err


@pytest.mark.parametrize("exercise", WRITE, ids=lambda exercise: exercise.name)
def test_the_solution_is_the_librarys_own(exercise: Exercise, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = screen(capsys, "solution", exercise.name)
    assert status == 0
    for piece in exercise.pieces:
        for method in piece.blank:
            last = inspect.getsource(getattr(piece.kind, method)).splitlines()[-1].strip()
            assert last in out
    assert re.search(r"^# tinynn/\S+\.py, line \d+", out)
