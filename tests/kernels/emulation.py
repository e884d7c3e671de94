"""CUDA C run on the CPU: a CuPy that is pretended and compiles kernels as C++ (see cuda_on_cpu.h)."""

from __future__ import annotations

import ctypes
import functools
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.capturing import Capture
from tests.guard import FakeCuPy, GuardArray

SHIM = (Path(__file__).parent / "cuda_on_cpu.h").read_text()
COMPILER = shutil.which("g++") or shutil.which("clang++")
KERNEL = re.compile(r'extern "C" __global__ void (OF_COLUMNS )?(\w+)\(([^)]*)\)\s*\{')
MOST_UNBOUND = 512  # threads of a block, where the compiler is free to give each of them more than 64 registers
DTYPES = {"bool": "bool", "float": "float32", "double": "float64", "Size": "int64", "Word": "uint64"}
C_TYPES = {"f": ctypes.c_float, "d": ctypes.c_double, "l": ctypes.c_longlong, "L": ctypes.c_ulonglong}


def kinds_of(parameters: str, number: str) -> list[str]:
    """Return the dtype of every parameter, after a star where it is a pointer."""
    kinds = []
    for parameter in parameters.split(","):
        words, dtypes = parameter.replace("*", " * ").split(), {**DTYPES, "T": number}
        kinds.append("*" * ("*" in words) + next(dtypes[word] for word in words if word in dtypes))
    return kinds


def waiting(code: str) -> set[str]:
    """Return the functions whose threads wait for each other, directly or in a function that they call."""
    found = {"__syncthreads", "__shfl_xor_sync"}
    for definition in re.split(r"\n(?=[^\n/]*__(?:device|global)__)", code):
        name = re.match(r"[^\n(]*?(\w+)\(", definition)
        if name and any(re.search(rf"\b{other}\(", definition[name.end() :]) for other in found):
            found.add(name.group(1))
    return found


def cpp(code: str) -> str:
    """Return CUDA C as C++, with a function ``run_NAME(shape, arguments)`` for each kernel."""
    wait = waiting(code)
    runners = []
    for _, name, parameters in KERNEL.findall(code):
        names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", parameters))
        waits = "true" if name in wait else "false"
        runners.append(
            f'extern "C" void run_{name}(const unsigned* shape, {parameters}) '
            f"{{ run_grid(shape, {waits}, [=] {{ {name}({names}); }}); }}"
        )
    return "\n".join([SHIM, code, *runners])


def library(code: str) -> ctypes.CDLL:
    """Return the compiled kernels; what was compiled once is kept in a temporary folder."""
    assert COMPILER is not None
    text = cpp(code)
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"tinynn-cuda-on-cpu-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    path = folder / f"{key}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / "kernels.so"
            (Path(place) / "kernels.cpp").write_text(text)
            command = [COMPILER, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "kernels.cpp", "-o", str(made)]
            subprocess.run(command, check=True, cwd=place)
            shutil.copy(made, folder / f"{key}.{os.getpid()}")
        (folder / f"{key}.{os.getpid()}").replace(path)
    return ctypes.CDLL(str(path))


class Kernel:
    """A kernel: called as CuPy's are, with grid, block and arguments."""

    launches: int = 0

    def __init__(self, function: Any, most: int, kinds: list[str]) -> None:
        self.function = function
        self.most = most
        self.kinds = kinds

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        Kernel.launches += 1
        assert 1 <= block[0] <= self.most, f"a kernel was started with {block[0]} threads, of at most {self.most}"
        assert all(blocks <= 65535 for blocks in grid[1:]), f"a grid of {grid} blocks, which is refused"
        shape = (ctypes.c_uint * 4)(*(*grid, 1, 1)[:3], block[0])
        packed = [self.pack(*pair) for pair in zip(arguments, self.kinds, strict=True)]
        start = functools.partial(self.function, shape, *packed)
        if Capture.current is not None:
            for argument in arguments:
                if isinstance(argument, GuardArray):
                    Capture.current.note_write(argument.wrapped)
            Capture.current.calls.append(start)
        start()

    @staticmethod
    def pack(argument: Any, kind: str) -> Any:
        """Return an argument as ctypes wants it; refuse what a kernel of this signature would misunderstand."""
        if argument is None:
            assert kind.startswith("*")
            return ctypes.c_void_p(None)
        if isinstance(argument, GuardArray):
            assert argument.wrapped.flags.c_contiguous, "a kernel got an array that is not contiguous"
            assert kind == f"*{argument.dtype}", f"a kernel got an array of {argument.dtype} for {kind}"
            return ctypes.c_void_p(argument.wrapped.ctypes.data)
        assert isinstance(argument, np.generic), f"a kernel got a {type(argument)}"
        assert kind == str(argument.dtype), f"a kernel got a {argument.dtype} for {kind}"
        return C_TYPES[argument.dtype.char](argument.item())


class RawModule:
    """Compiled CUDA C, as CuPy's class of this name."""

    def __init__(self, code: str) -> None:
        self.library = library(code)
        number = DTYPES[re.match(r"typedef (\w+) T;", code).group(1)]
        self.kinds = {
            name: (1024 if bound else MOST_UNBOUND, kinds_of(parameters, number))
            for bound, name, parameters in KERNEL.findall(code)
        }

    def get_function(self, name: str) -> Kernel:
        """Return a kernel."""
        return Kernel(getattr(self.library, f"run_{name}"), *self.kinds[name])


class EmulatedCuPy(FakeCuPy):
    """The pretended CuPy with kernels."""

    __version__ = "14.1.0 (emulated)"
    RawModule = RawModule


EMULATED = EmulatedCuPy()  # one for all tests: what it has compiled is kept
