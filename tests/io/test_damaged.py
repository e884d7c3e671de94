"""Files that are not what they seem: an error that names the file, within a second, in little memory."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynn import Dense, Input, Sequential
from tinynn.io import read_metadata
from tinynn.io.safetensors import LONGEST_HEADER

GOOD_ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def network(seed: int = 0) -> Sequential:
    model = Sequential([Input((2,)), Dense(3)], seed=seed)
    model.build()
    return model


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    network().save_weights(path)
    return path.read_bytes()


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entries(**others: Any) -> dict[str, Any]:
    return {"__metadata__": {"tinynn_format": "1"}, **others}


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "three bytes": (b"abc", "has only 3 bytes"),
    "text": (b"not a safetensors file at all, but a letter", "is no safetensors file"),
    "npz": (b"PK\x03\x04" + b" " * 50, "looks like a zip file, as .npz of NumPy, .keras of Keras"),
    "h5": (b"\x89HDF\r\n\x1a\n" + b" " * 50, "looks like an HDF5 file, as .h5 of Keras"),
    "pickle": (b"\x80\x04\x95" + b" " * 50, "looks like a pickle, which is code, and is not read"),
    "2^60 bytes": (file_of({}, b"", 2**60), "a header of 1152921504606846976 bytes"),
    "2^64-1 bytes": (file_of({}, b"", 2**64 - 1), "ask for a header"),
    "long header": (file_of(b" " * (LONGEST_HEADER + 1)), "more than the"),
    "no json": (file_of(b"{]"), "cannot be read"),
    "no text": (file_of(b"\xff\xfe{}"), "cannot be read"),
    "deep": (file_of(b"[" * 1_000_000), "cannot be read"),
    "deep objects": (file_of(b'{"a":' * 500_000), "cannot be read"),
    "many empty": (file_of(b"[" + b"{}," * 1_300_000 + b"{}]"), "not a JSON object"),
    "list": (file_of([1, 2]), "not a JSON object"),
    "long number": (file_of(b'{"a":' + b"9" * 1_000_000 + b"}"), "cannot be read"),
    "metadata": (file_of({"__metadata__": {"seed": 5}}), "metadata are not text"),
    "metadata list": (file_of({"__metadata__": []}), "metadata are not text"),
    "twice": (file_of(b'{"a": 1, "b": 2, "a": 3}'), "'a' twice"),
    "twice inside": (file_of(b'{"a": {"dtype": "F32", "dtype": "F64"}}'), "'dtype' twice"),
    "no entry": (file_of(entries(W=5)), "does not consist of"),
    "half an entry": (file_of(entries(W={"dtype": "F32"})), "does not consist of"),
    "dtype": (file_of(entries(W={**GOOD_ENTRY, "dtype": "F99"}), bytes(24)), "unknown kind of number 'F99'"),
    "dtype list": (file_of(entries(W={**GOOD_ENTRY, "dtype": ["F32"]}), bytes(24)), "unknown kind of number"),
    "other size": (file_of(entries(W={**GOOD_ENTRY, "dtype": "F64"}), bytes(24)), "another number of bytes"),
    "negative": (file_of(entries(W={**GOOD_ENTRY, "shape": [-2, -3]}), bytes(24)), "no list of whole numbers"),
    "truth": (file_of(entries(W={**GOOD_ENTRY, "shape": [True, 6]}), bytes(24)), "no list of whole numbers"),
    "float": (file_of(entries(W={**GOOD_ENTRY, "shape": [2.0, 3]}), bytes(24)), "no list of whole numbers"),
    "axes": (file_of(entries(W={**GOOD_ENTRY, "shape": [1] * 99}), bytes(24)), "99 axes"),
    "offsets": (file_of(entries(W={**GOOD_ENTRY, "data_offsets": [0, 8, 24]}), bytes(24)), "3 offsets"),
    "backwards": (file_of(entries(W={**GOOD_ENTRY, "data_offsets": [24, 0]}), bytes(24)), "another number of bytes"),
    "absurd": (
        file_of(entries(W={"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]})),
        "need 1152921504606846976 bytes, but 0 follow",
    ),
    "absurd product": (file_of(entries(W={**GOOD_ENTRY, "shape": [2**62] * 32}), bytes(24)), "another number of bytes"),
    "overlap": (file_of(entries(W=GOOD_ENTRY, b=GOOD_ENTRY), bytes(24)), "overlaps the one before"),
    "gap": (file_of(entries(W={**GOOD_ENTRY, "data_offsets": [8, 32]}), bytes(32)), "leaves a gap"),
    "too long": (file_of(entries(W=GOOD_ENTRY), bytes(25)), "something was added"),
    "too short": (file_of(entries(W=GOOD_ENTRY), bytes(23)), "it was cut off"),
}


def refused(path: Path, text: str) -> None:
    """Expect the error, soon, in little memory, and a model as it was."""
    model = network(seed=1)
    before = model.arena.values.copy()
    start = time.perf_counter()
    with pytest.raises(ValueError, match="load_weights: ") as caught:
        model.load_weights(path)
    assert time.perf_counter() - start < 1.0
    assert str(path) in str(caught.value)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 1000
    np.testing.assert_array_equal(model.arena.values, before)


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    data, text = BAD[name]
    (tmp_path / "bad").write_bytes(data)
    refused(tmp_path / "bad", text)
    with pytest.raises(ValueError, match=r"read_metadata: .*bad is not a whole file of tinynn"):
        read_metadata(tmp_path / "bad")


def test_damaged_files_are_refused_in_little_memory(tmp_path: Path) -> None:
    """Beside the header itself, at most 4 MiB, what JSON makes of it."""
    for data, _ in BAD.values():
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(ValueError, match="bad"):
            network().load_weights(tmp_path / "bad")
    with limit_on_memory(512 * 2**20):
        for data, text in BAD.values():
            (tmp_path / "bad").write_bytes(data)
            refused(tmp_path / "bad", text)


@contextmanager
def limit_on_memory(more: int) -> Iterator[None]:
    """Let the process have so much more memory than it has, and no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_folder_a_pipe_and_nothing(tmp_path: Path) -> None:
    refused(tmp_path, "it is a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a device or a pipe")
    refused(Path("/dev/zero"), "a device or a pipe")
    with pytest.raises(FileNotFoundError, match=r"load_weights: there is no file .*nothing"):
        network().load_weights(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match=r"load_weights: could not open .*loop"):
        network().load_weights(tmp_path / "loop")


def test_every_cut_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match="cut is not a whole file"):
            network().load_weights(path)


def test_every_flipped_bit_of_the_numbers_is_found(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    start = 8 + int.from_bytes(good[:8], "little")
    for position in range(8 * start, 8 * len(good)):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
        with pytest.raises(ValueError, match="the checksum differs"):
            network().load_weights(path)


def survives(good: bytes, data: bytes, path: Path) -> None:
    """Either the weights are those that were saved, or the error names the file and the model is as it was."""
    path.write_bytes(data)
    model = network(seed=1)
    before = model.arena.values.copy()
    start = time.perf_counter()
    try:
        model.load_weights(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
        np.testing.assert_array_equal(model.arena.values, before)
    else:
        np.testing.assert_array_equal(model.arena.values, network().arena.values)
    assert time.perf_counter() - start < 1.0


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a few changes: a bit, a byte, a cut, a piece put in, taken out or doubled."""
    kinds = draw(
        st.lists(st.sampled_from(["bit", "byte", "cut", "insert", "delete", "double"]), min_size=1, max_size=4)
    )
    places = [draw(st.integers(0, 2**16)) for _ in kinds]
    sizes = [draw(st.integers(1, 24)) for _ in kinds]
    pieces = [draw(st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from(WORDS))) for _ in kinds]

    def change(data: bytes) -> bytes:
        for kind, place, size, piece in zip(kinds, places, sizes, pieces, strict=True):
            at = place % (len(data) + 1)
            if kind == "bit" and at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << size % 8)]) + data[at + 1 :]
            elif kind == "byte":
                data = data[:at] + piece + data[at + len(piece) :]
            elif kind == "cut":
                data = data[:at]
            elif kind == "insert":
                data = data[:at] + piece + data[at:]
            elif kind == "delete":
                data = data[:at] + data[at + size :]
            elif kind == "double":
                data = data[: at + size] + data[at:]
        return data

    return change


WORDS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"F64",
    b"\\ud800",
    b"../",
]
NUMBERS = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**60, 2**63, 2**64, 10**400]), st.floats(), st.none())
JSON = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5), st.booleans()),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(st.text(max_size=5), inside, max_size=3)),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.one_of(st.sampled_from(["F32", "F64", "BOOL", "I8", "BF16"]), JSON),
        "shape": st.one_of(st.lists(NUMBERS, max_size=3), JSON, st.just([2, 3]), st.just([3])),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), JSON, st.just([0, 24]), st.just([24, 36])),
    }
)
HEADER = st.dictionaries(
    st.sampled_from(["dense.W", "dense.b", "__metadata__", "../../etc/passwd", ""]),
    st.one_of(ENTRY, JSON, st.just({"tinynn_format": "1", "crc32": "00000000"})),
    max_size=4,
)


def fuzz_changes(good: bytes, change: Callable[[bytes], bytes], path: Path) -> None:
    survives(good, change(good), path)


def fuzz_header(good: bytes, header: Any, data: bytes, path: Path) -> None:
    survives(good, file_of(header, data), path)


@given(change=changes())
def test_changed_files(good: bytes, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    fuzz_changes(good, change, tmp_path / "fuzz")


@given(header=HEADER, data=st.one_of(st.binary(max_size=40), st.just(bytes(36))))
def test_made_up_headers(good: bytes, tmp_path: Path, header: Any, data: bytes) -> None:
    fuzz_header(good, header, data, tmp_path / "fuzz")


@given(data=st.binary(max_size=200))
def test_made_up_bytes(good: bytes, tmp_path: Path, data: bytes) -> None:
    survives(good, data, tmp_path / "fuzz")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_thousand_changed_files(good: bytes, tmp_path: Path, seed: int) -> None:
    """Plain random numbers, which are a hundred times faster than hypothesis: 50,000 files for each seed."""
    rng = np.random.default_rng(seed)
    for _ in range(50_000):
        data = bytearray(good)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(data) + 1))
            kind = rng.integers(4)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at:at] = WORDS[rng.integers(len(WORDS))]
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 9))]
            elif at < len(data):
                data[at] = int(rng.integers(256))
        survives(good, bytes(data), tmp_path / "fuzz")


@pytest.mark.slow
@settings(max_examples=3000)
@given(change=changes(), header=HEADER, data=st.one_of(st.binary(max_size=40), st.just(bytes(36))))
def test_many_changed_files_and_made_up_headers(
    good: bytes, tmp_path: Path, change: Callable[[bytes], bytes], header: Any, data: bytes
) -> None:
    fuzz_changes(good, change, tmp_path / "fuzz")
    fuzz_header(good, header, data, tmp_path / "fuzz")
