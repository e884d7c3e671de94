"""docs/data.md: its examples run, and print what it says."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [(code, text) for (kind, code), (after, text) in itertools.pairwise(BLOCKS) if after == "text"]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("number", range(4))
def test_an_example_prints_what_the_page_says(number: int) -> None:
    code, promised = EXAMPLES[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == promised


def test_every_step_is_in_the_table() -> None:
    from tinynn.data import Dataset

    steps = {name for name in vars(Dataset) if not name.startswith("_") and callable(getattr(Dataset, name))}
    assert {name for name in steps if re.search(rf"^\|.*\.{name}\(", PAGE, flags=re.MULTILINE)} == steps
