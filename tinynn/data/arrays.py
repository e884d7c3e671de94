"""What users give as arrays: made arrays without copying where that can be, checked, or an error that says why not."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # the devices of DLPack that we can read: dlpack.h, DLDeviceType


def check_array(x: Any, who: str, name: str) -> Array:
    """Return `x` as an array of at least one sample of finite numbers, or say what is wrong with it; see `as_array`."""
    x = as_array(x, who, name)
    xp = array_module(x)
    # A sum is not finite if a number in it is not: a quick look at all of them, and a slow one only in doubt.
    if x.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not math.isfinite(x.sum())
        if suspicious and not bool(xp.isfinite(x).all()):
            wrong = to_host(~xp.isfinite(x))
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{who}: {name} holds {int(wrong.sum())} NaN or infinite values, the first at {name}[{place}] "
                f"= {float(x[place])}. Clean the data first, for example with numpy.nan_to_num."
            )
    return x


def as_array(x: Any, who: str, name: str) -> Array:
    """Return `x` as a NumPy or CuPy array of at least one sample of numbers.

    NumPy and CuPy arrays are returned as they are, memory maps too: nothing is read from the disk. Tensors of other
    libraries (PyTorch, JAX: anything with ``__dlpack__``) share their memory with the array, on a CUDA device as a
    CuPy array. Anything with ``__array__`` (pandas, pictures of Pillow) is asked for its array. Lists are copied.
    Numbers in another byte order than the machine's are copied into its own, but those of a memory map.

    Parameters
    ----------
    x : array_like
        One sample a row.
    who, name : str
        For the message: ``"fit"``, ``"x"``.

    Raises
    ------
    TypeError
        If `x` is no array and nothing that becomes one.
    ValueError
        If it holds something else than numbers, or nothing; if it is masked, ragged, or follows gradients.

    Examples
    --------
    >>> as_array([[1, 2], [3, 4]], "fit", "x")
    array([[1, 2],
           [3, 4]])
    >>> as_array([[1, 2], [3]], "fit", "x")
    Traceback (most recent call last):
    ...
    ValueError: fit: x is a list of rows that differ in length or shape. Make them alike, for example by padding.
    """
    array = converted(x, who, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{who}: {name} must hold numbers, got dtype {array.dtype}.{advice(array.dtype.kind)}")
    if array.ndim == 0:
        raise ValueError(
            f"{who}: {name} is a single number; expected an array with one sample a row. A Dataset of samples needs "
            "batch(n) first."
        )
    if len(array) == 0:
        raise ValueError(f"{who}: {name} is empty: its shape is {tuple(array.shape)}. Give at least one sample.")
    return array


def advice(kind: str) -> str:
    """Return what to do about numbers that are none."""
    if kind in "USO":
        return " Take the columns that are numbers, and make numbers of the others, such as class numbers of names."
    if kind == "c":
        return " Give the real and the imaginary part as two numbers."
    if kind == "V":
        return " Convert it first, for example to float32."
    return ""


def converted(x: Any, who: str, name: str) -> Array:
    """Return `x` as an array of any dtype and shape; see `as_array`."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(f"{who}: {name} has masked values. Fill them first, for example with {name}.filled(0).")
        x = x.data
    if isinstance(x, np.memmap):
        return x
    if isinstance(x, np.ndarray):
        return native(np.asarray(x))
    if type(x).__module__.partition(".")[0] == "cupy":
        return x
    if isinstance(x, list | tuple | range):
        return from_list(x, who, name)
    if getattr(x, "requires_grad", False):
        raise ValueError(f"{who}: {name} is a tensor that follows gradients. Give {name}.detach().")
    # TensorFlow's `__array__` shares memory as well, and its `__dlpack__` ends the process where strings are given.
    if hasattr(x, "__dlpack_device__") and not type(x).__module__.startswith("tensorflow"):
        shared = from_tensor(x, who, name)
        if shared is not None:
            return shared
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        try:
            return native(np.asarray(x))
        except Exception as error:  # what another library raises, it alone knows
            raise TypeError(f"{who}: {name}: {kind_of(x)} could not be made a NumPy array: {words(error)}.") from error
    raise TypeError(
        f"{who}: {name}: expected a NumPy or CuPy array, got {kind_of(x)}. Lists of numbers, tensors and tables "
        "will do as well."
    )


def native(x: Array) -> Array:
    """Return numbers in the machine's byte order, copied only if they are not."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def kind_of(x: Any) -> str:
    """Return the full name of a thing's class."""
    return f"{type(x).__module__}.{type(x).__qualname__}"


def words(error: Exception) -> str:
    """Return what another library says, without its full stop."""
    return str(error).rstrip(".")


def from_list(x: Any, who: str, name: str) -> Array:
    """Return a list as an array."""
    try:
        return np.asarray(x)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise ValueError(f"{who}: {name}: the list could not be made an array: {words(error)}.") from error
        raise ValueError(
            f"{who}: {name} is a list of rows that differ in length or shape. Make them alike, for example by padding."
        ) from None
    except Exception as error:  # the members may be tensors of any library
        raise TypeError(f"{who}: {name}: the list could not be made an array: {words(error)}.") from error


def from_tensor(x: Any, who: str, name: str) -> Array | None:
    """Return an array on the memory of another library's tensor; None if the library cannot share it."""
    try:
        device = int(x.__dlpack_device__()[0])
    except Exception as error:  # in the library's own class of error
        raise ValueError(f"{who}: {name} is a tensor that cannot be read: {words(error)}.") from error
    if device in (CPU, PINNED):
        try:
            return np.from_dlpack(x)
        except Exception:  # a dtype or layout that DLPack has not, in the library's own class of error
            return None
    if device not in (CUDA, MANAGED):
        raise ValueError(f"{who}: {name} is a tensor on a device that tinynn cannot read. Move it to the CPU first.")
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise ValueError(
            f"{who}: {name} is a tensor on a CUDA device, and CuPy, which could read it there, is not installed. "
            f"Move it with {name}.cpu(), or install tinynn's extra 'cuda12' or 'cuda13'."
        ) from None
    shared: Array = cupy.from_dlpack(x)
    return shared
