"""The README: its code runs and says what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_program_is_the_example() -> None:
    example = " ".join((ROOT / "examples" / "mnist.py").read_text().split())
    program = blocks("python")[0]
    for line in program.splitlines():
        if "Sequential" not in line and "epochs" not in line:  # these two have options in the example
            assert " ".join(line.split()) in example


def test_the_layer_is_the_layer() -> None:
    def bare(text: str) -> set[str]:
        """Return the lines without comments, types and spaces."""
        without = re.sub(r"#.*|: Array|: bool| -> (Array|Any)", "", text)
        return {"".join(line.split()) for line in without.splitlines()}

    assert bare(blocks("python")[1]) <= bare((ROOT / "tinynn" / "layers" / "activations.py").read_text())


def test_the_check_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    exec("import tinynn\n" + blocks("python")[2], {})
    printed, promised = capsys.readouterr().out, blocks("text")[1]

    def without_numbers(text: str) -> str:
        return re.sub(r"\d\.\de[-+]\d+", "#", text).strip()

    assert without_numbers(printed) == without_numbers(promised)


def test_every_link_leads_somewhere() -> None:
    for document in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]:
        for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", document.read_text()):
            if not target.startswith("http"):
                page = document.parent / target if target else document
                assert page.exists(), f"{document.name}: {target}"
                assert not heading or heading in headings(page), f"{document.name}: {target}#{heading}"


def headings(page: Path) -> set[str]:
    """Return what links can name in a page: its headings in small letters, with hyphens."""
    found = re.findall(r"^#+ (.+)", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_readme_leads_to_every_page() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name}" in README
