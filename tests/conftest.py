"""What all tests share: hypothesis profiles, and the devices that a test runs on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.guard import FakeCuPy
from tests.keras_float64 import keras_float64
from tests.kernels.emulation import COMPILER, EMULATED, EmulatedCuPy
from tinynn.backend import Device, choose_device
from tinynn.kernels.cuda import products
from tinynn.kernels.cuda.cublaslt import CublasLt

quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("ci", max_examples=15, deadline=None, derandomize=True, suppress_health_check=quiet)
settings.register_profile("long", max_examples=1000, deadline=None, suppress_health_check=quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCuPy:
    """CuPy pretended on the CPU, which refuses to mix host and device arrays; cuBLASLt is pretended too."""
    module = FakeCuPy()
    pretend(module, monkeypatch)
    return module


@pytest.fixture
def emulated_cupy(monkeypatch: pytest.MonkeyPatch) -> EmulatedCuPy:
    """The pretended CuPy that runs CUDA kernels, compiled as C++."""
    if COMPILER is None:
        pytest.skip("no C++ compiler (g++ or clang++), which compiles CUDA kernels for the CPU")
    pretend(EMULATED, monkeypatch)
    return EMULATED


def pretend(module: FakeCuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module stand in for CuPy."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(products.cublaslt, "load", lambda major: (CublasLt(module.cublaslt), f"cuBLASLt {major}"))


@pytest.fixture(params=["cpu", "pretended", "emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    """Every device there is; a test that takes it runs on each."""
    if request.param in ("pretended", "emulated"):
        request.getfixturevalue("fake_cupy" if request.param == "pretended" else "emulated_cupy")
        return choose_device("cuda")
    try:
        return choose_device(request.param)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_device_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say themselves which device they want."""
    monkeypatch.delenv("TINYNN_DEVICE", raising=False)


@pytest.fixture(scope="session")
def keras() -> Iterator[Any]:
    """Keras on JAX, in float64, for tests of the group ``parity``."""
    with keras_float64() as module:
        yield module
