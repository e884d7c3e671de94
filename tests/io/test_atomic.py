"""Whole or not at all: killed, on a full disk, in a folder that cannot be written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Input, Sequential
from tinynn.io import atomic
from tinynn.io.atomic import write_atomically


def network(seed: int = 0) -> Sequential:
    model = Sequential([Input((4,)), Dense(5)], seed=seed)
    model.build()
    return model


def failing(code: int) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("function", ["open", "fdopen", "fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "The disk is full: free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "You may not write into this folder"),
        (errno.EROFS, "The disk can only be read"),
        (errno.EIO, ""),
    ],
)
def test_a_failure_is_explained_and_leaves_the_old_file(
    function: str, code: int, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    network(seed=0).save_weights(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(code))
        with pytest.raises(OSError, match=f"save_weights: could not write .*Nothing there was changed.*{advice}") as e:
            network(seed=1).save_weights(path)
    assert e.value.errno == code
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before
    network(seed=1).save_weights(path)
    assert path.read_bytes() != before


def test_the_disk_is_told_before_the_name_and_the_folder_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*arguments: Any, name: str = name, real: Any = real) -> None:
            if name == "fsync":
                folder = os.fstat(arguments[0]).st_ino == os.stat(tmp_path).st_ino
                calls.append("fsync of the folder" if folder else "fsync of the file")
            else:
                calls.append("rename")
            real(*arguments)

        monkeypatch.setattr(os, name, noted)
    network().save_weights(tmp_path / "a")
    assert calls == ["fsync of the file", "rename", "fsync of the folder"]


def test_a_disk_without_fsync_of_folders_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    atomic.sync_folder(str(tmp_path))
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        atomic.sync_folder(str(tmp_path))


def test_an_interrupt_leaves_no_litter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        network().save_weights(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_folder_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        network().save_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write a into; make it first"):
        network().save_weights(tmp_path / "nowhere" / "a")
    with pytest.raises(OSError, match="Choose a shorter name"):
        network().save_weights(tmp_path / ("a" * 300))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe is a device or a pipe, which the file would replace"):
        network().save_weights(tmp_path / "pipe")
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_link_is_followed_and_permissions_are_the_usual(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    network().save_weights(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "other").write_bytes(b"")
    assert os.stat(tmp_path / "real").st_mode == os.stat(tmp_path / "other").st_mode


LIMITED = """
import resource, signal, sys, tinynn
model = tinynn.Sequential([tinynn.Input((100,)), tinynn.Dense(100)], seed=0)
model.build()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    model.save_weights(sys.argv[1])
except OSError as error:
    print(error)
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    root = str(Path(tinynn.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_a_write_that_the_system_cuts_short(tmp_path: Path) -> None:
    """No pretending: the system takes 20,000 of 40,000 bytes."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with run(LIMITED, str(path)) as process:
        output, _ = process.communicate(timeout=60)
    assert "The file is larger than the system allows" in output
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


SAVING = """
import itertools, sys, tinynn
model = tinynn.Sequential([tinynn.Input((300,)), tinynn.Dense(700)], seed=0)
model.build()
print("ready", flush=True)
for number in itertools.count(1):
    model.arena.values[:] = number
    model.save_weights(sys.argv[1])
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    model = Sequential([Input((300,)), Dense(700)], seed=0)
    model.build()
    model.arena.values[:] = 0
    model.save_weights(path)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(20):
        with run(SAVING, str(path)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            process.wait()
        model.load_weights(path)
        numbers = np.unique(model.arena.values)
        assert numbers.size == 1
        seen.append(int(numbers[0]))
        litter = [name for name in os.listdir(tmp_path) if name != path.name]
        assert len(litter) <= 1
        for name in litter:
            assert name.startswith(".weights.safetensors.")
            assert name.endswith(".tmp")
            os.unlink(tmp_path / name)
    assert len(set(seen)) > 5  # they were killed at different moments indeed
    print(f"killed 20 times, after {seen} saves; the file was whole each time")


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_file_that_others_may_not_read_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_atomically(path, [b"one"], "note")
    os.chmod(path, 0o600)
    write_atomically(path, [b"two"], "note")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
