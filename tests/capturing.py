"""A pretended CUDA graph: what is done while a stream is captured is noted, undone, and done again at each launch.

As on a device, nothing has happened when the capture ends: what was written is as before, and what was made holds
rubbish until the graph is launched. A launch calls the same functions on the same memory; what Python computed in
between is not computed again. So a number that should change from step to step, and was a number of Python's while
the step was captured, is frozen here as it would be there.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

calls_outside = 0  # of functions on the device, while nothing was captured

REFUSED = "the current stream is capturing, so synchronous API calls are disallowed"


def owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory this one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def arrays_in(value: Any) -> list[np.ndarray]:
    """Return the arrays in an argument or a result."""
    if isinstance(value, tuple | list):
        return [array for member in value for array in arrays_in(member)]
    return [value] if isinstance(value, np.ndarray) else []


class Capture:
    """What is noted while a stream is captured."""

    current: Capture | None = None

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.scalars: list[tuple[Any, ...]] = []
        self.before: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.made: list[np.ndarray] = []

    def note_write(self, array: np.ndarray) -> None:
        """Remember what is in memory that will be written."""
        base = owner(array)
        self.before.setdefault(id(base), (base, base.copy()))

    def run(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], writes: Any
    ) -> Any:
        """Call a function that writes into an array, or makes a new one, and note how to do it again."""
        for array in arrays_in(writes):
            self.note_write(array)
        result = function(*arguments, **options)
        given = [owner(array) for array in arrays_in([*arguments, *options.values()])]
        if isinstance(result, np.generic):
            result = np.asarray(result)
        new = [array for array in arrays_in(result) if not any(owner(array) is base for base in given)]
        if not new and writes is None:
            return result  # a view, which needs no launch
        self.made += new
        name = getattr(function, "__name__", str(function))
        plain = [value for value in (*arguments, *options.values()) if isinstance(value, int | float)]
        self.scalars.append((name, *plain))

        def again() -> None:
            fresh = arrays_in(np.asarray(r) if isinstance(r := function(*arguments, **options), np.generic) else r)
            for old, value in zip(arrays_in(result), fresh, strict=True):
                if owner(old) is not owner(value):
                    old[...] = value

        self.calls.append(again)
        return result

    def note_product(self, multiply: Callable[[], None], y: np.ndarray) -> None:
        """Note a product of the pretended cuBLASLt."""
        self.note_write(y)
        multiply()
        self.calls.append(multiply)

    def undo(self) -> None:
        """Put back what was written; what was made holds rubbish."""
        for base, before in reversed(self.before.values()):  # of what was written twice the first state is the one
            base[...] = before
        for array in self.made:
            if array.dtype.kind == "f":
                array[...] = np.nan


def run(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], writes: Any = None) -> Any:
    """Call a function on the pretended device."""
    global calls_outside
    if Capture.current is None:
        calls_outside += 1
        return function(*arguments, **options)
    return Capture.current.run(function, arguments, options, writes)


def need_no_capture(what: str = REFUSED) -> None:
    """Raise RuntimeError, as CuPy does, for what a stream that is captured cannot do."""
    if Capture.current is not None:
        raise RuntimeError(what)


class Graph:
    """What was captured."""

    launches = 0

    def __init__(self, capture: Capture) -> None:
        self.capture = capture

    def launch(self, stream: Any = None) -> None:
        Graph.launches += 1
        for call in self.capture.calls:
            call()


class Stream:
    """A stream that can be captured."""

    null: Any = types.SimpleNamespace(ptr=0, synchronize=lambda: None)
    stack: ClassVar[list[Any]] = [null]

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking, "capturing a blocking stream fails where something runs on the default one"
        self.ptr = id(self)

    def __enter__(self) -> Stream:
        Stream.stack.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        Stream.stack.pop()

    def begin_capture(self) -> None:
        assert Capture.current is None
        Capture.current = Capture()

    def end_capture(self) -> Graph:
        capture, Capture.current = Capture.current, None
        assert capture is not None
        capture.undo()
        return Graph(capture)

    def synchronize(self) -> None:
        need_no_capture()


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class Memory:
    """Memory of the device, as far as there is some left."""

    left = 2**30

    def __init__(self, size: int) -> None:
        if size > Memory.left:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")


class MemoryPool:
    """A pool that counts nothing, for arrays are NumPy's; where the device is full it asks again, as CuPy's."""

    def __init__(self, allocator: Any = None) -> None:
        self.allocator, self.limit, self.freed = allocator, None, 0

    def malloc(self, size: int) -> Any:
        assert self.allocator is not None
        try:
            return self.allocator(size)
        except CUDARuntimeError:
            self.free_all_blocks()
            return self.allocator(size)

    def set_limit(self, size: int) -> None:
        self.limit = size

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        self.freed += 1


class Allocator:
    """Whose memory new arrays are in."""

    current: Any = None

    @staticmethod
    @contextmanager
    def using(allocator: Any) -> Any:
        before, Allocator.current = Allocator.current, allocator
        try:
            yield
        finally:
            Allocator.current = before


def cuda() -> types.SimpleNamespace:
    """Return the pretended ``cupy.cuda``."""
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda index: {"name": b"a pretended GPU"},
        getDevice=lambda: 0,
        runtimeGetVersion=lambda: 13010,
        driverGetVersion=lambda: 13010,
        memGetInfo=lambda: (2**30, 2**34),
        deviceSynchronize=need_no_capture,
        CUDARuntimeError=CUDARuntimeError,
    )
    memory = types.SimpleNamespace(
        OutOfMemoryError=OutOfMemoryError, Memory=Memory, MemoryPointer=lambda memory, offset: memory
    )
    return types.SimpleNamespace(
        runtime=runtime,
        memory=memory,
        Stream=Stream,
        MemoryPool=MemoryPool,
        using_allocator=Allocator.using,
        get_current_stream=lambda: Stream.stack[-1],
        alloc=lambda size: types.SimpleNamespace(ptr=1),
    )
