"""fit, evaluate and predict on iterables of batches, on memory maps, and with gradients of several batches a step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn.data import Dataset

X = np.random.default_rng(0).integers(0, 256, size=(23, 6), dtype=np.uint8)
Y = np.random.default_rng(1).integers(3, size=23)
W = np.random.default_rng(2).uniform(0.5, 1.5, size=23)


def network(optimizer: Any = "sgd", **options: Any) -> tinynn.Sequential:
    model = tinynn.Sequential([tinynn.Dense(8, "tanh"), tinynn.Dense(3, "softmax")], seed=0, **options)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def batches(size: int = 5) -> list[tuple[Any, ...]]:
    return [(X[i : i + size], Y[i : i + size], W[i : i + size]) for i in range(0, len(X), size)]


class Loader:
    """Iterable like a DataLoader of PyTorch: anew each time, with a length, and tensors that share their memory."""

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Any]:
        return ([Tensor(part) for part in batch] for batch in batches())


class Tensor:
    """Another library's array."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


WAYS: dict[str, Callable[[], Any]] = {
    "list": batches,
    "tuple": lambda: tuple(batches()),
    "generator": lambda: (batch for _ in range(3) for batch in batches()),
    "loader": Loader,
    "dataset": lambda: Dataset.from_arrays(X, Y, W).batch(5),
    "prefetched": lambda: Dataset.from_arrays(X, Y, W).batch(5).prefetch(2),
    "made": lambda: Dataset.from_generator(lambda: iter(batches())),
}


@pytest.mark.parametrize("way", WAYS)
def test_batches_train_as_their_arrays_do(way: str) -> None:
    arrays, model = network(), network()
    expected = arrays.fit(X, Y, batch_size=5, epochs=3, shuffle=False, sample_weight=W, verbose=0)
    steps = 5 if way == "generator" else None
    history = model.fit(WAYS[way](), epochs=3, steps_per_epoch=steps, verbose=0)
    assert history.history == expected.history
    for mine, theirs in zip(model.get_weights(), arrays.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("way", WAYS)
def test_batches_are_evaluated_and_predicted_as_their_arrays_are(way: str) -> None:
    model = network()
    model.build((6,))
    given = WAYS[way]()
    expected = model.evaluate(X, Y, sample_weight=W, verbose=0)
    steps = 5 if way == "generator" else None
    np.testing.assert_allclose(model.evaluate(WAYS[way](), steps=steps, verbose=0), expected, rtol=1e-6)
    if way in ("list", "tuple"):
        given = iter(given)
    np.testing.assert_allclose(model.predict(given, steps=steps, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


def test_validation_by_batches_and_a_dataset_with_a_new_order_each_epoch() -> None:
    orders = []

    class Watched(tinynn.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            orders.append(logs["loss"])

    dataset = Dataset.from_arrays(X, Y).shuffle(seed=3).batch(5)
    model = network(tinynn.SGD(0.0))
    history = model.fit(dataset, epochs=2, validation_data=batches(), callbacks=[Watched()], verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(model.evaluate(batches(), verbose=0)[0])
    assert orders[:5] != orders[5:]
    assert dataset.epochs_begun == 2  # the next fit goes on with other orders
    again = network(tinynn.SGD(0.0)).fit(Dataset.from_arrays(X, Y).shuffle(seed=3).batch(5), epochs=2, verbose=0)
    assert again.history["loss"] == history.history["loss"]


def test_no_batch_is_lost_or_taken_from_the_next_epoch() -> None:
    seen: list[int] = []

    def numbers() -> Iterator[Any]:
        for i in range(1000):
            seen.append(i)
            yield np.full((4, 6), i), np.zeros(4, int)

    given = numbers()
    model = network()
    model.fit(given, steps_per_epoch=3, epochs=2, verbose=0)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert next(given)[0][0, 0] == 6
    model.evaluate(given, steps=2, verbose=0)
    assert seen == list(range(9))


def test_class_weights_reach_batches() -> None:
    arrays, model = network(), network()
    weight = {0: 1.0, 1: 2.0, 2: 0.5}
    arrays.fit(X, Y, batch_size=5, shuffle=False, class_weight=weight, verbose=0)
    model.fit([batch[:2] for batch in batches()], class_weight=weight, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], arrays.get_weights()[0])


MISTAKES: dict[str, tuple[Callable[[tinynn.Sequential], Any], str]] = {
    "no y": (lambda m: m.fit(X), r"fit: y is missing: give the targets of x, or an iterable of batches \(x, y\)"),
    "no batches": (lambda m: m.fit(iter([])), "list_iterator has no batches: it ended before the first one"),
    "no tuple": (lambda m: m.fit(iter([X])), r"fit: each batch must be a tuple \(x, y\) or .*, got numpy\.ndarray"),
    "one entry": (lambda m: m.fit(iter([(X,)])), r"each batch must be a tuple .*, got 1 entries"),
    "lengths": (lambda m: m.fit(iter([(X, Y[:5])])), "fit: x has 23 samples and y has 5"),
    "later": (
        lambda m: m.fit(iter([(X, Y), (X[:, :3], Y)])),
        r"fit: x: dense .* expected an input of shape \(batch, 6",
    ),
    "target": (lambda m: m.fit(iter([(X, Y), (X, Y + 1)])), "fit: y: .* class numbers from 0 to 2"),
    "batch_size": (lambda m: m.fit(iter(batches()), batch_size=5), "batch_size is for arrays; batches have their size"),
    "steps of arrays": (lambda m: m.fit(X, Y, steps_per_epoch=5), "steps_per_epoch is for batches; arrays are gone"),
    "no steps": (lambda m: m.fit(iter(batches()), steps_per_epoch=0), "steps_per_epoch must be a whole number from 1"),
    "split": (
        lambda m: m.fit(iter(batches()), validation_split=0.1),
        "validation_split is for arrays; with batches give",
    ),
    "weights": (lambda m: m.fit(iter(batches()), sample_weight=W), "the sample weights are their third entry"),
    "too short": (
        lambda m: m.fit(batches(), steps_per_epoch=9),
        "list ended in epoch 1 after 5 of 9 batches. Ask for fewer steps",
    ),
    "once": (
        lambda m: m.fit(iter(batches()), epochs=2),
        r"list_iterator ended in epoch 2 after 0 batches\. It can be gone through once; give a tinynn\.data\.Dataset",
    ),
    "no end": (lambda m: m.fit(endless()), "Dataset is repeated without end. Say with steps_per_epoch how many"),
    "no end of validation": (lambda m: m.fit(X, Y, validation_data=endless()), "Say with validation_steps how many"),
    "no end of predict": (lambda m: m.predict(endless()), "predict: .* without end. Say with steps how many batches"),
    "y twice": (lambda m: m.fit(iter(batches()), Y), r"x is an iterable of batches \(x, y\), .* leave y out"),
    "predict": (lambda m: m.predict(iter([X[:, :2]])), r"expected an input of shape \(batch, 6\), got \(23, 2\)"),
    "evaluate": (lambda m: m.evaluate(X), "evaluate: y is missing"),
    "validation rows": (
        lambda m: m.fit(X, Y, validation_data=([*X], [*Y[:9]])),
        "validation_data: x has 23 samples and y has 9",
    ),
    "validation": (lambda m: m.fit(X, Y, validation_data=5), r"validation_data must be a tuple \(x, y\), got int"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("error")
def test_mistakes_are_explained(name: str) -> None:
    make, message = MISTAKES[name]
    model = network()
    model.build((6,))
    with pytest.raises(ValueError, match=message):
        make(model)


def endless() -> Dataset:
    return Dataset.from_arrays(X, Y).batch(5).repeat()


def test_a_function_in_place_of_its_batches() -> None:
    with pytest.raises(TypeError, match=r"fit: x is a function\. .*Dataset\.from_generator\(function\)"):
        network().fit(batches)


# Gradients of several batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [tinynn.SGD, tinynn.Adam])
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 0.1}, {"weight_decay": 0.1}])
def test_accumulated_gradients_make_the_step_of_the_large_batch(optimizer: Any, clip: dict[str, float]) -> None:
    large = network(optimizer(0.1, **clip), dtype="float64")
    small = network(optimizer(0.1, gradient_accumulation_steps=4, **clip), dtype="float64")
    large.fit(X[:20], Y[:20], batch_size=20, epochs=5, shuffle=False, verbose=0)
    small.fit(X[:20], Y[:20], batch_size=5, epochs=5, shuffle=False, verbose=0)
    assert small.optimizer.iterations == large.optimizer.iterations == 5
    for mine, theirs in zip(small.get_weights(), large.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_rate_of_a_schedule_counts_steps_and_not_batches() -> None:
    schedule = tinynn.schedules.PiecewiseConstantDecay([2], [0.1, 0.01])
    model = network(tinynn.SGD(schedule, gradient_accumulation_steps=2))
    model.fit(batches() * 2, verbose=0)  # 10 batches, 5 steps
    assert (model.optimizer.iterations, model.optimizer.learning_rate) == (5, 0.01)
    model.fit(batches(), verbose=0)
    assert (model.optimizer.iterations, model.optimizer.waiting) == (7, 1)


def test_a_wrong_number_of_batches_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="Adam: gradient_accumulation_steps must be a whole number from 2 up, got 1"):
        tinynn.Adam(gradient_accumulation_steps=1)


# More data than memory ----------------------------------------------------------------------------------------------

LARGE = """
import resource, sys
import numpy as np, tinynn
from tinynn.data import Dataset
path, way = sys.argv[1:]
x = np.load(path, mmap_mode="r")
rng = np.random.default_rng(0)
y = rng.integers(10, size=len(x))
model = tinynn.Sequential([tinynn.Dense(4, "relu"), tinynn.Dense(10, "softmax")], seed=0)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.predict(x[:9], verbose=0) if model.input_shape else model.build(x.shape[1:])
model.fit(x[:2000], y[:2000], batch_size=1000, verbose=0)  # whatever is made once
now = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()  # data and stack
more = 48 * 2**20
assert x.nbytes > 4 * more, x.nbytes
resource.setrlimit(resource.RLIMIT_DATA, (now + more, now + more))
try:
    np.ones(x.shape, "uint8")
except MemoryError:
    print("the limit holds")
if way == "arrays":
    model.fit(x, y, batch_size=1000, verbose=0, validation_split=0.2)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
elif way == "targets":
    model = tinynn.Sequential([tinynn.Dense(4, "relu"), tinynn.Dense(x.shape[1])], seed=0)
    model.compile("adam", "mse")
    model.fit(x, x, batch_size=1000, verbose=0)
else:
    dataset = Dataset.from_arrays(x, y).shuffle(seed=1).batch(1000).prefetch(2)
    model.fit(dataset, verbose=0)
print("done")
"""


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """200 MB of numbers, little of which is on the disk: all but every thousandth row is a hole."""
    path = tmp_path_factory.mktemp("large") / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", dtype=np.uint8, shape=(260_000, 784))
    x[::1000] = np.random.default_rng(0).integers(256, size=(260, 784), dtype=np.uint8)
    x.flush()
    del x
    yield path
    path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on data without mapped files is Linux's")
@pytest.mark.parametrize("way", ["arrays", "targets", "dataset"])
def test_memory_maps_larger_than_the_memory_are_trained_on(way: str, large_file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LARGE, str(large_file), way], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["the limit holds", "done"], done.stderr[-2000:]


def test_samples_that_are_no_batches_yet_are_told_from_batches() -> None:
    with pytest.raises(ValueError, match=r"6 samples and 1 targets.*If that is one sample, make batches first"):
        network().fit(Dataset.from_arrays(X, Y[:, None]), verbose=0)
