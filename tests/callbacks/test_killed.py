"""A training that is killed and resumed leaves what one leaves that was never killed, in every callback and file."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

SCRIPT = Path(__file__).with_name("killed_training.py")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


def run(folder: Path, after: int) -> int:
    return subprocess.run([sys.executable, str(SCRIPT), str(folder), str(after)], check=False).returncode


def records(folder: Path) -> list[Any]:
    """All records of all files, without their time."""
    found = []
    for path in sorted(folder.iterdir()):
        for event in LegacyEventFileLoader(str(path)).Load():
            event.wall_time = 0
            found.append(event.SerializeToString(deterministic=True))
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The visible files; a kill may leave a temporary one, whose name begins with a dot."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    }


def test_killed_and_resumed_it_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    once, killed = tmp_path / "once", tmp_path / "killed"
    assert run(once, 0) == 0
    # In the first epoch, before the first checkpoint; within epochs, with checkpoints behind; after an epoch was
    # written down and before the checkpoint that follows; and twice from the same checkpoint.
    for after in (2, 4, 6, 7, 1, 9):
        assert run(killed, after) == -signal.SIGKILL
    assert run(killed, 0) == 0
    expected, found = files(once), files(killed)
    assert sorted(found) == sorted(expected)
    assert sum(name.endswith(".tinynn") for name in expected) > 1
    assert [name for name in expected if found[name] != expected[name]] == []
    for name in ("train", "validation"):
        assert records(killed / "logs" / name) == records(once / "logs" / name)
