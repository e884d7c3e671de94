"""``tinynn info``."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import tinynn
from tinynn.cli import main


def test_info_prints_versions_blas_device_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for text in (tinynn.__version__, np.__version__, "BLAS", "thread", "cpu", "CuPy is not installed", "[cuda12]"):
        assert text in out


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["NumPy"] == np.__version__


def test_info_says_why_a_device_cannot_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("TINYNN_DEVICE", "cuda")
    assert main(["info", "--json"]) == 1
    assert "asked for by TINYNN_DEVICE, but CuPy is not installed" in capsys.readouterr().out
