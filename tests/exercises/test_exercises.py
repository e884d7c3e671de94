"""Every exercise starts, is blank, can be solved; every bug is found and can be mended; a student is well spoken to."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exercises.student import screen, solved, with_mistake
from tinynn.check.diagnosis import KINDS
from tinynn.check.report import WRONG
from tinynn.cli import main
from tinynn.exercises import blank, coach, files
from tinynn.exercises.advice import ADVICE, advice
from tinynn.exercises.catalogue import BUGS, EXERCISES, WRITE, Exercise, get

ORDER = [
    "perceptron", "tanh-sigmoid", "dense", "softmax", "cross-entropy", "relu", "mini-batch", "momentum-adam", "dropout",
    "batch-normalization", "convolution", "max-pooling", "lstm-step", "attention",
]  # fmt: skip


# What there is --------------------------------------------------------------------------------------------------------


def test_the_list_is_in_order(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert [exercise.name for exercise in WRITE] == ORDER
    assert len(BUGS) >= 6
    status, out, _ = screen(capsys, "list")
    assert status == 0
    assert re.findall(r"^ +\d+  ([a-z-]+)", out, re.MULTILINE) == [exercise.name for exercise in EXERCISES]


def test_every_diagnosis_has_advice() -> None:
    assert set(KINDS) <= set(ADVICE)
    assert advice("something new")


# Write the backward pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", WRITE, ids=lambda exercise: exercise.name)
def test_it_starts_blank_and_the_library_solves_it(
    exercise: Exercise, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = screen(capsys, "start", exercise.name)
    assert status == 0
    assert exercise.file in out
    path = folder / exercise.file
    source = path.read_text()
    for method in exercise.blanks:
        assert f"{method} is still blank" in source
    for piece in exercise.pieces:  # the docstring with its mathematics is left in, and forward
        assert (inspect.getdoc(piece.kind) or "").splitlines()[-1].strip() in source
    status, out, _ = screen(capsys, "check", exercise.name)
    assert status == 1
    assert "still blank: write where the TODO stands" in out
    path.write_text(solved(exercise))
    status, out, _ = screen(capsys, "check", exercise.name)
    assert status == 0, out
    assert "All is right" in out
    assert "not right" not in out
    status, out, _ = screen(capsys, "hint", exercise.name)
    assert (status, out) == (0, "All is right already: there is nothing to hint at.\n")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_file_runs_by_itself(exercise: Exercise, folder: Path) -> None:
    source = files.compose(exercise)
    space = {"__name__": "student"}
    exec(compile(source, exercise.file, "exec"), space)
    for piece in exercise.pieces:
        assert piece.name in space
    assert max(map(len, source.splitlines())) <= 120
    used = {node.id for node in ast.walk(ast.parse(solved(exercise))) if isinstance(node, ast.Name)}
    assert set(files.imported(ast.parse(source))) <= used
    assert not re.search(r"def \w*(_fused|run_fast)|was_fused", source), "the plain lines are the ones that run"


@pytest.mark.parametrize("exercise", WRITE, ids=lambda exercise: exercise.name)
def test_calling_a_blank_method_says_so(exercise: Exercise) -> None:
    for method in exercise.blanks:
        function = blank.functions(files.compose(exercise))[method]
        assert isinstance(blank.body_of(function)[-1], ast.Raise)
        assert ast.get_docstring(function)


def test_what_is_given_at_the_head_of_backward_gives_nothing_away() -> None:
    softmax = files.compose(get("softmax"))
    assert "y = self.take_cache()" in softmax
    assert "c = " not in softmax.partition("def backward")[2]
    dense = files.compose(get("dense")).partition("def backward")[2]
    assert "x = self.take_cache()" in dense
    assert "order: da, da2, db, dz2, dW, dx2, dx." in dense
    assert "matmul" not in dense
    for text in ("dx = np.zeros_like(x)", "return x * 2", "g = self.rows(dy)", "for dz in parts:\n    pass"):
        assert not blank.is_given(ast.parse(text.replace("return", "if x:\n    return")).body[0])


def test_what_is_there_is_checked_though_the_rest_is_blank(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = files.compose(get("perceptron"))
    todo = "        # TODO"
    half = "        da = dy * y * (1 - y)\n        dz = da\n        self.dW = x.T @ (2 * dz)\n"
    Path("perceptron.py").write_text(source.replace(todo, half + todo, 1))
    status, out, _ = screen(capsys, "check", "perceptron")
    assert status == 1
    assert re.search(r"right +line \d+  da = dy \* y \* \(1 - y\)", out)
    assert re.search(r"not right +line \d+  self.dW = x.T @ \(2 \* dz\)", out)
    assert "every entry is 2 times the truth" in out
    assert "the rest of Perceptron.backward" in out
    assert "not written" not in out
    _, out, _ = screen(capsys, "hint", "perceptron")
    assert "Perceptron.backward: db, the chain rule" in out


def test_a_wrong_line_is_named_with_its_diagnosis_and_advice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dense.py").write_text(with_mistake("dense", "db = da2.sum(axis=0", "db = da2.mean(axis=0"))
    status, out, _ = screen(capsys, "check", "dense")
    assert status == 1
    assert re.search(r"not right  line \d+  db = da2.mean\(axis=0, out=self.db\)", out)
    assert "it undoes line" in out
    assert "exactly 1/4 of the truth" in out
    assert f"Try: {ADVICE['factor 1/N']}" in out
    assert "right, 1 to mend" in out
    status, out, _ = screen(capsys, "check", "dense", "--json")
    found = json.loads(out)
    assert (status, found["state"]) == (1, "not right")
    assert [line["name"] for line in found["lines"] if line["verdict"] == WRONG] == ["db"]


def test_what_only_waits_is_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("perceptron.py").write_text(with_mistake("perceptron", "dy * y * (1 - y)  #", "dy * (1 - y)  #"))
    _, out, _ = screen(capsys, "check", "perceptron")
    assert out.count("not right") == 1
    assert out.count("  waits ") == 4
    assert "0 right, 1 to mend, 4 waiting: checked with the right numbers put in, so they need no change." in out


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("softmax", "c = (dy * y).sum(axis=self.axis", "c = (dy * y).sum(axis=-1"),  # wrong in the second trial
        ("mini-batch", "dx = dc + dm / B  #", "dx = dc + dm  #"),  # wrong in the first
    ],
)
def test_what_is_wrong_once_is_wrong(name: str, right: str, wrong: str, folder: Path) -> None:
    exercise = get(name)
    Path(exercise.file).write_text(with_mistake(name, right, wrong))
    outcome = coach.check(exercise, folder / exercise.file)
    assert outcome.state == coach.NOT_RIGHT
    assert [line.name for line in outcome.having(WRONG)] == ["dx"]


def test_a_gradient_that_is_not_stored_is_no_gradient(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("perceptron.py").write_text(with_mistake("perceptron", "self.dW = x.T", "dW = x.T"))
    status, out, _ = screen(capsys, "check", "perceptron")
    assert status == 1
    assert ADVICE["not written"] in out
    _, out, _ = screen(capsys, "hint", "perceptron")
    assert "Perceptron.backward: dW, the chain rule" in out


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        ("relu", "dx = dy * (x > 0)", "dx = dy * (x >= 0)", "at x = 0 the derivative of ReLU is taken to be 0"),
        ("relu", "dp * (x >= 0) + dn * (x < 0)", "dp * (x > 0) + dn * (x <= 0)", "that of LeakyReLU is taken to be 1"),
        ("max-pooling", "            left = left & ~here\n", "", "the first gets all of dy"),
    ],
)
def test_at_kinks_and_ties_the_convention_counts(
    name: str, right: str, wrong: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(get(name).file).write_text(with_mistake(name, right, wrong))
    status, out, _ = screen(capsys, "check", name)
    assert status == 1
    assert re.search(rf"not right  .*{said}", out)
    assert "your dx" in out
    _, out, _ = screen(capsys, "hint", name)
    assert said in out


# Find the bug ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", BUGS, ids=lambda exercise: exercise.name)
def test_a_bug_is_found_at_its_line_and_right_when_mended(
    exercise: Exercise, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exercise.bug is not None
    assert screen(capsys, "start", exercise.name)[0] == 0
    path = folder / exercise.file
    source = path.read_text()
    number = blank.line_number(source, exercise.bug.method, exercise.bug.wrong)
    status, out, _ = screen(capsys, "check", exercise.name)
    assert status == 1
    assert "comes out wrong" in out
    assert exercise.bug.wrong not in out, "the line is to be found"
    outcome = coach.check(exercise, path)
    assert {line.line.number for line in outcome.having(WRONG)} == {number}
    _, out, _ = screen(capsys, "hint", exercise.name)
    assert exercise.bug.wrong not in out
    _, out, _ = screen(capsys, "hint", exercise.name, "3")
    assert f"line {number}  {exercise.bug.wrong}" in out
    right = blank.rewrite_line(source, exercise.bug.method, exercise.bug.wrong, exercise.bug.right)
    path.write_text(right)
    status, out, _ = screen(capsys, "check", exercise.name)
    assert status == 0, out
    assert "You found it" in out
    assert right.partition('"""\n')[2] == solved(exercise).partition('"""\n')[2]
    assert exercise.bug.right in screen(capsys, "solution", exercise.name)[1]


def test_a_line_that_is_no_longer_there_is_not_rewritten_silently() -> None:
    with pytest.raises(blank.StaleLine, match="0 times; it must have it once"):
        blank.rewrite_line(files.right_source(get("dense")), "Dense.backward", "dW = dW", "dW = 0")


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_students_file_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen(capsys, "start", "dense")
    Path("dense.py").write_text("my work")
    status, out, err = screen(capsys, "start", "dense")
    assert (status, out) == (2, "")
    assert "dense.py is there already and stays as it is" in err
    assert "--force" in err
    assert Path("dense.py").read_text() == "my work"
    assert screen(capsys, "start", "dense", "--to", "new/place")[0] == 0
    assert "Dense.backward is still blank" in Path("new/place/dense.py").read_text()
    assert screen(capsys, "check", "new/place/dense.py")[0] == 1
    assert screen(capsys, "start", "dense", "--force")[0] == 0
    assert "Dense.backward is still blank" in Path("dense.py").read_text()


def test_unknown_names_and_missing_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = screen(capsys, "start", "dens")
    assert status == 2
    assert "there is no exercise 'dens'. Did you mean dense?" in err
    status, out, _ = screen(capsys, "check", "dense")
    assert status == 2
    assert "there is no file dense.py. Begin with: tinynn exercise start dense" in out
    status, _, err = screen(capsys, "hint", "bug-dense")
    assert status == 2
    assert "Begin with" in err
    with pytest.raises(SystemExit) as ended:
        main(["exercise", "chek"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("x.T @ dz", "x @ dz", "print the shapes"),
        ("da.sum(axis=0)", "da", "backward sums over it"),
        ("x.T @ dz", "dz.T @ x", "Only one order gives the right shape"),
        ("x.T @ dz", "q.T @ dz", "backward knows what it is given"),
        ("self.dW = x.T @ dz", "self.dW = (x.T @ dz", "line "),
        ("class Perceptron", "class Perzeptron", "has no Perceptron"),
    ],
)
def test_a_file_that_cannot_be_checked_says_why(
    right: str, wrong: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("perceptron.py").write_text(with_mistake("perceptron", right, wrong))
    status, out, _ = screen(capsys, "check", "perceptron")
    assert status == 2
    assert "It cannot be checked yet" in out
    assert said in out
    assert "Traceback" not in out


def test_an_error_at_a_kink_is_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "assert (x != 0).all()\n        dx = dy * (x > 0)"
    Path("relu.py").write_text(with_mistake("relu", "dx = dy * (x > 0)", wrong))
    status, out, _ = screen(capsys, "check", "relu")
    assert status == 2
    assert re.search(r"cannot be checked yet: ReLU, where at x = 0 .*: line \d+: AssertionError", out)


def test_what_was_given_must_stay_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("perceptron.py").write_text(with_mistake("perceptron", "z = x @ self.W  #", "z = 0 * x @ self.W  #"))
    status, out, _ = screen(capsys, "check", "perceptron")
    assert status == 1
    assert "Perceptron.forward is no longer what you were given" in out
    source = with_mistake(
        "perceptron", "        x, y = self.take_cache()\n", "        x, y = self.take_cache()\n        print()\n"
    )
    source = source.replace("# what backward needs", "# my own remark")
    Path("perceptron.py").write_text(source + "\n\ndef helper():\n    return 1\n")
    assert screen(capsys, "check", "perceptron")[0] == 0


# The screens ----------------------------------------------------------------------------------------------------------


def test_piped_it_is_plain(folder: Path) -> None:
    run = [sys.executable, "-m", "tinynn", "exercise"]
    listed = subprocess.run([*run, "list"], capture_output=True, text=True, check=True)
    assert "\x1b" not in listed.stdout
    solution = subprocess.run([*run, "solution", "dense"], capture_output=True, text=True, check=True)
    assert "\x1b" not in solution.stdout
    assert not solution.stderr


def test_help_says_what_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["exercise", "--help"], ["exercise", "check", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "code that the student runs on his own machine" in " ".join(capsys.readouterr().out.split())
