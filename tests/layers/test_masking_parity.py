"""Masks and states: the same numbers as Keras, in float64, with random weights that are unlike each other."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tests.layers.test_masking import KINDS, MASK
from tinynn import Dense, Input, Sequential
from tinynn.layers.bidirectional import Bidirectional
from tinynn.layers.global_pooling import GlobalAveragePooling1D
from tinynn.layers.gru import GRU
from tinynn.layers.lstm import LSTM
from tinynn.layers.masking import Masking
from tinynn.layers.recurrent import SimpleRNN

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]

EXACT = {"rtol": 1e-9, "atol": 1e-12}
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "SimpleRNN": ("SimpleRNN", {}),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "GRU before": ("GRU", {"reset_after": False}),
}


def compare(layer: Any, theirs: Any, masked: bool, start: list[np.ndarray] | None, rng: np.random.Generator) -> None:
    """Compare outputs and all gradients, with random weights and random upstream gradients."""
    import jax

    x = rng.normal(size=(6, 6, 2))
    layer.dtype = "float64"
    layer.build_for((6, 2))
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    theirs.build((6, 6, 2))
    theirs.set_weights(layer.get_weights())
    mask = MASK if masked else None
    options = {"initial_state": start} if start is not None else {}

    def as_list(y: Any) -> list[Any]:
        return list(y) if isinstance(y, list | tuple) else [y]

    y = layer.forward(x, mask=mask, **options)
    dy = [rng.normal(size=output.shape) for output in as_list(y)]

    def objective(x: Any, weights: Any, start: Any) -> Any:
        options = {"initial_state": start} if start is not None else {}
        frozen = [v.value for v in theirs.non_trainable_variables]
        out, _ = theirs.stateless_call(weights, frozen, x, mask=mask, **options)
        return sum((d * o).sum() for d, o in zip(dy, as_list(out), strict=True)), out

    weights = [v.value for v in theirs.trainable_variables]
    (dx, dweights, dstart), out = jax.grad(objective, argnums=(0, 1, 2), has_aux=True)(x, weights, start)
    for ours, other in zip(as_list(y), as_list(out), strict=True):
        np.testing.assert_allclose(ours, other, **EXACT)
    np.testing.assert_allclose(layer.backward(dy if isinstance(y, list) else dy[0]), dx, **EXACT)
    for parameter, gradient in zip(layer.parameters, dweights, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **EXACT)
    for ours, other in zip(layer.dinitial_state or [], dstart or [], strict=True):
        np.testing.assert_allclose(ours, other, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("masked", "given_start"), [(True, False), (True, True), (False, True)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True},
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        {"return_state": True, "use_bias": False},
        {"go_backwards": True},
    ],
    ids=str,
)
def test_masks_and_states_as_in_keras(
    keras: Any, kind: str, masked: bool, given_start: bool, options: dict[str, Any], rng: np.random.Generator
) -> None:
    name, more = THEIRS[kind]
    layer = KINDS[kind](3, **options)
    start = [rng.normal(size=(6, 3)) for _ in layer.states] if given_start else None
    compare(layer, getattr(keras.layers, name)(3, **options, **more), masked, start, rng)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("merge", ["concat", "mul"])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_bidirectional_masks_as_in_keras(
    keras: Any, kind: str, merge: str, sequences: bool, state: bool, rng: np.random.Generator
) -> None:
    name, more = THEIRS[kind]
    options = {"return_sequences": sequences, "return_state": state}
    both = Bidirectional(KINDS[kind](3, **options), merge)
    theirs = keras.layers.Bidirectional(getattr(keras.layers, name)(3, **options, **more), merge)
    start = [rng.normal(size=(6, 3)) for _ in range(4 if kind == "LSTM" else 2)] if state else None
    compare(both, theirs, True, start, rng)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_model_of_masks_as_in_keras(keras: Any, backwards: bool, rng: np.random.Generator) -> None:
    """From Masking through a layer of every step, two recurrent ones, to the average of the steps that count."""
    import jax

    x = np.where(MASK[..., None], rng.normal(size=(6, 6, 2)), -1.0)
    x = np.delete(x, 4, axis=0)  # of the fully padded one Keras's average is 0 / 0

    def model(k: Any, sequential: Any, start: Any, **extra: Any) -> Any:
        return sequential(
            [
                start((6, 2)),
                k.Masking(-1.0),
                k.Dense(3, activation="tanh"),
                k.GRU(3, return_sequences=True, go_backwards=backwards),
                k.Bidirectional(k.LSTM(2, return_sequences=True)),
                k.GlobalAveragePooling1D(),
                k.Dense(2),
            ],
            **extra,
        )

    class Ours:
        Masking, Dense, GRU, Bidirectional, LSTM = Masking, Dense, GRU, Bidirectional, LSTM
        GlobalAveragePooling1D = GlobalAveragePooling1D

    mine = model(Ours, Sequential, Input, dtype="float64", seed=1)
    theirs = model(keras.layers, keras.Sequential, keras.Input)
    theirs.set_weights(mine.get_weights())
    y = mine(x)
    np.testing.assert_allclose(y, theirs(x), **EXACT)
    dy = rng.normal(size=y.shape)
    dx = mine.backward(dy)

    def objective(x: Any, weights: Any) -> Any:
        out, _ = theirs.stateless_call(weights, [v.value for v in theirs.non_trainable_variables], x)
        return (dy * out).sum()

    dx_theirs, dweights = jax.grad(objective, argnums=(0, 1))(x, [v.value for v in theirs.trainable_variables])
    np.testing.assert_allclose(dx, dx_theirs, **EXACT)
    for parameter, gradient in zip(mine.parameters, dweights, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **EXACT)


@pytest.mark.parametrize("keepdims", [False, True])
def test_the_average_as_in_keras(keras: Any, keepdims: bool, rng: np.random.Generator) -> None:
    import jax

    x, mask = np.delete(rng.normal(size=(6, 6, 2)), 4, axis=0), np.delete(MASK, 4, axis=0)
    pool, theirs = GlobalAveragePooling1D(keepdims=keepdims), keras.layers.GlobalAveragePooling1D(keepdims=keepdims)
    y = pool(x)
    y = pool.forward(x, mask=mask)
    np.testing.assert_allclose(y, theirs(x, mask=mask), **EXACT)
    dy = rng.normal(size=y.shape)
    expected = jax.grad(lambda x: (theirs(x, mask=mask) * dy).sum())(x)
    np.testing.assert_allclose(pool.backward(dy), expected, **EXACT)


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_arguments_stand_in_the_order_of_keras(keras: Any, kind: Any) -> None:
    theirs = list(inspect.signature(getattr(keras.layers, kind.__name__)).parameters)
    mine = [name for name in inspect.signature(kind).parameters if name not in ("truncate", "options")]
    assert mine == [name for name in theirs if name in mine]
    assert {"units", "activation", "return_sequences", "return_state", "go_backwards"} <= set(mine)
