"""The elementwise kernels beside a captured step: their C++, compiled for this processor, is held to its NumPy twin."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import guard
from tinynn.backend import choose_device, to_device, to_host
from tinynn.kernels.cuda import products, steps

COMPILER = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
TYPES = {"T": "float", "S": "float", "int64": "long long", "float64": "double", "uint32": "unsigned"}
TYPES["uint16"] = "unsigned short"


class Compiled:
    """Stands for ElementwiseKernel: a loop over ``i`` around the operation, with ``raw`` arrays as they are."""

    def __init__(self, in_params: str, out_params: str, operation: str, name: str) -> None:
        self.params = [param.split() for param in f"{in_params}, {out_params}".split(", ")]
        self.inputs, self.operation, self.name = len(in_params.split(", ")), operation, name

    def source(self) -> str:
        given, inside = [], []
        for number, (*kind, name) in enumerate(self.params):
            scalar = kind in (["int64"], ["float64"])
            given.append(f"{TYPES[kind[-1]]} {name}" if scalar else f"{TYPES[kind[-1]]} *{name}_")
            if kind[0] == "raw":
                inside.append(f"auto {name} = {name}_;")
            elif not scalar:
                inside.append(f"{'const auto' if number < self.inputs else 'auto'} &{name} = {name}_[i];")
        loop = f"for (long i = 0; i < n_; i++) {{ {' '.join(inside)} {self.operation}; }}"
        return f'extern "C" void {self.name}(long n_, {", ".join(given)}) {{ {loop} }}'

    def __call__(self, *arguments: Any, size: int, folder: Path) -> None:
        path = folder / f"{self.name}.cpp"
        path.write_text(self.source())
        library = path.with_suffix(".so")
        assert COMPILER is not None
        subprocess.run([COMPILER, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, path], check=True)
        function = getattr(ctypes.CDLL(str(library)), self.name)
        given = []
        for (*kind, _), argument in zip(self.params, arguments, strict=True):
            if isinstance(argument, np.ndarray):
                given.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                given.append({"int64": ctypes.c_longlong, "float64": ctypes.c_double}[kind[0]](argument))
        function(ctypes.c_long(size), *given)


class Library:
    """Stands for CuPy."""

    ElementwiseKernel = Compiled


X = np.random.default_rng(0).normal(size=(7, 3, 2)).astype("float32")
ORDER = np.random.default_rng(1).permutation(7)


def copies(arguments: tuple[Any, ...]) -> list[Any]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


CASES: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "gather": (steps.gather_kernel(Library), (X, ORDER, np.array([2, 9]), 6, np.zeros((4, 3, 2), "float32")), 24),
    "note_loss": (
        steps.note_loss_kernel(Library),
        (np.array(1.5, "float32"), 4, np.zeros(5, "float32"), np.array([8, 3])),
        1,
    ),
    "write_numbers": (
        steps.write_numbers_kernel(Library, (float, int, float)),
        (0.1, 7, 1e-3, np.zeros(5, "float32")),
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_operation_does_what_the_twin_does(name: str, tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler (g++ or clang++)")
    kernel, arguments, size = CASES[name]
    mine, theirs = copies(arguments), copies(arguments)
    kernel(*mine, size=size, folder=tmp_path)
    guard.ElementwiseKernel.twins[name][0](*theirs)
    changed = 0
    for before, one, other in zip(arguments, mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
        changed += isinstance(before, np.ndarray) and not np.array_equal(before, one)
    assert changed


def test_rounding_to_bfloat16_does_what_the_twin_does(tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler (g++ or clang++)")
    x = np.random.default_rng(0).normal(size=10_000).astype("float32")
    x[:4] = np.inf, -np.inf, 0, 1e-40
    bits, upper = x.view("uint32"), np.zeros(10_000, "uint16")
    products.rounding(Library)(bits, upper, size=len(x), folder=tmp_path)
    np.testing.assert_array_equal(upper, guard.round_to_bfloat16(bits))
    bits[0] = np.array(np.nan, "float32").view("uint32") | 1
    products.rounding(Library)(bits, upper, size=1, folder=tmp_path)
    assert upper[0] == 0x7FFF


@pytest.mark.gpu
def test_on_a_device() -> None:
    try:
        device = choose_device("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))
    there = [to_device(array, device) for array in (X, ORDER, np.array([2, 9]), np.zeros((4, 3, 2), "float32"))]
    steps.gather(device.xp, *there)
    np.testing.assert_array_equal(to_host(there[3]), X[ORDER[2:6]])
    losses, place = to_device(np.zeros(5, "float32"), device), to_device(np.array([8, 3]), device)
    steps.note_loss(device.xp, to_device(np.array(1.5, "float32"), device), 4, losses, place)
    assert to_host(losses).tolist() == [0, 0, 0, 1.5, 0]
    assert to_host(place).tolist() == [12, 4]
    steps.write_numbers(device.xp, (0.1, 7, 1e-3), losses)
    np.testing.assert_array_equal(to_host(losses)[:3], np.array([0.1, 7, 1e-3], "float32"))
