"""Arrays and pictures from anywhere: an array or a mistake, in little memory, and nothing is run."""

from __future__ import annotations

import io
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinynn.cli import arrays, pictures
from tinynn.cli.mistakes import Mistake


@contextmanager
def little_time_and_memory(most: int = 200 * 2**20) -> Iterator[None]:
    """Fail if the block takes a second, or that much memory more than there was in use."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    yield
    assert time.perf_counter() - begun < 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < most


def npy(header: str, content: bytes = b"") -> bytes:
    """Return a .npy file with a header of one's own."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


LIES = {
    "2^60 numbers": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**60},), }}", b"12345678"),
    "more numbers than int64 counts": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**70}, 3), }}"),
    "a negative size": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"12345678"),
    "no dictionary": npy("[1, 2]"),
    "a call": npy("{'descr': print('run'), 'fortran_order': False, 'shape': (1,), }"),
    "deep nesting": npy("(" * 9000 + ")" * 900),
    "deep nesting of minus": npy("-" * 9000 + "1"),
    "a long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{",
    "an unknown format": b"\x93NUMPY\x09\x00" + b"v\x00{}",
    "nothing more": b"\x93NUMPY",
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n(S'touch run'\ntR."),
    "records": npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", b"12345678"),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_lies(content: bytes, packed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    if packed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    with little_time_and_memory(), pytest.raises(Mistake):
        arrays.load_npz(str(path), ["x"]) if packed else arrays.load_npy(str(path))
    assert capsys.readouterr().out == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_member_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    content = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3000000000,), }", b"1")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    raw = (tmp_path / "x.npz").read_bytes()
    size = len(content) - 1 + 3_000_000_000
    (tmp_path / "x.npz").write_bytes(raw.replace(struct.pack("<I", len(content)), struct.pack("<I", size)))
    with (
        little_time_and_memory(),
        pytest.raises(Mistake, match=r"claims 3,000,000,077 bytes, more than its \d+ can hold"),
    ):
        arrays.load_npz(str(tmp_path / "x.npz"), ["x"])
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with little_time_and_memory(), pytest.raises(Mistake, match=r"of uint8, which is another number of bytes$"):
        arrays.load_npz(str(tmp_path / "x.npz"), ["x"])


def test_a_large_array_is_mapped_and_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        file.write(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000, 784), }"))
        file.truncate(file.tell() + 4_000_000 * 784)
    with little_time_and_memory():
        assert arrays.load_npy(str(tmp_path / "x.npy")).shape == (4_000_000, 784)


def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Change bytes of a file, cut it, or add to it."""
    new = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        new[draw(st.integers(0, len(new) - 1))] = draw(st.integers(0, 255))
    return bytes(new[: draw(st.integers(0, len(new)))]) + draw(st.binary(max_size=4))


def saved(save: Callable[[Any], object]) -> bytes:
    """Return what a function writes to a file."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


SMALL = np.arange(12, dtype="float32").reshape(3, 4)
GREY = Image.fromarray(np.arange(64, dtype="uint8").reshape(8, 8))
READERS: dict[str, tuple[bytes, Callable[[str], Any]]] = {
    "npy": (saved(lambda file: np.save(file, SMALL)), arrays.load_npy),
    "npz": (saved(lambda file: np.savez(file, x=SMALL)), lambda path: arrays.load_npz(path, ["x"])),
    "packed": (saved(lambda file: np.savez_compressed(file, x=SMALL)), lambda path: arrays.load_npz(path, ["x"])),
    "png": (saved(lambda file: GREY.save(file, "PNG")), lambda path: pictures.load(path, (8, 8), False)),
    "jpg": (saved(lambda file: GREY.save(file, "JPEG")), lambda path: pictures.load(path, (8, 8), False)),
}


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_damaged_file_is_an_array_or_a_mistake(kind: str, data: Any, tmp_path: Path) -> None:
    content, read = READERS[kind]
    (tmp_path / "x").write_bytes(data.draw(st.composite(changed)(content)))
    with suppress(Mistake):
        read(str(tmp_path / "x"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_a_hundred_thousand_damaged_files(kind: str, tmp_path: Path) -> None:
    """Plain random numbers, a hundred times faster than hypothesis."""
    content, read = READERS[kind]
    rng = np.random.default_rng(0)
    for _ in range(100_000):
        new = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            new[int(rng.integers(len(new)))] = int(rng.integers(256))
        if rng.integers(4) == 0:
            del new[int(rng.integers(len(new))) :]
        (tmp_path / "x").write_bytes(new)
        start = time.perf_counter()
        with suppress(Mistake):
            read(str(tmp_path / "x"))
        assert time.perf_counter() - start < 1.0


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_picture_that_claims_to_be_huge(tmp_path: Path) -> None:
    for width, height in ((8_000, 8_000), (20_000, 20_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0" * 99)))
        with little_time_and_memory(), pytest.raises(Mistake, match="claims 8000 x 8000" if width == 8000 else "x.png"):
            pictures.load(str(tmp_path / "x.png"), (28, 28), False)
