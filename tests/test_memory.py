"""A device whose memory is full, pretended: the message says what to lower, and the model stays usable."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.capturing import OutOfMemoryError
from tests.guard import FakeCuPy
from tinynn import layers
from tinynn.memory import DeviceMemoryError

X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 64)


class Greedy(layers.Layer):
    """A layer that wants more than there is, in one forward."""

    at = -1  # the forward in which it does
    only_in_capture = False
    in_backward = False  # whether the next backward does instead

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: Any, training: bool = False) -> Any:
        from tests.capturing import Capture

        self.calls.append(1)
        asked = Capture.current is not None if self.only_in_capture else len(self.calls) == self.at
        if asked:
            raise OutOfMemoryError("Out of memory allocating 3,221,225,472 bytes (allocated so far: 1,024 bytes).")
        self.cache = True
        return x * 2

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        if self.in_backward:
            raise OutOfMemoryError("Out of memory allocating 1,024 bytes (allocated so far: 1,024 bytes).")
        return dy * 2


def network(device: str = "cuda", graph: Any = "auto") -> tuple[tinynn.Sequential, Greedy]:
    greedy = Greedy()
    inside = [layers.Dense(4, activation="relu"), greedy, layers.Dense(3, activation="softmax")]
    model = tinynn.Sequential([layers.Input((6,)), *inside], seed=0, device=device)
    model.compile("adam", "sparse_categorical_crossentropy", graph=graph)
    model.build()
    greedy.calls.clear()
    return model, greedy


WANTED = (
    r"^METHOD: the device's memory is full: 3\.00 GiB more were asked for, and of 16\.00 GiB there are 1\.00 GiB "
    r"free\. Lower batch_size, .*dtype='mixed_float16'.*tinynn\.data\.Dataset.*the model can be used\.$"
)


@pytest.mark.parametrize(("graph", "at"), [(False, 1), (False, 3), ("auto", 1)])
def test_fit_says_what_to_lower_and_goes_on_where_it_stood(fake_cupy: FakeCuPy, graph: Any, at: int) -> None:
    weights = []
    for fails in (True, False):
        model, greedy = network(graph=graph)
        greedy.at = at if fails else -1
        if fails:
            with pytest.raises(DeviceMemoryError, match=WANTED.replace("METHOD", "fit")) as caught:
                model.fit(X, Y, batch_size=16, verbose=0, shuffle=False)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
            assert model.optimizer.iterations == at - 1
            assert all(layer.cache is None for layer in model.layers)
        elif at > 1:
            done = 16 * (at - 1)  # what the other one has done before
            model.fit(X[:done], Y[:done], batch_size=16, verbose=0, shuffle=False)
        model.fit(X, Y, batch_size=16, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_after_an_error_the_next_fit_takes_the_right_samples(fake_cupy: FakeCuPy) -> None:
    """The loss was noted on the device, and the place in the data moved on, when the memory was full."""
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(Y)
    trained = []
    for fails in (True, False):
        model, greedy = network()
        if fails:
            greedy.in_backward = True
            with pytest.raises(DeviceMemoryError):
                model.fit(x, y, batch_size=64, verbose=0, shuffle=False)
            greedy.in_backward = False
        losses = model.fit(x, y, batch_size=16, epochs=3, verbose=0, shuffle=False).history["loss"]
        trained.append([losses, *model.get_weights()])
    for mine, theirs in zip(*trained, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_other_methods_say_it_too(fake_cupy: FakeCuPy) -> None:
    for name, given in (("evaluate", (X, Y)), ("predict", (X,)), ("train_on_batch", (X, Y))):
        model, greedy = network()
        greedy.at = 1
        options = {} if name == "train_on_batch" else {"verbose": 0}
        with pytest.raises(DeviceMemoryError, match=WANTED.replace("METHOD", name)):
            getattr(model, name)(*given, **options)
        getattr(model, name)(*given, **options)


def test_without_memory_for_a_graph_steps_are_eager(fake_cupy: FakeCuPy) -> None:
    weights = []
    for only_in_capture in (True, False):
        model, greedy = network()
        greedy.only_in_capture = only_in_capture
        model.fit(X, Y, batch_size=16, verbose=0)
        weights.append(model.get_weights())
        assert model.graph_reason.startswith(
            "eager: the device has no memory left for what a graph keeps to itself" if only_in_capture else "captured"
        )
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_on_the_cpu_the_error_is_pythons() -> None:
    model, greedy = network("cpu")
    greedy.at = 1
    with pytest.raises(MemoryError, match=r"^Out of memory allocating") as caught:
        model.fit(X, Y, verbose=0)
    assert not isinstance(caught.value, DeviceMemoryError)


def test_the_wrapped_methods_keep_their_signatures() -> None:
    assert list(inspect.signature(tinynn.Sequential.fit).parameters)[:4] == ["self", "x", "y", "batch_size"]
    assert "Train on" in (tinynn.Sequential.fit.__doc__ or "")
