"""The emulation of CUDA on the CPU: threads wait as on a device, and a wrong argument is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tinynn.backend import to_host
from tinynn.kernels.cuda.compiler import HEAD

CODE = (
    f"""typedef float T;
{HEAD}"""
    + r"""
extern "C" __global__ void sums(const T* x, T* y) {
    Size at = blockIdx.x * (Size)blockDim.x + threadIdx.x;
    y[at] = block_sum(x[at]) + 1000 * block_max(x[at]);
}

extern "C" __global__ void late(T* y) {
    __shared__ T passed;
    if (threadIdx.x == 40) passed = 7;
    __syncthreads();
    y[threadIdx.x] = passed;
}

extern "C" __global__ void stuck(T* y) {
    if (threadIdx.x < 5) __syncthreads();
}
"""
)
STUCK = f"""
from tests.kernels.emulation import EMULATED
import numpy as np
EMULATED.RawModule(code={CODE!r}).get_function("stuck")((1,), (32,), (EMULATED.asarray(np.zeros(32, "float32")),))
"""


def test_threads_wait_for_each_other(emulated_cupy: Any) -> None:
    module = emulated_cupy.RawModule(code=CODE)
    x = np.random.default_rng(0).integers(0, 9, (3, 96)).astype("float32")
    y = emulated_cupy.asarray(np.zeros_like(x))
    module.get_function("sums")((3,), (96,), (emulated_cupy.asarray(x), y))
    rows = x.sum(axis=1, keepdims=True) + 1000 * x.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(to_host(y), np.broadcast_to(rows, x.shape))
    y = emulated_cupy.asarray(np.zeros(64, "float32"))
    module.get_function("late")((1,), (64,), (y,))
    np.testing.assert_array_equal(to_host(y), 7)


def test_arguments_of_another_type_are_refused(emulated_cupy: Any) -> None:
    kernel = emulated_cupy.RawModule(code=CODE).get_function("late")
    for wrong in (np.zeros(64), np.zeros((64, 2), "float32").T):
        with pytest.raises(AssertionError, match="a kernel got an array"):
            kernel((1,), (64,), (emulated_cupy.asarray(wrong),))
    with pytest.raises(AssertionError):
        kernel((1,), (64,), (np.float32(1),))


def test_threads_that_would_wait_for_ever_end_the_program(emulated_cupy: Any) -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True)
    assert done.returncode != 0
    assert "the threads of a block wait for each other for ever" in done.stderr
