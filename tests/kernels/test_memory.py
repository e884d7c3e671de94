"""Memory that is used again, and the folder for what is compiled."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import kernels
from tinynn.layers import Conv2D, Flatten, Input, ReLU

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba, which compiles the fused kernels, is not installed"
)


@pytest.fixture
def memory() -> Any:
    """Return the module, with nothing kept."""
    module = importlib.import_module("tinynn.kernels.fused.memory")
    module.release()
    return module


def place(x: np.ndarray) -> int:
    return x.ctypes.data


def test_memory_is_used_again_when_nobody_has_it(memory: Any) -> None:
    first = memory.empty((512, 1024), "float32")
    second = memory.empty((512, 1024), "float32")
    places = {place(first), place(second)}
    assert len(places) == 2
    view = first[3:, 5:]
    del first, second
    third = memory.empty((256, 1024), "float64")
    assert place(third) in places - {place(view) - 4 * (3 * 1024 + 5)}  # the first is still used, by its view
    del view
    assert place(memory.empty((512, 1024), "int32")) in places
    assert place(memory.empty((513, 1024), "float32")) not in places


def test_no_two_threads_get_the_same_memory(memory: Any) -> None:
    found: list[list[np.ndarray]] = [[] for _ in range(4)]

    def take(mine: list[np.ndarray]) -> None:
        for _ in range(50):
            mine.append(memory.empty((1024, 1024), "float32"))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({place(x) for mine in found for x in mine}) == 200


def test_what_is_kept_has_a_limit(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 10 * 2**20)
    for rows in range(256, 1024, 16):
        memory.empty((rows, 1024), "float32")
    assert sum(size * len(blocks) for size, blocks in memory.blocks.items()) <= 10 * 2**20


def test_a_training_gives_its_memory_back(memory: Any) -> None:
    model = tinynn.Sequential([Input((24, 24, 3)), Conv2D(32, 3, padding="same"), ReLU(), Flatten()], device="cpu")
    model.compile("sgd", "mse")
    x = np.ones((32, 24, 24, 3), dtype="float32")
    kept = []
    watcher = tinynn.LambdaCallback(on_train_batch_end=lambda batch, logs: kept.append(len(memory.blocks)))
    model.fit(x, np.zeros((32, 24 * 24 * 32)), callbacks=[watcher], verbose=0)
    assert kept == [1]
    assert not memory.blocks
    kernels.release()


def test_other_kernels_are_compiled_anew(tmp_path: Path) -> None:
    """Files of another version may have the age and the size of the old ones; numba looks at no more."""
    compiler = importlib.import_module("tinynn.kernels.fused.compiler")
    code = "import tinynn.kernels.fused.compiler as c, tinynn.kernels.fused.optimizers as o\n"
    code += "print(c.CACHE_FOLDER, o._adam._cache.cache_path)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    folder, used = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert Path(folder).name == Path(compiler.CACHE_FOLDER).name
    assert used.startswith(folder)


def test_the_folder_is_named_by_what_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = importlib.import_module("tinynn.kernels.fused.compiler")
    monkeypatch.setattr(compiler, "HERE", tmp_path)
    monkeypatch.setattr(compiler.config, "CACHE_DIR", "")
    (tmp_path / "one.py").write_text("x = 1")
    before = Path(compiler.cache_folder())
    before.mkdir(parents=True)
    assert compiler.cache_folder() == str(before)
    (tmp_path / "one.py").write_text("x = 2")
    assert compiler.cache_folder() != str(before)
    assert not before.exists()  # of an earlier version
