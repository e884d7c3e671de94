"""docs/checking.md: its examples run, and print what it says."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
from pathlib import Path

import pytest

from tinynn.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "checking.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [(code, text) for (kind, code), (after, text) in itertools.pairwise(BLOCKS) if after == "text"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the file that the page is about, to work in."""
    (tmp_path / "my_layer.py").write_text(BLOCKS[0][1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_layer", raising=False)
    return tmp_path


def bare(text: str, folder: Path) -> str:
    """Return output without the folder, and without relative errors, which are another processor's to round."""
    return re.sub(r"\d\.\de[-+]\d+", "#", text.replace(f"{folder}/", "")).strip()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("number", range(5))
def test_an_example_prints_what_the_page_says(number: int, folder: Path) -> None:
    code, promised = EXAMPLES[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if code.startswith("tinynn "):
            assert main(code.split()[1:]) == 1
        else:
            exec(code, {})
    assert bare(printed.getvalue(), folder) == bare(promised, folder)
