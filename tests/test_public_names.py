"""What people import: sorted, complete, documented, quick."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinynn

MODULES = [
    "callbacks",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "schedules",
]


def test_public_names_are_exactly_all() -> None:
    public = {name for name in vars(tinynn) if not name.startswith("_")}
    internal = {
        "cli",
        "arguments",
        "capture",
        "compiled",
        "diagnose",
        "exercises",
        "kernels",
        "extras",
        "graph",
        "half",
        "interrupt",
        "memory",
        "model",
        "parameter",
        "run",
        "scores",
        "sequential",
        "sklearn",  # imported by those who ask for it
        "training",
    }
    assert public - internal == set(tinynn.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_every_class_imports_from_tinynn_and_from_its_own_module(module: str) -> None:
    found = importlib.import_module(f"tinynn.{module}")
    names = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if inspect.isclass(value) and value.__module__ == found.__name__ and not name.startswith("_")
    ]
    internal = {"Accuracy", "ActivationFunction", "CallbackList", "LogitLoss"}
    if module == "metrics":  # the short names belong to the losses
        names = [name for name in names if not hasattr(tinynn.losses, name)]
    for name in names:
        if inspect.isclass(getattr(found, name)) and name not in internal:
            assert getattr(tinynn, name) is getattr(found, name)


def test_every_public_thing_has_a_docstring_and_every_class_an_example() -> None:
    for name in tinynn.__all__:
        thing = getattr(tinynn, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and not issubclass(thing, Exception | tinynn.metrics.Metric):
            assert ">>>" in (inspect.getdoc(thing) or ""), name


def test_import_is_quick(tmp_path: Path) -> None:
    """Little more than NumPy, which it cannot do without: a quarter of a second in all where NumPy takes a tenth.

    Seconds of the processor, which a busy neighbour does not take; of modules that are compiled already, as they are
    for a user from the second import on, whatever this environment has set.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    best = {"numpy": 9.0, "numpy, tinynn": 9.0}
    for _ in range(4):
        for names in best:
            code = f"import time, {names}; print(time.process_time())"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            best[names] = min(best[names], float(done.stdout))
    assert best["numpy, tinynn"] - best["numpy"] < 0.15


def test_no_file_is_longer_than_it_should_be() -> None:
    root = Path(tinynn.__file__).parents[1]
    long = {}
    for folder in ("tinynn", "tests", "examples", "benchmarks"):
        for path in (root / folder).rglob("*.py"):
            lines = len(path.read_text().splitlines())
            if lines > 500:
                long[str(path.relative_to(root))] = lines
    assert long == {}


def test_the_article_fits_in_thirty_lines() -> None:
    lines = (Path(tinynn.__file__).parents[1] / "examples" / "mnist.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 30
