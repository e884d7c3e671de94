"""What docs/exercises.md shows is what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.exercises.student import screen
from tests.exercises.test_make import TEACHER

DOCS = Path(__file__).parents[2] / "docs" / "exercises.md"


def test_the_document_shows_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_layer.py").write_text(TEACHER)
    for kind, block in re.findall(r"```(console|python)\n(.*?)```", DOCS.read_text(), re.DOTALL):
        if kind == "python":
            source = Path("perceptron.py").read_text()
            Path("perceptron.py").write_text(source.replace("        # TODO", f"{block}        # TODO", 1))
            continue
        for command, output in re.findall(r"^\$ tinynn exercise (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            _, out, _ = screen(capsys, *shlex.split(command))
            assert out == output, command
