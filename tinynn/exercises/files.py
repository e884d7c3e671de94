"""The student's file: what is written into it, and what must not be changed in it."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

from tinynn.exercises.blank import blank as blank_method
from tinynn.exercises.blank import body_of, functions, rewrite_line, without_fast
from tinynn.exercises.catalogue import EXERCISES, WRITE, Exercise, Piece

LIBRARY = "tinynn"


class ExerciseError(ValueError):
    """The user's mistake, told in one line."""


def right_source(exercise: Exercise) -> str:
    """Return the classes of an exercise as the library has them, with the imports they need."""
    classes = [source_of(piece).rstrip() for piece in exercise.pieces]
    imports = imports_for(exercise, "\n".join(classes))
    return "\n\n\n".join([f"from __future__ import annotations\n\n{imports}", *classes]) + "\n"


def source_of(piece: Piece) -> str:
    """Return a class's source as it is now, without the fast twins of its lines."""
    return without_fast(inspect.getsource(piece.kind))


def compose(exercise: Exercise) -> str:
    """Return the text of the student's file, made from the library's source as it is now."""
    source = right_source(exercise)
    if exercise.bug is not None:
        source = rewrite_line(source, exercise.bug.method, exercise.bug.right, exercise.bug.wrong)
    else:
        for method in exercise.blanks:
            source = blank_method(source, method, exercise.name)
    return f"{header(exercise)}\n{source}"


def header(exercise: Exercise) -> str:
    """Return the docstring of the student's file."""
    kind, group = ("Exercise", WRITE) if exercise.bug is None else ("Bug", EXERCISES[len(WRITE) :])
    number = group.index(exercise) + 1
    where = ", ".join(exercise.blanks)
    if exercise.bug is None:
        task = f"Write {where}. All else is the library's own source: read it, and leave it as it is."
    else:
        task = f"One line of {where} is wrong. Find it and mend it; leave all else as it is."
    name = exercise.name
    return "\n".join(
        [
            f'"""{kind} {number} of {len(group)}: {exercise.title}.',
            "",
            *textwrap.wrap(exercise.teaches, 110),
            "",
            *textwrap.wrap(task, 110),
            "",
            f"    tinynn exercise check {name}       what is right, what is not, what to try next",
            f"    tinynn exercise hint {name}        one step at a time",
            f"    tinynn exercise solution {name}    the library's own lines",
            "",
            "This file is yours. `check` and `hint` run it, on your own machine, and nothing else.",
            '"""',
            "",
        ]
    )


def imports_for(exercise: Exercise, source: str) -> str:
    """Return the import statements that classes need when they stand in a file of their own."""
    given = {piece.name for piece in exercise.pieces}
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    wanted: dict[str, set[str]] = {}  # module: what is imported from it, "" for the module itself
    for piece in exercise.pieces:
        module = sys.modules[piece.kind.__module__]
        origins = imported(ast.parse(inspect.getsource(module)))
        for name in sorted(used - given):
            if name in origins:
                line, member = origins[name]
            elif name in vars(module) and not hasattr(builtins, name):
                line, member = f"from {module.__name__}", name  # its own class, function or constant
            else:
                continue
            wanted.setdefault(line, set()).add(member)
    groups: tuple[list[str], ...] = ([], [], [])
    for line, members in sorted(wanted.items(), key=lambda item: (item[0].startswith("from"), item[0])):
        root = line.split()[1].split(".")[0]
        group = groups[2 if root == LIBRARY else 0 if root in sys.stdlib_module_names else 1]
        group += import_lines(line, sorted(members - {""}))
    return "\n\n".join("\n".join(group) for group in groups if group)


def import_lines(line: str, members: list[str]) -> list[str]:
    """Return one import statement, on several lines where it is long."""
    if not members:
        return [line]
    text = f"{line} import {', '.join(members)}"
    return [text] if len(text) <= 110 else [f"{line} import (", *(f"    {member}," for member in members), ")"]


def imported(module: ast.Module) -> dict[str, tuple[str, str]]:
    """Return what a module imports: ``{"np": ("import numpy as np", ""), "Any": ("from typing", "Any")}``."""
    found: dict[str, tuple[str, str]] = {}
    for node in module.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                renamed = f" as {alias.asname}" if alias.asname else ""
                found[alias.asname or alias.name.split(".")[0]] = f"import {alias.name}{renamed}", ""
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            for alias in node.names:
                renamed = f" as {alias.asname}" if alias.asname and alias.asname != alias.name else ""
                found[alias.asname or alias.name] = f"from {node.module}", f"{alias.name}{renamed}"
    return found


def write(path: Path, text: str, force: bool) -> None:
    """Write a student's file; one that is there is kept unless `force`.

    Raises
    ------
    ExerciseError
        If it is there already, or cannot be written.
    """
    if path.exists() and not force:
        raise ExerciseError(
            f"{path} is there already and stays as it is: it may hold your work. To begin anew, add --force, which "
            "throws it away; or write elsewhere with --to DIR"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExerciseError(f"{path} cannot be written: {error.strerror or error}") from None


def digests(source: str, blanks: Any) -> dict[str, str]:
    """Return, for every function but those the student writes, a mark of what it does; comments do not count."""
    return {
        name: hashlib.sha256("\n".join(ast.dump(node) for node in body_of(function)).encode()).hexdigest()[:12]
        for name, function in functions(source).items()
        if name not in blanks
    }


def changed(source: str, given: dict[str, str], blanks: Any) -> list[str]:
    """Return the functions that the student was given and that are no longer what they were.

    Raises
    ------
    ExerciseError
        If the source is no Python.
    """
    try:
        now = digests(source, blanks)
    except SyntaxError as error:
        raise ExerciseError(f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from None
    return [name for name, digest in given.items() if now.get(name) != digest]
