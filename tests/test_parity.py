"""The same numbers as Keras, in float64: predictions, gradients, losses, updates. Needs the group ``parity``.

Keras runs on JAX here, whose automatic differentiation is independent of every backward pass of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.keras_float64 import compared_with_keras, keras_gradients
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import Dense, Input, Sequential, losses, metrics, optimizers, schedules
from tinynn.parameter import Arena, Parameter

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_every_layer_is_compared_or_says_why_not() -> None:
    assert all(row.keras is not None or row.unlike_keras for row in TABLE)


PAIRS = [(row, shape) for row in TABLE if row.keras is not None for shape in row.parity_shapes]


@pytest.mark.parametrize(("row", "shape"), PAIRS, ids=[f"{row}{shape}" for row, shape in PAIRS])
def test_layer(keras: Any, row: Row, shape: tuple[int, ...]) -> None:
    for mine, theirs in compared_with_keras(keras, row, shape):
        np.testing.assert_allclose(mine, theirs, **EXACT)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def unchanged(z: np.ndarray) -> np.ndarray:
    return z


def yes_no(r: np.random.Generator) -> np.ndarray:
    return r.integers(2, size=(6, 4)).astype(float)


def one_hot(r: np.random.Generator) -> np.ndarray:
    return np.eye(4)[r.integers(4, size=6)]


def distributions(r: np.random.Generator) -> np.ndarray:
    return softmax(r.normal(size=(6, 4)))


def numbers(r: np.random.Generator) -> np.ndarray:
    return r.normal(size=(6, 4))


# name -> targets, and what makes predictions of any numbers
LOSSES: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "BinaryCrossentropy": (yes_no, sigmoid),
    "BinaryFocalCrossentropy": (yes_no, sigmoid),
    "CategoricalCrossentropy": (distributions, softmax),
    "CategoricalHinge": (one_hot, unchanged),
    "CosineSimilarity": (numbers, unchanged),
    "Hinge": (yes_no, unchanged),
    "Huber": (numbers, unchanged),
    "KLDivergence": (distributions, softmax),
    "LogCosh": (numbers, unchanged),
    "MeanAbsoluteError": (numbers, unchanged),
    "MeanSquaredError": (numbers, unchanged),
    "Poisson": (lambda r: r.poisson(2, size=(6, 4)).astype(float), np.exp),
    "SparseCategoricalCrossentropy": (lambda r: r.integers(4, size=6), softmax),
    "SquaredHinge": (yes_no, unchanged),
}
LOSS_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("BinaryCrossentropy", {"from_logits": True}),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}),
    ("BinaryCrossentropy", {"label_smoothing": 0.1, "from_logits": True}),
    ("BinaryFocalCrossentropy", {"from_logits": True}),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {"from_logits": True}),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1, "from_logits": True}),
    ("CosineSimilarity", {"axis": 0}),
    ("Huber", {"delta": 0.4}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
]


def test_every_loss_is_compared() -> None:
    assert {getattr(losses, name) for name in LOSSES} | {losses.CTC} == set(losses.LOSSES.values())


@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
def test_loss(keras: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    import jax

    targets, squash = LOSSES[name]
    y, z = targets(rng), rng.normal(size=(6, 4))
    pred = z if options.get("from_logits") else squash(z)
    mine, theirs = getattr(losses, name)(**options), getattr(keras.losses, name)(**options)
    assert mine(y, pred) == pytest.approx(float(theirs(y, pred)), rel=1e-9)
    np.testing.assert_allclose(mine.backward(), jax.grad(lambda out: theirs(y, out))(pred), **EXACT)


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
    *((kind.__name__, {}) for kind in optimizers.OPTIMIZERS.values()),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"clipnorm": 0.5}),
    ("SGD", {"clipvalue": 0.2}),
    ("SGD", {"global_clipnorm": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"global_clipnorm": 0.5, "weight_decay": 0.01}),
    ("AdamW", {"amsgrad": True, "clipnorm": 0.5}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("Nadam", {"beta_1": 0.8, "clipvalue": 0.2}),
    ("Lamb", {"weight_decay": 0.1}),
    ("Adafactor", {"learning_rate": 0.3, "clip_threshold": 0.7, "epsilon_2": 0.2, "beta_2_decay": -0.5}),
    ("Adafactor", {"relative_step": False, "learning_rate": 2.0, "clipnorm": 0.5, "weight_decay": 0.1}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.9, "learning_rate": 0.1}),
    ("Adam", {"use_ema": True, "ema_overwrite_frequency": 7, "weight_decay": 0.1, "learning_rate": 0.1}),
    ("Adafactor", {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 1}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer(keras: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    mine = Sequential([Input((5,)), Dense(3), Dense(2)], dtype="float64", seed=3)
    mine.build()
    arena = mine.need_arena()
    optimizer = getattr(optimizers, name)(**options)
    theirs = getattr(keras.optimizers, name)(**options)
    variables = [keras.Variable(weight) for weight in mine.get_weights()]
    theirs.build(variables)
    for _ in range(40):
        arena.grads[:] = rng.normal(size=arena.size) * rng.lognormal()
        gradients = [parameter.grad.copy() for parameter in mine.parameters]
        optimizer.step(arena)
        theirs.apply(gradients)
        for weight, variable in zip(mine.get_weights(), variables, strict=True):
            np.testing.assert_allclose(weight, np.asarray(variable), **EXACT)
    optimizer.finish(arena)
    theirs.finalize_variable_values(variables)
    for weight, variable in zip(mine.get_weights(), variables, strict=True):
        np.testing.assert_allclose(weight, np.asarray(variable), **EXACT)


@pytest.mark.parametrize("shape", [(), (4,), (3, 5), (1, 1), (2, 3, 4), (3, 2, 2, 3)])
def test_adafactor_on_parameters_of_any_shape(keras: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    layer = Dense(1)
    values = [rng.normal(size=shape), rng.normal(size=(2, 2))]
    parameters = [Parameter(layer, name, value) for name, value in zip("ab", values, strict=True)]
    arena, optimizer, theirs = Arena(parameters, "float64", np), optimizers.Adafactor(), keras.optimizers.Adafactor()
    variables = [keras.Variable(value) for value in values]
    theirs.build(variables)
    for _ in range(10):
        arena.grads[:] = rng.normal(size=arena.size)
        optimizer.step(arena)
        theirs.apply([parameter.grad for parameter in parameters])
        for parameter, variable in zip(parameters, variables, strict=True):
            np.testing.assert_allclose(parameter.value, np.asarray(variable), **EXACT)


def test_optimizer_in_training(keras: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 2))
    mine = Sequential([Input((5,)), Dense(2)], dtype="float64", seed=3)
    mine.compile("adam", "mse")
    theirs = keras.optimizers.Adam()
    variables = [keras.Variable(weight) for weight in mine.get_weights()]
    theirs.build(variables)
    for _ in range(120):
        mine.train_on_batch(x, y)
        theirs.apply([parameter.grad for parameter in mine.parameters])
        for weight, variable in zip(mine.get_weights(), variables, strict=True):
            np.testing.assert_allclose(weight, np.asarray(variable), **EXACT)


def test_penalties_in_training_and_evaluation(keras: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(10, 5)), rng.normal(size=(10, 2))
    penal = tinynn.layers.activity.ActivityRegularization(0.3, 0.2)
    mine = Sequential([Input((5,)), Dense(4, "tanh", kernel_regularizer="l2"), penal, Dense(2)], dtype="float64")
    mine.compile(tinynn.SGD(0.1), "mse")
    theirs = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
            keras.layers.ActivityRegularization(0.3, 0.2),
            keras.layers.Dense(2),
        ]
    )
    theirs.compile(keras.optimizers.SGD(0.1), "mse")
    theirs.set_weights(mine.get_weights())
    for _ in range(3):
        loss = theirs.evaluate(x, y, batch_size=4, verbose=0)
        assert mine.evaluate(x, y, batch_size=4) == pytest.approx(loss, rel=1e-9)
        history = mine.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        expected = theirs.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        assert history.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-9)
        for weight, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, **EXACT)


def test_the_average_ends_each_fit(keras: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 2))
    options = {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4}
    mine = Sequential([Input((5,)), Dense(4, "tanh"), Dense(2)], dtype="float64", seed=3)
    mine.compile(tinynn.Adam(**options), "mse")
    theirs = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)])
    theirs.set_weights(mine.get_weights())
    theirs.compile(keras.optimizers.Adam(**options), "mse")
    mine.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    theirs.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)  # Keras on JAX breaks in a second fit
    for weight, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, **EXACT)


SCHEDULES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ExponentialDecay", (0.1, 10, 0.7), {}),
    ("ExponentialDecay", (0.1, 10, 0.7), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 10, 0.7), {}),
    ("InverseTimeDecay", (0.1, 10, 0.7, True), {}),
    ("PiecewiseConstantDecay", ([10, 25], [0.3, 0.2, 0.1]), {}),
    ("PiecewiseConstantDecay", ([10], [0.3, 0.2]), {}),
    ("PolynomialDecay", (0.1, 20), {}),
    ("PolynomialDecay", (0.1, 20, 0.01, 2.0), {}),
    ("PolynomialDecay", (0.1, 20, 0.01, 0.5), {"cycle": True}),
    ("CosineDecay", (0.1, 20), {}),
    ("CosineDecay", (0.1, 20, 0.2), {}),
    ("CosineDecay", (0.01, 20, 0.2), {"warmup_target": 0.3, "warmup_steps": 7}),
    ("CosineDecay", (0.01, 20), {"warmup_target": 0.3}),
    ("CosineDecayRestarts", (0.1, 10), {}),
    ("CosineDecayRestarts", (0.1, 10), {"t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1}),
    ("CosineDecayRestarts", (0.1, 10, 1.5, 0.8), {}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), SCHEDULES)
def test_schedule(keras: Any, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    mine = getattr(schedules, name)(*arguments, **options)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **options)
    for step in range(60):
        assert mine(step) == pytest.approx(float(theirs(step)), rel=1e-9, abs=1e-12), step


def test_optimizer_with_a_schedule(keras: Any, rng: np.random.Generator) -> None:
    mine = Sequential([Input((5,)), Dense(2)], dtype="float64", seed=3)
    mine.build()
    arena = mine.need_arena()
    optimizer = optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.5), weight_decay=0.1)
    theirs = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), weight_decay=0.1)
    variables = [keras.Variable(weight) for weight in mine.get_weights()]
    theirs.build(variables)
    for _ in range(30):
        arena.grads[:] = rng.normal(size=arena.size)
        optimizer.step(arena)
        theirs.apply([parameter.grad for parameter in mine.parameters])
        for weight, variable in zip(mine.get_weights(), variables, strict=True):
            np.testing.assert_allclose(weight, np.asarray(variable), **EXACT)


METRICS: list[tuple[str, dict[str, Any], Callable[[np.random.Generator], np.ndarray]]] = [
    ("CategoricalAccuracy", {}, one_hot),
    ("SparseCategoricalAccuracy", {}, lambda r: r.integers(4, size=6)),
    ("BinaryAccuracy", {}, yes_no),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, lambda r: r.integers(4, size=6)),
    ("Precision", {}, yes_no),
    ("Precision", {"thresholds": 0.2, "class_id": 1}, yes_no),
    ("Recall", {}, yes_no),
    ("Recall", {"thresholds": 0.2, "class_id": 1}, yes_no),
    ("F1Score", {"average": "macro"}, one_hot),
    ("F1Score", {"average": "micro"}, one_hot),
    ("F1Score", {"average": "weighted", "threshold": 0.2}, yes_no),
    ("AUC", {}, yes_no),
    ("AUC", {"num_thresholds": 7}, yes_no),
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
]


def test_every_metric_is_compared() -> None:
    of_keras_hub = {metrics.Perplexity}
    assert {getattr(metrics, name) for name, _, _ in METRICS} | of_keras_hub == set(metrics.METRICS.values())


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("name", "options", "targets"), METRICS)
def test_metric(
    keras: Any,
    name: str,
    options: dict[str, Any],
    targets: Callable[[np.random.Generator], np.ndarray],
    weighted: bool,
    rng: np.random.Generator,
) -> None:
    mine, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for _ in range(9):
        y, p = targets(rng), softmax(2 * rng.normal(size=(6, 4)))
        weights = [rng.uniform(size=6) * rng.integers(2, size=6)] if weighted else []
        mine.update_state(y, p, *weights)
        theirs.update_state(y, p, *weights)
    epsilon = keras.config.epsilon()
    keras.config.set_epsilon(1e-30)  # which Keras adds to the divisors of F1Score
    try:
        assert mine.result() == pytest.approx(float(theirs.result()), rel=1e-9)
    finally:
        keras.config.set_epsilon(epsilon)
    assert mine.name == re.sub(r"_\d+$", "", theirs.name)


def test_initializers_have_keras_names_and_spread(keras: Any) -> None:
    for name in tinynn.initializers.INITIALIZERS:
        if name in ("constant", "orthogonal"):
            continue
        mine = tinynn.initializers.get(name)((200, 100), np.random.default_rng(0), "float64")
        theirs = np.asarray(keras.initializers.get(name)((200, 100)))
        assert mine.std() == pytest.approx(theirs.std(), rel=0.05), name
        assert np.abs(mine).max() == pytest.approx(np.abs(theirs).max(), rel=0.2), name
