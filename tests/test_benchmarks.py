"""The benchmarks run, compare what they were told to, and say what went wrong. How fast things are is not tested."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.suite import Result, ratios
from benchmarks.systems import SYSTEMS
from benchmarks.workloads import ALL, find_workload

ROOT = Path(__file__).parents[1]


def run(*command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a benchmark as a user does, on one thread, with `path` before all other places of modules."""
    places = [path, str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *command, "--threads", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def suite(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the suite with --quick."""
    return run("-m", "benchmarks", "--quick", *arguments, path=path)


def read(path: Path) -> dict[str, Any]:
    """Return what was written, and hold it against the tables beside it."""
    report = json.loads(path.read_text(encoding="utf-8"))
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    for name in report["runs"]["fp32"]:
        assert name in page
    return report


def checked(tmp_path: Path, workloads: str, systems: str) -> dict[str, Any]:
    """Run systems on workloads, hold that each was measured or says why not, and return what was written."""
    path = tmp_path / "result.json"
    finished = suite("--workloads", workloads, "--systems", systems, "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    report = read(path)
    for fact in (report["date"], report["machine"]["processor_model"], report["machine"]["blas"], "1 thread"):
        assert fact in finished.stdout
    wanted = [workload.name for workload in ALL if str(workload.number) in workloads and not workload.large]
    assert list(report["runs"]["fp32"]) == wanted
    for name, results in report["runs"]["fp32"].items():
        assert list(results) == systems.split(",")
        for system, result in results.items():
            if result["status"] != "ok":
                assert result["status"] in ("left out", "not installed")
                assert f"{system}: {result['status']}, {result['why']}" in finished.stdout
                assert system not in ("products", "tinynn-numpy")
                continue
            assert len(result["seconds"]) == 1
            assert result["seconds"][0] > 0
            assert result["to_products"]["min"] <= result["to_products"]["median"] <= result["to_products"]["max"]
            assert result["versions"]
            assert (result["accuracy"] is None) == (system == "products")
            if name == "1 mlp" and system != "products":
                assert 0.8 < result["accuracy"] < 1, system  # two epochs on 2,560 images
    return report


def test_every_workload_is_measured(tmp_path: Path) -> None:
    report = checked(tmp_path, "1,2,3,4,5,6,7", "products,tinynn,tinynn-numpy,sklearn")
    first = report["runs"]["fp32"]["1 mlp"]
    assert first["products"]["to_products"]["median"] == 1
    assert "NumPy alone" in first["tinynn-numpy"]["how"]
    assert "numba" not in first["tinynn-numpy"]["versions"]
    memory = first["tinynn-numpy"]["memory"]
    assert 0.9 < memory["peak"] / memory["allowed"] < 1.06
    fused = first["tinynn"].get("memory")  # without numba NumPy alone is measured twice
    assert fused is None or fused["peak"] / fused["allowed"] < 1.06
    settings = {"rounds": 1, "threads": 1, "device": "cpu", "precision": ["fp32"], "quick": True}
    assert report["settings"] == settings


def test_other_libraries_are_measured_where_they_are_installed(tmp_path: Path) -> None:
    checked(tmp_path, "1,3", "products,jax,jax-scan,keras-jax")


@pytest.mark.slow
def test_every_system_does_every_workload_or_says_why_not(tmp_path: Path) -> None:
    systems = [name for name, system in SYSTEMS.items() if "cpu" in system.devices]
    checked(tmp_path, "1,2,3,4,5,6,7,8", ",".join(systems))


def test_growth_is_measured_in_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    finished = suite("--workloads", "8", "--systems", "products,tinynn-numpy,sklearn", "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    workloads = read(path)["runs"]["fp32"]
    assert {"8 width 1024", "8 depth 64", "8 batch 512"} <= set(workloads)
    wide = workloads["8 width 1024"]
    assert wide["sklearn"]["status"] == "left out"
    weights = 4 * (64 * 1024 + 1024 * 1024 + 1024 * 10)
    if sys.platform == "linux":
        assert 2 * weights < wide["tinynn-numpy"]["memory"]["peak"] < 10 * weights
    assert "8 width 1024" in finished.stdout


def test_a_system_that_dies_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('broken on purpose')")
    path = tmp_path / "result.json"
    finished = suite("--workloads", "3", "--systems", "torch,products", "--json", str(path), path=str(tmp_path))
    assert finished.returncode == 1
    assert "torch failed" in finished.stderr
    assert "broken on purpose" in finished.stderr
    results = read(path)["runs"]["fp32"]["3 xor"]
    assert results["torch"]["status"] == "failed"
    assert "exit code 1" in results["torch"]["why"]
    assert results["products"]["status"] == "ok"


def test_a_fast_wrong_answer_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("__version__ = '0'")
    (tmp_path / "sklearn" / "neural_network.py").write_text(
        "import numpy as np\n"
        "class MLPClassifier:\n"
        "    def __init__(self, *sizes, **options): pass\n"
        "    def partial_fit(self, x, y, classes): pass\n"
        "    def predict_proba(self, x): return np.zeros((len(x), 1)) + np.nan\n"
    )
    finished = suite("--workloads", "3", "--systems", "sklearn,products", path=str(tmp_path))
    assert finished.returncode == 1
    assert "WRONG" in finished.stdout
    assert "no probability" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--systems", "products,tensorflaw"], ["'tensorflaw'", *SYSTEMS]),
        (["--workloads", "1,9"], ["'9'", "1, 2, 3, 4, 5, 6, 7, 8"]),
        (["--rounds", "0"], ["'0'", "from 1 up"]),
        (["--systems", "torch-graph"], ["torch-graph", "device cpu"]),
        (["--json", "result.md"], ["result.md", ".json"]),
    ],
)
def test_a_mistake_is_an_error_that_names_what_there_is(
    arguments: list[str], named: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err.partition("error:")[2]
    for word in named:
        assert word in error


def test_a_missing_device_is_told(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('No module named cupy', name='cupy')")
    finished = suite("--device", "cuda", path=str(tmp_path))
    assert finished.returncode == 2
    assert "CuPy is not installed" in finished.stderr
    assert "'.[cuda12]'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_ratios_are_between_turns_of_the_same_round() -> None:
    ratio = ratios(Result(seconds=[1.0, 4.0, 3.0]), Result(seconds=[1.0, 2.0, 2.0]))
    assert ratio == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert ratios(Result(seconds=[1.0]), Result(status="failed")) is None
    assert ratios(Result(seconds=[1.0]), None) is None


def test_every_workload_has_a_name_of_its_own() -> None:
    assert len({workload.name for workload in ALL}) == len(ALL)
    assert find_workload("1 mlp").samples == 60_000
    assert find_workload("1 mlp", quick=True).samples < 5_000


def test_layers_are_measured_in_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    finished = run("benchmarks/layers.py", "--rounds", "1", "--only", "ReLU,Dense", "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    assert list(layers) == ["Dense", "ReLU"]
    for name, layer in layers.items():
        assert name in finished.stdout
        assert len(layer["seconds"]) == 1
        assert layer["seconds"][0][0] > 0
    x, W = 4 * 128 * 1024, 4 * 1024 * 1024
    for peak in layers["Dense"]["peak_bytes"]:  # y, then dx, for which y's memory is free again; dW and db
        assert peak is None or x + W < peak < 2 * x + W + 100_000
    image = 4 * math.prod(layers["ReLU"]["batch"])
    for peak in layers["ReLU"]["peak_bytes"]:  # y and dx, and perhaps a mask of bytes
        assert peak is None or 2 * image <= peak < 2.5 * image
