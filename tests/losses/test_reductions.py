"""Reductions, weights and masks: what becomes of the values of the rows, for every loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.test_losses import CASES, draw, every_loss
from tinynn import losses
from tinynn.backend import Device, to_device, to_host
from tinynn.losses import CategoricalCrossentropy, CosineSimilarity, MeanSquaredError
from tinynn.losses.base import REDUCTIONS, apply_mask

every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def reduced(name: str, reduction: str | None, batch: int = 4) -> tuple[losses.Loss, np.ndarray, np.ndarray, np.ndarray]:
    """Return a loss with this reduction, targets, predictions and weights, one of which is 0."""
    loss, y, pred = draw(name, 3, batch, 3)
    loss.reduction = reduction  # of the table's one instance: every test that reads it sets it
    rows = loss.rows(pred.shape)
    weight = np.random.default_rng(5).uniform(size=rows)
    weight[1] = 0
    return loss, y, pred, weight


@pytest.fixture(autouse=True)
def reductions_as_they_were() -> Any:
    yield
    for loss, _, _ in CASES.values():
        loss.reduction = "sum_over_batch_size"


@every_loss
def test_every_reduction_is_made_of_the_values(name: str) -> None:
    loss, y, pred, w = reduced(name, "none")
    values = loss(y, pred)
    assert values.shape == loss.rows(pred.shape)
    expected = {
        "sum_over_batch_size": ((values * w).sum() / w.size, values.mean()),
        "mean": ((values * w).sum() / w.size, values.mean()),
        "sum": ((values * w).sum(), values.sum()),
        "mean_with_sample_weight": ((values * w).sum() / w.sum(), values.mean()),
        "none": (values * w, values),
        None: (values * w, values),
    }
    for reduction, (weighted, plain) in expected.items():
        loss.reduction = reduction
        np.testing.assert_allclose(loss(y, pred, w), weighted, rtol=1e-12)
        np.testing.assert_allclose(loss(y, pred), plain, rtol=1e-12)


@every_reduction
@every_loss
def test_gradient_of_the_weighted_loss(name: str, reduction: str | None) -> None:
    """By the complex step; without a reduction, of the sum of the values."""
    loss, y, pred, w = reduced(name, reduction)
    mask = np.ones(w.shape, bool)
    mask[-1] = False
    for weight, m in ((w, None), (None, mask), (w, mask)):
        loss.forward(y, pred, weight, m)
        gradient = loss.backward()
        for place in np.ndindex(pred.shape):
            moved = pred.astype(complex)
            moved[place] += 1e-20j
            true = np.imag(loss.forward(y, moved, weight, m).sum()) / 1e-20
            assert gradient[place] == pytest.approx(true, rel=1e-11, abs=1e-13)


@every_reduction
@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays(name: str, reduction: str | None, dtype: str) -> None:
    loss, y, pred, w = reduced(name, reduction)
    L = loss.forward(y, pred.astype(dtype), w, w > 0)  # weights of another dtype
    assert L.dtype == dtype
    assert loss.backward().dtype == dtype


@every_loss
def test_device_computes_what_the_cpu_computes(name: str, device: Device) -> None:
    loss, y, pred, w = reduced(name, "sum_over_batch_size")
    here = loss.forward(y, pred, w, w > 0), loss.backward()
    arrays = [to_device(array, device) for array in (y, pred, w, w > 0)]
    there = loss.forward(*arrays), loss.backward()
    np.testing.assert_allclose(to_host(there[0]), here[0], rtol=1e-12)
    np.testing.assert_allclose(to_host(there[1]), here[1], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if "axis" not in name])
def test_a_weight_of_two_is_a_sample_twice(name: str) -> None:
    loss, y, pred = draw(name, 0, 3, 3)
    loss.reduction = "sum"
    twice = np.array([0, 1, 1, 2, 2])
    assert loss(y, pred, [1, 2, 2]) == pytest.approx(loss(y[twice], pred[twice]), rel=1e-12)


def test_values_by_hand() -> None:
    y, pred, w = np.zeros((2, 2)), np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([1.0, 3.0])
    assert MeanSquaredError()(y, pred, w) == (5 * 1 + 2 * 3) / 2
    assert MeanSquaredError("sum")(y, pred, w) == 11
    assert MeanSquaredError("mean_with_sample_weight")(y, pred, w) == 11 / 4
    np.testing.assert_array_equal(MeanSquaredError(None)(y, pred, w), [5, 6])
    loss = MeanSquaredError()
    loss(y, pred, w)
    np.testing.assert_array_equal(loss.backward(), [[0.5, 1.5], [3, 0]])  # w e / B


def test_weights_of_samples_hold_for_their_steps() -> None:
    rng = np.random.default_rng(0)
    y, pred = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    by_step = np.array([[2.0] * 3, [0.5] * 3])
    loss = MeanSquaredError()
    for same in (by_step[:, 0], by_step[:, :1], by_step[..., None]):
        assert loss(y, pred, same) == loss(y, pred, by_step)
        gradient = loss.backward()
    loss(y, pred, by_step)
    np.testing.assert_array_equal(gradient, loss.backward())


def test_a_mask_makes_a_mean_over_what_is_left() -> None:
    rng = np.random.default_rng(0)
    y, pred = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    mask = np.array([[True, True, False], [True, False, False]])
    left = MeanSquaredError()(y[mask], pred[mask])
    loss = MeanSquaredError()
    assert float(loss.forward(y, pred, None, mask)) == pytest.approx(left, rel=1e-14)
    assert (loss.backward()[~mask] == 0).all()
    assert float(loss.forward(y, pred, np.array([1.0, 0.0]), mask)) == pytest.approx(
        MeanSquaredError("sum")(y[0, :2], pred[0, :2]) / 3, rel=1e-14
    )
    assert loss.forward(y, pred, None, np.zeros((2, 3), bool)) == 0
    assert (loss.backward() == 0).all()
    by_weights = MeanSquaredError("mean_with_sample_weight")
    assert by_weights.forward(y, pred, np.zeros(2)) == 0
    assert (by_weights.backward() == 0).all()


def test_a_mask_of_samples_and_weights_of_steps_meet() -> None:
    weights = apply_mask(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([True, False]), "sum", "float64")
    np.testing.assert_array_equal(weights, [[1, 2], [0, 0]])
    weights = apply_mask(np.array([1.0, 3.0]), np.array([[True, False], [True, True]]), "mean", "float64")
    np.testing.assert_allclose(weights, [[4 / 3, 0], [4, 4]])


def test_the_vectors_of_a_cosine_may_lie_along_any_axis() -> None:
    rng = np.random.default_rng(0)
    y, pred, w = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4)), rng.uniform(size=(2, 4))
    last = [array.transpose(0, 2, 1) for array in (y, pred)]
    assert CosineSimilarity(axis=1).rows((2, 3, 4)) == (2, 4)
    along, across = CosineSimilarity(axis=1), CosineSimilarity()
    assert along(y, pred, w) == pytest.approx(across(*last, w), rel=1e-14)
    np.testing.assert_allclose(along.backward().transpose(0, 2, 1), across.backward(), rtol=1e-14)


def test_a_loss_of_ones_own_is_reduced_and_weighted_too() -> None:
    class Cubes(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            self.cache = y_pred - y_true
            return self.cache**3

        def gradient(self, dv: Any) -> Any:
            return 3 * dv * self.take_cache() ** 2

    class SumsOfCubes(Cubes):
        sums_rows = True

    class OneValueARow(Cubes):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return super().call(y_true, y_pred).sum(axis=-1, keepdims=True)

    y, pred = np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 0.0]])
    for kind, size in ((Cubes, 2), (SumsOfCubes, 1), (OneValueARow, 1)):
        loss = kind("sum")
        assert loss(y, pred, [1, 2]) == (9 + 2 * 27) / size
        np.testing.assert_array_equal(loss.backward(), np.array([[3, 12], [54, 0]]) / size)
        np.testing.assert_array_equal(kind(None)(y, pred, [1, 2]), np.array([9, 54]) / size)
    with pytest.raises(TypeError, match=r"Loss needs a method call\(self, y_true, y_pred\)"):
        losses.Loss()(y, pred)
    unfinished = losses.Loss()
    with pytest.raises(TypeError, match=r"Loss needs a method gradient\(self, dv\)"):
        unfinished.backward()


@pytest.mark.parametrize("kind", sorted(set(losses.LOSSES.values()), key=lambda kind: kind.__name__))
def test_every_kind_has_the_argument(kind: type[losses.Loss]) -> None:
    assert kind().reduction == "sum_over_batch_size"
    assert kind(reduction=None).reduction is None
    with pytest.raises(ValueError, match=rf"{kind.__name__}: reduction must be one of 'sum_over_.*, got 'average'"):
        kind(reduction="average")


@pytest.mark.parametrize(
    ("shape", "weight"), [((2, 3), (3,)), ((2, 3), (2, 3)), ((2, 3, 4), (2, 4)), ((2, 3), ()), ((2, 3, 4), (1, 3))]
)
def test_weights_of_a_wrong_shape_are_refused(shape: tuple[int, ...], weight: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"MeanSquaredError expected weights of shape \(2,\)"):
        MeanSquaredError()(np.zeros(shape), np.zeros(shape), np.ones(weight))


def test_predictions_of_one_axis_are_one_row() -> None:
    assert MeanSquaredError("sum")([0.0, 0.0], [1.0, 3.0]) == 5
    with pytest.raises(ValueError, match=r"one row with one value, as in Keras.*shape \(batch, 1\)"):
        MeanSquaredError()([0.0, 0.0], [1.0, 3.0], [1.0, 1.0])


def test_label_smoothing_and_weights_together() -> None:
    loss = CategoricalCrossentropy(label_smoothing=0.3)
    value = -(0.1 * np.log(0.2) + 0.8 * np.log(0.7) + 0.1 * np.log(0.1))
    assert loss([[0, 1, 0]], [[0.2, 0.7, 0.1]], [2.5]) == pytest.approx(2.5 * value, rel=1e-12)
