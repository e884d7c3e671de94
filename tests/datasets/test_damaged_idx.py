"""IDX files that are not what they seem: an error that names the file, within a second, in little memory."""

from __future__ import annotations

import gzip
import os
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.test_datasets import idx_bytes
from tinynn.datasets import load_idx
from tinynn.datasets.idx import FEW_BYTES, KINDS, IdxError

GOODS = [
    idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4)),
    idx_bytes(np.arange(6, dtype=np.float32).reshape(1, 2, 3)),
    idx_bytes(np.arange(5, dtype=np.int16)),
]
GOODS += [gzip.compress(good, mtime=0) for good in GOODS]


def header(*shape: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def named_gzip(name: bytes) -> bytes:
    """Return the beginning of a gzipped file that has a name in it."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + name


def refused(path: Path, message: str) -> None:
    """Expect the error, soon, in little memory."""
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(IdxError, match=message) as caught:
        load_idx(path)
    assert time.perf_counter() - start < 1.0
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


ZEROS = gzip.compress(bytes(1 << 24), mtime=0)  # 16 MiB in 16 KiB

BAD: dict[str, tuple[bytes, str]] = {
    "2^60 bytes": (header(1 << 30, 1 << 30), r"promises 1\.2e\+18 bytes .* and holds only 0"),
    "2^60 gzipped bytes": (
        gzip.compress(header(1 << 30, 1 << 30)),
        "more than its 2. bytes of gzip should hold: .*gunzip",
    ),
    "2^992 bytes": (header(*[1 << 31] * 32, kind=14), "and holds only 0"),
    "2^992 gzipped bytes": (gzip.compress(header(*[1 << 31] * 32)), "of gzip should hold"),
    "none of much": (header(0, *[1 << 31] * 31), "promises an array of 32 axes, the longest 2,147,483,648: it is corr"),
    "long axis": (header((1 << 32) - 1), "the longest 4,294,967,295: it is corrupted"),
    "255 axes": (header(*[1] * 255) + b"x", "an array of 255 axes"),
    "little of much": (header(FEW_BYTES) + bytes(99), "promises 67,108,864 bytes .* and holds only 99"),
    "a bomb that tells": (gzip.compress(header(1 << 29)) + ZEROS, "of gzip should hold"),
    "a bomb that does not": (gzip.compress(header(3) + bytes(1 << 26)), "promises 3 bytes of .* and holds more"),
    "a bomb of zeros": (ZEROS, "is no IDX file: it starts with 00 00 00 00"),
    "two in one": (GOODS[3] + GOODS[3], "something follows the end of what is gzipped"),
    "something after": (GOODS[3] + b"\0", "something follows the end of what is gzipped"),
    "gzip in gzip": (gzip.compress(GOODS[3]), "is no IDX file: it starts with 1f 8b"),
    "a long name": (named_gzip(b"a" * (1 << 24)), "cannot be read: it ends too early"),
    "a path for a name": (
        named_gzip(b"../../etc/passwd\0") + zlib.compress(GOODS[0])[2:],
        "incorrect data check|too early",
    ),
    "only gzip": (b"\x1f\x8b", "it ends too early"),
    "another method": (b"\x1f\x8b\x07" + bytes(30), "unknown compression method"),
    "wrong sum": (GOODS[3][:-8] + bytes(8), "incorrect data check"),
    "wrong length": (GOODS[3][:-4] + bytes(4), "incorrect length check"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    (tmp_path / "bad").write_bytes(data)
    refused(tmp_path / "bad", message)


def test_a_large_file_that_promises_more_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.write(header(1 << 30, 1 << 30))
        file.truncate(1 << 32)  # takes no place on the disk
    refused(tmp_path / "large", "and holds only 4,294,967,284")


def test_many_zeros_in_few_bytes_are_read_where_they_are_honest(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(gzip.compress(header(1 << 22) + bytes(1 << 22)))
    assert path.stat().st_size < 5000
    assert load_idx(path).shape == (1 << 22,)


def test_a_folder_a_pipe_a_device_and_no_path(tmp_path: Path) -> None:
    refused(tmp_path, "it is a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a device or a pipe")
    refused(Path("/dev/zero"), "a device or a pipe")
    with pytest.raises(TypeError, match=r"load_idx: path must be the name of a file, .* got int"):
        load_idx(5)


@pytest.mark.parametrize("good", GOODS)
def test_every_cut_is_refused(good: bytes, tmp_path: Path) -> None:
    for length in range(len(good)):
        (tmp_path / "cut").write_bytes(good[:length])
        with pytest.raises(IdxError, match="cut"):
            load_idx(tmp_path / "cut")


def survives(data: bytes, path: Path) -> None:
    """Either an array that is as large as the file can say, or the error that names the file; soon."""
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        array = load_idx(path)
    except IdxError as error:
        message = str(error)
        assert str(path) in message
        assert len(message) < 1000
    else:
        assert array.dtype.isnative
        assert array.nbytes <= 1032 * len(data)
    assert time.perf_counter() - start < 1.0


@given(
    good=st.sampled_from(GOODS),
    places=st.lists(st.tuples(st.integers(0, 99), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_changed_files(tmp_path: Path, good: bytes, places: list[tuple[int, bytes, int]]) -> None:
    for at, piece, removed in places:
        good = good[:at] + piece + good[at + removed :]
    survives(good, tmp_path / "fuzz")


@given(
    kind=st.one_of(st.sampled_from(sorted(KINDS)), st.integers(0, 255)),
    shape=st.lists(st.one_of(st.integers(0, 4), st.sampled_from([2**16, 2**31, 2**32 - 1])), max_size=40),
    data=st.binary(max_size=64),
    gzipped=st.booleans(),
)
def test_made_up_headers(tmp_path: Path, kind: int, shape: list[int], data: bytes, gzipped: bool) -> None:
    content = header(*shape, kind=kind) + data
    survives(gzip.compress(content) if gzipped else content, tmp_path / "fuzz")


@given(
    data=st.binary(max_size=80), start=st.sampled_from([b"", b"\0\0", b"\0\0\x08\x01", b"\x1f\x8b", b"\x1f\x8b\x08"])
)
def test_made_up_bytes(tmp_path: Path, data: bytes, start: bytes) -> None:
    survives(start + data, tmp_path / "fuzz")


def changed(good: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four things changed."""
    data: Any = bytearray(good)
    for _ in range(rng.integers(1, 5)):
        at, kind = int(rng.integers(len(data) + 1)), rng.integers(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = data[at : at + 16]
        elif at < len(data):
            data[at] = int(rng.choice([0, 1, 8, 127, 128, 255]))
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_sixty_thousand_changed_files(tmp_path: Path, seed: int) -> None:
    """Plain random numbers, for speed: half are changed, half are gzipped after they have been."""
    rng = np.random.default_rng(seed)
    for i in range(30_000):
        survives(changed(GOODS[i % len(GOODS)], rng), tmp_path / "fuzz")
        survives(gzip.compress(changed(GOODS[i % 3], rng), compresslevel=1), tmp_path / "fuzz")
