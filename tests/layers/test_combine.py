"""Combine: against results composed by hand, names, wrong arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynn import Sequential
from tinynn.check import gradients
from tinynn.layers import (
    Add,
    Average,
    Concatenate,
    Dense,
    Flatten,
    Input,
    Layer,
    Linear,
    Multiply,
    ReLU,
    Residual,
    ShapeError,
    Tanh,
    TimeDistributed,
)
from tinynn.layers.normalization import BatchNormalization


def same(dense: Dense) -> Dense:
    """Return a second layer with the same weights."""
    twin = Dense(dense.units)
    twin.build_for(dense.input_shape or ())
    twin.set_weights(dense.get_weights())
    return twin


@pytest.mark.parametrize(
    ("kind", "join", "dys"),
    [
        (Add, lambda a, b: a + b, lambda dy, a, b: (dy, dy)),
        (Average, lambda a, b: (a + b) / 2, lambda dy, a, b: (dy / 2, dy / 2)),
        (Multiply, lambda a, b: a * b, lambda dy, a, b: (dy * b, dy * a)),
        (Concatenate, lambda a, b: np.hstack([a, b]), lambda dy, a, b: (dy[:, :3], dy[:, 3:])),
    ],
)
def test_two_branches_by_hand(kind: Any, join: Any, dys: Any, rng: Any) -> None:
    x = rng.normal(size=(5, 4))
    first, second = Dense(3), Dense(3)
    layer = kind([first, second])
    y = layer(x)
    alone = same(first), same(second)
    a, b = (dense(x) for dense in alone)
    np.testing.assert_array_equal(y, join(a, b))
    dy = rng.normal(size=y.shape)
    da, db = dys(dy, a, b)
    dx = alone[0].backward(da) + alone[1].backward(db)
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-12)
    np.testing.assert_array_equal(first.dW, alone[0].dW)
    np.testing.assert_array_equal(second.dW, alone[1].dW)


def test_residual_by_hand(rng: Any) -> None:
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    dense = Dense(4)
    layer = Residual([dense, ReLU()])
    y = layer(x)
    alone, relu = same(dense), ReLU()
    np.testing.assert_array_equal(y, relu(alone(x)) + x)
    np.testing.assert_allclose(layer.backward(dy), alone.backward(relu.backward(dy)) + dy, rtol=1e-12)


def test_multiply_where_branches_are_zero() -> None:
    layer = Multiply([Linear(), ReLU(), Linear()])
    np.testing.assert_array_equal(layer(np.array([[0.0, -1.0, 2.0]])), [[0.0, 0.0, 8.0]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), [[0.0, 0.0, 12.0]])


def test_outputs_are_not_the_inputs_own_memory() -> None:
    x = np.ones((2, 3))
    for layer in (Residual(Linear()), Add([Linear(), Linear()]), Average([Linear(), Linear()])):
        layer(x)[...] = 7
        np.testing.assert_array_equal(x, 1)
        dy = np.ones((2, 3))
        layer.backward(dy)[...] = 7
        np.testing.assert_array_equal(dy, 1)


def test_training_reaches_the_layers_inside(rng: Any) -> None:
    x = rng.normal(3.0, size=(6, 2, 4))
    for make in (
        lambda inner: Residual([Dense(4), inner]),
        lambda inner: Residual(Linear(), inner),
        lambda inner: Add([Linear(), inner]),
        TimeDistributed,
    ):
        inner = BatchNormalization()
        layer = make(inner)
        layer(x, training=False)
        assert not inner.moving_mean.any()
        layer(x, training=True)
        assert inner.moving_mean.all()


def test_time_distributed_is_the_layer_on_each_step(rng: Any) -> None:
    x = rng.normal(size=(2, 3, 4))
    dense = Dense(5, activation="tanh")
    y = TimeDistributed(dense)(x)
    for step in range(3):
        np.testing.assert_allclose(y[:, step], dense(x[:, step]), rtol=1e-12)


def test_dtype_reaches_the_layers_inside() -> None:
    layer = Residual([Dense(3), Add([Dense(3), [Dense(3), Tanh()]])])
    layer.dtype = "float64"
    layer(np.ones((2, 3)))
    assert {parameter.value.dtype.name for parameter in layer.parameters} == {"float64"}


def test_no_two_parameters_have_one_name() -> None:
    layer = Residual([Dense(3), Dense(3)], projection=[Dense(3), Dense(3)])
    layer(np.ones((2, 3)))
    assert [name for name, _ in layer.named_parameters()] == [
        "chain.dense.W",
        "chain.dense.b",
        "chain.dense_1.W",
        "chain.dense_1.b",
        "chain_1.dense.W",
        "chain_1.dense.b",
        "chain_1.dense_1.W",
        "chain_1.dense_1.b",
    ]


def test_models_and_combinations_nest(rng: Any) -> None:
    inner = Sequential([Dense(3, activation="tanh"), Dense(4)])
    model = Sequential([Input((4,)), Residual(inner), Concatenate([Residual(Dense(4)), [Dense(2), Tanh()]])], seed=1)
    x = rng.normal(size=(5, 4))
    assert gradients(model, x, seed=7).error < 1e-12
    model.compile("sgd", "mse")
    before = inner.get_weights()
    model.fit(x, np.ones((5, 6)), epochs=2, verbose=0)
    assert not np.array_equal(before[0], inner.get_weights()[0])
    weights = model.get_weights()
    model.set_weights(weights[::-1][::-1])
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])


twice = Dense(3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Residual([]), ValueError, r"Residual: layers: the list of layers is empty. Linear\(\) is"),
        (lambda: Residual("relu"), TypeError, "Residual: layers must be a layer or a list of layers, got 'relu'"),
        (lambda: Residual(Dense), TypeError, r"got <class .*Write Dense\(\.\.\.\) with its arguments"),
        (lambda: Residual([Dense(3), 4]), TypeError, "layers: each of the list must be a layer .* got 4"),
        (lambda: Residual(Dense(3), "dense"), TypeError, "projection must be a layer or a list of layers, got 'dense'"),
        (lambda: Residual(twice, [twice]), ValueError, r"the layer dense \(Dense\) stands in here twice"),
        (lambda: Add(Dense(3)), ValueError, "Add: expected a list of two or more branches, .*got <Dense>"),
        (lambda: Add([Dense(3)]), ValueError, r"Add: expected a list of two or more branches, .* got \[<Dense>\]"),
        (lambda: Multiply([Dense(3), None]), TypeError, "Multiply: branch 1 must be a layer or .* got None"),
        (lambda: Average([Dense(3), []]), ValueError, "Average: branch 1: the list of layers is empty"),
        (lambda: Add([Dense(3, name="d"), Dense(3, name="d")]), ValueError, "Add: two layers are called 'd'"),
        (lambda: Concatenate([Dense(3), Dense(3)], axis=0), ValueError, "Concatenate: axis must be .* not 0, .* got 0"),
        (lambda: TimeDistributed(3), TypeError, "TimeDistributed: layer must be a layer or a list of layers, got 3"),
    ],
)
def test_wrong_arguments(make: Callable[[], Layer], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            Residual(Dense(5)),
            (4,),
            r"\(batch, 5\), x's is \(batch, 4\); .* Give a projection .* Dense or a 1 x 1",
        ),
        (Residual(Dense(5), Dense(3)), (4,), r"\(batch, 5\), the projection's is \(batch, 3\); .* Change one"),
        (
            Add([Linear(), Dense(5)]),
            (4,),
            r"Add: branch 0 gives .* \(batch, 4\) and branch 1 gives \(batch, 5\)",
        ),
        (Multiply([Flatten(), Dense(5)]), (2, 4), r"Multiply: branch 0 gives the shape \(batch, 8\) and branch 1"),
        (Concatenate([Flatten(), Dense(5)]), (2, 4), "Concatenate: branch 0 .* must be the same but along axis 1"),
        (Concatenate([Linear(), Dense(5)], axis=1), (2, 4), r"\(batch, 2, 4\) and branch 1 gives \(batch, 2, 5\)"),
        (Concatenate([Linear(), Dense(5)], axis=2), (4,), "Concatenate: axis=2 is none of the 1 axes after the batch"),
        (TimeDistributed(Dense(2)), (4,), r"TimeDistributed expected an input of shape \(batch, steps, features"),
        (Residual([Flatten(), TimeDistributed(Dense(2))]), (2, 4), r"got \(batch, 8\)\. It stands in .*Residual"),
    ],
)
def test_wrong_shapes(layer: Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer(np.ones((2, *shape)))
