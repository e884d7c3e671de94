"""Check a student's file and speak to the student: what is right, what is not, what to try next."""

from __future__ import annotations

import ast
import importlib
import linecache
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinynn.check.from_file import check_file, find, import_file, parse_shape, said
from tinynn.check.gradient_check import gradients
from tinynn.check.report import CONSEQUENCE, OK, UNCHECKED, WRONG, CheckedLine, LinesReport
from tinynn.exercises import files
from tinynn.exercises.blank import functions, wanted
from tinynn.exercises.catalogue import Edge, Exercise, Trial
from tinynn.exercises.steps import check_steps

RIGHT, BLANK, NOT_RIGHT, NOT_CHECKED = "right", "blank", "not right", "not checked"
ORDER = (WRONG, CONSEQUENCE, UNCHECKED, OK)  # of several trials the worst counts


@dataclass
class Outcome:
    """What was found in a student's file.

    Attributes
    ----------
    state : str
        ``"right"``, ``"blank"``: nothing is written yet, ``"not right"``, or ``"not checked"``: it cannot be run.
    lines : list of CheckedLine
        The student's lines, in the order of the file.
    faults : list of (str, str)
        What is wrong and is no line's gradient: its kind, and words.
    edges : list of (str, list of str)
        For every convention what it is, and the numbers if they are others.
    blanks : list of str
        The methods that still end in the TODO.
    results : list of (str, bool)
        In a "find the bug" exercise, what backward returns and writes, and whether it is right.
    changed : list of str
        What the student was given and is no longer what it was.
    problem : str
        Why it cannot be checked.
    """

    state: str = RIGHT
    lines: list[CheckedLine] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    edges: list[tuple[str, list[str]]] = field(default_factory=list)
    blanks: list[str] = field(default_factory=list)
    results: list[tuple[str, bool]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def status(self) -> int:
        """The exit status: 0 right, 1 not right yet, 2 it cannot be checked."""
        return {RIGHT: 0, BLANK: 1, NOT_RIGHT: 1, NOT_CHECKED: 2}[self.state]

    def having(self, verdict: str) -> list[CheckedLine]:
        """Return the lines of a verdict."""
        return [line for line in self.lines if line.verdict == verdict]


def check(exercise: Exercise, path: Path, given: dict[str, str] | None = None) -> Outcome:
    """Check a student's file, which runs it.

    Parameters
    ----------
    exercise : Exercise
    path : Path
    given : dict, optional
        Marks of what the student must leave as it is, see `files.digests`; by default those of the library's source.
    """
    outcome = Outcome()
    try:
        source = read(exercise, path)
        if given is None:
            given = files.digests(files.compose(exercise), exercise.blanks)
        outcome.changed = files.changed(source, given, exercise.blanks)
        linecache.checkcache()
        if exercise.is_optimizer:
            run_steps(exercise, path, outcome)
        else:
            run_trials(exercise, path, source, outcome)
            if exercise.bug is not None:
                outcome.results = [result for trial in exercise.trials for result in results_of(path, trial)]
            if exercise.edges and not outcome.blanks and all_right(outcome):
                outcome.edges = [(edge.said, edge_numbers(edge, path)) for edge in exercise.edges]
    except ValueError as error:
        outcome.state, outcome.problem = NOT_CHECKED, " ".join(str(error).split())
        return outcome
    if outcome.blanks and not outcome.lines:
        outcome.state = BLANK
    elif outcome.blanks or outcome.faults or outcome.changed or not all_right(outcome):
        outcome.state = NOT_RIGHT
    return outcome


def all_right(outcome: Outcome) -> bool:
    """Whether no line is wrong, nor a gradient where there is no derivative."""
    lines_right = all(line.verdict in (OK, UNCHECKED) for line in outcome.lines)
    return lines_right and not any(numbers for _, numbers in outcome.edges)


def read(exercise: Exercise, path: Path) -> str:
    """Return the text of the student's file."""
    if not path.is_file():
        raise files.ExerciseError(f"there is no file {path}. Begin with: tinynn exercise start {exercise.name}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise files.ExerciseError(f"{path} cannot be read: {error}") from None


def run_steps(exercise: Exercise, path: Path, outcome: Outcome) -> None:
    """Check optimizers."""
    for piece in exercise.pieces:
        try:
            outcome.lines += check_steps(piece.name, path)
        except files.ExerciseError as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            outcome.blanks.append(f"{piece.name}.update")


def run_trials(exercise: Exercise, path: Path, source: str, outcome: Outcome) -> None:
    """Check layers and losses: each trial by itself, so that what is written is checked where more is blank."""
    reports: list[LinesReport] = []
    own = {name.partition(".")[0] for name in functions(source)}
    for trial in exercise.trials:
        try:
            reports.append(run_trial(path, trial))
        except ValueError as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            blank = str(error.__cause__).partition(" is still blank")[0]
            if blank not in outcome.blanks:
                outcome.blanks.append(blank)
            begun = functions(source).get(blank)
            if begun is not None and wanted(begun):
                with without_todo(path, source) as copy:
                    reports.append(run_trial(copy, trial))
    outcome.lines = worst(own, reports)
    faults = [(fault.kind, str(fault)) for report in reports for s in report.subjects for fault in s.faults]
    if not all(report.ok for report in reports) and not faults and not outcome.having(WRONG):
        faults = [("wrong", "what comes out is wrong, and no line of yours was found to be to blame")]
    outcome.faults = list(dict.fromkeys(faults)) if not outcome.blanks else []  # a half has no results


def run_trial(path: Path, trial: Trial) -> LinesReport:
    """Check one layer or loss of the student's file."""
    return check_file(f"{path}:{trial.make}", trial.input, trial.arguments, trial.training)


def results_of(path: Path, trial: Trial) -> list[tuple[str, bool]]:
    """Return what backward returns and writes, and whether it is right."""
    layer = find(import_file(path), trial.make)
    x = np.random.default_rng(11).standard_normal(parse_shape(trial.input, "input"))
    with told_in_one_line(trial.make, path):
        return [(row.name, row.ok) for row in gradients(layer, x, training=trial.training).rows]


@contextmanager
def told_in_one_line(what: str, path: Path) -> Iterator[None]:
    """Let an error of the student's code say where it arose, in one line."""
    try:
        yield
    except Exception as error:
        raise files.ExerciseError(f"{what}: {said(error, str(path.resolve()))}") from error


@contextmanager
def without_todo(path: Path, source: str) -> Iterator[Path]:
    """Give a copy of the student's file, with the same lines, in which a method that is half written ends quietly."""
    lines = source.splitlines()
    for function in functions(source).values():
        for node in ast.walk(function):
            if isinstance(node, ast.Raise) and "is still blank" in ast.unparse(node):
                end = node.end_lineno or node.lineno
                lines[node.lineno - 1 : end] = [" " * node.col_offset + "return None", *[""] * (end - node.lineno)]
    before = sys.path[:]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
        sys.path.insert(0, str(path.resolve().parent))
        try:
            yield copy
        finally:
            sys.path[:] = before


def worst(own: set[str], reports: list[LinesReport]) -> list[CheckedLine]:
    """Return the lines of the student's own classes and functions, each with its worst verdict of all trials."""
    found: dict[tuple[int, str], CheckedLine] = {}
    for line in (line for report in reports for line in report.lines):
        if line.line.function.partition(".")[0] not in own:
            continue  # of a layer inside, which is the library's
        place = line.line.number, line.name
        if place not in found or ORDER.index(line.verdict) < ORDER.index(found[place].verdict):
            found[place] = line
    return [found[place] for place in sorted(found)]


def edge_numbers(edge: Edge, path: Path) -> list[str]:
    """Compare with the library's own gradient where there is no derivative; return the numbers if they differ."""
    library, _, name = edge.twin.partition(":")
    options = edge.make.partition("(")[1] + edge.make.partition("(")[2]
    layers = find(import_file(path), edge.make), find(importlib.import_module(library), name + options)
    x, found = np.array(edge.x), []
    with told_in_one_line(f"{edge.make}, where {edge.said}", path):
        for layer in layers:
            y = layer(x.copy())
            found.append(layer.backward(np.arange(1.0, 1 + y.size).reshape(y.shape)))
    mine, right = found
    if np.array_equal(mine, right):
        return []
    return [f"{name:8} {np.squeeze(array).tolist()}" for name, array in (("x", x), ("your dx", mine), ("due", right))]
