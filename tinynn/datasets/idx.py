"""IDX: the file format of MNIST and its relatives.

Two zero bytes, a byte for the kind of number, a byte for the number of axes, each axis's size as a big-endian 32-bit
number, then the numbers, big-endian, last axis fastest (LeCun, "The MNIST database").
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from tinynn.backend import Array

KINDS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


MOST_AXES, MOST_BYTES = 32, 1 << 31  # more than any real file has


class IdxError(ValueError):
    """A file is no whole IDX file."""


def load_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, gzipped or not.

    Parameters
    ----------
    path : path
        The file. Whether it is gzipped is seen from its first bytes, not from its name.

    Returns
    -------
    array
        uint8, int8, int16, int32, float32 or float64 as the file says, in the machine's byte order.

    Raises
    ------
    IdxError
        If the file is truncated, too long, corrupted or something else than IDX. Nothing is read beyond what the
        header promises.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "three.idx"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> load_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if gzipped else path.open("rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in KINDS or magic[3] == 0:
                raise IdxError(
                    f"{path} is no IDX file: it starts with {magic.hex(' ') or 'nothing'}, expected 00 00, a number "
                    f"kind ({', '.join(f'{kind:02x}' for kind in KINDS)}) and a number of axes from 1 up."
                )
            axes = magic[3]
            header = stream.read(4 * axes)
            if len(header) < 4 * axes:
                raise IdxError(f"{path} is truncated: it ends inside its header. Get the file again.")
            shape = tuple(int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(axes))
            dtype = np.dtype(KINDS[magic[2]])
            if axes > MOST_AXES or max(shape) > MOST_BYTES:
                raise IdxError(f"{path} promises an array of {axes} axes, the longest {max(shape):,}: it is corrupted.")
            promised = math.prod(shape) * dtype.itemsize
            content = read_at_most(cast(IO[bytes], stream), promised + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"{path} is truncated or corrupted: {error}. Get the file again.") from None
    if len(content) != promised:
        found = f"only {len(content):,}" if len(content) < promised else "more"
        raise IdxError(
            f"{path} promises {promised:,} bytes of numbers (shape {shape}, {dtype.name}) and holds {found}. "
            "It is truncated or corrupted; get the file again."
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_at_most(stream: IO[bytes], limit: int) -> bytearray:
    """Read up to `limit` bytes, a piece at a time: a header that lies cannot make us reserve its lie."""
    content = bytearray()
    while len(content) < limit:
        piece = stream.read(min(1 << 20, limit - len(content)))
        if not piece:
            break
        content += piece
    return content
