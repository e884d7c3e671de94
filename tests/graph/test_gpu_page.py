"""docs/gpu.md: its examples run, on a pretended device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import FakeCuPy

PAGE = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_the_examples_run(fake_cupy: FakeCuPy, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/gpu.md", "exec"), names)
    assert capsys.readouterr().out == "captured: the steps are replayed as a CUDA graph\n"
    model = tinynn.Sequential([tinynn.Input((20,)), tinynn.Dense(3, activation="softmax")], seed=0)
    model.compile(names["Slower"](0.1), "sparse_categorical_crossentropy", graph=True)
    model.fit(names["x"], names["y"], epochs=3, verbose=0)
    assert model.graph_reason.startswith("captured")
    assert np.isfinite(model.get_weights()[0]).all()


def test_it_names_every_precision() -> None:
    from tinynn.kernels.precision import BITS

    for name, bits in BITS.items():
        assert re.search(rf'`"{name}"` \| {bits}\b', PAGE)
