"""The command line."""

from __future__ import annotations

import json
import subprocess
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


def test_python_dash_m_is_the_same_program() -> None:
    result = subprocess.run([sys.executable, "-m", "tinynn", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"tinynn {tinynn.__version__}\n"


def test_unknown_command_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inof"])
    assert ended.value.code == 2
    assert "info" in capsys.readouterr().err
