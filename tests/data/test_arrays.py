"""Arrays from anywhere: taken without copying where that can be, or refused with what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.guard import FakeCuPy
from tinynn import Dense, Input, Sequential
from tinynn.data import Samples, as_array, check_array


class Tensor:
    """Another library's tensor, as far as DLPack goes."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self.array, self.device = array, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


class Unshared(Tensor):
    """A tensor that DLPack has no way for, but which can be made an array."""

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("no such dtype in DLPack")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class Table:
    """A table, as pandas has them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class Picture:
    """A picture, as Pillow has them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


class Learning:
    requires_grad = True


class Broken:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("the file was closed.")


class Unknown(Tensor):
    def __dlpack_device__(self) -> tuple[int, int]:
        raise RuntimeError("a meta tensor has no device")


x = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize("given", [x, Tensor(x), Tensor(x, device=3), Unshared(x), Table(x), Picture(x)])
def test_memory_is_shared(given: Any) -> None:
    array = as_array(given, "fit", "x")
    assert type(array) is np.ndarray
    assert np.shares_memory(array, x)
    np.testing.assert_array_equal(array, x)


def test_lists_ranges_and_lists_of_arrays() -> None:
    for given in ([[0.0, 1], [2, 3]], ((0, 1), (2, 3)), [np.arange(2), np.arange(2, 4)], [range(2), range(2, 4)]):
        assert as_array(given, "fit", "x").tolist() == [[0, 1], [2, 3]]
    assert as_array(range(3), "fit", "x").tolist() == [0, 1, 2]


def test_a_memory_map_is_not_read(tmp_path: Path) -> None:
    np.arange(3, dtype=">f4").tofile(tmp_path / "x")
    given = np.memmap(tmp_path / "x", ">f4", "r")
    assert as_array(given, "fit", "x") is given
    batch = Samples(given, given, given).rows(slice(1, 3))
    assert all(array.dtype == np.dtype("=f4") and array.tolist() == [1, 2] for array in batch)


def test_subclasses_become_plain_arrays_in_the_machines_byte_order() -> None:
    foreign = x.astype(x.dtype.newbyteorder(">" if sys.byteorder == "little" else "<"))
    for given in (x.view(np.matrix), np.ma.MaskedArray(x), foreign):
        array = as_array(given, "fit", "x")
        assert type(array) is np.ndarray
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, x)


def test_models_learn_from_all_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))

    def weights(x: Any, y: Any) -> np.ndarray:
        model = Sequential([Input((3,)), Dense(2)], seed=0)
        model.compile("sgd", "mse")
        model.fit(x, y, batch_size=8, verbose=0)
        return np.concatenate([model.predict(x).ravel(), model.get_weights()[0].ravel()])

    expected = weights(inputs, targets)
    read_only = inputs.copy()
    read_only.flags.writeable = False
    inputs.astype(">f8").tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", ">f8", "r", shape=inputs.shape)
    for x in (inputs.tolist(), Tensor(inputs), Table(inputs), read_only, inputs.astype(">f8"), mapped, inputs[:, ::1]):
        np.testing.assert_array_equal(weights(x, targets), expected)
        np.testing.assert_array_equal(weights(inputs, Table(targets)), expected)


MISTAKES: list[tuple[str, Any, type[Exception], str]] = [
    ("gradients", Learning(), ValueError, r"fit: x is a tensor that follows gradients\. Give x\.detach\(\)\."),
    ("objects", np.array([None, 1]), ValueError, "fit: x must hold numbers, got dtype object. Take the columns"),
    ("text", ["a", "b"], ValueError, "fit: x must hold numbers, got dtype <U1. Take the columns"),
    ("dates", np.array(["2020-01-01"], "M8[D]"), ValueError, r"got dtype datetime64\[D\]"),
    ("complex", [1j], ValueError, "got dtype complex128. Give the real and the imaginary part"),
    ("records", np.zeros(2, [("a", "f4")]), ValueError, "must hold numbers, got dtype"),
    ("long", [2**70], ValueError, "got dtype object"),
    ("ragged", [[1], [2, 3]], ValueError, "x is a list of rows that differ in length or shape. Make them alike"),
    (
        "list of anything",
        [Learning(), Broken()],
        TypeError,
        "x: the list could not be made an array: the file was closed",
    ),
    ("masked", np.ma.MaskedArray([1, 2], [0, 1]), ValueError, r"masked values\. Fill .* x\.filled\(0\)"),
    ("broken", Broken(), TypeError, r"Broken could not be made a NumPy array: the file was closed\.$"),
    ("no device", Unknown(x), ValueError, r"is a tensor that cannot be read: a meta tensor has no device\.$"),
    ("another device", Tensor(x, device=8), ValueError, "on a device that tinynn cannot read. Move it to the CPU"),
    ("no CuPy", Tensor(x, device=2), ValueError, r"CuPy, which could .* is not installed\. Move it with x\.cpu\(\)"),
    ("None", None, TypeError, "x: expected a NumPy or CuPy array, got builtins.NoneType. Lists of numbers, tensors"),
    ("number", 5, TypeError, "got builtins.int"),
    ("bytes", b"5", TypeError, "got builtins.bytes"),
    ("dictionary", {"a": [1]}, TypeError, "got builtins.dict"),
    ("generator", (i for i in range(3)), TypeError, "got builtins.generator"),
    ("no samples", np.zeros((0, 3)), ValueError, r"x is empty: its shape is \(0, 3\)"),
    ("no axes", np.float32(1), ValueError, r"x is a single number; .* needs batch\(n\) first"),
    ("not a number", [1.0, np.nan], ValueError, r"x holds 1 NaN .* x\[\(1,\)\] = nan"),
]


@pytest.mark.parametrize(("given", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_message(given: Any, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # as where it is not installed
    with pytest.raises(kind, match=message):
        check_array(given, "fit", "x")


def test_a_tensor_on_a_cuda_device_becomes_a_cupy_array(fake_cupy: FakeCuPy) -> None:
    fake_cupy.from_dlpack = lambda tensor: fake_cupy.asarray(tensor.array)
    for device in (2, 13):
        array = as_array(Tensor(x, device), "fit", "x")
        assert isinstance(array, fake_cupy.ndarray)
        assert as_array(array, "fit", "x") is array


@pytest.mark.parity
def test_tensors_of_jax(keras: Any) -> None:
    """The session's Keras runs on JAX; its arrays are read-only."""
    import jax.numpy as jnp

    array = as_array(jnp.asarray(x), "fit", "x")
    np.testing.assert_array_equal(array, x)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match=r"got dtype bfloat16\. Convert it first, for example to float32"):
        as_array(jnp.zeros(2, jnp.bfloat16), "fit", "x")
