"""The same numbers as Keras with weights, masks and every reduction: losses, gradients, whole trainings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn
from tests.test_parity import EXACT, LOSS_OPTIONS, LOSSES
from tinynn import Dense, Input, Sequential, losses

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)], ids=["rows", "sequences"])
@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
def test_loss_with_weights_in_every_reduction(
    keras: Any, name: str, options: dict[str, Any], shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    import jax

    targets, squash = LOSSES[name]
    y, z = targets(rng), rng.normal(size=shape)
    y = y.reshape(shape if y.ndim == 2 else shape[:-1])
    pred = z if options.get("from_logits") else squash(z)
    weight = rng.uniform(size=shape[1:] if "axis" in options else shape[:-1])
    weight.flat[0] = 0
    for reduction in REDUCTIONS:
        mine = getattr(losses, name)(**options, reduction=reduction)
        theirs = getattr(keras.losses, name)(**options, reduction=reduction)
        for w in (weight, None):
            L = mine(y, pred, w)
            np.testing.assert_allclose(L, np.asarray(theirs(y, pred, w)), **EXACT)
            expected = jax.grad(lambda out, w=w, theirs=theirs: theirs(y, out, w).sum())(pred)
            np.testing.assert_allclose(mine.backward(), expected, **EXACT)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc(keras: Any, reduction: str | None, rng: np.random.Generator) -> None:
    import jax

    y = np.array([[1, 2, 3, 0], [1, 1, 2, 2], [3, 0, 0, 0], [0, 0, 0, 0], [2, 3, 2, 3]])
    z, weight = 2 * rng.normal(size=(5, 9, 4)), rng.uniform(size=5)
    mine, theirs = losses.CTC(reduction), keras.losses.CTC(reduction)
    for w in (weight, None):
        np.testing.assert_allclose(mine(y, z, w), np.asarray(theirs(y, z, w)), **EXACT)
        expected = jax.grad(lambda out, w=w: theirs(y, out, w).sum())(z)
        np.testing.assert_allclose(mine.backward(), expected, **EXACT)


class Mask(tinynn.Layer):
    """Steps of -1 do not count."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.cache = ()
        return x

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray:
        self.take_cache()
        return dy

    def compute_mask(self, x: np.ndarray, mask: Any) -> Any:
        return (x != -1).any(axis=-1)


TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sample_weight": {"sample_weight": np.random.default_rng(3).uniform(size=20)},
    "class_weight": {"class_weight": {0: 0.5, 1: 2.0, 2: 1.5}},
    "sum": {"sample_weight": np.random.default_rng(3).uniform(size=20), "reduction": "sum"},
    "by the weights": {
        "sample_weight": np.random.default_rng(3).uniform(size=20),
        "reduction": "mean_with_sample_weight",
    },
}


@pytest.mark.parametrize(
    ("case", "one_hot"), [*((case, False) for case in TRAININGS), ("sample_weight", True), ("class_weight", True)]
)
def test_fit_and_evaluate_with_weights(keras: Any, case: str, one_hot: bool, rng: np.random.Generator) -> None:
    """The same weights and the same history: losses, metrics and weighted metrics, of training and validation."""
    options = dict(TRAININGS[case])
    reduction = options.pop("reduction", "sum_over_batch_size")
    x, y = rng.normal(size=(20, 5)), np.arange(20) % 3
    y = np.eye(3)[y] if one_hot else y
    name = "CategoricalCrossentropy" if one_hot else "SparseCategoricalCrossentropy"
    validation = (x[:7], y[:7], rng.uniform(size=7))
    mine = Sequential(
        [Input((5,)), Dense(4, activation="tanh"), Dense(3, activation="softmax")], dtype="float64", seed=3
    )
    theirs = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3, activation="softmax")]
    )
    theirs.set_weights(mine.get_weights())
    metric = "categorical_accuracy" if one_hot else "sparse_categorical_accuracy"
    histories = []
    for library, model in ((tinynn, mine), (keras, theirs)):
        model.compile(
            library.optimizers.SGD(0.3),
            getattr(library.losses, name)(reduction=reduction),
            metrics=["accuracy", metric],
            weighted_metrics=["accuracy", library.metrics.Precision(name="precise")] if one_hot else ["accuracy"],
        )
        fitted = model.fit(
            x, y, 8, 3, 0, None, 0.0, validation, False, options.get("class_weight"), options.get("sample_weight")
        )
        histories.append(fitted.history)
    assert set(histories[0]) == set(histories[1])
    for key, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][key], rtol=1e-9, err_msg=key)
    for weight, expected in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, **EXACT)
    x_val, y_val, weight_val = validation
    scores = [model.evaluate(x_val, y_val, 3, 0, weight_val, return_dict=True) for model in (mine, theirs)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)
    steps = [model.train_on_batch(x, y, **options)[0] for model in (mine, theirs)]
    assert steps[0] == pytest.approx(float(steps[1]), rel=1e-9)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_masked_steps_do_not_count(keras: Any, weighted: bool, reduction: str, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 6, 5)), rng.integers(3, size=(20, 6))
    for row, length in enumerate(rng.integers(0, 7, size=20)):
        x[row, length:] = -1
    mine = Sequential([Input((6, 5)), Mask(), Dense(3, activation="softmax")], dtype="float64", seed=3)
    theirs = keras.Sequential(
        [keras.Input((6, 5)), keras.layers.Masking(-1.0), keras.layers.Dense(3, activation="softmax")]
    )
    theirs.set_weights(mine.get_weights())
    options = {"sample_weight": rng.uniform(size=(20, 6))} if weighted else {}
    histories = []
    for library, model in ((tinynn, mine), (keras, theirs)):
        model.compile(
            library.optimizers.SGD(0.3),
            library.losses.SparseCategoricalCrossentropy(reduction=reduction),
            metrics=["accuracy"],
            weighted_metrics=["sparse_categorical_accuracy"],
        )
        histories.append(model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False, **options).history)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-9)
    for weight, expected in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, **EXACT)
    scores = mine.evaluate(x, y, 8, 0, **options, return_dict=True)
    assert scores["loss"] == pytest.approx(theirs.evaluate(x, y, 8, 0, **options, return_dict=True)["loss"], rel=1e-9)
    # Keras on JAX loses the mask on its way to the metrics; given it, they count as ours do.
    predictions, mask = theirs(x), (x != -1).any(axis=-1)
    for name, weight in (("accuracy", 1.0), ("sparse_categorical_accuracy", options.get("sample_weight", 1.0))):
        metric = keras.metrics.SparseCategoricalAccuracy()
        metric.update_state(y, predictions, mask * weight)
        assert scores[name] == pytest.approx(float(metric.result()), rel=1e-9)
