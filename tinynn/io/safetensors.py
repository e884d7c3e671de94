"""The safetensors format: 8 bytes that say how long the header is, the header in JSON, the numbers.

The header has an entry for each array, ``"dense.W": {"dtype": "F32", "shape": [784, 10], "data_offsets": [0, 31360]}``,
and ``"__metadata__"``, from str to str. The numbers follow, little end first, row by row, without gaps.

A file may come from anywhere, so reading believes nothing: sizes are compared with the file's own before memory is
asked for, and all entries are checked before the first number is read. That is why this is written out here and not
left to the package ``safetensors``, which takes the last of two entries of one name, and whose writer makes a temporary
file of its own that no fsync follows. The tests read every file with that package.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np

from tinynn.io.atomic import path_of

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
LONGEST_HEADER = 4 * 2**20  # forty thousand arrays; more cannot be looked through within a second
MOST_AXES = 32


# How files begin that are mistaken for one of these.
OTHERS = {
    b"PK\x03\x04": "a zip file, as .npz of NumPy, .keras of Keras and .pt of PyTorch are",
    b"\x89HDF": "an HDF5 file, as .h5 of Keras is",
    b"\x93NUMPY": "an array of NumPy (.npy)",
    b"\x80": "a pickle, which is code, and is not read",
}


class DamagedFile(ValueError):
    """A file is no safetensors file, or not a whole one."""


@dataclass(frozen=True)
class Entry:
    """One array in a file: where its bytes begin and end is counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file says it holds; checked against itself and the file's size."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    start: int  # where the numbers begin in the file
    size: int  # how many bytes of them there are


def encode(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> list[Any]:
    """Return the parts of a file: the header, then each array.

    Parameters
    ----------
    arrays : mapping of str to array
        Contiguous, little end first; see `as_stored`.
    metadata : mapping of str to str

    Examples
    --------
    >>> header, numbers = encode({"b": as_stored(np.zeros(2, "float32"))}, {"seed": "0"})
    >>> header[8:].decode().rstrip()
    '{"__metadata__":{"seed":"0"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for name, array in arrays.items():
        end = position + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin where a memory map can read them
    if len(text) > LONGEST_HEADER:
        raise ValueError(
            f"what is to be said of these {len(arrays)} arrays and beside them has {len(text)} bytes, and a file can "
            f"hold {LONGEST_HEADER}. Keep long memories of a callback in arrays or in lists of numbers, not of lists"
        )
    return [len(text).to_bytes(8, "little") + text, *arrays.values()]


def as_stored(array: np.ndarray) -> np.ndarray:
    """Return an array row by row and little end first, as it stands in a file; copied only where it is not."""
    stored = np.require(array, array.dtype.newbyteorder("<"), "C")
    if stored.dtype not in NAMES:
        raise ValueError(f"a safetensors file cannot hold numbers of kind {array.dtype}")
    return stored


def open_to_read(path: Any, who: str) -> FileIO:
    """Open a plain file; refuse folders, and pipes that would let us wait for ever."""
    path = path_of(path, who)
    if os.path.isdir(path):
        raise DamagedFile("it is a folder, not a file")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(handle, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise DamagedFile("it is a device or a pipe, not a file")
    return file


def read_exactly(file: FileIO, count: int) -> np.ndarray:
    """Read `count` bytes; the caller has seen that the file has them."""
    data = np.empty(count, "uint8")
    view, done = data.data, 0
    while done < count:
        got = file.readinto(view[done:])
        if not got:
            raise DamagedFile(f"it ended {count - done} bytes too early while it was read")
        done += got
    return data


def read_header(file: FileIO) -> Header:
    """Read the header, and check everything that it says against itself and the size of the file."""
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise DamagedFile("it is empty" if size == 0 else f"it has only {size} bytes")
    first = read_exactly(file, 8).tobytes()
    length = int.from_bytes(first, "little")
    if length > size - 8:
        for begin, what in OTHERS.items():
            if first.startswith(begin):
                raise DamagedFile(f"it looks like {what}")
        raise DamagedFile(
            f"its first 8 bytes ask for a header of {length} bytes, but only {size - 8} follow: it was cut off, or it "
            "is no safetensors file"
        )
    if length > LONGEST_HEADER:
        raise DamagedFile(f"its header has {length} bytes, more than the {LONGEST_HEADER} that are allowed")
    text = read_exactly(file, length).tobytes()
    try:
        header = json.loads(text.decode(), object_pairs_hook=without_duplicates)
    except DamagedFile:
        raise
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, numbers or nesting without end
        raise DamagedFile(f"its header cannot be read ({type(error).__name__}: {str(error)[:80]})") from None
    if not isinstance(header, dict):
        raise DamagedFile("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedFile("its metadata are not text")
    entries = {name: check_entry(name, entry) for name, entry in header.items()}
    check_places(entries, size - 8 - length)
    return Header(metadata, entries, 8 + length, size - 8 - length)


def without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary, unless it has a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DamagedFile(f"its header has {twice!r:.60} twice")
    return found


def check_entry(name: str, entry: Any) -> Entry:
    """Return what a header says of one array, if that makes sense by itself."""
    where = f"its header's entry {name!r:.60}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise DamagedFile(f"{where} does not consist of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise DamagedFile(f"{where} has the unknown kind of number {dtype!r:.40}")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            raise DamagedFile(f"{where} has {what} that is no list of whole numbers from 0 up")
    if len(shape) > MOST_AXES or len(offsets) != 2:
        raise DamagedFile(f"{where} has {len(shape)} axes and {len(offsets)} offsets; at most {MOST_AXES} and 2 can be")
    begin, end = offsets
    if end - begin != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise DamagedFile(f"{where} has another number of bytes than its shape and kind of number need")
    return Entry(np.dtype(DTYPES[dtype]).newbyteorder("=").name, tuple(shape), begin, end)


def check_places(entries: Mapping[str, Entry], size: int) -> None:
    """Raise DamagedFile unless the arrays fill the `size` bytes after the header, without gap or overlap."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            fault = "overlaps the one before it" if entry.begin < position else "leaves a gap before it"
            raise DamagedFile(f"its array {name!r:.60} {fault}")
        position = entry.end
    if position != size:
        fault = "it was cut off" if position > size else "something was added to it"
        raise DamagedFile(f"its arrays need {position} bytes, but {size} follow the header: {fault}")
