"""Dataset: every element once, in an order that the seed and the epoch decide, and resumable anywhere."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard import FakeCuPy
from tinynn.backend import to_host
from tinynn.data import Dataset
from tinynn.data.augmentation import RandomFlip


def numbers(count: int) -> Dataset:
    """Return a Dataset of arrays: 0, 1, 2, ... with targets and weights that belong to them."""
    x = np.arange(count)
    return Dataset.from_arrays(x, 10 * x, 100.0 * x)


def made(count: int) -> Dataset:
    """Return the same, one after another from a generator."""

    def make() -> Iterator[tuple[int, int, float]]:
        for i in range(count):
            yield i, 10 * i, 100.0 * i

    return Dataset.from_generator(make)


def noisy(x: Any, *others: Any, rng: np.random.Generator) -> Any:
    return (x + rng.random(), *others)


def flat(elements: Any) -> list[Any]:
    """Return elements as something that can be compared."""
    return [
        tuple(np.asarray(entry).tolist() for entry in element) if isinstance(element, tuple) else element.tolist()
        for element in elements
    ]


# Every step, drawn at random: what a step does, and what it needs.
STEPS: dict[str, Callable[[Dataset, int], Dataset]] = {
    "shuffle": lambda dataset, n: dataset.shuffle(seed=n),
    "buffer": lambda dataset, n: dataset.shuffle(n + 1, seed=n),
    "batch": lambda dataset, n: dataset.batch(n + 1),
    "whole batches": lambda dataset, n: dataset.batch(n + 1, drop_remainder=True),
    "map": lambda dataset, n: dataset.map(lambda x, y, w: (x + n, y, w)),
    "noise": lambda dataset, n: dataset.map(noisy, seed=n),
    "take": lambda dataset, n: dataset.take(3 * n),
    "skip": lambda dataset, n: dataset.skip(n),
    "repeat": lambda dataset, n: dataset.repeat(n % 3 + 1),
    "prefetch": lambda dataset, n: dataset.prefetch(n + 1),
}
pipelines = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 5)), max_size=5)


def build(source: Dataset, steps: list[tuple[str, int]]) -> Dataset:
    """Return a pipeline of steps that its source can take."""
    dataset, batched = source, False
    for name, n in steps:
        if name.endswith(("batch", "batches")):
            if batched:  # the last batch is smaller: those cannot be stacked
                continue
            batched = True
        if name == "shuffle" and dataset.stage.length is None:
            name = "buffer"
        dataset = STEPS[name](dataset, n)
    return dataset


@given(steps=pipelines, count=st.integers(1, 17), epoch=st.integers(0, 3), skip=st.integers(0, 20))
def test_a_pipeline_goes_on_where_it_was_left(steps: list[tuple[str, int]], count: int, epoch: int, skip: int) -> None:
    for source in (numbers(count), made(count)):
        dataset = build(source, steps)
        whole = flat(dataset.iterate(epoch))
        assert flat(dataset.iterate(epoch, skip)) == whole[skip:]
        assert flat(dataset.iterate(epoch)) == whole
        if source.stage.length is not None:
            assert len(dataset) == len(whole)


@pytest.mark.parametrize(
    "source", [numbers(7), made(7), numbers(7).shuffle().prefetch(1)], ids=["rows", "made", "ahead"]
)
def test_every_pair_of_steps_goes_on_where_it_was_left(source: Dataset) -> None:
    for first, second in itertools.product(STEPS, repeat=2):
        dataset = build(source, [(first, 2), (second, 1)])
        whole = flat(dataset.iterate(1))
        assert [flat(dataset.iterate(1, skip)) for skip in range(10)] == [whole[skip:] for skip in range(10)]
        if source.stage.length is not None:
            assert len(dataset) == len(whole)


@pytest.mark.parametrize("source", [numbers(7), made(7)], ids=["rows", "made"])
def test_the_last_batch_is_smaller_or_left_out(source: Dataset) -> None:
    assert [len(x) for x, _, _ in source.batch(3)] == [3, 3, 1]
    assert [len(x) for x, _, _ in source.batch(3, drop_remainder=True)] == [3, 3]
    assert [len(x) for x, _, _ in source.batch(9)] == [7]
    assert list(source.batch(9, drop_remainder=True)) == []


@given(steps=pipelines, count=st.integers(1, 17), epoch=st.integers(0, 3))
def test_arrays_and_a_generator_are_the_same_where_nothing_is_shuffled(
    steps: list[tuple[str, int]], count: int, epoch: int
) -> None:
    steps = [(name, n) for name, n in steps if name not in ("shuffle", "buffer")]
    first, second = (flat(build(source, steps).iterate(epoch)) for source in (numbers(count), made(count)))
    assert first == second


@given(count=st.integers(1, 40), size=st.integers(1, 12), buffer=st.one_of(st.none(), st.integers(1, 50)))
def test_every_row_comes_once_an_epoch_with_its_target(count: int, size: int, buffer: int | None) -> None:
    dataset = numbers(count).shuffle(buffer).batch(size)
    assert len(dataset) == math.ceil(count / size)
    for epoch in range(2):
        x, y, w = (np.concatenate(entries) for entries in zip(*dataset.iterate(epoch), strict=True))
        assert sorted(x.tolist()) == list(range(count))
        np.testing.assert_array_equal(y, 10 * x)
        np.testing.assert_array_equal(w, 100 * x)


def test_orders_differ_by_epoch_seed_and_place() -> None:
    def order(seed: int, epoch: int, times: int = 1) -> list[int]:
        dataset = Dataset.from_arrays(range(50))
        for _ in range(times):
            dataset = dataset.shuffle(seed=seed)
        return [int(x) for x in dataset.iterate(epoch)]

    orders = [order(0, 0), order(0, 1), order(1, 0), order(0, 0, times=2)]
    assert all(first != second for first, second in itertools.combinations(orders, 2))
    assert order(0, 0) == order(0, 0)


@pytest.mark.parametrize("buffer", [4, 3, 2])
@pytest.mark.parametrize("dataset", [Dataset.from_arrays(range(4)), made(4).map(lambda x, y, w: x)])
def test_all_orders_are_as_likely(dataset: Dataset, buffer: int) -> None:
    """Whatever the buffer allows comes as often, give or take five standard deviations of 1200 throws."""
    shuffled = dataset.shuffle(buffer)
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(1200):
        order = tuple(int(x) for x in shuffled.iterate(epoch))
        counts[order] = counts.get(order, 0) + 1
    orders = {4: 24, 3: 18, 2: 8}[buffer]
    assert len(counts) == orders
    assert max(abs(count - 1200 / orders) for count in counts.values()) < 5 * math.sqrt(1200 / orders)


def test_a_buffer_lets_nothing_come_much_too_early() -> None:
    for dataset in (numbers(100), made(100)):
        order = [int(x) for x, _, _ in dataset.shuffle(10, seed=2).iterate()]
        assert order != sorted(order)
        assert all(number < place + 10 for place, number in enumerate(order))


def test_it_says_how_many_elements_it_has() -> None:
    assert repr(numbers(9).batch(2)) == "<Dataset of 5 elements>"
    assert repr(made(9)) == "<Dataset of unknown many elements>"
    assert repr(numbers(9).repeat()) == "<Dataset of endlessly many elements>"


def test_for_goes_to_the_next_epoch_and_iterate_does_not() -> None:
    dataset = numbers(9).shuffle(seed=1)
    epochs = [flat(dataset) for _ in range(3)]
    assert epochs == [flat(dataset.iterate(epoch)) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_arrays_shuffled_and_batched_are_one_gather_a_batch() -> None:
    reads: list[Any] = []

    class Counting(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            reads.append(key)
            return super().__getitem__(key)

    dataset = Dataset.from_arrays(np.arange(1000.0)).shuffle().batch(100)
    rows = dataset.stage.source.source
    rows.arrays = (rows.arrays[0].view(Counting),)
    next(dataset.iterate(epoch=0, skip=8))
    assert len(reads) == 1  # what was skipped has not been read
    assert len(reads[0]) == 100


def test_repeated_epochs_are_other_epochs() -> None:
    dataset = Dataset.from_arrays(range(20)).shuffle().repeat(2)
    order = [int(x) for epoch in range(2) for x in dataset.iterate(epoch)]
    turns = [order[i : i + 20] for i in range(0, 80, 20)]
    assert all(sorted(turn) == list(range(20)) for turn in turns)
    assert all(first != second for first, second in itertools.combinations(turns, 2))
    endless = Dataset.from_arrays(range(20)).shuffle().repeat().batch(15)
    found = np.concatenate(list(itertools.islice(endless.iterate(), 8)))
    assert found[:40].tolist() == order[:40]


def test_random_maps_differ_by_seed_epoch_element_and_place() -> None:
    def drawn(epoch: int = 0, seed: int = 0) -> list[tuple[float, ...]]:
        dataset = Dataset.from_arrays(np.zeros(3)).map(lambda x, rng: (rng.random(),), seed=seed)
        return flat(dataset.map(lambda x, rng: (x, rng.random()), seed=seed).iterate(epoch))

    values = [value for pair in (*drawn(), *drawn(epoch=1), *drawn(seed=1)) for value in pair]
    assert len(set(values)) == 18
    assert drawn() == drawn()


def test_prefetch_changes_no_random_number() -> None:
    plain = numbers(9).shuffle().map(noisy).batch(2)
    ahead = numbers(9).prefetch(2).shuffle().prefetch(1).map(noisy).prefetch(3).batch(2).prefetch(2)
    assert [len(x) for x, _, _ in ahead] == [2, 2, 2, 2, 1]
    by_hand = numbers(9).shuffle(9).map(noisy).batch(2)
    assert sorted(v for x in flat(by_hand.iterate(1)) for v in x[1]) == sorted(
        v for x in flat(plain.iterate(1)) for v in x[1]
    )
    last = numbers(9).shuffle().map(noisy).prefetch(3).batch(2).prefetch(2)
    assert flat(last.iterate(5)) == flat(plain.iterate(5))


def test_a_batch_is_the_consumers_own() -> None:
    x = np.arange(6.0)
    for dataset in (Dataset.from_arrays(x).batch(3), Dataset.from_arrays(x).shuffle().batch(3)):
        for batch in dataset:
            batch *= 0
    np.testing.assert_array_equal(x, np.arange(6.0))


def test_memory_maps_read_only_and_in_another_byte_order(tmp_path: Path) -> None:
    np.arange(12, dtype=">i4").reshape(6, 2).tofile(tmp_path / "numbers")
    x = np.memmap(tmp_path / "numbers", ">i4", "r", shape=(6, 2))
    dataset = Dataset.from_arrays(x)
    assert dataset.stage.arrays[0] is x
    for pipeline in (dataset.batch(4), dataset.shuffle().batch(4), dataset):
        elements = list(pipeline.iterate())
        assert all(element.dtype.isnative for element in elements)
        assert sorted(np.concatenate([element.ravel() for element in elements]).tolist()) == list(range(12))


@pytest.mark.parity
def test_arrays_in_a_file_of_hdf5_are_read_by_rows(tmp_path: Path) -> None:
    """h5py comes with Keras."""
    import h5py

    x = np.arange(40).reshape(20, 2)
    with h5py.File(tmp_path / "numbers.h5", "w") as file:
        file["x"], file["y"] = x, x[:, 0].astype(">i2")
        dataset = Dataset.from_arrays(file["x"], file["y"])
        for pipeline in (dataset.batch(6), dataset.shuffle().batch(6), dataset.shuffle().repeat(2).batch(6), dataset):
            for inputs, targets in pipeline.take(3):
                np.testing.assert_array_equal(inputs[..., 0], targets)
                assert targets.dtype == np.int16
        whole = [y for _, batch in dataset.shuffle().batch(6) for y in batch.tolist()]
        assert sorted(whole) == x[:, 0].tolist()
        assert whole != x[:, 0].tolist()


LARGE = """
import resource, sys
import numpy as np
from tinynn.data import Dataset
count = 2**18
x = np.memmap(sys.argv[1], np.uint8, "r", shape=(count, 2**12))
resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))
try:
    np.ones(2**28, np.uint8)
except MemoryError:
    print("limited")
dataset = Dataset.from_arrays(x, np.arange(count)).shuffle().batch(256).map(lambda x, y: (x / np.float32(255), y))
print(sum(x.shape[1] + y.max() // count for x, y in dataset.prefetch(2).take(100)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that is written to")
def test_a_memory_map_larger_than_the_memory(tmp_path: Path) -> None:
    """A gigabyte of pictures, which takes no place on the disk, with 256 MiB for everything but the map."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**30)
    run = subprocess.run([sys.executable, "-c", LARGE, tmp_path / "large"], capture_output=True, text=True, check=True)
    assert run.stdout == f"limited\n{100 * 2**12}\n"


def test_arrays_on_a_device_stay_there(fake_cupy: FakeCuPy) -> None:
    x = fake_cupy.asarray(np.arange(10))
    for dataset in (Dataset.from_arrays(x), Dataset.from_arrays(x).shuffle(), Dataset.from_arrays(x).map(lambda x: x)):
        batches = list(dataset.batch(4).iterate())
        assert {type(batch) for batch in batches} == {fake_cupy.ndarray}
        assert sorted(np.concatenate([to_host(batch) for batch in batches]).tolist()) == list(range(10))


def boom(x: Any) -> Any:
    raise KeyError("boom")


MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("a generator", lambda: Dataset.from_generator(i for i in range(3)), TypeError, "without calling it"),
    ("no iterator", lambda: next(Dataset.from_generator(lambda: 5).iterate()), TypeError, "it returned builtins.int"),
    ("lengths", lambda: Dataset.from_arrays([1, 2], [1]), ValueError, "x has 2 samples and y has 1"),
    ("weights", lambda: Dataset.from_arrays([1, 2], [1, 2], [1]), ValueError, "sample_weight has 1; .* one weight"),
    ("weights alone", lambda: Dataset.from_arrays([1, 2], None, [1, 2]), ValueError, "sample_weight needs y"),
    ("text", lambda: Dataset.from_arrays(["a"]), ValueError, "Dataset.from_arrays: x must hold numbers, got dtype <U1"),
    ("nothing", lambda: Dataset.from_arrays([]), ValueError, "x is empty"),
    ("batch 0", lambda: numbers(3).batch(0), ValueError, "Dataset.batch: batch_size must be a whole number from 1 up"),
    ("seed", lambda: numbers(3).shuffle(seed=-1), ValueError, "Dataset.shuffle: seed must be a whole number from 0"),
    ("seed of map", lambda: numbers(3).map(boom, seed=None), ValueError, "Dataset.map: seed must be a whole number"),
    ("no function", lambda: numbers(3).map(5), TypeError, "Dataset.map: expected a function, got builtins.int"),
    ("class", lambda: numbers(3).map(RandomFlip), TypeError, r"RandomFlip is a class; give .* called, RandomFlip\("),
    ("epoch", lambda: numbers(3).iterate(-1), ValueError, "Dataset.iterate: epoch must be"),
    ("no buffer", lambda: made(3).shuffle(), ValueError, "Dataset.shuffle: how many .* is not known .*buffer_size"),
    ("endless", lambda: numbers(3).repeat().shuffle(), ValueError, "give a buffer_size"),
    ("length unknown", lambda: len(made(3)), TypeError, "not known before its end: it comes from a generator"),
    ("length endless", lambda: len(numbers(3).repeat()), TypeError, r"repeated without end\. take\(n\)"),
    ("nothing to repeat", lambda: numbers(3).take(0).repeat(), ValueError, "no elements to repeat"),
    ("nothing made", lambda: next(made(0).repeat().iterate()), ValueError, "no elements to repeat"),
    (
        "forgotten return",
        lambda: next(Dataset.from_arrays([1]).map(lambda x: None).iterate()),
        TypeError,
        r"Dataset\.map: .*<lambda> returned None\. It must return the new element",
    ),
    (
        "ragged",
        lambda: next(Dataset.from_generator(lambda: iter([np.zeros(2), np.zeros(3)])).batch(2).iterate()),
        ValueError,
        r"element 1 of the batch has the shape \(3,\), the first one \(2,\)\. Make them alike with map",
    ),
    (
        "other entries",
        lambda: next(Dataset.from_generator(lambda: iter([(1, 2), (1, 2, 3)])).batch(2).iterate()),
        ValueError,
        "element 1 is no tuple of 2 entries",
    ),
    (
        "text in a batch",
        lambda: next(Dataset.from_generator(lambda: iter([(1, "a")])).batch(2).iterate()),
        TypeError,
        r"Dataset\.batch: an element\[1\]: expected a NumPy or CuPy array, got builtins\.str",
    ),
]


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def test_an_error_in_a_function_says_at_which_element() -> None:
    dataset = Dataset.from_arrays(range(3)).map(lambda x: 1 // (2 - x))
    with pytest.raises(ZeroDivisionError) as caught, np.errstate(all="ignore"):
        for _ in Dataset.from_generator(lambda: iter(range(3))).map(lambda x: 1 // (2 - x)):
            pass
    assert "in Dataset.map(" in caught.value.__notes__[0]
    assert "element 2 of epoch 0" in caught.value.__notes__[0]
    assert dataset.stage.length == 3


@pytest.mark.parametrize("given", [(np.ones(3),), (np.ones(3), np.ones(3))])
def test_a_dataset_is_made_of_arrays_by_from_arrays(given: Any) -> None:
    with pytest.raises(TypeError, match=r"Dataset: make one of arrays with Dataset\.from_arrays\(x, y\)"):
        Dataset(*given)
