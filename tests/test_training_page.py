"""docs/training.md: its examples run, and print what it says."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinynn
from tinynn import config

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
BLOCKS = re.findall(r"^(?:<!-- (\S+) -->\n)?```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def bare(text: str) -> str:
    """Return output without measured numbers, which are another BLAS's to round."""
    return re.sub(r"\d+\.\d+(s?)\b", r"#\1", text).strip()


def test_the_page_says_what_its_examples_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on from those before it, as one reads."""
    pytest.importorskip("safetensors", reason="the dependency group `test` has safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNN_DEVICE", "cpu")  # which the page shows
    monkeypatch.setattr(config, "registered", {})
    names: dict[str, Any] = {"__name__": "page"}
    compared = 0
    for (name, kind, code), (_, after, promised) in itertools.pairwise([*BLOCKS, ("", "end", "")]):
        if kind == "python" and not name:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            assert bare(printed.getvalue()) == (bare(promised) if after == "text" else "")
            compared += after == "text"
    assert compared == 9


def test_the_same_numbers_whatever_the_hash_seed(tmp_path: Path) -> None:
    [script] = [code for name, _, code in BLOCKS if name == "same_numbers.py"]
    (tmp_path / "same_numbers.py").write_text(script)
    root = str(Path(tinynn.__file__).parents[1])
    seen = {
        subprocess.run(
            [sys.executable, "same_numbers.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert re.fullmatch(r"[0-9a-f]{8} 0\.20\d+ 0\.9\d+\n", seen.pop())


def test_every_callback_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE))
    kinds = {name for name in tinynn.__all__ if issubclass_of_callback(getattr(tinynn, name))}
    assert rows == kinds - {"Callback"}


def issubclass_of_callback(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, tinynn.Callback)


def test_the_messages_in_the_table_are_those_of_the_code() -> None:
    said = "".join(path.read_text() for path in Path(tinynn.__file__).parent.rglob("*.py"))
    rows = re.findall(r"^\| (`.*?) \| (?:the file|a file|`save|import|a later)", PAGE, flags=re.MULTILINE)
    assert len(rows) == 5
    for words in re.findall(r"`([^`]+)`", " ".join(rows)):
        for part in re.split(r"'\w+'|\.\.\.|, \.\.\.|a zip file, ", words):
            assert part.strip() in said, words
