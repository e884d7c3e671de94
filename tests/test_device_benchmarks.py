"""What is run on the day there is a device: the parts, the table of what was asked, the wide network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import device, large
from benchmarks.suite import Result
from benchmarks.systems import SYSTEMS
from benchmarks.workloads import ALL
from tests.guard import FakeCuPy
from tinynn.backend import choose_device


def write(folder: Path, name: str, content: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content))


def measured(**seconds: float) -> dict[str, Any]:
    return {name.replace("_", "-"): vars(Result(seconds=[value, 2 * value, value])) for name, value in seconds.items()}


def test_what_was_asked_is_held_against_what_was_measured(tmp_path: Path) -> None:
    assert all(row[2:] == ["not measured"] * 2 for row in device.asked_rows(tmp_path)[1:-2])
    fp32 = {"1 mlp": measured(tinynn=1.0, torch=4.5, tinynn_eager=4.0, torch_graph=1.0)}
    tf32 = {"1 mlp": measured(tinynn=1.0, torch=6.0)}
    tf32["1 mlp"]["jax-scan"] = vars(Result(status="failed"))
    write(tmp_path, "mlp", {"runs": {"fp32": fp32, "tf32": tf32}})
    write(tmp_path, "networks", {"runs": {"fp32": {"4 cnn": measured(tinynn=1.0, torch=1.5)}}})
    rates = dict(zip(large.ASKED, (0.9, 0.8), strict=True))
    write(tmp_path, "large", {"results": {name: {"part_of_the_rate": rate} for name, rate in rates.items()}})
    rows = {row[0]: row[1:] for row in device.asked_rows(tmp_path)}
    assert rows["1 mlp: torch / tinynn"] == ["5", "4.50 MISSED", "6.00"]
    assert rows["1 mlp: torch / tinynn-eager"] == ["1", "1.12", "not measured"]
    assert rows["1 mlp: torch-graph / tinynn"] == ["1", "1.00", "not measured"]
    assert rows["1 mlp: jax-scan / tinynn"] == ["1", "not measured", "not measured"]
    assert rows["4 cnn: torch / tinynn"] == ["1.5", "1.50", "not measured"]
    assert rows["8192 wide, tensorfloat32: part of the bare product's rate"] == ["0.85", "-", "0.90"]
    assert rows["8192 wide, bfloat16: part of the bare product's rate"] == ["0.85", "-", "0.80 MISSED"]


def test_its_workloads_and_systems_are_there() -> None:
    names = {workload.name for workload in ALL}
    for asked in device.ASKED:
        assert set(asked.workloads) <= names
        assert {asked.slower, asked.faster} <= set(device.SYSTEMS.split(",")) <= set(SYSTEMS)
        assert "cuda" in SYSTEMS[asked.faster].devices


def test_a_part_that_fails_is_noted_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {
        "info": device.Part(("-c", "print('a machine')"), 1),
        "tests": device.Part(("-c", "import sys; sys.exit(3)"), 1),
        "large": device.Part(("-c", "import time; time.sleep(60)"), 0.005),
    }
    monkeypatch.setattr(device, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["device", "--parts", "tests,large", "--out", str(tmp_path)])
    assert device.main() == 1
    monkeypatch.setattr(sys, "argv", ["device", "--parts", "info", "--out", str(tmp_path)])
    assert device.main() == 0
    page = (tmp_path / "README.md").read_text()
    assert "a machine" in page
    assert "FAILED with 3" in page
    assert "was stopped after 0.005 minutes" in page
    assert "done in 0 s" in page
    monkeypatch.setattr(sys, "argv", ["device", "--parts", "nonsense"])
    with pytest.raises(SystemExit):
        device.main()
    assert "unknown part 'nonsense'; choose from info, tests, large" in capsys.readouterr().err


@pytest.mark.parametrize("name", large.PRECISIONS)
def test_the_wide_network_on_a_pretended_device(fake_cupy: FakeCuPy, name: str) -> None:
    found = large.measure(choose_device("cuda"), 16, 2, 1, name)
    assert found["how"].startswith("captured")
    assert found["part_of_the_rate"] > 0
    assert {"tensorfloat32": 77}.get(name, 68) in fake_cupy.cublaslt.compute_types
    assert len(set(fake_cupy.cublaslt.compute_types)) == 1


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["large"])
    assert large.main() == 2
    assert "CuPy is not installed" in capsys.readouterr().err
