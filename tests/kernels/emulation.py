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
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{')
C_TYPES = {"f": ctypes.c_float, "d": ctypes.c_double, "q": ctypes.c_longlong, "l": ctypes.c_longlong}


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
    for name, parameters in KERNEL.findall(code):
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

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        Kernel.launches += 1
        assert 1 <= block[0] <= 1024
        shape = (ctypes.c_uint * 4)(*(*grid, 1, 1)[:3], block[0])
        start = functools.partial(self.function, shape, *map(self.pack, arguments))
        if Capture.current is not None:
            for argument in arguments:
                if isinstance(argument, GuardArray):
                    Capture.current.note_write(argument.wrapped)
            Capture.current.calls.append(start)
        start()

    @staticmethod
    def pack(argument: Any) -> Any:
        """Return an argument as ctypes wants it; refuse what a kernel would misunderstand."""
        if argument is None:
            return ctypes.c_void_p(None)
        if isinstance(argument, GuardArray):
            assert argument.wrapped.flags.c_contiguous, "a kernel got an array that is not contiguous"
            return ctypes.c_void_p(argument.wrapped.ctypes.data)
        assert isinstance(argument, np.generic), f"a kernel got a {type(argument)}"
        return C_TYPES[argument.dtype.char](argument.item())


class RawModule:
    """Compiled CUDA C, as CuPy's class of this name."""

    def __init__(self, code: str) -> None:
        self.library = library(code)

    def get_function(self, name: str) -> Kernel:
        """Return a kernel."""
        return Kernel(getattr(self.library, f"run_{name}"))


class EmulatedCuPy(FakeCuPy):
    """The pretended CuPy with kernels."""

    __version__ = "14.0.0 (emulated)"
    RawModule = RawModule


EMULATED = EmulatedCuPy()  # one for all tests: what it has compiled is kept
