"""How much Python runs around NumPy's work: calls are counted, for seconds depend on what else a machine does.

In a network of a few numbers this is all its time. Each bound is a little above what was counted when it was written;
a change that needs more has to be worth it (see benchmarks/README.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tinynn import Dense, Input, Sequential


def calls(function: Callable[[], Any]) -> int:
    """Return how many functions written in Python were called."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def xor_network(metrics: list[str]) -> Sequential:
    """Return the network of exclusive or, compiled."""
    model = Sequential([Input((2,)), Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], device="cpu")
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    return model


x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype="float32")
y = np.array([[0.0], [1.0], [1.0], [0.0]], dtype="float32")


@pytest.mark.parametrize(("metrics", "bound"), [([], 90), (["accuracy"], 115)], ids=str)
def test_a_training_step(metrics: list[str], bound: int) -> None:
    model = xor_network(metrics)
    many = np.tile(x, (50, 1)), np.tile(y, (50, 1))

    def epochs(count: int) -> int:
        return calls(lambda: model.fit(*many, batch_size=4, epochs=count, verbose=0))

    epochs(1)  # compiles kernels
    assert (epochs(3) - epochs(1)) / 100 < bound


def test_predict_of_one_sample() -> None:
    model = xor_network([])
    model.predict(x[:1], verbose=0)
    assert calls(lambda: model.predict(x[:1], verbose=0)) < 110


def test_a_call_of_one_sample() -> None:
    model = xor_network([])
    model(x[:1])
    assert calls(lambda: model(x[:1])) < 48
