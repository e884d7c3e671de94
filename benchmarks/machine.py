"""The machine that a benchmark runs on: its processors, and how many of them it may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_processors() -> list[int]:
    """Return the numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def limit_to_threads(threads: int, device: str = "cpu") -> str:
    """Hold this process, and with it all its children, to so many threads; return how, in a sentence.

    Libraries read these variables when they are loaded. The children load them; what stands in the parent is idle.
    """
    for variable in (
        "OMP_NUM_THREADS",  # PyTorch, scikit-learn
        "OPENBLAS_NUM_THREADS",  # NumPy and SciPy
        "MKL_NUM_THREADS",  # NumPy or PyTorch built with MKL
        "VECLIB_MAXIMUM_THREADS",  # NumPy on macOS
        "NPROC",  # JAX
    ):
        os.environ[variable] = str(threads)
    how = "by environment variables and each library's own setting"
    if device == "cpu":  # some would take a graphics card that is there
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow notes that there is no graphics card
    processors = usable_processors()
    if threads < len(processors) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors[:threads])
        how += f", and by binding to the processors {', '.join(map(str, processors[:threads]))}"
    return how


def processor_model() -> str:
    """Return the processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
