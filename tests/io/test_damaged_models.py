"""Files that are not what they seem: a model, or an error that names the file, soon; never code run."""

from __future__ import annotations

import copy
import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn
from tests.io.test_damaged import changes, limit_on_memory
from tests.io.test_model_file import everything, network
from tinynn.io import load_model
from tinynn.io.files import checksum


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.tinynn"
    model = tinynn.Sequential([tinynn.Input((2,)), tinynn.Dense(3), tinynn.Dropout(0.5)], seed=0)
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
    model.save(path)
    return path.read_bytes()


def parts_of(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return header, document and numbers of a file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["document"]), data[8 + length :]


def with_document(good: bytes, document: Any) -> bytes:
    """Return a file with another document, and the right checksum of it."""
    header, _, numbers = parts_of(good)
    text = document if isinstance(document, str) else json.dumps(document)
    crc32 = checksum([np.frombuffer(numbers, "uint8")], text)
    header["__metadata__"] |= {"document": text, "crc32": crc32}
    coded = json.dumps(header).encode()
    return len(coded).to_bytes(8, "little") + coded + numbers


def changed(good: bytes, *path: Any, to: Any) -> bytes:
    """Return a file in whose document one place holds something else."""
    document = parts_of(good)[1]
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return with_document(good, document)


LAYERS = ("model", "config", "layers")
DENSE = (*LAYERS, 1, "config")


def layer(name: str, /, **settings: Any) -> Any:
    return {"class": f"layers.{name}", "config": settings}


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no json": (lambda good: with_document(good, "{]"), "its document cannot be read"),
    "deep": (lambda good: with_document(good, "[" * 100_000), "its document cannot be read"),
    "twice": (lambda good: with_document(good, '{"model": 1, "model": 2}'), "'model' twice"),
    "list": (lambda good: with_document(good, [1]), "does not describe a model"),
    "number": (lambda good: changed(good, "model", to=5), "it describes no model, but 5"),
    "layer": (lambda good: changed(good, "model", to=layer("Dense", units=3)), "it describes no model"),
    "unknown": (lambda good: changed(good, *LAYERS, 1, "class", to="Mine"), "there is no class called 'Mine'"),
    "module": (lambda good: changed(good, *LAYERS, 1, "class", to="os.system"), "there is no class called 'os.system'"),
    "import": (lambda good: changed(good, *LAYERS, 1, "class", to="layers.np"), "unknown class of tinynn.layers 'np'"),
    "many units": (lambda good: changed(good, *DENSE, "units", to=2**40), "more weights than it has numbers"),
    "absurd units": (lambda good: changed(good, *DENSE, "units", to=10**30), "cannot be built"),
    "few units": (lambda good: changed(good, *DENSE, "units", to=2), "its weights are not those of its model"),
    "negative": (lambda good: changed(good, *DENSE, "units", to=-3), "units must be a whole number from 1 up"),
    "text": (lambda good: changed(good, *DENSE, "units", to="3"), "units must be a whole number from 1 up"),
    "no config": (lambda good: changed(good, *DENSE, "unit", to=3), "cannot be made with the settings"),
    "dtype": (lambda good: changed(good, "model", "config", "dtype", to="object"), "dtype must be"),
    "float64": (lambda good: changed(good, "model", "config", "dtype", to="float64"), "other dtype"),
    "shape": (lambda good: changed(good, "input_shape", to=[3]), "cannot be built"),
    "no shape": (lambda good: changed(good, "input_shape", to={"a": 1}), "no input shape"),
    "large shape": (lambda good: changed(good, *LAYERS, 0, "config", "shape", to=[2**50]), "cannot be built"),
    "optimizer": (lambda good: changed(good, "compiled", "dict", 0, 1, to="adm"), "Did you mean 'adam'"),
    "no loss": (lambda good: changed(good, "compiled", "dict", 1, 1, to=None), "does not say how to train"),
    "compiled": (lambda good: changed(good, "compiled", to=[1, 2]), "does not say how to train"),
    "crowd": (lambda good: changed(good, *LAYERS, to=[layer("ReLU")] * 10_001), "more than 10,000 layers"),
    "state": (lambda good: changed(good, "state", to=[1, 2]), "does not say how to train"),
    "no slots": (lambda good: changed(good, "state", to={"dict": [["training", {"dict": []}]]}), "does not say how"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_model_are_refused(name: str, good: bytes, tmp_path: Path) -> None:
    make, message = BAD[name]
    path = tmp_path / "bad.tinynn"
    path.write_bytes(make(good))
    load_model_refused(path, message)


def load_model_refused(path: Path, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        load_model(path)
    assert time.perf_counter() - start < 1.0
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_they_are_refused_in_little_memory(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tinynn"
    for measured in (False, True):
        for make, message in BAD.values():
            path.write_bytes(make(good))
            if measured:
                with limit_on_memory(512 * 2**20):
                    load_model_refused(path, message)
            else:
                load_model_refused(path, message)


def test_a_model_too_large_to_run_is_not_run(good: bytes, tmp_path: Path) -> None:
    """Its weights are few, so that it can be made; what it would need to run is for whoever runs it to see."""
    (tmp_path / "large").write_bytes(changed(good, *LAYERS, 2, to=layer("RepeatVector", n=2**45)))
    with limit_on_memory(512 * 2**20):
        assert load_model(tmp_path / "large").output_shape == (2**45, 3)


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    model = network()
    model.save_weights(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="no file of a model: it holds weights alone; make the model, and"):
        load_model(tmp_path / "weights.safetensors")
    with pytest.raises(FileNotFoundError, match="load_model: there is no file"):
        load_model(tmp_path / "nothing")


def test_every_cut_and_every_flipped_bit_is_found_or_does_no_harm(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match="flipped is not a whole file of a model"):
            load_model(path)
    for position in range(0, 8 * len(good), 5):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        survives(good, bytes(data), path)


def survives(good: bytes, data: bytes, path: Path) -> None:
    """Either the model is the one that was saved, or the error names the file."""
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        model = load_model(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        path.write_bytes(good)
        assert everything(model) == everything(load_model(path))
    assert time.perf_counter() - start < 1.0


@given(change=changes())
def test_changed_files(good: bytes, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    survives(good, change(good), tmp_path / "fuzz")


SETTINGS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["relu", "same", "valid", "", "x" * 100, "../..", "layers.Dense"]),
    st.lists(st.integers(-3, 2**40), max_size=4),
    st.sampled_from([{"float": "nan"}, {"float": "inf"}, {"array": "state/0"}, {"array": [1e9], "dtype": "int8"}]),
)


def places(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where things stand in a document."""
    found = [path] if path else []
    if isinstance(plain, dict | list):
        for key in plain if isinstance(plain, dict) else range(len(plain)):
            found += places(plain[key], (*path, key))
    return found


def harmless(data: bytes, path: Path) -> None:
    """Whatever a document says: a model, or an error that names the file, soon; and never code run."""
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        model = load_model(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert isinstance(model, tinynn.Sequential)
    assert time.perf_counter() - start < 1.0


@given(data=st.data())
def test_documents_with_other_settings_and_the_right_checksum(good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    document = parts_of(good)[1]
    place = data.draw(st.sampled_from(places(document)))
    harmless(changed(good, *place, to=data.draw(SETTINGS)), tmp_path / "fuzz")


KINDS = sorted(
    name for name, kind in vars(tinynn.layers).items() if isinstance(kind, type) and issubclass(kind, tinynn.Layer)
)


def settings_of(name: str) -> list[str]:
    return [*inspect.signature(getattr(tinynn.layers, name)).parameters]


@given(name=st.sampled_from(KINDS), values=st.lists(SETTINGS, max_size=3), data=st.data())
def test_documents_with_other_layers(
    good: bytes, tmp_path: Path, name: str, values: list[Any], data: st.DataObject
) -> None:
    options = {data.draw(st.sampled_from(settings_of(name))): value for value in values}
    harmless(changed(good, *LAYERS, 1, to=layer(name, **options)), tmp_path / "fuzz")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_documents_and_files(good: bytes, tmp_path: Path, seed: int) -> None:
    """Plain random numbers, a hundred times faster than hypothesis: 25,000 files for each seed."""
    rng = np.random.default_rng(seed)
    document = parts_of(good)[1]
    everywhere = places(document)
    values = [None, True, -1, 0, 1, 7, 2**31, 2**40, 10**30, 0.5, -1e300, "", "relu", "same", [], [2, 3], [2**40], {}]
    values += [{"float": "nan"}, {"array": "state/1"}, {"dict": []}, {"class": "layers.Dense", "config": {"units": 2}}]
    path = tmp_path / "fuzz"
    for turn in range(25_000):
        if turn % 3 == 0:
            data = bytearray(good)
            for _ in range(rng.integers(1, 4)):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            survives(good, bytes(data), path)
        elif turn % 3 == 1:
            place = everywhere[int(rng.integers(len(everywhere)))]
            harmless(changed(good, *place, to=values[int(rng.integers(len(values)))]), path)
        else:
            name = KINDS[int(rng.integers(len(KINDS)))]
            names = settings_of(name)[: int(rng.integers(1, 5))]
            options = {n: values[int(rng.integers(len(values)))] for n in names}
            harmless(changed(good, *LAYERS, 1, to=layer(name, **options)), path)


@pytest.mark.slow
@settings(max_examples=3000)
@given(data=st.data())
def test_many_documents(good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    document = parts_of(good)[1]
    for _ in range(2):
        place = data.draw(st.sampled_from(places(document)))
        inner: Any = document
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = copy.deepcopy(data.draw(SETTINGS))  # the second change may be inside the first
    harmless(with_document(good, document), tmp_path / "fuzz")
