"""MNIST and IDX files: the right bytes, and clear errors for the wrong ones."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.datasets import load_idx, mnist
from tinynn.datasets.idx import KINDS, IdxError


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an array as IDX: the independent half of the round trip."""
    kind = {np.dtype(name).str.lstrip("<>|="): code for code, name in KINDS.items()}[array.dtype.str.lstrip("<>|=")]
    header = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_mnist_is_mnist() -> None:
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert x_train.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x_train.mean() == pytest.approx(33.318, abs=1e-3)
    x_train[0, 0, 0] = 1  # the caller's own copy


def test_mnist_that_is_not_the_original_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(10000, np.uint8))))
    with pytest.raises(ValueError, match=r"is not the original MNIST file: its SHA-256 is .*Install tinynn again"):
        mnist.read("t10k-labels-idx1-ubyte", tmp_path)


def test_loading_opens_no_connection() -> None:
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket = socket.create_connection = no\n"
        "import tinynn; tinynn.datasets.mnist.load_data(); print('ok')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "ok\n"


@given(
    data=st.data(),
    dtype=st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    gzipped=st.booleans(),
)
def test_every_kind_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dtype: str, shape: list[int], gzipped: bool
) -> None:
    array = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape) * 50
    array = array.astype("i8").astype(dtype)
    path = tmp_path_factory.mktemp("idx") / "file"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content, mtime=0) if gzipped else content)
    read = load_idx(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
ZIPPED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file: it starts with nothing"),
        (b"\x89PNG\r\n\x1a\n", "is no IDX file: it starts with 89 50 4e 47"),
        (b"\0\0\x07\x01" + GOOD[4:], "is no IDX file: it starts with 00 00 07 01"),
        (b"\0\0\x08\x00", "is no IDX file"),
        (b"\0\0\x08\x64" + b"\0\0\0\x01" * 100 + b"x", "promises an array of 100 axes, the longest 1: it is corrupted"),
        (b"\0\0\x08\x03" + b"\0\0\0\0" + b"\xff" * 8, "promises an array of 3 axes, the longest 4,294,967,295"),
        (GOOD[:9], "is truncated: it ends inside its header"),
        (GOOD[:-1], r"promises 12 bytes of numbers \(shape \(3, 4\), uint8\) and holds only 11"),
        (GOOD + b"x", "promises 12 bytes .* and holds more"),
        (b"\0\0\x0e\x04" + b"\x0f" * 16 + b"12345678", "and holds only 8"),
        (ZIPPED[:-9], "is truncated or corrupted"),
        (
            ZIPPED[:12] + b"\xff\xff" + ZIPPED[14:],
            "is truncated or corrupted",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.idx"
    path.write_bytes(content)
    with pytest.raises(IdxError, match=message):
        load_idx(path)


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_flipped_byte_is_an_error_or_another_number(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(GOOD[:position] + bytes([value]) + GOOD[position + 1 :])
    with contextlib.suppress(IdxError):
        assert load_idx(path).nbytes == 12


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.idx"):
        load_idx(tmp_path / "nowhere.idx")


def test_the_name_does_not_decide(tmp_path: Path) -> None:
    shutil.copy(mnist.FILES / "t10k-labels-idx1-ubyte.gz", tmp_path / "labels")
    assert load_idx(tmp_path / "labels").shape == (10000,)
