"""An exercise from a teacher's own layer: checked first, then its backward is blanked out.

The file that the student gets says in its first line how it is to be checked, so it is all that he needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinynn.check.from_file import check_file, import_file, partner
from tinynn.check.report import LinesReport
from tinynn.exercises import files
from tinynn.exercises.blank import blank, functions, wanted
from tinynn.exercises.catalogue import Exercise, Trial

MARK = "# tinynn exercise: "


class WrongLayer(ValueError):
    """A layer that is wrong makes no exercise."""

    def __init__(self, report: LinesReport) -> None:
        super().__init__("its backward pass is wrong")
        self.report = report


def make(
    where: str,
    shape: str,
    arguments: Sequence[str] = (),
    training: bool = False,
    folder: Path | None = None,
    force: bool = False,
) -> Path:
    """Write the student's file for a layer, a loss or a pair of functions, and return its path.

    Parameters
    ----------
    where : str
        ``"FILE.py:NAME"``, as for ``tinynn check``.
    shape : str
        The input's: ``"4,5"``.
    arguments : sequence of str
        ``"W=5,3"``, for a forward function.
    training : bool
    folder : Path, optional
        By default a folder ``exercises`` beside the teacher's file.
    force : bool
        Write over a file that is there.

    Raises
    ------
    WrongLayer
        If a line of it is wrong.
    ValueError
        If it cannot be checked, or a file is there already.
    """
    report = check_file(where, shape, arguments, training)
    if not report.ok:
        raise WrongLayer(report)
    path = Path(where.partition(".py:")[0] + ".py")
    call = where.partition(".py:")[2]
    source = path.read_text(encoding="utf-8")
    name = re.split(r"[(,]", call)[0].strip()
    method = backward_of(path, source, name)
    target = (folder or path.parent / "exercises") / f"{snake(name)}.py"
    if target.resolve() == path.resolve():
        raise files.ExerciseError(f"{target} is your own file: write the exercise elsewhere, with --to DIR")
    task = {
        "name": snake(name),
        "check": call,
        "input": shape,
        "arguments": list(arguments),
        "training": training,
        "blank": method,
        "names": wanted(functions(source)[method]),
        "given": files.digests(source, {method}),
    }
    text = blank(source, method, str(target.name))
    files.write(target, f"{MARK}{json.dumps(task)}\n{text}", force)
    return target


def backward_of(path: Path, source: str, name: str) -> str:
    """Return which function of a file is blanked out."""
    found = functions(source)
    if name in found:
        return partner(import_file(path), name) or name
    for method in ("backward", "gradient"):
        if f"{name}.{method}" in found:
            return f"{name}.{method}"
    raise files.ExerciseError(f"{path.name} has no backward of {name}: it must stand in that file, to be blanked out")


def snake(name: str) -> str:
    """Return a name for a file.

    Examples
    --------
    >>> snake("MyDense")
    'my_dense'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True)
class Task:
    """What the first line of a student's file says.

    Attributes
    ----------
    exercise : Exercise
    given : dict
        Marks of what the student must leave as it is.
    names : list of str
        The gradients in the teacher's backward.
    """

    exercise: Exercise
    given: dict[str, str]
    names: list[str]


def read_task(path: Path) -> Task | None:
    """Return what a student's file says in its first line; None if no teacher made it."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if not first.startswith(MARK):
            return None
        task = json.loads(first.removeprefix(MARK))
        trial = Trial(task["check"], task["input"], task["training"], tuple(task["arguments"]))
        exercise = Exercise(task["name"], task["name"], "", (), (trial,), made=task["blank"])
        return Task(exercise, task["given"], task["names"])
    except (OSError, ValueError, KeyError, TypeError):
        raise files.ExerciseError(f"the first line of {path} cannot be read: leave it as it was") from None
