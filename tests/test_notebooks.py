"""The notebooks: every cell runs, and what is committed is what comes out."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the dependency group `notebook`")
nbclient = pytest.importorskip("nbclient", reason="needs the dependency group `notebook`")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "backprop_by_hand.ipynb"


def committed() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def run(folder: Path, *, quick: bool) -> Any:
    """Return the notebook after all its cells have run, in a kernel of this Python."""
    notebook = committed()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "\nQUICK = False" in first.source
    if quick:
        first.source = first.source.replace("QUICK = False", "QUICK = True", 1)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def text_of(cell: Any) -> str:
    """Return what a cell printed, and the reports it shows; without the temporary names of cells."""
    texts = [output.text if "text" in output else output.data.get("text/html", "") for output in cell.outputs]
    return re.sub(r"\S*ipykernel\S*?\.py", "CELL", "".join(texts))


def cell_with(notebook: Any, source: str) -> Any:
    """Return the code cell that has a piece of source in it."""
    (found,) = [cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source]
    return found


def accuracy_of(notebook: Any) -> float:
    return float(re.findall(r"test accuracy (0\.\d{4})", text_of(cell_with(notebook, "adam_step(params, net")))[-1])


def look_at(notebook: Any) -> None:
    """Look whether the notebook shows what its text says."""
    wrong = cell_with(notebook, "<-- the mistake")
    number = 1 + next(i for i, line in enumerate(wrong.source.splitlines()) if "<-- the mistake" in line)
    assert f"backward  line {number}  da1 = dh * (1 - h)    WRONG" in text_of(wrong)
    assert "1 - h where the derivative of tanh is 1 - h**2" in text_of(wrong)
    assert "dW1, db1 are wrong only because da1 is" in text_of(wrong)
    checks = [cell for cell in notebook.cells if cell.cell_type == "code" and "print(lines(" in cell.source]
    assert len(checks) == 7
    for cell in checks:
        assert re.search(r"backward  d\w+.*    ok", text_of(cell)), cell.source
        assert "WRONG" not in text_of(cell)
        assert "unchecked" not in text_of(cell)
    assert "long  [[nan nan]]\nshort [[-1.  1.]]" in text_of(cell_with(notebook, "sure of class 1"))
    differences = re.findall(r"largest difference (\S+)", text_of(cell_with(notebook, "train_on_batch")))
    assert len(differences) == 4
    assert all(float(difference) < 1e-6 for difference in differences)


def test_every_cell_runs_and_shows_what_is_committed(tmp_path: Path) -> None:
    notebook = run(tmp_path, quick=True)
    look_at(notebook)
    assert accuracy_of(notebook) > 0.85  # a small network, a fifth of the digits, one epoch
    for ours, theirs in zip(notebook.cells, committed().cells, strict=True):
        if ours.cell_type == "code" and "lines(" in ours.source:
            assert without_numbers(text_of(ours)) == without_numbers(text_of(theirs))


def without_numbers(text: str) -> str:
    """Return a report without relative errors, which are another processor's to round."""
    return re.sub(r"-?\d\.\d+(e[-+]\d+)?", "#", text)


def test_what_is_committed_is_whole_and_small() -> None:
    notebook = committed()
    look_at(notebook)
    assert accuracy_of(notebook) >= 0.97
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in cells
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5
    assert max(map(len, pictures)) < 100_000
    assert NOTEBOOK.stat().st_size < 400_000


@pytest.mark.slow
def test_it_reads_digits(tmp_path: Path) -> None:
    notebook = run(tmp_path, quick=False)
    look_at(notebook)
    assert accuracy_of(notebook) >= 0.97
