"""docs/sklearn.md and examples/sklearn_digits.py: what they show runs, and prints what is said."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="the dependency group `test` has scikit-learn")

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "sklearn.md").read_text(), flags=re.MULTILINE | re.DOTALL)
EXAMPLES = [(code, text) for (kind, code), (after, text) in itertools.pairwise(BLOCKS) if after == "text"]


def bare(text: str) -> str:
    """Return output without the last digit of an accuracy, which is another BLAS's to round."""
    return re.sub(r"(accuracy 0\.9)\d", r"\1#", text)


def test_the_page_says_what_its_examples_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on from those before it, as one reads."""
    monkeypatch.setenv("TINYNN_DEVICE", "cpu")  # which the page shows
    assert len(EXAMPLES) == len(BLOCKS) / 2 == 7
    names: dict[str, Any] = {}
    for code, promised in EXAMPLES:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert bare(printed.getvalue()) == bare(promised)


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples" / "sklearn_digits.py").read_text().splitlines()) <= 60


@pytest.mark.slow
def test_the_example_finds_a_good_network() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "sklearn_digits.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(ran.stdout.splitlines()[-1].removeprefix("test accuracy ")) > 0.975
