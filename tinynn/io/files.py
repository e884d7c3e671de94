"""One file of tinynn's: arrays, and beside them a document of plain data; checked as a whole before anything is used.

In the words of the safetensors format the document is an entry of the metadata, in JSON, and so are the versions. Any
program that reads safetensors can read the arrays.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.backend import blas
from tinynn.config import ASIDE
from tinynn.io.atomic import path_of, write_atomically
from tinynn.io.safetensors import (
    DamagedFile,
    Header,
    as_stored,
    encode,
    open_to_read,
    read_exactly,
    without_duplicates,
)

FORMAT = "1"  # of the metadata; a file of a higher one is refused


class Misfit(Exception):
    """A whole file, but of something else: a list of what differs."""


@dataclass(frozen=True)
class Contents:
    """What stands in a file: the arrays as views of its numbers, and the document, None where it has none."""

    header: Header
    numbers: np.ndarray
    document: Any

    def array(self, name: str) -> np.ndarray:
        """Return one of the arrays."""
        entry = self.header.entries[name]
        dtype = np.dtype(entry.dtype).newbyteorder("<")
        return self.numbers[entry.begin : entry.end].view(dtype).reshape(entry.shape)

    def aside(self) -> dict[str, np.ndarray]:
        """Return the arrays that are no weights; see `tinynn.config.to_plain`."""
        return {name: self.array(name) for name in self.header.entries if name.startswith(ASIDE)}


def write_file(
    path: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], document: Any, who: str
) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : str or path-like
    arrays : mapping of str to array
    metadata : mapping of str to str
        What else to say; versions and the checksum are added.
    document : object
        Plain data that JSON can hold; None for a file without.
    who : str
        Who writes, for the messages.

    Raises
    ------
    OSError
        If it cannot be written; the file that was there is as it was.
    ValueError
        If an array is of a kind the format does not have.
    """
    try:
        stored = {name: as_stored(array) for name, array in arrays.items()}
        text = None if document is None else json.dumps(document, separators=(",", ":"), allow_nan=False)
        metadata = {
            "tinynn_format": FORMAT,
            **versions(),
            **metadata,
            **({} if text is None else {"document": text}),
            "crc32": checksum(stored.values(), text),
        }
        parts = encode(stored, metadata)
    except ValueError as error:
        raise ValueError(f"{who}: {error}. Nothing was written.") from None
    write_atomically(path, parts, who)


blas_once = functools.cache(blas)  # it takes a millisecond, and a checkpoint may be made at every batch


def versions() -> dict[str, str]:
    """Return the versions of all that decides the bits of a result; see `tinynn info`."""
    from tinynn import __version__

    numba = sys.modules.get("numba")  # where it is not loaded, it has computed nothing
    return {
        "tinynn_version": __version__,
        "numpy_version": np.__version__,
        "python_version": platform.python_version(),
        "blas": blas_once(),
        **({} if numba is None else {"numba_version": numba.__version__}),
    }


def read_contents(reading: Reading, header: Header) -> Contents:
    """Read the numbers of an open file, and its document, if all are what was written.

    Raises
    ------
    DamagedFile
        If the checksum differs, or the document is none.
    """
    numbers = read_exactly(reading.file, header.size)
    text = header.metadata.get("document")
    if header.metadata.get("crc32") != checksum([numbers], text):
        raise DamagedFile("its contents are not those that were saved: the checksum differs")
    if text is None:
        return Contents(header, numbers, None)
    try:
        document = json.loads(text, object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"its document cannot be read ({type(error).__name__}: {str(error)[:80]})") from None
    return Contents(header, numbers, document)


class Reading:
    """An open file whose errors are told with its name.

    Parameters
    ----------
    path : str or path-like
    who : str
        Who reads, for the messages: ``"load_model"``.
    what : str
        What the file should be: ``"file of weights"``.
    """

    def __init__(self, path: Any, who: str, what: str) -> None:
        self.path = path_of(path, who)
        self.who = who
        self.what = what

    def __enter__(self) -> Reading:
        """Open the file."""
        try:
            self.file = open_to_read(self.path, self.who)
        except FileNotFoundError as error:
            where = os.path.abspath(self.path)
            raise FileNotFoundError(error.errno, f"{self.who}: there is no file {where}") from None
        except OSError as error:
            raise OSError(error.errno, f"{self.who}: could not open {self.path} ({error.strerror})") from None
        except ValueError as error:
            raise self.told(error) from None
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Close the file; put its name into the error, if there is one."""
        self.file.close()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"{self.who}: could not read {self.path} ({error.strerror})") from None
        if isinstance(error, DamagedFile):
            raise self.told(error) from None
        if isinstance(error, Misfit):
            lines = "".join(f"\n  {line}" for line in error.args[0])
            raise ValueError(
                f"{self.who}: the weights in {self.path} do not fit:{lines}\nNo weight was changed. The layers, their "
                "names and the dtype must be those of the model that was saved."
            ) from None

    def told(self, error: ValueError) -> ValueError:
        """Return the error as the user sees it."""
        return ValueError(
            f"{self.who}: {self.path} is not a whole {self.what}: {error}. Nothing was changed; take another copy of "
            "the file, or save it again."
        )


def differences_of_format(header: Header) -> list[str]:
    """Return a line that says what is wrong with a file's format, empty where this tinynn can read it."""
    version = header.metadata.get("tinynn_format")
    if version is None:
        return ["format: the file does not say that tinynn wrote it (its metadata have no tinynn_format)"]
    if version != FORMAT:
        by = header.metadata.get("tinynn_version")
        return [f"format: the file has format {version!r:.20} (tinynn {by!r:.20}), this tinynn reads {FORMAT!r}"]
    return []


def checksum(arrays: Iterable[np.ndarray], text: str | None = None) -> str:
    """Return the CRC-32 of the bytes of arrays, one after another, and of a text after them."""
    total = 0
    for array in arrays:
        total = zlib.crc32(array.reshape(-1).view("uint8").data, total)
    if text is not None:
        total = zlib.crc32(text.encode(), total)
    return f"{total:08x}"
