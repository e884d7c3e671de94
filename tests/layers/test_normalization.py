"""Normalization: values by hand, training against inference, the running averages, wrong arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynn.layers import Dense, Layer, ShapeError
from tinynn.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)


def reference(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """Return x with mean 0 and variance 1 along the axes."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize(
    ("make", "axes"),
    [
        (BatchNormalization, (0, 1)),
        (lambda: BatchNormalization(axis=1), (0, 2)),
        (lambda: LayerNormalization(axis=(1, 2)), (1, 2)),
        (LayerNormalization, (2,)),
        (lambda: GroupNormalization(1), (1, 2)),
        (lambda: GroupNormalization(-1), (1,)),
    ],
)
def test_defaults_against_a_plain_reference(make: Callable[[], Layer], axes: tuple[int, ...], rng: Any) -> None:
    x = rng.normal(2.0, 3.0, size=(4, 5, 6))
    np.testing.assert_allclose(make()(x, training=True), reference(x, axes, 1e-3), rtol=1e-10, atol=1e-12)


def test_groups_are_neighbouring_channels(rng: Any) -> None:
    x = rng.normal(size=(2, 3, 4, 6))
    y = GroupNormalization(3)(x)
    for first in (0, 2, 4):
        np.testing.assert_allclose(y[..., first : first + 2], reference(x[..., first : first + 2], (1, 2, 3), 1e-3))


def test_32_groups_by_default() -> None:
    assert GroupNormalization().groups == 32
    assert GroupNormalization()(np.ones((1, 64))).shape == (1, 64)


def test_rms_and_unit_defaults(rng: Any) -> None:
    x = rng.normal(size=(3, 5))
    np.testing.assert_allclose(RMSNormalization()(x), x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6))
    np.testing.assert_allclose(UnitNormalization()(x), x / np.linalg.norm(x, axis=1, keepdims=True))


def test_gamma_and_beta_scale_and_centre() -> None:
    layer = LayerNormalization(epsilon=0)
    layer.build_for((2,))
    layer.set_weights([np.array([2.0, 3.0]), np.array([10.0, 20.0])])
    np.testing.assert_allclose(layer(np.array([[1.0, 5.0]])), [[8.0, 23.0]])


def test_weights_come_in_keras_order() -> None:
    layer = BatchNormalization()
    layer.build_for((3,))
    assert [parameter.name for parameter in layer.parameters] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [parameter.trainable for parameter in layer.parameters] == [True, True, False, False]


def test_running_averages_move_in_training_only(rng: Any) -> None:
    layer = BatchNormalization(momentum=0.9)
    layer.dtype = "float64"
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(3):
        x = rng.normal(step, 2.0, size=(8, 3))
        layer(x, training=True)
        mean = 0.9 * mean + 0.1 * x.mean(0)
        variance = 0.9 * variance + 0.1 * x.var(0)  # divided by N, as Keras has it
        layer(x, training=False)
        np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-12)
    layer.set_weights([np.ones(3), np.zeros(3), mean, variance])
    np.testing.assert_allclose(layer(x), (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-12)


def test_running_averages_are_written_in_place(rng: Any) -> None:
    layer = BatchNormalization()
    layer.build_for((3,))
    kept = layer.moving_mean
    layer(rng.normal(1.0, size=(4, 3)), training=True)
    assert layer.moving_mean is kept
    assert kept.all()


def test_inference_does_not_mix_samples(rng: Any) -> None:
    layer = BatchNormalization()
    x = rng.normal(size=(4, 3))
    layer(x)
    dx = layer.backward(np.eye(4, 3))
    np.testing.assert_allclose(dx, np.eye(4, 3) / np.sqrt(1 + 1e-3))
    layer(x, training=True)
    assert np.count_nonzero(layer.backward(np.eye(4, 3))) == 12


def test_a_batch_of_one_teaches_beta_alone() -> None:
    layer = BatchNormalization()
    layer(np.array([[3.0, -7.0]]), training=True)
    dx = layer.backward(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(layer.dgamma, 0)
    np.testing.assert_array_equal(layer.dbeta, [1.0, 2.0])


def test_a_layer_of_constants_is_finite() -> None:
    for layer in (BatchNormalization(), LayerNormalization(), GroupNormalization(1), RMSNormalization()):
        layer(np.zeros((4, 3)), training=True)
        assert np.isfinite(layer.backward(np.ones((4, 3)))).all()


def test_a_bias_before_batch_normalization_learns_nothing(rng: Any) -> None:
    dense, layer = Dense(3), BatchNormalization()
    dense.dtype = layer.dtype = "float64"
    layer(dense(rng.normal(size=(8, 2))), training=True)
    dense.backward(layer.backward(rng.normal(size=(8, 3))))
    np.testing.assert_allclose(dense.db, 0, atol=1e-13)


def test_float32_keeps_a_small_spread_on_a_large_mean(rng: Any) -> None:
    x = 1000 + rng.normal(size=(512, 4))
    for layer, axes in ((BatchNormalization(), (0,)), (LayerNormalization(), (1,))):
        y = layer(x.astype("float32"), training=True)
        np.testing.assert_allclose(y, reference(x, axes, 1e-3), atol=2e-3)


def test_unit_of_one_feature_is_its_sign_and_sends_nothing_back() -> None:
    layer = UnitNormalization()
    np.testing.assert_array_equal(layer(np.array([[0.004], [-3.0]])), [[1.0], [-1.0]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0], [2.0]])), [[0.0], [0.0]])


def test_unit_of_rows_shorter_than_1e_12_is_a_division_by_a_constant() -> None:
    layer = UnitNormalization()
    np.testing.assert_allclose(layer(np.array([[0.0, 0.0], [3e-13, -4e-13]])), [[0.0, 0.0], [0.3, -0.4]])
    np.testing.assert_allclose(layer.backward(np.array([[1.0, 2.0], [3.0, 5.0]])), [[1e12, 2e12], [3e12, 5e12]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNormalization(axis=(1, 2)), r"BatchNormalization: axis must be a whole number, got \(1, 2\)"),
        (
            lambda: LayerNormalization(axis=()),
            "LayerNormalization: axis must be a whole number or a tuple of them",
        ),
        (lambda: LayerNormalization(axis="last"), "axis must be a whole number or a tuple of them, got 'last'"),
        (
            lambda: BatchNormalization(momentum=1.5),
            "BatchNormalization: momentum must be a number from 0 to 1",
        ),
        (lambda: LayerNormalization(epsilon=-1), "LayerNormalization: epsilon must be a number from 0 up, got -1"),
        (lambda: GroupNormalization(0), "GroupNormalization: groups must be a whole number from 1 up, got 0"),
        (lambda: GroupNormalization(2.0), "groups must be a whole number from 1 up, got 2.0"),
        (lambda: RMSNormalization(center=True), "multiple values|unexpected"),
        (lambda: BatchNormalization(beta_initializer="zeroes"), "initializer 'zeroes'. Did you mean 'zeros'"),
    ],
)
def test_wrong_arguments(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (BatchNormalization(axis=3), (4, 5), r"BatchNormalization: axis 3 must name axes of .* \(batch, 4, 5\)"),
        (BatchNormalization(axis=0), (4,), "not the batch axis: 1 to 1, or -1 to -1"),
        (LayerNormalization(axis=(1, -1)), (4,), r"axis 1, -1 must name axes .* each once"),
        (LayerNormalization(axis=-2), (4,), "not the batch axis"),
        (GroupNormalization(), (6,), r"groups=32 does not divide the 6 channels of .* Choose one of 1, 2, 3, 6\."),
        (GroupNormalization(4, name="g"), (8, 6), r"g \(GroupNormalization\): groups=4 does not divide the 6"),
    ],
)
def test_wrong_shapes(layer: Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer(np.ones((2, *shape)))
