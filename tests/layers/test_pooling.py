"""Pooling: values by hand, ties, padding, and what a wrong argument says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.global_pooling import (
    AdaptiveAveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
)
from tinynn.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)


def both(layer: Layer, x: Any, dy: Any) -> tuple[list[float], list[float]]:
    """Return y and dx of a sequence of one channel."""
    y = layer(np.array(x, dtype=float).reshape(1, -1, 1))
    dx = layer.backward(np.array(dy, dtype=float).reshape(y.shape))
    return y.ravel().tolist(), dx.ravel().tolist()


def test_of_equal_maxima_the_first_gets_all() -> None:
    assert both(MaxPooling1D(3), [7, 7, 7, 1, 2, 2], [10, 20]) == ([7, 2], [10, 0, 0, 0, 20, 0])
    pool = MaxPooling2D(2)
    pool(np.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(pool.backward(np.full((1, 1, 1, 1), 3.0)).ravel(), [3, 0, 0, 0])


def test_ties_where_windows_overlap() -> None:
    assert both(MaxPooling1D(2, 1), [5, 5, 5], [1, 10]) == ([5, 5], [1, 10, 0])


def test_a_maximum_of_several_windows_adds_up() -> None:
    assert both(MaxPooling1D(3, 1), [1, 9, 2, 3, 0], [1, 10, 100]) == ([9, 9, 3], [0, 11, 0, 100, 0])


def test_padding_is_never_the_maximum() -> None:
    assert both(MaxPooling1D(3, 2, "same"), [-5, -6, -7, -8], [1, 10]) == ([-5, -7], [1, 0, 10, 0])


def test_padding_is_not_averaged_over() -> None:
    assert both(AveragePooling1D(3, 1, "same"), [3, 6, 9], [2, 3, 4]) == ([4.5, 6, 7.5], [2, 4, 3])


def test_what_the_stride_does_not_reach_has_no_gradient() -> None:
    assert both(MaxPooling1D(2), [1, 2, 3], [5]) == ([2], [0, 5, 0])
    assert both(AveragePooling1D(1, 2), [1, 2, 3], [5, 6]) == ([1, 3], [5, 0, 6])


def test_global_maxima_that_are_equal_share() -> None:
    assert both(GlobalMaxPooling1D(), [4, 1, 4], [10]) == ([4], [5, 0, 5])


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("mine", "name", "options"),
    [
        (MaxPooling2D, "MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}),
        (MaxPooling2D, "MaxPooling2D", {"pool_size": 2}),
        (GlobalMaxPooling2D, "GlobalMaxPooling2D", {}),
    ],
)
def test_ties_as_in_keras(keras: Any, mine: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    import jax

    x = rng.integers(0, 3, size=(4, 6, 5, 2)).astype("float64")  # full of ties
    layer, theirs = mine(**options), getattr(keras.layers, name)(**options)
    y = layer(x)
    dy = rng.normal(size=y.shape)
    np.testing.assert_allclose(layer.backward(dy), jax.grad(lambda x: (theirs(x) * dy).sum())(x), rtol=1e-9, atol=1e-12)


def test_global_pooling_is_pooling_with_the_largest_window(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 4, 3))
    for whole, window in (
        (GlobalMaxPooling2D(keepdims=True), MaxPooling2D((5, 4))),
        (GlobalAveragePooling2D(keepdims=True), AveragePooling2D((5, 4))),
    ):
        np.testing.assert_allclose(whole(x), window(x), rtol=1e-12)
        dy = rng.normal(size=(2, 1, 1, 3))
        np.testing.assert_allclose(whole.backward(dy), window.backward(dy), rtol=1e-12)


def test_adaptive_pooling_is_pooling_where_the_output_divides_the_input(rng: np.random.Generator) -> None:
    x, dy = rng.normal(size=(2, 6, 8, 3)), rng.normal(size=(2, 3, 2, 3))
    adaptive, window = AdaptiveAveragePooling2D((3, 2)), AveragePooling2D((2, 4))
    np.testing.assert_allclose(adaptive(x), window(x), rtol=1e-12)
    np.testing.assert_allclose(adaptive.backward(dy), window.backward(dy), rtol=1e-12)


def test_nan_stays_visible() -> None:
    x = np.array([1.0, np.nan, 3.0, 4.0]).reshape(1, 4, 1)
    np.testing.assert_array_equal(MaxPooling1D(2)(x).ravel(), [np.nan, 4])
    np.testing.assert_array_equal(AveragePooling1D(2)(x).ravel(), [np.nan, 3.5])


def image(*shape: int) -> np.ndarray:
    return np.zeros((2, *shape))


MISTAKES = [
    ("pool 0", lambda: MaxPooling2D(0), ValueError, "MaxPooling2D: pool_size must be .*tuple of 2, got 0"),
    ("pool of 3 axes", lambda: AveragePooling2D((2, 2, 2)), ValueError, r"pool_size must .*got \(2, 2, 2\)"),
    (
        "stride 0",
        lambda: MaxPooling1D(2, 0),
        ValueError,
        "MaxPooling1D: strides must be a whole number from 1 up, got 0",
    ),
    ("padding", lambda: MaxPooling3D(2, padding="causal"), ValueError, "MaxPooling3D: padding must .*got 'causal'"),
    ("format", lambda: MaxPooling2D(2, data_format="channels_first"), ValueError, "must be 'channels_last'"),
    (
        "larger than the input",
        lambda: MaxPooling2D(3)(image(5, 2, 1)),
        ShapeError,
        r"MaxPooling2D: pool_size \(3, 3\) covers \(3, 3\), which is larger than the input, \(5, 2\)\. Make it smaller",
    ),
    (
        "no channel axis",
        lambda: MaxPooling2D()(image(28, 28)),
        ShapeError,
        r"MaxPooling2D expected .* \(batch, height, width, channels\), got \(batch, 28, 28\).*x\[\.\.\., None\]",
    ),
    ("no channels", lambda: GlobalAveragePooling1D()(image(7)), ShapeError, r"\(batch, steps, channels\).*x\[\.\.\.,"),
    ("volume", lambda: GlobalMaxPooling2D()(image(7, 7, 7, 1)), ShapeError, r"got \(batch, 7, 7, 7, 1\)\.$"),
    ("global format", lambda: GlobalMaxPooling2D("channels_first"), ValueError, "GlobalMaxPooling2D: data_format"),
    (
        "output size 0",
        lambda: AdaptiveAveragePooling2D((3, 0)),
        ValueError,
        r"AdaptiveAveragePooling2D: output_size must be .*from 1 up, or a tuple of 2, got \(3, 0\)",
    ),
    ("adaptive axes", lambda: AdaptiveAveragePooling2D(3)(image(9, 9)), ShapeError, r"x\[\.\.\., None\]"),
]


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [entry[1:] for entry in MISTAKES], ids=[entry[0] for entry in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()
