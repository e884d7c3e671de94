"""A pretended CuPy, so that code which would fail on a GPU fails on a machine without one.

``GuardArray`` computes with NumPy and refuses what CuPy refuses: to be turned into a NumPy array by itself, to meet a
NumPy array in an operation, and functions and methods that CuPy has not. It counts what would make the host wait. While
a stream is captured (tests/capturing.py) every call is noted, and what CuPy refuses then is refused.

``FakeCuPy`` stands in for the module; `tests/cupy_names.txt` lists the names that CuPy 13 and CuPy 14 have in common.
"""

from __future__ import annotations

import operator
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests import capturing
from tests.capturing import need_no_capture, run
from tests.pretended_cublaslt import PretendedLibrary

CUPY_NAMES = frozenset((Path(__file__).parent / "cupy_names.txt").read_text().split())
METHODS = ("reshape", "astype", "sum", "max", "min", "argmax", "mean", "copy", "ravel", "transpose", "all", "any")
METHODS += ("swapaxes", "view")
ATTRIBUTES = ("shape", "ndim", "size", "dtype", "itemsize", "nbytes", "T", "strides")
WAITING = ("unique", "nonzero", "flatnonzero", "argwhere", "bincount", "extract", "array_equal", "allclose")
CUBLAS = ("matmul", "dot", "tensordot", "inner", "vdot")
FROM_HOST = "the current stream is capturing, so H2D transfers are disallowed"
BINARY = ("add", "sub", "mul", "truediv", "pow", "matmul", "mod", "floordiv", "lt", "le", "gt", "ge", "eq", "ne", "and")


def inside(value: Any) -> Any:
    """Return what a guard array wraps; refuse a NumPy array, which would live on the host."""
    if isinstance(value, GuardArray):
        return value.wrapped
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array meets a device array")
    if isinstance(value, tuple | list):
        return type(value)(inside(member) for member in value)
    return value


def inside_all(options: dict[str, Any]) -> dict[str, Any]:
    """Return named arguments with what guard arrays wrap."""
    return {key: inside(value) for key, value in options.items()}


def outside(value: Any) -> Any:
    """Wrap an array; CuPy returns arrays of no axes where NumPy returns numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return GuardArray(np.asarray(value))
    return value


class GuardArray:
    """An array on a pretended device."""

    __module__ = "cupy"  # tinynn.backend.array_module looks at this
    __array_ufunc__ = None  # NumPy's operators and functions leave it alone, and so fail
    waits = 0  # how often the host would have waited for the device

    def __init__(self, wrapped: np.ndarray) -> None:
        self.wrapped = wrapped

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use .get() to construct one explicitly.")

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.wrapped.ctypes.data)

    def wait(self) -> None:
        need_no_capture()
        GuardArray.waits += 1

    def get(self) -> np.ndarray:
        self.wait()
        return self.wrapped.copy()

    def __getitem__(self, key: Any) -> Any:
        keys = inside(key)
        if any(isinstance(one, np.ndarray) and one.dtype == bool for one in (keys if type(keys) is tuple else [keys])):
            self.wait()  # how many are True decides the shape
        return outside(run(operator.getitem, (self.wrapped, keys), {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        run(operator.setitem, (self.wrapped, inside(key), inside(value)), {}, self.wrapped)

    def __len__(self) -> int:
        return len(self.wrapped)

    def __neg__(self) -> Any:
        return outside(run(operator.neg, (self.wrapped,), {}))

    def __abs__(self) -> Any:
        return outside(run(operator.abs, (self.wrapped,), {}))

    def __invert__(self) -> Any:
        return outside(run(operator.invert, (self.wrapped,), {}))

    def __float__(self) -> float:
        self.wait()
        return float(self.wrapped)

    def __int__(self) -> int:
        self.wait()
        return int(self.wrapped)

    def __bool__(self) -> bool:
        self.wait()
        return bool(self.wrapped)

    __hash__ = None  # CuPy's arrays have none either; the base class has


def give_operators() -> None:
    for name in BINARY:
        function = getattr(operator, f"__{name}__")

        def forward(self: GuardArray, other: Any, function: Any = function) -> Any:
            return outside(run(function, (self.wrapped, inside(other)), {}))

        def reflected(self: GuardArray, other: Any, function: Any = function) -> Any:
            return outside(run(function, (inside(other), self.wrapped), {}))

        setattr(GuardArray, f"__{name}__", forward)
        if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
            setattr(GuardArray, f"__r{name}__", reflected)
            changing = getattr(operator, f"__i{name}__")

            def in_place(self: GuardArray, other: Any, function: Any = changing) -> Any:
                self.wrapped = run(function, (self.wrapped, inside(other)), {}, self.wrapped)
                return self

            setattr(GuardArray, f"__i{name}__", in_place)
    for name in METHODS:

        def method(self: GuardArray, *arguments: Any, name: str = name, **options: Any) -> Any:
            out = options.get("out")
            function = getattr(np.ndarray, name)
            result = run(function, (self.wrapped, *inside(arguments)), inside_all(options), inside(out))
            return out if out is not None else outside(result)

        setattr(GuardArray, name, method)
    for name in ATTRIBUTES:

        def attribute(self: GuardArray, name: str = name) -> Any:
            value = getattr(self.wrapped, name)
            return outside(value) if name == "T" else value

        setattr(GuardArray, name, property(attribute))


give_operators()


class OnDevice:
    """A function of NumPy on guard arrays; a ufunc has its reduceat too."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name = self.function.__name__
        if name in CUBLAS or (name == "einsum" and len(arguments) > 2):
            need_no_capture("calling cuBLAS API during stream capture is currently unsupported")
        if name in ("stack", "concatenate") and len(arguments[0]) > 8:
            need_no_capture(FROM_HOST)  # where each of so many lies is copied to the device
        if name in WAITING or (name == "where" and len(arguments) == 1):
            need_no_capture()  # the numbers decide the shape, or come back to the host
            GuardArray.waits += 1
        out = options.get("out")
        result = run(self.function, inside(arguments), inside_all(options), inside(out))
        return out if out is not None else outside(result)

    def reduceat(self, *arguments: Any, **options: Any) -> Any:
        return outside(run(self.function.reduceat, inside(arguments), inside_all(options)))

    def at(self, target: GuardArray, *arguments: Any) -> None:
        run(self.function.at, (target.wrapped, *inside(arguments)), {}, target.wrapped)


def round_to_bfloat16(bits: np.ndarray) -> np.ndarray:
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def gather(x: np.ndarray, order: np.ndarray, place: np.ndarray, width: int, y: np.ndarray) -> None:
    assert width == y[0].size
    y[...] = x[order.take(place[0] + np.arange(len(y)), mode="clip")]  # while it is captured nothing is read


def note_loss(loss: np.ndarray, size: int, losses: np.ndarray, place: np.ndarray) -> None:
    losses[min(place[1], len(losses) - 1)] = loss
    place += np.array([size, 1])


def write_numbers(*numbers_and_out: Any) -> None:
    *numbers, out = numbers_and_out
    out[: len(numbers)] = numbers


class ElementwiseKernel:
    """A kernel that CuPy would compile: its NumPy twin, by its name, and how many arrays it is given to write into."""

    twins: ClassVar[dict[str, Any]] = {
        "round_to_bfloat16": (round_to_bfloat16, 0),
        "gather": (gather, 1),
        "note_loss": (note_loss, 2),
        "write_numbers": (write_numbers, 1),
    }

    def __init__(self, in_params: str, out_params: str, operation: str, name: str) -> None:
        self.function, self.writes = self.twins[name]
        self.arguments = len(in_params.split(",")) + (len(out_params.split(",")) if self.writes else 0)

    def __call__(self, *arguments: Any, size: int | None = None) -> Any:
        assert len(arguments) == self.arguments
        given = inside(arguments)
        return outside(run(self.function, given, {}, given[len(given) - self.writes :] if self.writes else None))


class FakeCuPy(types.ModuleType):
    """The module: NumPy's functions on guard arrays, as far as CuPy has them."""

    __version__ = "14.1.0 (pretended)"
    ndarray = GuardArray
    ElementwiseKernel = ElementwiseKernel

    def __init__(self) -> None:
        super().__init__("cupy")
        self.cuda = capturing.cuda()
        self.cublaslt = PretendedLibrary()
        self.pool = self.cuda.MemoryPool()

    def asarray(self, x: Any, dtype: Any = None) -> GuardArray:
        if isinstance(x, GuardArray):
            if dtype is None or x.dtype == dtype:
                return x
            return GuardArray(run(np.asarray, (x.wrapped,), {"dtype": dtype}))
        need_no_capture(FROM_HOST)
        return GuardArray(np.array(x, dtype=dtype))

    def get_default_memory_pool(self) -> Any:
        return self.pool

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in CUPY_NAMES:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        return OnDevice(function)
