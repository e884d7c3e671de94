"""Capture: what talks to CuPy to make a CUDA graph of launches, and finds what a graph would freeze."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinynn.kernels.cuda.products import products
from tinynn.kernels.draws import Draws

# Attributes of a layer that each step sets anew and none reads before.
SET_ANEW = {"cache", "activity_penalty", "ahead"}

one_at_a_time = threading.Lock()


class CannotCapture(Exception):
    """Why a step cannot be captured, in half a sentence."""


@functools.cache
def capture_stream(xp: Any, device: int) -> Any:
    """Return the stream that is captured on a device, always the same, for products work in memory of their stream's.

    It is not the default one, which cannot be captured, and non-blocking: it does not wait for that one.
    """
    return xp.cuda.Stream(non_blocking=True)


def pool_of_graphs(xp: Any) -> Any:
    """Return a pool for `capture`, which gives nothing back to the device by itself.

    Where the device is full, CuPy's pools free the blocks that no array has any more, and ask again; but a graph
    writes there at each launch. So this one asks once. Nor has it a limit (``CUPY_GPU_MEMORY_LIMIT``), at which CuPy
    does the same.
    """
    memory = xp.cuda.memory

    def once(size: int) -> Any:
        try:
            return memory.MemoryPointer(memory.Memory(size), 0)
        except xp.cuda.runtime.CUDARuntimeError as error:  # as an error that the pool does not take for its own
            raise MemoryError(f"allocating {size:,} bytes: {error}") from error

    pool = xp.cuda.MemoryPool(once)
    pool.set_limit(0)
    return pool


def capture(xp: Any, pool: Any, work: Callable[[], None]) -> Any:
    """Return the graph of what `work` launches; nothing of it has run.

    Parameters
    ----------
    xp : module
        CuPy.
    pool : cupy.cuda.MemoryPool
        Of `pool_of_graphs`. What `work` needs comes from here and must not go to anybody else as long as the graph is
        used: it is written at each launch.
    work : function
        It was called before, so that all its kernels are compiled.

    Raises
    ------
    CannotCapture
        If CuPy or CUDA refuses something in it: to wait for the device, to copy from the host.
    """
    xp.get_default_memory_pool().free_all_blocks()  # the rehearsal's memory, which the graph needs now
    stream = capture_stream(xp, xp.cuda.runtime.getDevice())
    collecting = gc.isenabled()
    gc.disable()  # what it frees might call CUDA in the midst of a capture
    try:
        with one_at_a_time, stream:
            device = products(xp)
            if device is not None:
                device.workspace(stream.ptr)  # here, for it outlives the pool, and all later graphs work in it too
            with xp.cuda.using_allocator(pool.malloc):
                return launches_of(stream, work)
    except MemoryError as error:
        raise CannotCapture(f"the device has no memory left for what a graph keeps to itself ({error})") from error
    except Exception as error:  # the same work has just been done: whatever is wrong, it is that it is captured
        text = f"{type(error).__name__}: {error}".rstrip(".")
        raise CannotCapture(f"a step does what no graph can hold ({text})") from error
    finally:
        if collecting:
            gc.enable()


def launches_of(stream: Any, work: Callable[[], None]) -> Any:
    """Return the graph of what `work` launches on a stream, which is the current one."""
    stream.begin_capture()
    try:
        work()
    except BaseException:
        with suppress(Exception):  # a capture that failed must be ended too, and says so by an error
            stream.end_capture()
        raise
    return stream.end_capture()


class Frozen:
    """Looks whether layers change something of Python's in each step, which a graph would repeat for ever.

    Parameters
    ----------
    layers : sequence of Layer
        As they are before a step.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.before = [(layer, self.attributes(layer)) for layer in layers]
        self.random = [(layer, source, state_of(source)) for layer in layers for source in sources_of(layer)]

    def attributes(self, layer: Any) -> dict[str, Any]:
        """Return the attributes of a layer, but for those that each step sets anew."""
        return {name: value for name, value in vars(layer).items() if name not in SET_ANEW}

    def check(self) -> None:
        """Raise CannotCapture if something is not as it was."""
        for layer, source, before in self.random:
            if not same(before, state_of(source)):
                raise CannotCapture(f"{layer.label} draws random numbers on the host")
        for layer, attributes in self.before:
            now = self.attributes(layer)
            for name in attributes.keys() | now.keys():
                if name not in attributes or name not in now or not same(attributes[name], now[name]):
                    raise CannotCapture(f"{layer.label} sets its attribute {name!r} anew in each step")

    def put_back(self) -> None:
        """Make the layers as they were: a step that was captured has not happened."""
        for _, source, before in self.random:
            if isinstance(source, Draws):
                source.on_host, source.on_device = before
            else:
                source.bit_generator.state = before
        for layer, attributes in self.before:
            for name in vars(layer).keys() - attributes.keys() - SET_ANEW:
                del vars(layer)[name]
            vars(layer).update(attributes)


def sources_of(layer: Any) -> list[Any]:
    """Return what a layer draws random numbers from."""
    found = [each for value in vars(layer).values() for each in (value if isinstance(value, tuple) else (value,))]
    return [each for each in found if isinstance(each, np.random.Generator | Draws)]


def state_of(source: Any) -> Any:
    """Return what changes when random numbers are drawn on the host."""
    return (source.on_host, source.on_device) if isinstance(source, Draws) else source.bit_generator.state


def same(before: Any, now: Any) -> bool:
    """Whether an attribute is the same thing, or an equal one of plain data."""
    if before is now:
        return True
    if isinstance(before, tuple) and isinstance(now, tuple):
        return len(before) == len(now) and all(map(same, before, now))
    plain = (int, float, bool, str, dict)
    return type(before) is type(now) and isinstance(before, plain) and repr(before) == repr(now)
