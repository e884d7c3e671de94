"""Keras on JAX in float64, and a layer of the table compared with Keras's: outputs and gradients.

JAX's automatic differentiation is independent of every backward pass of ours.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.layers.row import Row, Shape
from tinynn import Dense, Input, Sequential
from tinynn.training import penalty


@contextmanager
def keras_float64() -> Iterator[Any]:
    """Give Keras on JAX, computing in float64."""
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
    """Return JAX's gradients of scalar(model(x)), and what layers add to the loss, by x and by every weight."""
    import jax

    def objective(x: Any, trainable: Any) -> Any:
        kept = [v.value for v in model.non_trainable_variables]
        y, _, added = model.stateless_call(trainable, kept, x, training=training, return_losses=True)
        return scalar(y) + sum(added)

    weights = [v.value for v in model.trainable_variables]
    if x.dtype.kind == "i":
        return [np.zeros(x.shape), *map(np.asarray, jax.grad(objective, argnums=1)(x, weights))]
    dx, dweights = jax.grad(objective, argnums=(0, 1))(x, weights)
    return [np.asarray(gradient) for gradient in (dx, *dweights)]


def compared_with_keras(keras: Any, row: Row, shape: Shape) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield outputs, penalties, dx and every weight's gradient: ours and Keras's, with the same weights."""
    x = row.sample((6, *shape), 7)
    front = [] if row.tokens else [Dense(shape[-1], activation="tanh")]
    mine = Sequential([Input(shape), *front, row.make()], dtype="float64", seed=1)
    their_front = [] if row.tokens else [keras.layers.Dense(shape[-1], activation="tanh")]
    theirs = keras.Sequential([keras.Input(shape, dtype=x.dtype), *their_front, row.keras(keras)])
    theirs.set_weights(mine.get_weights())
    y = mine(x, row.training)
    yield y, np.asarray(theirs(x, training=row.training))
    yield np.asarray(penalty(mine.need_arena())), np.asarray(float(sum(theirs.losses)))
    dy = np.random.default_rng(0).normal(size=y.shape)
    dx = mine.backward(dy, need_dx=not row.tokens)
    expected = keras_gradients(keras, theirs, x, lambda out: (dy * out).sum(), row.training)
    if not row.tokens:
        yield dx, expected[0]
    learned = [parameter for parameter in mine.parameters if parameter.trainable]
    for parameter, gradient in zip(learned, expected[1:], strict=True):
        yield parameter.grad, gradient
