"""Losses: values, gradients, stability, and the targets they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import losses
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.layers import Linear
from tinynn.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def one_hot(k: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[k]


# name -> loss, targets and predictions drawn from a generator for (batch, outputs)
CASES = {
    "CCE(p)": (CategoricalCrossentropy(), lambda r, n, c: one_hot(r.integers(c, size=n), c), "p"),
    "CCE(z)": (CategoricalCrossentropy(from_logits=True), lambda r, n, c: softmax(r.normal(size=(n, c))), "z"),
    "SCCE(p)": (SparseCategoricalCrossentropy(), lambda r, n, c: r.integers(c, size=n), "p"),
    "SCCE(z)": (SparseCategoricalCrossentropy(from_logits=True), lambda r, n, c: r.integers(c, size=n), "z"),
    "BCE(p)": (BinaryCrossentropy(), lambda r, n, c: r.integers(2, size=(n, c)).astype(float), "p"),
    "BCE(z)": (BinaryCrossentropy(from_logits=True), lambda r, n, c: r.uniform(size=(n, c)), "z"),
    "MSE": (MeanSquaredError(), lambda r, n, c: r.normal(size=(n, c)), "z"),
}
every_loss = pytest.mark.parametrize("name", CASES)


def draw(name: str, seed: int, batch: int, outputs: int) -> tuple[losses.Loss, np.ndarray, np.ndarray]:
    loss, targets, kind = CASES[name]
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(batch, outputs)) + 0.1
    p = 0.02 + 0.9 * softmax(z)
    return loss, targets(rng, batch, outputs), 1.3 * p if kind == "p" and "CCE" in name else p if kind == "p" else z


def test_every_loss_has_a_case() -> None:
    assert {type(loss) for loss, _, _ in CASES.values()} == set(losses.LOSSES.values())


@every_loss
@given(seed=st.integers(0, 2**16), batch=st.integers(1, 5), outputs=st.integers(1, 6))
def test_gradient_is_right(name: str, seed: int, batch: int, outputs: int) -> None:
    loss, y, pred = draw(name, seed, batch, outputs)
    report = gradients(Linear(), pred, y, loss)
    assert report.ok, report
    assert report.error < 1e-12


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays(name: str, dtype: str) -> None:
    loss, y, pred = draw(name, 0, 4, 3)
    L = loss.forward(y, pred.astype(dtype))
    assert L.dtype == dtype
    assert loss.backward().dtype == dtype


@every_loss
def test_device_computes_what_the_cpu_computes(name: str, device: Device) -> None:
    loss, y, pred = draw(name, 1, 4, 3)
    here = loss.forward(y, pred), loss.backward()
    there = loss.forward(to_device(y, device), to_device(pred, device)), loss.backward()
    np.testing.assert_allclose(to_host(there[0]), here[0], rtol=1e-12)
    np.testing.assert_allclose(to_host(there[1]), here[1], rtol=1e-12)


@every_loss
def test_one_backward_for_each_forward(name: str) -> None:
    loss, y, pred = draw(name, 0, 2, 3)
    with pytest.raises(RuntimeError, match="backward was called without a forward before it"):
        loss.backward()
    loss(y, pred)
    loss.backward()
    with pytest.raises(RuntimeError, match="without a forward"):
        loss.backward()


def test_values_by_hand() -> None:
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = -(np.log(0.75) + np.log(0.5)) / 2
    assert CategoricalCrossentropy()(np.array([[0, 1], [1, 0]]), p) == pytest.approx(expected)
    assert SparseCategoricalCrossentropy()(np.array([1, 0]), p) == pytest.approx(expected)
    bce = -(np.log(0.75) + np.log(0.75) + np.log(0.5) + np.log(0.5)) / 4
    assert BinaryCrossentropy()(np.array([[0, 1], [1, 0]]), p) == pytest.approx(bce)
    assert MeanSquaredError()(np.array([[0.0, 1.0]]), np.array([[2.0, 4.0]])) == pytest.approx((4 + 9) / 2)


@pytest.mark.parametrize("loss", [CategoricalCrossentropy, SparseCategoricalCrossentropy])
def test_logits_and_probabilities_agree(loss: type[losses.LogitLoss], rng: np.random.Generator) -> None:
    z = rng.normal(size=(5, 4))
    k = rng.integers(4, size=5)
    y = k if loss is SparseCategoricalCrossentropy else one_hot(k, 4)
    assert loss(from_logits=True)(y, z) == pytest.approx(loss()(y, softmax(z)), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_sure_mistakes_give_finite_losses_and_gradients(dtype: str, from_logits: bool) -> None:
    pred = np.array([[1e4, -1e4], [-1e4, 1e4]] if from_logits else [[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    for loss, y in (
        (CategoricalCrossentropy(from_logits), np.array([[0.0, 1.0], [1.0, 0.0]])),
        (SparseCategoricalCrossentropy(from_logits), np.array([1, 0])),
        (BinaryCrossentropy(from_logits), np.array([[0.0, 1.0], [1.0, 0.0]])),
    ):
        assert np.isfinite(loss(y, pred))
        gradient = loss.backward()
        assert np.isfinite(gradient).all()
        assert (gradient[[0, 1], [1, 0]] < 0).all()  # it pushes the right class up


def test_a_sure_hit_has_a_small_loss_not_none() -> None:
    assert BinaryCrossentropy(from_logits=True)(np.ones((1, 1)), np.full((1, 1), 40.0)) == pytest.approx(np.exp(-40))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_probabilities_are_divided_by_their_sum(scale: float, rng: np.random.Generator) -> None:
    p, k = softmax(rng.normal(size=(5, 4))), rng.integers(4, size=5)
    for loss, y in ((CategoricalCrossentropy(), one_hot(k, 4)), (SparseCategoricalCrossentropy(), k)):
        assert loss(y, scale * p) == pytest.approx(loss(y, p), rel=1e-12)


def test_sequences_are_averaged_over_every_step(rng: np.random.Generator) -> None:
    z = rng.normal(size=(2, 3, 4))
    k = rng.integers(4, size=(2, 3))
    flat = SparseCategoricalCrossentropy(from_logits=True)(k.ravel(), z.reshape(6, 4))
    loss = SparseCategoricalCrossentropy(from_logits=True)
    assert loss(k, z) == pytest.approx(flat)
    assert loss.backward().shape == z.shape
    assert CategoricalCrossentropy(from_logits=True)(one_hot(k, 4), z) == pytest.approx(flat)


WRONG_TARGETS = [
    (
        CategoricalCrossentropy(),
        np.array([1, 0]),
        (2, 3),
        r"expected one-hot targets of shape \(2, 3\), got \(2,\).*sparse_categorical_crossentropy.*to_categorical",
    ),
    (CategoricalCrossentropy(), np.eye(4)[:2], (2, 3), r"predictions' shape \(2, 3\), got \(2, 4\).*3 outputs"),
    (CategoricalCrossentropy(), np.array([[2, 0, 0], [1, 0, 0]]), (2, 3), "between 0 and 1 that sum to 1"),
    (CategoricalCrossentropy(), np.array([[1, 1, 0], [1, 0, 0]]), (2, 3), "sum to 1.*binary_crossentropy"),
    (SparseCategoricalCrossentropy(), np.eye(3)[:2], (2, 3), r"looks one-hot.*categorical_crossentropy.*argmax"),
    (SparseCategoricalCrossentropy(), np.array([0, 3]), (2, 3), "from 0 to 2.*got 3. Give the last layer 4 outputs"),
    (SparseCategoricalCrossentropy(), np.array([0, -1]), (2, 3), "from 0 to 2.*got -1. Mend the labels"),
    (SparseCategoricalCrossentropy(), np.array([0.0, 1.0]), (2, 3), r"whole class numbers, got float64.*astype\(int\)"),
    (SparseCategoricalCrossentropy(), np.array([[0], [1]]), (2, 3), r"got \(2, 1\).*never broadcast.*reshape"),
    (BinaryCrossentropy(), np.array([0, 1]), (2, 1), r"shape \(2, 1\), got \(2,\).*never broadcast.*y\[:, None\]"),
    (BinaryCrossentropy(), np.array([[0], [2]]), (2, 1), "between 0 and 1, got values from 0 to 2"),
    (MeanSquaredError(), np.array([1.0, 2.0]), (2, 1), r"never broadcast: use y\[:, None\]"),
    (MeanSquaredError(), np.array([[1.0], [2.0]]), (2,), r"never broadcast: use y\[:, 0\]"),
]


@pytest.mark.parametrize(("loss", "y", "shape", "message"), WRONG_TARGETS)
def test_wrong_targets_are_refused(loss: losses.Loss, y: np.ndarray, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(y, np.full(shape, 0.5))


def test_unknown_name_has_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'crossentropy'.*Did you mean '.*crossentropy'"):
        losses.get("crossentropy")
    with pytest.raises(TypeError, match="loss: expected a name or an instance"):
        losses.get(3)
