"""IDX: the file format of MNIST and its relatives.

Two zero bytes, a byte for the kind of number, a byte for the number of axes, each axis's size as a big-endian 32-bit
number, then the numbers, big-endian, last axis fastest (LeCun, "The MNIST database").
"""

from __future__ import annotations

import io
import math
import os
import zlib
from typing import Any, Protocol

import numpy as np

from tinynn.backend import Array
from tinynn.io.safetensors import DamagedFile, open_to_read

KINDS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MOST_AXES, LONGEST_AXIS, MOST_BYTES = 32, 1 << 31, 1 << 59  # more than any real file has
MOST_UNZIPPED, FEW_BYTES = 200, 1 << 26  # pictures shrink to a third or a tenth; a small file may hold zeros alone


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
    try:
        with io.BufferedReader(open_to_read(path, "load_idx")) as file:
            return read_idx(path, file, os.fstat(file.fileno()).st_size)
    except (EOFError, zlib.error, DamagedFile) as error:
        raise IdxError(f"{path} cannot be read: {error}. It is truncated or corrupted; get the file again.") from None


def amount(count: int) -> str:
    """Return a number as text; an absurd one short."""
    return f"{count:,}" if count < 10**15 else f"{count:.1e}"


class Stream(Protocol):
    """Something to read bytes from."""

    def read(self, count: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""


def read_idx(path: Any, file: io.BufferedReader[Any], size: int) -> Array:
    """Read an open file of `size` bytes, gzipped or not; the path is for messages."""
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    stream: Stream = Unzipped(file) if gzipped else file
    magic = read_at_most(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in KINDS or magic[3] == 0:
        raise IdxError(
            f"{path} is no IDX file: it starts with {magic.hex(' ') or 'nothing'}, expected 00 00, a number "
            f"kind ({', '.join(f'{kind:02x}' for kind in KINDS)}) and a number of axes from 1 up."
        )
    axes = magic[3]
    header = read_at_most(stream, 4 * axes)
    if len(header) < 4 * axes:
        raise IdxError(f"{path} is truncated: it ends inside its header. Get the file again.")
    shape = tuple(int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(axes))
    dtype = np.dtype(KINDS[magic[2]])
    nothing_of_much = 0 in shape and math.prod(filter(None, shape)) > MOST_BYTES  # which NumPy refuses
    if axes > MOST_AXES or max(shape) > LONGEST_AXIS or nothing_of_much:
        raise IdxError(f"{path} promises an array of {axes} axes, the longest {max(shape):,}: it is corrupted.")
    promised = math.prod(shape) * dtype.itemsize
    promise = f"{path} promises {amount(promised)} bytes of numbers (shape {shape}, {dtype.name})"
    if gzipped and promised > max(FEW_BYTES, MOST_UNZIPPED * size):
        raise IdxError(
            f"{promise}, more than its {size:,} bytes of gzip should hold: it is corrupted, or made to fill memory. "
            "If you trust it, unpack it with gunzip."
        )
    content, held = bytearray(), size - 4 - 4 * axes
    if gzipped or held == promised:
        content = read_at_most(stream, promised + 1)
        held = len(content)
    if held != promised:
        found = f"only {held:,}" if held < promised else "more"
        raise IdxError(f"{promise} and holds {found}. It is truncated or corrupted; get the file again.")
    array = np.frombuffer(content, dtype) if promised else np.empty(0, dtype)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array.reshape(shape)


class Unzipped:
    """What a gzipped file holds, read as far as is asked for. Nothing may follow its end."""

    def __init__(self, file: io.BufferedReader[Any]) -> None:
        self.file = file
        self.ready = b""  # unzipped already
        self.decoder = zlib.decompressobj(wbits=31)  # 31: with the header and the checksum of gzip

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; none at the end."""
        while not self.ready and not self.decoder.eof:
            packed = self.decoder.unconsumed_tail or self.file.read(1 << 16)
            self.ready = self.decoder.decompress(packed, 1 << 20)
            if not packed and not self.ready and not self.decoder.eof:
                raise EOFError("it ends too early")
        if not self.ready and (self.decoder.unused_data or self.file.read(1)):
            raise EOFError("something follows the end of what is gzipped")
        content, self.ready = self.ready[:count], self.ready[count:]
        return content


def read_at_most(stream: Stream, limit: int) -> bytearray:
    """Read up to `limit` bytes, a piece at a time: a header that lies cannot make us reserve its lie."""
    content = bytearray()
    while len(content) < limit:
        piece = stream.read(min(1 << 20, limit - len(content)))
        if not piece:
            break
        content += piece
    return content
