"""Sequential: building, weights, the arena, layers of one's own, and the summary."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Flatten, Input, Layer, Linear, ReLU, Sequential, ShapeError, Tanh
from tinynn.check import gradients


def test_shapes_are_inferred() -> None:
    model = Sequential([Input((4, 3)), Flatten(), Dense(5), Dense(2)])
    assert model.build() == (2,)
    assert [layer.output_shape for layer in model.layers] == [(12,), (5,), (2,)]
    assert model.count_params() == 12 * 5 + 5 + 5 * 2 + 2


def test_input_shape_may_stand_in_the_first_layer_or_come_with_the_data(rng: np.random.Generator) -> None:
    assert Sequential([Dense(2, input_shape=(3,))]).count_params() == 8
    model = Sequential([Dense(2)])
    assert model(rng.normal(size=(5, 3))).shape == (5, 2)
    assert model.count_params() == 8
    late = Sequential([Dense(2)])
    assert late.build((3,)) == (2,)


def test_layers_get_names_by_which_messages_call_them() -> None:
    model = Sequential([Dense(2), Dense(2), ReLU(), Dense(2, name="last")])
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "re_lu", "last"]
    with pytest.raises(ValueError, match="two layers are called 'last'"):
        model.add(Dense(1, name="last"))


def test_weights_are_views_into_one_arena_in_the_order_of_layers() -> None:
    model = Sequential([Input((3,)), Dense(2), Dense(4)], seed=0)
    model.build()
    arena = model.arena
    assert arena is not None
    flat = np.concatenate([weight.ravel() for weight in model.get_weights()])
    np.testing.assert_array_equal(flat, arena.values)
    for parameter in model.parameters:
        assert np.shares_memory(parameter.value, arena.values)
        assert np.shares_memory(parameter.grad, arena.grads)
        assert getattr(parameter.owner, parameter.name) is parameter.value


def test_set_weights_writes_in_place(rng: np.random.Generator) -> None:
    model = Sequential([Input((3,)), Dense(2)], seed=0)
    model.build()
    W = model.layers[0].W
    new = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    model.set_weights(new)
    assert model.layers[0].W is W
    np.testing.assert_allclose(W, new[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.zeros((3, 2))], r"set_weights expected 2 arrays, got 1\. The shapes are \[\(3, 2\), \(2,\)\]"),
        (
            [np.zeros((3, 2)), np.zeros(3)],
            r"array 1, b of dense \(Dense\): expected the shape \(2,\), got \(3,\)\. No weight was changed",
        ),
        ([np.zeros((2, 3)), np.zeros(2)], r"array 0, W of dense \(Dense\): expected the shape \(3, 2\), got \(2, 3\)"),
        ([np.zeros((3, 2)), np.array(["a", "b"])], "array 1.*expected numbers"),
    ],
)
def test_wrong_weights_leave_the_model_as_it_was(weights: list[Any], message: str) -> None:
    model = Sequential([Input((3,)), Dense(2)], seed=0)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.set_weights(weights)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_is_a_layer(rng: np.random.Generator) -> None:
    inner = Sequential([Dense(4, activation="tanh"), Dense(3)], name="inner")
    model = Sequential([Dense(5), inner, Tanh()], seed=1)
    x = rng.normal(size=(2, 3))
    report = gradients(model, x)
    assert report.ok, report
    assert len(report.rows) == 1 + 6
    assert inner.arena is None
    assert model.arena is not None
    assert model.arena.size == model.count_params() == 3 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3
    model.compile("adam", "mse")
    model.fit(x, rng.normal(size=(2, 3)), epochs=2, verbose=0)


class Square(Layer):
    """A user's own layer with nothing but forward and backward, and no super().__init__()."""

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.calls += 1
        self.cache = x
        return x * x

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray:
        x = self.take_cache()
        return 2 * x * dy


class Scale(Layer):
    """A user's own layer with a parameter."""

    def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.add_weight("g", input_shape, tinynn.Ones())
        return input_shape

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.cache = x
        return x * self.g

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray:
        x = self.take_cache()
        (x * dy).sum(axis=0, out=self.dg)
        return dy * self.g


def test_a_layer_of_ones_own(rng: np.random.Generator) -> None:
    model = Sequential([Input((3,)), Dense(4), Square(), Scale(), Dense(2)], seed=0)
    report = gradients(model, rng.normal(size=(5, 3)))
    assert report.ok, report
    assert "scale.dg" in [row.name for row in report.rows]
    assert model.layers[1].output_shape == (4,)


def test_a_layer_of_ones_own_with_the_wrong_signature_is_told_the_right_one() -> None:
    class NoTraining(Square):
        def forward(self, x: np.ndarray) -> np.ndarray:
            return x

    with pytest.raises(TypeError, match=r"NoTraining: a model calls forward\(self, x, training=False\)"):
        Sequential([NoTraining()])


def test_a_layer_of_ones_own_that_returns_wrong_shapes_is_named(rng: np.random.Generator) -> None:
    class Turned(Square):
        def backward(self, dy: np.ndarray, need_dx: bool = True) -> Any:
            self.take_cache()
            return dy.T

    class Forgotten(Square):
        def backward(self, dy: np.ndarray, need_dx: bool = True) -> Any:
            self.take_cache()

    for layer, got in ((Turned(), r"the shape \(3, 5\)"), (Forgotten(), "None")):
        model = Sequential([Dense(3), layer])
        model.compile("sgd", "mse")
        with pytest.raises(ShapeError, match=rf"backward returned {got}, expected dx of its input's shape \(5, 3\)"):
            model.fit(rng.normal(size=(5, 2)), np.zeros((5, 3)), verbose=0)


def test_a_layer_used_twice_is_refused() -> None:
    dense = Dense(3)
    with pytest.raises(ValueError, match=r"the layer dense \(Dense\) stands in the model already.*second layer"):
        Sequential([dense, dense])
    with pytest.raises(ValueError, match="stands in the model already"):
        Sequential([dense, Sequential([dense])])
    model = Sequential([Input((3,)), dense])
    model.build()
    with pytest.raises(ValueError, match=r"dense \(Dense\) belongs to another model already.*set_weights"):
        Sequential([Input((3,)), dense]).build()


def test_things_that_are_no_layers_are_refused_with_a_hint() -> None:
    with pytest.raises(TypeError, match=r"expected a layer, got <class .*Dense'>\. Write Dense\(\.\.\.\)"):
        Sequential([Dense])
    with pytest.raises(TypeError, match="expected a layer, got 'relu'"):
        Sequential(["relu"])


def test_a_built_model_cannot_grow() -> None:
    model = Sequential([Input((3,)), Dense(2)])
    model.build()
    with pytest.raises(RuntimeError, match="has its weights already and cannot grow"):
        model.add(Dense(1))
    with pytest.raises(ValueError, match="Input must come first"):
        Sequential([Dense(1), Input((3,))])
    with pytest.raises(ValueError, match="has no layers; add at least one"):
        Sequential([Input((3,))]).build()


def test_summary_shows_layers_shapes_parameters_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    Sequential([Input((28, 28)), Flatten(), Dense(784, activation="relu"), Dense(10, name="digits")]).summary()
    out = capsys.readouterr().out
    for text in (
        "input (batch, 28, 28)",
        "flatten (Flatten)",
        "(batch, 784)",
        "615,440",
        "digits (Dense)",
        "4.7 MiB",
        "Parameters: 623,290",
    ):
        assert text in out


def test_dtype_is_the_models(rng: np.random.Generator) -> None:
    for dtype in ("float32", "float64"):
        model = Sequential([Dense(3, activation="tanh"), Dense(1)], dtype=dtype)
        model.compile("adam", "mse")
        model.fit(rng.normal(size=(8, 2)), rng.normal(size=(8, 1)), verbose=0)
        assert model.predict(rng.normal(size=(2, 2))).dtype == dtype
        assert all(weight.dtype == dtype for weight in model.get_weights())
    start = Sequential([Input((3,)), Dense(2)], dtype="float64").get_weights()[0]
    assert (start != start.astype("float32")).any()  # drawn in float64, not widened from float32
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64' or 'mixed_float16', got 'int8'"):
        Sequential(dtype="int8")
    with pytest.raises(ValueError, match="seed must be a whole number from 0 up, got -1"):
        Sequential(seed=-1)


def test_thousands_of_layers_take_seconds_not_minutes() -> None:
    start = time.perf_counter()
    model = Sequential([Input((1,)), *(Linear() for _ in range(5000))])
    model.build()
    assert (model.layers[0].name, model.layers[-1].name) == ("linear", "linear_4999")
    assert len(model.get_weights()) == 0
    assert time.perf_counter() - start < 10  # 0.3; where each layer looked at all before it, minutes
