"""A student's file, and what he reads."""

from __future__ import annotations

import pytest

from tinynn.cli import main
from tinynn.exercises import files
from tinynn.exercises.catalogue import Exercise, get


def solved(exercise: Exercise) -> str:
    """The student's file with the library's own lines in it."""
    return f"{files.header(exercise)}\n{files.right_source(exercise)}"


def with_mistake(name: str, right: str, wrong: str) -> str:
    source = solved(get(name))
    assert source.count(right) == 1
    return source.replace(right, wrong)


def screen(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["exercise", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err
