"""NumPy's files from anywhere: nothing is run, and no memory is taken for what a file only claims to hold."""

from __future__ import annotations

import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.cli.mistakes import Mistake, told

MAGIC, NUMBERS = b"\x93NUMPY", "fiub"
MOST_INFLATED = 1100  # deflate, which .npz files use, makes at most 1032 bytes of one
# What NumPy's reader raises for bytes that are no array: some of it from Python's own parser.
DAMAGE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError, EOFError, tokenize.TokenError)


def load_npy(path: str) -> Array:
    """Return the array in a .npy file, mapped from the disk and not read.

    Raises
    ------
    Mistake
        If there is none, or no numbers in it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(os.path.join(folder, "x.npy"), [1.0, 2.0])
    ...     print(load_npy(os.path.join(folder, "x.npy")))
    [1. 2.]
    """
    need_file(path)
    try:
        with open(path, "rb") as file:
            begin = file.read(len(MAGIC))
            if begin.startswith(b"PK"):
                raise Mistake(f"{path} is a .npz file under another name; give a .npy file.")
            if begin != MAGIC:
                raise Mistake(f"{path} is no .npy file: it begins with {begin.hex(' ') or 'nothing'}.")
            file.seek(0)
            with quiet():
                shape, dtype = header_of(file)
        if dtype.kind not in NUMBERS:
            raise Mistake(f"{path} holds {dtype}, not numbers.")
        with quiet():
            array = np.lib.format.open_memmap(path, mode="r") if 0 not in shape else np.zeros(shape, dtype)
    except OSError as error:
        raise Mistake(f"{path} could not be read: {error.strerror or error}.") from None
    except DAMAGE as error:
        raise Mistake(f"{path} is no whole .npy file of numbers: {str(error)[:200]}") from None
    return samples(array, path)


def load_npz(path: str, names: Sequence[str]) -> list[Array]:
    """Return arrays of a .npz file.

    Each member's header is held against its size, and its size against what can be packed into the file, before it
    is read.

    Parameters
    ----------
    path : str
    names : sequence of str
        Of the arrays; all must be there.
    """
    need_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            missing = [name for name in names if f"{name}.npy" not in members]
            if missing:
                there = ", ".join(sorted(name.removesuffix(".npy") for name in members)) or "nothing"
                raise Mistake(f"{path} has no {' and no '.join(missing)}; it has {there:.200}. Save it with "
                              f"np.savez(path, {', '.join(f'{name}={name}' for name in names)}).")  # fmt: skip
            return [member(archive, members[f"{name}.npy"], path, name) for name in names]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Mistake(f"{path} is no whole .npz file: {error}") from None


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, name: str) -> Array:
    """Return one array of an open .npz file."""
    where = f"{path}: {name}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Mistake(f"{where} is packed in a way that NumPy does not use.")
    packed = min(info.compress_size, os.path.getsize(path))
    if info.file_size > MOST_INFLATED * (packed + 1):
        raise Mistake(f"{where} claims {info.file_size:,} bytes, more than its {packed:,} can hold.")
    try:
        with archive.open(info) as stream, quiet():
            shape, dtype = header_of(stream)
            if dtype.kind not in NUMBERS:
                raise Mistake(f"{where} holds {dtype}, not numbers.")
            if info.file_size - stream.tell() != int(np.prod(shape, dtype=object)) * dtype.itemsize:
                raise ValueError(f"its header claims the shape {shape} of {dtype}, which is another number of bytes")
            stream.seek(0)
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGE as error:
        raise Mistake(f"{where} is no whole array of numbers: {str(error)[:200]}") from None
    return samples(array, where)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the warnings of headers that Python 2 wrote, and of what stands in damaged ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def header_of(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype that a .npy file's header claims."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"it has the format {version}, and numbers are saved in 1.0 or 2.0")
    return shape, dtype


def samples(array: Array, where: str) -> Array:
    """Return an array if there is one sample in it or more."""
    if array.ndim == 0 or len(array) == 0:
        raise Mistake(f"{where} is empty: its shape is {array.shape}.")
    return array


def need_file(path: str) -> None:
    """Raise Mistake unless there is a plain file; a pipe could let us wait for ever."""
    if os.path.isdir(path):
        raise Mistake(f"{path} is a folder, not a file.")
    if not os.path.exists(path):
        raise Mistake(f"there is no file {path}.")
    if not os.path.isfile(path):
        raise Mistake(f"{path} is no plain file.")
    with told(OSError), open(path, "rb"):
        pass
