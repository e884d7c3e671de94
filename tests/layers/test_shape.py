"""Shape: values by hand, wrong arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynn.layers import (
    Cropping1D,
    Cropping2D,
    Layer,
    Permute,
    RepeatVector,
    Rescaling,
    Reshape,
    ShapeError,
    UpSampling1D,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)


def test_reshape_keeps_the_order() -> None:
    x = np.arange(12.0).reshape(2, 6)
    layer = Reshape((3, 2))
    np.testing.assert_array_equal(layer(x), x.reshape(2, 3, 2))
    np.testing.assert_array_equal(layer.backward(x.reshape(2, 3, 2)), x)
    assert Reshape(6)(x.reshape(2, 3, 2)).shape == (2, 6)
    assert Reshape((-1,))(np.ones((2, 3))).shape == (2, 3)


def test_rescaling_takes_images_of_bytes_to_the_model_s_numbers() -> None:
    x = np.array([[0, 51, 255]], dtype="uint8")
    y = Rescaling(1 / 127.5, offset=-1)(x)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, [[-1, -0.6, 1]], rtol=1e-6)


def test_permute_counts_from_one(rng: Any) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    layer = Permute((3, 1, 2))
    y = layer(x)
    assert y.shape == (2, 5, 3, 4)
    assert y[1, 4, 2, 3] == x[1, 2, 3, 4]
    np.testing.assert_array_equal(layer.backward(y), x)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (ZeroPadding1D(), (4, 3), (6, 3)),
        (ZeroPadding1D((0, 2)), (4, 3), (6, 3)),
        (ZeroPadding2D(), (4, 5, 3), (6, 7, 3)),
        (ZeroPadding2D((1, 2)), (4, 5, 3), (6, 9, 3)),
        (ZeroPadding2D(((0, 1), (2, 3))), (4, 5, 3), (5, 10, 3)),
        (Cropping1D(), (4, 3), (2, 3)),
        (Cropping1D(0), (4, 3), (4, 3)),
        (Cropping2D(), (4, 5, 3), (4, 5, 3)),
        (Cropping2D(1), (4, 5, 3), (2, 3, 3)),
        (Cropping2D(((0, 1), (2, 2))), (4, 5, 3), (3, 1, 3)),
        (UpSampling1D(), (4, 3), (8, 3)),
        (UpSampling2D(3), (4, 5, 3), (12, 15, 3)),
        (RepeatVector(7), (3,), (7, 3)),
    ],
)
def test_sizes(layer: Layer, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert layer(np.ones((2, *shape))).shape == (2, *expected)


def test_padding_puts_zeros_and_cropping_takes_them_away(rng: Any) -> None:
    x = rng.normal(size=(2, 3, 4, 2))
    pad, crop = ZeroPadding2D(((1, 2), (0, 3))), Cropping2D(((1, 2), (0, 3)))
    y = pad(x)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))))
    np.testing.assert_array_equal(crop(y), x)
    np.testing.assert_array_equal(crop.backward(x), y)
    np.testing.assert_array_equal(pad.backward(y), x)


def test_upsampling_copies_and_adds_the_copies_gradients(rng: Any) -> None:
    x = rng.normal(size=(1, 2, 3, 1))
    layer = UpSampling2D((2, 3))
    y = layer(x)
    np.testing.assert_array_equal(y[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 3))))
    np.testing.assert_allclose(layer.backward(y), 6 * x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rescaling("1/255"), "Rescaling: scale must be a number .* got '1/255'"),
        (lambda: Rescaling(1, float("nan")), "Rescaling: offset must be a number .* got nan"),
        (lambda: Reshape((2, 0)), r"Reshape: target_shape must be a tuple of whole numbers .* got \(2, 0\)"),
        (lambda: Reshape((-1, 2, -1)), r"one of which may be -1, got \(-1, 2, -1\)"),
        (lambda: Reshape("4"), "target_shape must be a tuple of whole numbers from 1 up, .*got '4'"),
        (lambda: Permute((0, 1)), r"Permute: dims must hold every number from 1 .* got \(0, 1\)"),
        (lambda: Permute((1, 1)), r"once, such as \(2, 1\), got \(1, 1\)"),
        (lambda: Permute(2), "dims must hold every number .* got 2"),
        (lambda: RepeatVector(0), "RepeatVector: n must be a whole number from 1 up, got 0"),
        (lambda: ZeroPadding1D(-1), r"ZeroPadding1D: padding must be a whole number from 0 up, or \(before, .* got -1"),
        (lambda: ZeroPadding1D((1, 2, 3)), r"padding must be .* got \(1, 2, 3\)"),
        (lambda: ZeroPadding2D(((1, 2), 3, 4)), "ZeroPadding2D: padding must be .* or .*top, bottom"),
        (
            lambda: ZeroPadding2D(data_format="channels_first"),
            "data_format must be 'channels_last', got 'channels_first'",
        ),
        (lambda: Cropping1D(1.5), "Cropping1D: cropping must be a whole number .* got 1.5"),
        (lambda: Cropping2D("1"), "Cropping2D: cropping must be a whole number .* got '1'"),
        (lambda: UpSampling1D(0), "UpSampling1D: size must be a whole number from 1 up, got 0"),
        (lambda: UpSampling2D((2, 2, 2)), r"UpSampling2D: size must be .* got \(2, 2, 2\)"),
        (lambda: UpSampling2D(interpolation="bilinear"), "interpolation must be 'nearest', got 'bilinear'"),
    ],
)
def test_wrong_arguments(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Reshape((2, 4)), (6,), r"Reshape: an input .* has 6 numbers a sample, which do not fit target_shape=\(2, 4\)"),
        (Reshape((4, -1)), (6,), "6 numbers a sample, which do not fit .*Give a shape of 6 numbers"),
        (Permute((2, 1)), (3,), r"Permute: dims=\(2, 1\) orders 2 axes, but .* \(batch, 3\) has 1"),
        (RepeatVector(2), (3, 4), r"RepeatVector expected an input of shape \(batch, features\), .*Put Flatten"),
        (
            ZeroPadding1D(),
            (4,),
            r"ZeroPadding1D expected .*\(batch, steps, channels\), got \(batch, 4\)",
        ),
        (
            ZeroPadding2D(name="p"),
            (4, 4),
            r"p \(ZeroPadding2D\) expected .*height, width.*got \(batch, 4, 4\)",
        ),
        (Cropping1D(2), (4, 1), r"Cropping1D leaves out 2 \+ 2 of 4 in an input of shape \(batch, 4, 1\)\. Leave out"),
        (Cropping2D((0, 3)), (9, 5, 1), r"Cropping2D leaves out 3 \+ 3 of 5"),
        (UpSampling1D(), (4, 4, 1), "UpSampling1D expected an input of shape .*steps"),
        (UpSampling2D(), (4, 4), "UpSampling2D expected an input of shape .*height"),
    ],
)
def test_wrong_shapes(layer: Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer(np.ones((2, *shape)))
