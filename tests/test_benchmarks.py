"""The benchmarks run, compare what they were told to, and say what went wrong. How fast things are is not tested."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments: str, script: str = "mnist_mlp.py", path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a benchmark as a user does, with `path` before all other places of modules."""
    places = [path, str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, f"benchmarks/{script}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_benchmark_measures_what_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    finished = run("--rounds", "1", "--systems", "products,tinynn", "--samples", "2000", "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    report = json.loads(path.read_text(encoding="utf-8"))

    assert list(report["systems"]) == ["products", "tinynn"]
    for name, system in report["systems"].items():
        assert system["status"] == "ok", system["why"]
        assert len(system["seconds"]) == 1
        for yardstick in ("to_products", "to_tinynn"):
            assert 0 < system[yardstick]["min"] <= system[yardstick]["median"] <= system[yardstick]["max"]
        assert system["versions"]["numpy"]
        assert name in finished.stdout
    assert report["systems"]["products"]["to_products"]["median"] == 1
    assert report["systems"]["products"]["accuracy"] is None
    assert 0.7 < report["systems"]["tinynn"]["accuracy"] < 1
    assert report["systems"]["tinynn"]["versions"]["tinynn"]
    assert report["settings"] == {
        "rounds": 1,
        "batch_size": 128,
        "samples": 2000,
        "threads": report["machine"]["processors"],
    }
    assert report["date"]
    assert report["machine"]["processor_model"]
    assert report["machine"]["blas"]


def test_a_system_that_dies_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('broken on purpose')")
    path = tmp_path / "result.json"
    finished = run(
        "--rounds", "1", "--systems", "torch,products", "--samples", "256", "--json", str(path), path=str(tmp_path)
    )
    assert finished.returncode == 1
    assert "torch failed" in finished.stderr
    assert "broken on purpose" in finished.stderr
    systems = json.loads(path.read_text(encoding="utf-8"))["systems"]
    assert systems["torch"]["status"] == "failed"
    assert "exit code 1" in systems["torch"]["why"]
    assert systems["products"]["status"] == "ok"


def test_an_unknown_system_is_an_error_that_names_the_known_ones() -> None:
    finished = run("--systems", "products,tensorflaw")
    assert finished.returncode == 2
    assert "'tensorflaw'" in finished.stderr
    for name in ("products", "tinynn", "torch", "jax", "keras-tensorflow", "sklearn"):
        assert name in finished.stderr.partition("unknown")[2]


def test_layers_are_measured_in_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    finished = run("--rounds", "1", "--only", "ReLU,Dense", "--json", str(path), script="layers.py")
    assert finished.returncode == 0, finished.stderr
    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    assert list(layers) == ["Dense", "ReLU"]
    for name, layer in layers.items():
        assert name in finished.stdout
        assert len(layer["seconds"]) == 1
        assert layer["seconds"][0][0] > 0
    x, W = 4 * 128 * 1024, 4 * 1024 * 1024
    for peak in layers["Dense"]["peak_bytes"]:  # y and dx, dW and db
        assert peak is None or 2 * x + W < peak < 3 * x + W + 100_000
    image = 4 * math.prod(layers["ReLU"]["batch"])
    for peak in layers["ReLU"]["peak_bytes"]:  # y and dx, and perhaps a mask of bytes
        assert peak is None or 2 * image <= peak < 2.5 * image
