"""A guard for speed that counts instead of timing: what one training step of the article's network calls.

Small networks are bound by Python's calls. A change that needs more of them raises a number here, and can be judged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import kernels
from tinynn.layers import Dense, Input

FOLDER = str(Path(tinynn.__file__).parent)

# Calls of Python functions of tinynn, and of functions in C that Python code calls (operators are not seen).
NUMPY_ALONE = {"python": 108, "c": 82}
FUSED = {"python": 132, "c": 90}


def calls(steps: int) -> dict[str, int]:
    """Return how many calls a training of so many steps makes."""
    model = tinynn.Sequential([Input((784,)), Dense(784, "relu"), Dense(10, "softmax")], device="cpu", seed=0)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.random((128 * steps, 784), dtype="float32")
    y = tinynn.to_categorical(rng.integers(0, 10, len(x)), 10)
    model.fit(x[:128], y[:128], batch_size=128, verbose=0)  # what happens once
    counts = {"python": 0, "c": 0}

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(FOLDER):
            counts["python"] += 1
        elif event == "c_call":
            counts["c"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        model.fit(x, y, batch_size=128, verbose=0)
    finally:
        sys.setprofile(before)
    return counts


def calls_of_one_step() -> dict[str, float]:
    """Return how many calls each further step makes."""
    few, many = calls(2), calls(12)
    return {kind: (many[kind] - few[kind]) / 10 for kind in few}


def test_a_step_with_numpy_alone_calls_no_more_than_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "load_fused", lambda: (None, "NumPy alone, for this test"))
    made = calls_of_one_step()
    for kind, most in NUMPY_ALONE.items():
        assert 0 < made[kind] <= most, made


def test_a_fused_step_calls_no_more_than_it_did() -> None:
    pytest.importorskip("numba", reason="the fused kernels need numba, the extra 'fast'")
    made = calls_of_one_step()
    for kind, most in FUSED.items():
        assert 0 < made[kind] <= most, made
