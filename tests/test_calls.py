"""A guard for speed that counts instead of timing: what a training step and a prediction call.

Small networks are bound by Python's calls. A change that needs more of them raises a number here, and can be judged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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
NUMPY_ALONE = {"python": 114, "c": 82}
FUSED = {"python": 201, "c": 118}  # of which the products and their threads 80 and 45


def calls(function: Callable[[], Any]) -> dict[str, int]:
    """Return how many calls are made: of Python functions, of those of tinynn among them, and of functions in C."""
    counts = {"all": 0, "python": 0, "c": 0}

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            counts["all"] += 1
            counts["python"] += frame.f_code.co_filename.startswith(FOLDER)
        elif event == "c_call":
            counts["c"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counts


def calls_of_training(steps: int) -> dict[str, int]:
    """Return how many calls a training of the article's network makes in so many steps."""
    model = tinynn.Sequential([Input((784,)), Dense(784, "relu"), Dense(10, "softmax")], device="cpu", seed=0)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.random((128 * steps, 784), dtype="float32")
    y = tinynn.to_categorical(rng.integers(0, 10, len(x)), 10)
    model.fit(x[:128], y[:128], batch_size=128, verbose=0)  # what happens once
    return calls(lambda: model.fit(x, y, batch_size=128, verbose=0))


def calls_of_one_step() -> dict[str, float]:
    """Return how many calls each further step makes."""
    few, many = calls_of_training(2), calls_of_training(12)
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


def xor_network(metrics: list[str]) -> tinynn.Sequential:
    """Return the network of exclusive or, compiled."""
    model = tinynn.Sequential([Input((2,)), Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], device="cpu")
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    return model


X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype="float32")
Y = np.array([[0.0], [1.0], [1.0], [0.0]], dtype="float32")


@pytest.mark.parametrize(("metrics", "bound"), [([], 112), (["accuracy"], 138)], ids=str)
def test_a_training_step(metrics: list[str], bound: int) -> None:
    model = xor_network(metrics)
    many = np.tile(X, (50, 1)), np.tile(Y, (50, 1))

    def epochs(count: int) -> int:
        return calls(lambda: model.fit(*many, batch_size=4, epochs=count, verbose=0))["all"]

    epochs(1)  # compiles kernels
    assert (epochs(3) - epochs(1)) / 100 < bound


def test_predict_of_one_sample() -> None:
    model = xor_network([])
    model.predict(X[:1], verbose=0)
    assert calls(lambda: model.predict(X[:1], verbose=0))["all"] < 110


def test_a_call_of_one_sample() -> None:
    model = xor_network([])
    model(X[:1])
    assert calls(lambda: model(X[:1]))["all"] < 50
