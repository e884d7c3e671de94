"""Devices: which one, why, and that host and device arrays never mix unseen."""

from __future__ import annotations

import ast
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import CUPY_NAMES, FakeCuPy, GuardArray
from tinynn import backend
from tinynn.backend import Device, array_module, choose_device, generator, to_device, to_host

PACKAGE = Path(tinynn.__file__).parent


def test_auto_falls_back_to_the_cpu_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    device = choose_device("auto")
    assert device.name == "cpu"
    assert device.xp is np
    assert "CuPy is not installed" in device.reason
    assert "pip install '.[cuda12]'" in device.reason


def test_explicit_cuda_that_cannot_be_had_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r"'cuda' was asked for, but CuPy is not installed\. Install .*cuda12"):
        choose_device("cuda")


def test_a_driver_that_does_not_answer_is_named(fake_cupy: FakeCuPy) -> None:
    def fail() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver")

    fake_cupy.cuda.runtime.getDeviceCount = fail
    with pytest.raises(RuntimeError, match=r"driver does not answer: cudaErrorInsufficientDriver.*nvidia-smi"):
        choose_device("cuda")
    assert choose_device("auto").name == "cpu"


def test_no_device_is_named(fake_cupy: FakeCuPy) -> None:
    fake_cupy.cuda.runtime.getDeviceCount = lambda: 0
    with pytest.raises(RuntimeError, match="this machine has no CUDA device"):
        choose_device("cuda")


@pytest.mark.parametrize("version", ["13.6.0", "14.0.1", "14.0.0rc1"])
def test_a_cupy_that_is_too_old_is_named(fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    fake_driver(monkeypatch, (13, 0), "cupy-cuda13x")
    monkeypatch.setattr(fake_cupy, "__version__", version)
    advice = (
        rf"CuPy {version} is installed and too old, .* needs CuPy 14\.1 or later\. .* pip install '\.\[cuda13\]'\.$"
    )
    with pytest.raises(RuntimeError, match=advice):
        choose_device("cuda")
    assert choose_device("auto").name == "cpu"
    for enough in ("14.1.0", "14.2.0b1", "15.0"):
        monkeypatch.setattr(fake_cupy, "__version__", enough)
        assert choose_device("cuda").name == "cuda"


def test_a_missing_toolkit_is_named(fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("libnvrtc.so not found")

    monkeypatch.setattr(fake_cupy, "ones", fail, raising=False)
    with pytest.raises(RuntimeError, match=r"cannot compute on it: libnvrtc\.so not found.*toolkit"):
        choose_device("cuda")


def fake_driver(monkeypatch: pytest.MonkeyPatch, speaks: tuple[int, int] | None, *installed: str) -> None:
    monkeypatch.setattr(backend, "driver_version", lambda: speaks)
    monkeypatch.setattr(backend, "installed_cupys", lambda: list(installed))


@pytest.mark.parametrize(
    ("speaks", "installed", "advice"),
    [
        (None, (), r"'\.\[cuda12\]' or pip install '\.\[cuda13\]'\. On this machine no NVIDIA driver was found"),
        ((12, 4), (), r"The driver of this machine speaks CUDA 12\.4\. .* fits: pip install '\.\[cuda12\]'\.$"),
        ((13, 1), (), r"speaks CUDA 13\.1\. .* fits: pip install '\.\[cuda13\]'\.$"),
        ((14, 0), (), r"speaks CUDA 14\.0\. .* fits: pip install '\.\[cuda13\]'\.$"),
        ((11, 8), (), r"speaks CUDA 11\.8, and tinynn needs one for CUDA 12 or later: install a newer driver\.$"),
        ((12, 4), ("cupy-cuda13x",), r"12\.4\. .*: pip uninstall cupy-cuda13x, then pip install '\.\[cuda12\]'\.$"),
        ((13, 0), ("cupy-cuda13x",), r"13\.0\. Install .* fits: pip install '\.\[cuda13\]'\.$"),
        ((13, 0), ("cupy-cuda12x", "cupy-cuda13x"), "cupy-cuda12x and cupy-cuda13x are both installed and break each"),
    ],
    ids=str,
)
def test_driver_toolkit_and_cupy_that_do_not_fit_are_named(
    fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch, speaks: Any, installed: tuple[str, ...], advice: str
) -> None:
    fake_driver(monkeypatch, speaks, *installed)

    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    works = fake_cupy.cuda.runtime.getDeviceCount
    fake_cupy.cuda.runtime.getDeviceCount = fail
    with pytest.raises(RuntimeError, match=f"the CUDA driver does not answer: cudaErrorInsuff.*{advice}"):
        choose_device("cuda")
    fake_cupy.cuda.runtime.getDeviceCount = works
    monkeypatch.setattr(fake_cupy, "ones", fail, raising=False)
    with pytest.raises(RuntimeError, match=f"sees a pretended GPU, but cannot compute on it: .*another.*{advice}"):
        choose_device("cuda")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=f"CuPy is not installed\\. .*{advice}"):
        choose_device("cuda")


def test_the_driver_is_asked_itself() -> None:
    found = backend.driver_version()
    assert found is None or found >= (11, 0)
    assert isinstance(backend.installed_cupys(), list)


def test_environment_variable_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNN_DEVICE", "cpu")
    assert choose_device().reason == "the CPU was asked for by TINYNN_DEVICE"
    monkeypatch.setenv("TINYNN_DEVICE", "gpu")
    with pytest.raises(ValueError, match="unknown device 'gpu' asked for by TINYNN_DEVICE; choose one of auto, cpu"):
        choose_device()


def test_argument_wins_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNN_DEVICE", "nonsense")
    assert choose_device("cpu").name == "cpu"


def test_device_round_trip(device: Device) -> None:
    x = np.arange(6.0).reshape(2, 3)
    there = to_device(x, device)
    assert array_module(there) is device.xp
    np.testing.assert_array_equal(to_host(there), x)


def test_foreign_arrays_are_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"expected a NumPy or CuPy array, got builtins\.list\. Convert"):
        array_module([1.0])


def test_seeds_are_reproducible_and_purposes_independent() -> None:
    assert generator(1, 2).integers(1 << 60) == generator(1, 2).integers(1 << 60)
    assert generator(1, 2).integers(1 << 60) != generator(1, 3).integers(1 << 60)
    assert generator(1, 2).integers(1 << 60) != generator(2, 2).integers(1 << 60)


def test_guard_refuses_what_cupy_refuses(fake_cupy: FakeCuPy) -> None:
    there = fake_cupy.asarray(np.ones(3))
    for mix in (
        lambda: there + np.ones(3),
        lambda: np.ones(3) + there,
        lambda: np.exp(there),
        lambda: np.asarray(there),
        lambda: fake_cupy.matmul(there, np.ones(3)),
        lambda: fake_cupy.no_such_function,
        lambda: fake_cupy.errstate,
        lambda: there.no_such_method,
    ):
        with pytest.raises((TypeError, AttributeError)):
            mix()


def test_every_xp_name_used_exists_in_cupy() -> None:
    used = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xp":
                used.add(node.attr)
    assert "einsum" in used
    assert used <= CUPY_NAMES


def test_training_on_a_device_equals_training_on_the_cpu(device: Device, rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 6)).astype("float32")
    y = rng.integers(3, size=50)

    def train(where: str | Device) -> tuple[dict[str, list[float]], np.ndarray, list[np.ndarray]]:
        model = tinynn.Sequential(
            [tinynn.Dense(8, activation="relu"), tinynn.Dense(3, activation="softmax")], device=where, seed=3
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_split=0.2)
        return history.history, model.predict(x), model.get_weights()

    here, there = train("cpu"), train(device)
    for name, values in here[0].items():
        np.testing.assert_allclose(there[0][name], values, rtol=1e-4)
    np.testing.assert_allclose(there[1], here[1], rtol=1e-4, atol=1e-6)
    for a, b in zip(here[2], there[2], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def test_a_training_step_does_not_wait_for_the_device(fake_cupy: FakeCuPy, rng: np.random.Generator) -> None:
    x = rng.normal(size=(640, 4)).astype("float32")
    y = rng.integers(3, size=640)
    model = tinynn.Sequential([tinynn.Dense(3, activation="softmax")], device="cuda", seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, verbose=0)
    scores = tinynn.scores.Scores(model.metrics_for(y))
    there = to_device(x, model.device), to_device(y, model.device)
    parts = model.trained_parts("fit")
    before = GuardArray.waits
    for _ in range(5):
        model.train_step(parts, *there, scores, "here")
    assert GuardArray.waits == before
    scores.result()
    assert GuardArray.waits > before  # asking for the scores is what waits


def test_import_does_not_import_cupy_matplotlib_or_rich() -> None:
    code = "import sys, tinynn; print([m for m in ('cupy', 'matplotlib', 'rich', 'threadpoolctl') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_describe_says_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    rows = backend.describe()
    assert rows["NumPy"] == np.__version__
    assert "thread" in rows["BLAS"]
    assert rows["device"] == "cpu"
    assert "CuPy is not installed" in rows["because"]


def test_describe_without_known_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", types.SimpleNamespace(threadpool_info=list))
    assert "threads unknown" in backend.describe()["BLAS"]


def test_describe_on_a_device(fake_cupy: FakeCuPy) -> None:
    rows = backend.describe()
    assert rows["device"] == "cuda"
    assert rows["CuPy"] == "14.1.0 (pretended), of CUDA 13.1; the driver speaks CUDA 13.1"
    assert rows["products"] == "cuBLASLt 13"
    assert "a pretended GPU" in rows["because"]
