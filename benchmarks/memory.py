"""Peaks of memory: what NumPy allocated, and what the process held."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def traced_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that Python and NumPy had allocated at a time during `work`, beyond those before it.

    NumPy reports its arrays to tracemalloc. What a matrix product takes inside of itself is not counted.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def resident_peak(work: Callable[[], object]) -> dict[str, int] | None:
    """Return the most memory the process held at a time during `work`, beyond that before it; None if unknown.

    That of the process as the system counts it, whoever asked for it, so that different libraries can be compared.
    Only Linux can set its highest mark back.
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed before would be filled first, and not be seen
    CLEAR.write_text("5")
    before = resident("VmRSS")
    work()
    return {"peak": resident("VmHWM") - before}


def resident(name: str) -> int:
    """Return one of the process's numbers of memory, in bytes."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"{STATUS} has no {name}")
