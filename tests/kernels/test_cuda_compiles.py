"""Every CUDA source compiles for the H100 (sm_90), on a machine without a GPU: NVRTC needs none.

NVRTC comes with the dependency group ``cuda``, or with CuPy's toolkit.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import tinynn.kernels.cuda
from tests.kernels.emulation import KERNEL, MOST_UNBOUND
from tinynn.kernels.cuda.compiler import TYPES, Source

assert tinynn.kernels.cuda.__all__


def find_nvrtc() -> Any:
    """Return NVIDIA's compiler, None where it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return None


@pytest.fixture(scope="module")
def nvrtc() -> Any:
    found = find_nvrtc()
    if found is None:
        pytest.skip("NVRTC is not installed: pip install --group cuda, or nvidia-cuda-nvrtc")
    return found


def compile_cuda(nvrtc: Any, code: str, *more: bytes) -> tuple[int, str]:
    """Return the size of the machine code, 0 where there is none, and what the compiler has to say."""
    options = (b"--gpu-architecture=sm_90", *more)
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None) == 0
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    size.value = 0
    if not failed:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return size.value, log.value.decode().strip()


@pytest.mark.parametrize("source", Source.every, ids=lambda source: source.name)
@pytest.mark.parametrize("kind", TYPES)
def test_every_source_compiles_for_sm_90(source: Source, kind: str, nvrtc: Any) -> None:
    size, log = compile_cuda(nvrtc, source.code_for(kind))
    assert size > 1000, log
    assert not log


@pytest.mark.parametrize("source", Source.every, ids=lambda source: source.name)
@pytest.mark.parametrize("kind", TYPES)
def test_a_block_of_every_kernel_has_registers_enough(source: Source, kind: str, nvrtc: Any) -> None:
    """A multiprocessor has 65536; a launch that needs more of them is refused."""
    code = source.code_for(kind)
    most = {name: 1024 if bound else MOST_UNBOUND for bound, name, _ in KERNEL.findall(code)}
    _, log = compile_cuda(nvrtc, code, b"--ptxas-options=-v")
    found = re.findall(r"entry function '(\w+)'.*?Used (\d+) registers", log, flags=re.DOTALL)
    assert {name for name, _ in found} == set(most)
    assert [name for name, registers in found if int(registers) * most[name] > 65536] == []


def test_a_mistake_is_found(nvrtc: Any) -> None:
    size, log = compile_cuda(
        nvrtc, Source.every[0].code_for("f") + "__global__ void broken(T* x) { x[0] = undeclared; }"
    )
    assert size == 0
    assert 'identifier "undeclared" is undefined' in log


def test_sources_have_names_of_their_own() -> None:
    names = [source.name for source in Source.every]
    assert len(names) == len(set(names)) > 0
