"""The same numbers as Keras, in float64: predictions, gradients, losses, updates. Needs the group ``parity``.

Keras runs on JAX here, whose automatic differentiation is independent of every backward pass of ours.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import Dense, Input, Sequential, losses, optimizers

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's deprecations
        import jax
        import keras

    jax.config.update("jax_enable_x64", True)
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    # Keras on JAX takes every float64 intermediate (a mean, a tanh) down to float32; this table is where.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    yield keras
    monkeypatch.undo()


def keras_gradients(
    keras: Any, model: Any, x: np.ndarray, scalar: Callable[[Any], Any], training: bool = False
) -> list[np.ndarray]:
    """Return JAX's gradients of scalar(model(x)) by x and by every weight."""
    import jax

    def objective(x: Any, trainable: Any) -> Any:
        y, _ = model.stateless_call(trainable, [v.value for v in model.non_trainable_variables], x, training=training)
        return scalar(y)

    dx, dweights = jax.grad(objective, argnums=(0, 1))(x, [v.value for v in model.trainable_variables])
    return [np.asarray(gradient) for gradient in (dx, *dweights)]


def test_every_layer_is_compared_or_says_why_not() -> None:
    assert all(row.keras is not None or row.unlike_keras for row in TABLE)


PAIRS = [(row, shape) for row in TABLE if row.keras is not None for shape in row.parity_shapes]


@pytest.mark.parametrize(("row", "shape"), PAIRS, ids=[f"{row}{shape}" for row, shape in PAIRS])
def test_layer(keras: Any, row: Row, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x, front = rng.normal(size=(6, *shape)), Dense(shape[-1], activation="tanh")
    mine = Sequential([Input(shape), front, row.make()], dtype="float64", seed=1)
    theirs = keras.Sequential([keras.Input(shape), keras.layers.Dense(shape[-1], activation="tanh"), row.keras(keras)])
    theirs.set_weights(mine.get_weights())
    y = mine(x, row.training)
    np.testing.assert_allclose(y, theirs(x, training=row.training), **EXACT)
    dy = rng.normal(size=y.shape)
    dx = mine.backward(dy)
    learned = [parameter for parameter in mine.parameters if parameter.trainable]
    expected = keras_gradients(keras, theirs, x, lambda out: (dy * out).sum(), row.training)
    np.testing.assert_allclose(dx, expected[0], **EXACT)
    for parameter, gradient in zip(learned, expected[1:], strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **EXACT)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


LOSSES = {
    "CategoricalCrossentropy": (lambda r: softmax(r.normal(size=(6, 4))), softmax),
    "SparseCategoricalCrossentropy": (lambda r: r.integers(4, size=6), softmax),
    "BinaryCrossentropy": (lambda r: r.integers(2, size=(6, 4)).astype(float), lambda z: 1 / (1 + np.exp(-z))),
    "MeanSquaredError": (lambda r: r.normal(size=(6, 4)), lambda z: z),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("from_logits", [False, True])
def test_loss(keras: Any, name: str, from_logits: bool, rng: np.random.Generator) -> None:
    if from_logits and name == "MeanSquaredError":
        return
    targets, squash = LOSSES[name]
    options = {"from_logits": True} if from_logits else {}
    y, z = targets(rng), rng.normal(size=(6, 4))
    pred = z if from_logits else squash(z)
    mine, theirs = getattr(losses, name)(**options), getattr(keras.losses, name)(**options)
    assert mine(y, pred) == pytest.approx(float(theirs(y, pred)), rel=1e-9)


@pytest.mark.parametrize("name", ["CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy"])
def test_the_articles_networks_end_to_end(keras: Any, name: str, rng: np.random.Generator) -> None:
    """Weights copied to Keras: same predictions and same gradients, through the loss, in float64."""
    end = "sigmoid" if name == "BinaryCrossentropy" else "softmax"
    hidden = "tanh" if name == "BinaryCrossentropy" else "relu"
    x = rng.normal(size=(16, 30))
    y = LOSSES[name][0](np.random.default_rng(2))
    y = np.concatenate([y, y, y])[:16]
    mine = Sequential([Input((30,)), Dense(20, activation=hidden), Dense(4, activation=end)], dtype="float64", seed=0)
    mine.compile(tinynn.SGD(0.0), getattr(losses, name)())
    theirs = keras.Sequential(
        [keras.Input((30,)), keras.layers.Dense(20, activation=hidden), keras.layers.Dense(4, activation=end)]
    )
    theirs.set_weights(mine.get_weights())
    np.testing.assert_allclose(mine.predict(x), theirs(x), **EXACT)
    loss = mine.train_on_batch(x, y)
    their_loss = getattr(keras.losses, name)()
    assert loss == pytest.approx(float(their_loss(y, theirs(x))), rel=1e-9)
    expected = keras_gradients(keras, theirs, x, lambda out: their_loss(y, out))
    for parameter, gradient in zip(mine.parameters, expected[1:], strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **EXACT)
    back = Sequential([Input((30,)), Dense(20, activation=hidden), Dense(4, activation=end)], dtype="float64", seed=5)
    back.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(back.predict(x), mine.predict(x))


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {}),
    ("AdamW", {}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer_at_keras_defaults(keras: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 2))
    mine = Sequential([Input((5,)), Dense(2)], dtype="float64", seed=3)
    mine.compile(getattr(optimizers, name)(**options), "mse")
    theirs = keras.optimizers.get({"class_name": name, "config": options})
    variables = [keras.Variable(weight) for weight in mine.get_weights()]
    theirs.build(variables)
    for _ in range(120):
        mine.train_on_batch(x, y)
        theirs.apply([parameter.grad for parameter in mine.parameters])
        for weight, variable in zip(mine.get_weights(), variables, strict=True):
            np.testing.assert_allclose(weight, np.asarray(variable), **EXACT)


@pytest.mark.parametrize("name", ["CategoricalAccuracy", "SparseCategoricalAccuracy", "BinaryAccuracy"])
def test_metric(keras: Any, name: str, rng: np.random.Generator) -> None:
    p = softmax(rng.normal(size=(50, 4)))
    y = {
        "CategoricalAccuracy": np.eye(4)[rng.integers(4, size=50)],
        "SparseCategoricalAccuracy": rng.integers(4, size=50),
        "BinaryAccuracy": rng.integers(2, size=(50, 4)),
    }[name]
    mine, theirs = getattr(tinynn, name)(), getattr(keras.metrics, name)()
    theirs.update_state(y, p)
    assert mine(y, p) == pytest.approx(float(theirs.result()))


def test_initializers_have_keras_names_and_spread(keras: Any) -> None:
    for name in tinynn.initializers.INITIALIZERS:
        if name in ("constant", "orthogonal"):
            continue
        mine = tinynn.initializers.get(name)((200, 100), np.random.default_rng(0), "float64")
        theirs = np.asarray(keras.initializers.get(name)((200, 100)))
        assert mine.std() == pytest.approx(theirs.std(), rel=0.05), name
        assert np.abs(mine).max() == pytest.approx(np.abs(theirs).max(), rel=0.2), name
