"""docs/doctor.md: its examples run and print what it says, and its table has every finding and the limits there are."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
from pathlib import Path

import pytest

from tinynn.diagnose import limits
from tinynn.diagnose.report import TITLES

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [(code, text) for (kind, code), (after, text) in itertools.pairwise(BLOCKS) if after == "text"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data that the page is about, to work in; 80 columns wide."""
    (tmp_path / "digits.py").write_text(BLOCKS[0][1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "digits", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def bare(text: str) -> str:
    """Return output without times, nor numbers that are another processor's to round, nor what they move."""
    text = re.sub(r"[\d.]+ (µs|ms|s)\b", "#", text)
    text = re.sub(r"-?\b\d+(\.\d+)?e[-+]\d+|\b\d+\.\d+", "#", text)
    text = re.sub(r"(?<=to )\d+(?= in)|(?<=in )\d+(?= steps)|\d+(?= %)", "#", text)
    return re.sub(r"[ ─]+", " ", text).strip()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("number", range(4))
def test_an_example_prints_what_the_page_says(number: int, folder: Path) -> None:
    code, promised = EXAMPLES[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert bare("\n".join(lines)) == bare("\n".join(line.rstrip() for line in promised.splitlines()))


def test_the_table_has_every_finding() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE) != []
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == set(TITLES)


def test_the_limits_are_those_of_the_program() -> None:
    assert (limits.INPUT_LARGE, limits.INPUT_SMALL, limits.TARGET_LARGE, limits.RAREST_CLASS) == (10, 0.01, 100, 0.1)
    assert (limits.DEAD_UNITS, limits.SATURATED_OUTPUTS, limits.SATURATED_SLOPE) == (0.5, 0.5, 0.06)
    assert (limits.GRADIENT_VANISHED, limits.GRADIENT_EXPLODED) == (1e-4, 1000)
    assert (limits.UPDATE_LARGE, limits.UPDATE_SMALL, limits.UPDATE_SLOW, limits.RATE_SMALL) == (1, 1e-7, 1e-4, 100)
    assert (limits.LOSS_CROSSENTROPY, limits.LOSS_MORE, limits.LOSS_OTHER) == (2, 1, 10)
    assert (limits.OVERFIT_STEPS, limits.OVERFIT_SAMPLES, limits.OVERFIT_LEFT) == (100, 16, 0.5)
    assert (limits.OVERFIT_RATES, limits.SAMPLES) == ((0.001, 0.01, 0.1), 1024)
