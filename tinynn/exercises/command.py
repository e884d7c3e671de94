"""``tinynn exercise list | start | check | hint | solution | make``."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

RUNS = (
    "A student's file is code that the student runs on his own machine: `check` and `hint` run it. Nothing is fetched."
)


def add_to(commands: Any) -> None:
    """Add the subcommand to the parser's."""
    exercise = commands.add_parser(
        "exercise",
        help="learn backpropagation: write a backward pass, and have every line checked",
        description="Exercises made from the library's own layers: the backward pass is blanked out, you write it.",
        epilog=RUNS,
    )
    actions = exercise.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        """Add an action."""
        added: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help, epilog=RUNS)
        return added

    add("list", "the exercises in their order")
    start = add("start", "write the file that you work in")
    start.add_argument("name", metavar="NAME", help="as in the list")
    start.add_argument("--to", metavar="DIR", type=Path, default=Path(), help="where to (default: here)")
    start.add_argument("--force", action="store_true", help="write over your file, if there is one")
    check = add("check", "say which lines are right, which are not, and what to try next")
    check.add_argument("name", metavar="NAME", help="as in the list, with the file here; or the file: work/dense.py")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.epilog = f"Ends with 0 if all is right, 1 if not yet, 2 if it cannot be checked. {RUNS}"
    hint = add("hint", "one step at a time: the chain rule, the shapes, the line")
    hint.add_argument("name", metavar="NAME", help="as in the list, with the file here; or the file: work/dense.py")
    hint.add_argument("number", metavar="NUMBER", type=int, nargs="?", help="by default, where your file is stuck")
    solution = add("solution", "print the library's own lines")
    solution.add_argument("name", metavar="NAME", help="as in the list")
    make = add("make", "make an exercise from a layer of your own; a wrong layer makes none")
    make.add_argument("where", metavar="FILE.py:NAME", help="as for tinynn check: 'my_layer.py:MyDense(3)'")
    make.add_argument("--input", required=True, metavar="4,5", help="the input's shape, the batch axis first")
    make.add_argument(
        "--arg", action="append", default=[], metavar="W=5,3", help="random numbers for a forward function's argument"
    )
    make.add_argument("--training", action="store_true", help="check with training=True")
    make.add_argument("--to", metavar="DIR", type=Path, help="where to (default: exercises, beside the file)")
    make.add_argument("--force", action="store_true", help="write over a file that is there")


def run(options: argparse.Namespace) -> int:
    """Do what was asked for; return the exit status."""
    actions = {"list": show_list, "start": start, "check": check, "hint": hint, "solution": solution, "make": make}
    try:
        return actions[options.action](options)
    except ValueError as error:
        print(f"tinynn exercise: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def say(rows: list[tuple[str, str]]) -> None:
    """Print lines, each with its style where there are styles."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for row, style in rows:
        console.print(Text(row, style=style), highlight=False, soft_wrap=True)


def show_list(options: argparse.Namespace) -> int:
    """Print the exercises."""
    from tinynn.exercises.catalogue import BUGS, WRITE

    width = max(len(exercise.name) for exercise in WRITE + BUGS)
    rows = []
    for title, group in (("Write the backward pass:", WRITE), ("Find the bug:", BUGS)):
        rows.append((title, "bold"))
        for number, exercise in enumerate(group, 1):
            begun = f"    (you have {exercise.file})" if Path(exercise.file).is_file() else ""
            name = exercise.title.removeprefix("Find the bug: ")
            rows.append((f"  {number:2}  {exercise.name:{width}}  {name}{begun}", ""))
    rows.append(("Begin with:  tinynn exercise start perceptron", "dim"))
    say(rows)
    return 0


def start(options: argparse.Namespace) -> int:
    """Write a student's file."""
    from tinynn.exercises import files
    from tinynn.exercises.catalogue import get

    exercise = get(options.name)
    path = options.to / exercise.file
    files.write(path, files.compose(exercise), options.force)
    called = exercise.name if options.to == Path() else str(path)
    rows = [
        (f"{path}  {exercise.title}", "bold"),
        *((f"  {line}", "") for line in textwrap.wrap(exercise.teaches, 100)),
    ]
    rows.append((f"  {task_of(exercise)}", ""))
    rows.append((f"  Then:  tinynn exercise check {called}", ""))
    say(rows)
    return 0


def task_of(exercise: Any) -> str:
    """Return what is to be done, in one line."""
    from tinynn.exercises.speak import listed

    where = listed(exercise.blanks)
    return (
        f"Open it and write {where}." if exercise.bug is None else f"One line of {where} is wrong. Find it and mend it."
    )


def task(name: str) -> tuple[Any, Path, dict[str, str] | None, list[str] | None]:
    """Return the exercise that a name or a file means, the file, and what a teacher's exercise says."""
    from tinynn.exercises.catalogue import EXERCISES, get
    from tinynn.exercises.make import read_task

    path = Path(name)
    if path.suffix == ".py":
        made = read_task(path) if path.is_file() else None
        if made is not None:
            return made.exercise, path, made.given, made.names
        known = [exercise for exercise in EXERCISES if exercise.file == path.name]
        return (known[0] if known else get(path.stem)), path, None, None
    exercise = get(name)
    return exercise, Path(exercise.file), None, None


def check(options: argparse.Namespace) -> int:
    """Check a student's file."""
    from tinynn.exercises import coach, speak

    exercise, path, given, _ = task(options.name)
    outcome = coach.check(exercise, path, given)
    if options.json:
        print(json.dumps(speak.as_dict(exercise, path, outcome), indent=2))
    else:
        say(called(speak.rows_for(exercise, path, outcome), exercise.name, options.name))
    return outcome.status


def hint(options: argparse.Namespace) -> int:
    """Print a hint."""
    from tinynn.exercises.hints import hint_rows

    exercise, path, given, names = task(options.name)
    say(called(hint_rows(exercise, path, options.number, given, names), exercise.name, options.name))
    return 0


def called(rows: list[tuple[str, str]], name: str, given: str) -> list[tuple[str, str]]:
    """Return lines in which commands call the exercise as the student did: by its name, or by its file."""
    return [(row.replace(f"exercise hint {name}", f"exercise hint {given}"), style) for row, style in rows]


def solution(options: argparse.Namespace) -> int:
    """Print the library's own lines."""
    from rich.console import Console
    from rich.syntax import Syntax

    exercise, _, given, _ = task(options.name)
    if given is not None:
        raise ValueError(f"{exercise.name} is your teacher's: ask for the solution there")
    console = Console()
    for text in solutions(exercise):
        if console.is_terminal:
            console.print(Syntax(text, "python", theme="ansi_dark", background_color="default"))
        else:
            print(text)
    return 0


def solutions(exercise: Any) -> list[str]:
    """Return the source of what was blanked out; of a bug, the right line and the wrong one."""
    from tinynn.exercises.blank import functions
    from tinynn.exercises.files import source_of

    found = []
    for piece in exercise.pieces:
        source = source_of(piece)
        for method in piece.blank if exercise.bug is None else ():
            node = functions(source)[f"{piece.name}.{method}"]
            text = "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
            found.append(f"# {place_of(getattr(piece.kind, method))}\n{textwrap.dedent(text)}\n")
    if exercise.bug is not None:
        kind = next(p.kind for p in exercise.pieces if p.name == exercise.bug.method.partition(".")[0])
        function = getattr(kind, exercise.bug.method.partition(".")[2])
        found.append(
            f"# {place_of(function)}: {exercise.bug.method}\n{exercise.bug.right}\n# and not\n# {exercise.bug.wrong}\n"
        )
    return found


def place_of(function: Any) -> str:
    """Return where a function stands: ``tinynn/layers/dense.py, line 97``."""
    file = Path(inspect.getsourcefile(function) or "")
    package = Path(__file__).parents[2]
    return f"{file.relative_to(package).as_posix()}, line {inspect.getsourcelines(function)[1]}"


def make(options: argparse.Namespace) -> int:
    """Make an exercise from a teacher's layer."""
    from rich.console import Console

    from tinynn.exercises.make import WrongLayer
    from tinynn.exercises.make import make as make_exercise

    try:
        path = make_exercise(options.where, options.input, options.arg, options.training, options.to, options.force)
    except WrongLayer as error:
        Console().print(error.report, highlight=False, soft_wrap=True)
        say([("No exercise was made: every line must be right first.", "bold")])
        return 1
    say(
        [
            (f"{path}", "bold"),
            ("  Every line of yours is right; in this file they are blanked out. It is all that a student needs:", ""),
            (f"  tinynn exercise check {path.name}", ""),
        ]
    )
    return 0
