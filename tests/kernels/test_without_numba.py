"""Without numba the plain lines run, nothing warns, and `tinynn info` says how to get the fused kernels."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from tinynn import kernels, layers


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    """Numba is looked for once in a process: forget what was found, before and after."""
    kernels.load_fused.cache_clear()
    yield
    kernels.load_fused.cache_clear()


def run_plain() -> None:
    """Run a layer and see that nothing was fused."""
    layer = layers.Sigmoid()
    y = layer(np.array([[0.0, 1e4]]))
    assert not layer.was_fused
    np.testing.assert_array_equal(y, [[0.5, 1.0]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), [[0.25, 0.0]])


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    run_plain()
    assert kernels.describe()["kernels"].endswith("pip install '.[fast]'")


def test_with_a_numba_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = types.ModuleType("numba")
    monkeypatch.setitem(sys.modules, "numba", broken)  # an old one fails in many ways; this one has no config
    run_plain()
    assert "numba is installed but cannot be used" in kernels.describe()["kernels"]


def test_with_a_numba_that_must_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = types.SimpleNamespace(config=types.SimpleNamespace(DISABLE_JIT=1))
    monkeypatch.setitem(sys.modules, "numba", numba)
    run_plain()
    assert "NUMBA_DISABLE_JIT" in kernels.describe()["kernels"]


def test_import_does_not_import_numba() -> None:
    code = "import sys, tinynn; print('numba' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
