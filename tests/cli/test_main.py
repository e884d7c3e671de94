"""What all commands share: the program itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tinynn
from tinynn.cli import main
from tinynn.cli.output import print_json


def test_python_dash_m_is_the_same_program() -> None:
    result = subprocess.run([sys.executable, "-m", "tinynn", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"tinynn {tinynn.__version__}\n"


def test_unknown_command_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inof"])
    assert ended.value.code == 2
    assert "info" in capsys.readouterr().err


def test_a_reader_who_has_read_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tinynn info --json | {sys.executable} -c 'pass'; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stderr == ""
    assert result.stdout.strip() in ("0", "141")  # 0 if all was written before the reader went


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"output": [1.5, float("nan"), (float("-inf"),)], "n": 3, "name": "NaN"})
    data = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert data == {"output": [1.5, None, [None]], "n": 3, "name": "NaN"}
