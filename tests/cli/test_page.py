"""docs/command_line.md: its commands run, and print what it says."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from tinynn.cli import main
from tinynn.cli.options import EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def bare(text: str) -> str:
    """Return output without measured numbers and without spaces, which depend on them."""
    return "".join(re.sub(r"\d\.\d+", "#", text).split())


def test_the_commands_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    compared = 0
    for (kind, code), (after, promised) in itertools.pairwise([*BLOCKS, ("end", "")]):
        if kind == "python":
            exec(code, {})
        for command in code.splitlines() if kind == "sh" else ():
            status = main(shlex.split(command)[1:])
            printed = capsys.readouterr()
            assert status == (2 if "rleu" in command else 0), printed.err
        if kind == "sh" and after == "text":
            wanted = re.escape(bare(promised)).replace(re.escape("..."), ".*")
            assert re.fullmatch(wanted, bare(printed.err + printed.out))
            compared += 1
    assert compared == 4


def test_the_page_and_the_help_have_the_same_exit_codes() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)
    assert codes == re.findall(r"^  (\d+) ", EXIT_CODES, flags=re.MULTILINE)
