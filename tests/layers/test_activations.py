"""What is special about the activations: values, kinks, tails, extremes, names, messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import FakeCuPy, GuardArray
from tinynn import Dense, Input, Sequential
from tinynn.check import gradients
from tinynn.layers import Layer, ShapeError, activations
from tinynn.layers.activations import ACTIVATIONS, Activation, LogSoftmax, Softmax
from tinynn.layers.rectifiers import (
    CELU,
    ELU,
    SELU,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
)
from tinynn.layers.smooth import GELU, GLU, LogSigmoid, Mish, SiLU, Softplus, Softsign, Swish, normal

KERAS_NAMES = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def slopes(layer: Layer, points: list[float]) -> list[float]:
    """Return the derivative at each point."""
    x = np.array([points], dtype=float)
    y = layer(x)
    return layer.backward(np.ones_like(y))[0].tolist()


def values(layer: Layer, points: list[float]) -> list[float]:
    return layer(np.array([points], dtype=float))[0].tolist()


def test_names_are_keras_names() -> None:
    assert sorted(ACTIVATIONS) == KERAS_NAMES


@pytest.mark.parametrize("name", KERAS_NAMES)
def test_every_name_works_in_a_dense_layer(name: str) -> None:
    model = Sequential([Input((3,)), Dense(4, activation=name), Dense(2)], seed=0)
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 3))
    model.fit(x, x[:, :2], verbose=0)
    assert gradients(Dense(4, activation=name), x).ok


def test_names_of_the_same_thing() -> None:
    assert Swish is SiLU
    assert type(activations.get("swish")) is type(activations.get("silu")) is SiLU
    assert type(activations.get("hard_silu")) is type(activations.get("hard_swish")) is HardSwish
    assert activations.get("leaky_relu").negative_slope == 0.2  # Keras's function
    assert LeakyReLU().negative_slope == 0.3  # Keras's layer


VALUES: list[tuple[Layer, list[float], list[float]]] = [
    (ReLU(10, 0.5), [-10, -5, 0, 5, 20], [-5, -2.5, 0, 5, 10]),
    (ReLU(8, 0, 5), [6, 7, 0, 5, 5.5, 10], [6, 7, 0, 0, 5.5, 8]),
    (ReLU(1, 0.5, 2), [-2, 0, 1.5, 2, 3], [-2, -1, -0.25, 0, 1]),
    (ReLU(0), [-1, 0, 1], [0, 0, 0]),
    (ReLU6(), [-1, 3, 7], [0, 3, 6]),
    (LeakyReLU(), [-10, 0, 10], [-3, 0, 10]),
    (PReLU("ones"), [-10, 0, 10], [-10, 0, 10]),
    (ELU(2.0), [-math.log(2), 0, 3], [-1, 0, 3]),
    (SELU(), [-1e4, 0, 1], [-1.7580993408473766, 0, 1.0507009873554805]),
    (CELU(2.0), [-2 * math.log(2), 0, 3], [-1, 0, 3]),
    (HardSigmoid(), [-9, -3, 0, 1.5, 3, 9], [0, 0, 0.5, 0.75, 1, 1]),
    (HardSwish(), [-9, -3, 0, 1.5, 3, 9], [0, 0, 0, 1.125, 3, 9]),
    (HardTanh(), [-2, -0.5, 0.5, 2], [-1, -0.5, 0.5, 1]),
    (GELU(), [-1, 0, 1], [-0.15865525393145707, 0, 0.8413447460685429]),
    (GELU(approximate=True), [-1, 0, 1], [-0.15880800939172324, 0, 0.8411919906082768]),
    (SiLU(), [0, math.log(3)], [0, 0.75 * math.log(3)]),
    (Mish(), [0, math.log(2)], [0, 0.8 * math.log(2)]),  # tanh(log 3) = 0.8
    (Softplus(), [0, math.log(3)], [math.log(2), math.log(4)]),
    (LogSigmoid(), [0, math.log(3)], [-math.log(2), math.log(0.75)]),
    (Softsign(), [-1, 0, 3], [-0.5, 0, 0.75]),
    (GLU(), [3, 5, 0, math.log(3)], [1.5, 3.75]),
    (LogSoftmax(), [0, math.log(3)], [math.log(0.25), math.log(0.75)]),
]


@pytest.mark.parametrize(("layer", "points", "expected"), VALUES, ids=lambda v: type(v).__name__)
def test_values_by_hand(layer: Layer, points: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(values(layer, points), expected, rtol=1e-14, atol=1e-15)


# The derivative at every kink, as JAX's gradient of Keras 3.15 has it.
KINKS: list[tuple[Layer, list[float], list[float]]] = [
    (ReLU(), [0, -0.0], [0, 0]),
    (ReLU(6.0), [0, 6], [0, 0]),
    (ReLU(negative_slope=0.2), [0, -0.0], [1, 1]),
    (ReLU(6.0, 0.2), [-1, 0, 6], [0.2, 0, 0]),
    (ReLU(threshold=1.0), [0, 1, 1.5], [0, 0, 1]),
    (ReLU(3.0, 0.2, 1.0), [0, 1, 1.5, 4], [0.2, 0, 1, 0]),
    (ReLU(0.5, 0.3, 1.0), [0.2, 0.5, 1, 2], [0.3, 0.3, 0, 0]),
    (ReLU(0.0), [-1, 0, 1], [0, 0, 0]),
    (ReLU6(), [0, 6], [0, 0]),
    (LeakyReLU(0.2), [0, -0.0], [1, 1]),
    (PReLU("ones"), [0, -0.0], [0, 0]),
    (ELU(), [0], [1]),
    (ELU(0.5), [0], [0.5]),
    (SELU(), [0], [1.7580993408473766]),
    (CELU(0.5), [0], [1]),
    (HardSigmoid(), [-3, 3], [0, 0]),
    (HardSwish(), [-3, 3], [0, 1]),
    (HardTanh(), [-1, 1], [1, 1]),
    (Softsign(), [0], [1]),
    (Softplus(), [0], [0.5]),
    (LogSigmoid(), [0], [0.5]),
    (GELU(), [0], [0.5]),
]


@pytest.mark.parametrize(("layer", "points", "expected"), KINKS, ids=lambda v: type(v).__name__)
def test_derivative_at_kinks(layer: Layer, points: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(slopes(layer, points), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", sorted(set(KERAS_NAMES) - {"exponential"}))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stable_at_extremes(name: str, dtype: str) -> None:
    layer = activations.get(name)
    x = np.array([[-1e4, -700.0, -88.0, 0.0, 88.0, 1e4]], dtype=dtype)
    y = layer(x)
    dx = layer.backward(np.ones_like(y))
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "elu", "selu", "celu", "softplus", "softsign", "log_sigmoid"])
def test_derivatives_at_extremes_are_those_of_the_limits(name: str) -> None:
    right = {"selu": SELU.SCALE, "softsign": 0.0, "log_sigmoid": 0.0}.get(name, 1.0)
    left = {"log_sigmoid": 1.0}.get(name, 0.0)
    np.testing.assert_allclose(slopes(activations.get(name), [-1e4, 1e4]), [left, right], rtol=1e-15, atol=1e-7)


@pytest.mark.parametrize("name", sorted(set(KERAS_NAMES) - {"exponential"}))
def test_float32_is_as_good_as_float32_can_be(name: str) -> None:
    """float32 and float64 agree to float32's rounding, forward and backward: no cancellation on the way."""
    x = np.linspace(-20, 20, 400, dtype=np.float32)[None]
    one, two = activations.get(name), activations.get(name)
    y32, y64 = one(x), two(x.astype(np.float64))
    np.testing.assert_allclose(y32, y64, rtol=2e-6, atol=1e-7)
    dx32, dx64 = one.backward(np.ones_like(y32)), two.backward(np.ones_like(y64))
    np.testing.assert_allclose(dx32, dx64, rtol=2e-6, atol=3e-6)


def test_small_outputs_are_exact() -> None:
    x = np.array([[-40.0, -30.0]])
    e = np.exp(x)
    for layer, expected in [(Softplus(), e), (SiLU(), x * e), (Mish(), x * e)]:
        np.testing.assert_allclose(layer(x), expected, rtol=1e-12)
    np.testing.assert_allclose(LogSigmoid()(-x), -e, rtol=1e-12)
    np.testing.assert_allclose(slopes(Softplus(), [-40.0, -30.0]), e[0], rtol=1e-12)
    np.testing.assert_allclose(slopes(LogSigmoid(), [40.0, 30.0]), e[0], rtol=1e-12)
    x = np.linspace(-12, 0, 100)[None]  # GELU's tail too, though its fraction is made for absolute accuracy
    np.testing.assert_allclose(GELU()(x), x * 0.5 * np.vectorize(math.erfc)(-x / 2**0.5), rtol=2e-7)


def test_normal_is_exact() -> None:
    x = np.concatenate([np.linspace(-45, 45, 20_001), [1e4, -1e4, 1e-9, -1e-300]])
    below, density = normal(x)
    expected = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    np.testing.assert_allclose(below, expected, rtol=0, atol=5e-16)
    np.testing.assert_allclose(density, np.exp(-x * x / 2) / math.sqrt(2 * math.pi), rtol=1e-12, atol=1e-300)


def test_gelu_of_huge_numbers() -> None:
    x = np.array([[-3e38, -1e30, 1e30, 3e38]], dtype="float32")
    gelu = GELU()
    np.testing.assert_array_equal(gelu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(gelu.backward(np.ones_like(x)), [[0, 0, 1, 1]])


def test_gelu_is_exact() -> None:
    x = np.linspace(-12, 12, 10_001)
    expected = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x]
    np.testing.assert_allclose(values(GELU(), x.tolist()), expected, rtol=0, atol=5e-15)


def test_exponential_says_that_it_overflows() -> None:
    layer = activations.get("exponential")
    layer.build_for((1,))
    with pytest.warns(RuntimeWarning, match="overflow"):
        layer(np.array([[1e4]]))


def test_log_softmax_is_the_logarithm_of_softmax() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    for axis in (1, 2, -1, -2):
        np.testing.assert_allclose(np.exp(LogSoftmax(axis)(x)), Softmax(axis)(x), rtol=1e-14)


@pytest.mark.parametrize("shape", [(4, 1, 3), (2, 5, 2), (1, 3, 4, 2)])
def test_log_softmax_along_an_axis_within(shape: tuple[int, ...]) -> None:
    report = gradients(LogSoftmax(axis=1), np.random.default_rng(0).normal(size=shape))
    assert report.ok, report


def test_prelu_shares_its_slopes() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for shared, shape in [(None, (3, 4, 5)), (1, (1, 4, 5)), ([1, 2], (1, 1, 5)), ((1, 2, 3), (1, 1, 1))]:
        layer = PReLU("normal", shared_axes=shared)
        layer(x)
        assert layer.alpha.shape == layer.dalpha.shape == shape


def test_prelu_starts_as_relu_and_takes_a_regularizer() -> None:
    layer = PReLU(alpha_regularizer="l2")
    x = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal(layer(x), ReLU()(x))
    assert layer.parameters[0].regularizer is not None


def test_a_gate_halves_the_units_of_a_dense_layer() -> None:
    model = Sequential([Input((5,)), Dense(6, activation="glu"), Dense(2)], seed=0)
    assert model(np.zeros((4, 5), "float32")).shape == (4, 2)
    assert model.layers[0].output_shape == (3,)
    assert Activation("glu").build_for((4, 6)) == (4, 3)
    assert GLU(axis=1).build_for((4, 3)) == (2, 3)


def test_activation_at_the_end_of_a_model_is_kept() -> None:
    """Only softmax and sigmoid are set aside by a loss; a log-softmax stays."""
    model = Sequential([Input((3,)), Dense(3), LogSoftmax()], seed=0)
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.fit(x, x, verbose=0)
    np.testing.assert_allclose(np.exp(model.predict(x)).sum(axis=1), 1, rtol=1e-6)


def test_no_activation_makes_the_host_wait(fake_cupy: FakeCuPy) -> None:
    before = GuardArray.waits
    for name in KERAS_NAMES:
        layer = activations.get(name)
        y = layer(fake_cupy.asarray(np.ones((2, 4), "float32")))
        layer.backward(y)
    assert GuardArray.waits == before


MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ReLU(-1), ValueError, "ReLU: max_value must be a number from 0 up, got -1"),
    (lambda: ReLU("6"), ValueError, "ReLU: max_value must be a number from 0 up, got '6'"),
    (lambda: ReLU(negative_slope=-0.1), ValueError, "ReLU: negative_slope must be a number from 0 up, got -0.1"),
    (lambda: ReLU(negative_slope=None), ValueError, "ReLU: negative_slope must be .* got None"),
    (lambda: ReLU(threshold=-1, name="bend"), ValueError, r"bend \(ReLU\): threshold must be .* got -1"),
    (lambda: LeakyReLU(-1), ValueError, "LeakyReLU: negative_slope must be a number from 0 up, got -1"),
    (lambda: LeakyReLU(float("nan")), ValueError, "LeakyReLU: negative_slope must be .* got nan"),
    (lambda: ELU(-1), ValueError, "ELU: alpha must be a number from 0 up, got -1"),
    (lambda: CELU(0), ValueError, "CELU: alpha must be above 0, for x is divided by it, got 0"),
    (lambda: CELU(-1), ValueError, "CELU: alpha must be a number from 0 up, got -1"),
    (lambda: PReLU(shared_axes=0), ValueError, "PReLU: every one of shared_axes must be a whole number .* got 0"),
    (lambda: PReLU(shared_axes=[1, -1]), ValueError, "shared_axes must be a whole number from 1 up, got -1"),
    (
        lambda: PReLU(shared_axes=[1, 3])(np.ones((2, 3, 4))),
        ShapeError,
        r"PReLU: shared_axes \[1, 3\] must be among the axes 1 to 2 of an input of shape \(batch, 3, 4\); axis 0 is",
    ),
    (lambda: PReLU("zeroes"), ValueError, "unknown initializer 'zeroes'. Did you mean 'zeros'"),
    (
        lambda: GLU()(np.ones((2, 3))),
        ShapeError,
        r"GLU halves axis -1, whose size must be even, got 3 in an input of shape \(batch, 3\)",
    ),
    (lambda: GLU(axis=2)(np.ones((2, 4))), ShapeError, r"GLU: axis 2 is none of the 1 axes after the batch axis"),
    (lambda: GLU(axis=0)(np.ones((2, 4))), ShapeError, r"GLU: axis 0 is none"),
    (lambda: GLU(axis="last")(np.ones((2, 4))), ValueError, "GLU: axis must be a whole number, got 'last'"),
    (lambda: LogSoftmax(axis=0)(np.ones((2, 4))), ShapeError, "LogSoftmax: axis 0 is none of the 1 axes"),
    (lambda: LogSoftmax(axis=-2)(np.ones((2, 4))), ShapeError, "LogSoftmax: axis -2 is none of the 1 axes"),
    (lambda: Softmax(axis=1.0)(np.ones((2, 4))), ValueError, "Softmax: axis must be a whole number, got 1.0"),
    (lambda: Activation("leakyrelu"), ValueError, "unknown activation 'leakyrelu'. Did you mean 'leaky_relu'"),
    (
        lambda: tinynn.Sequential([Input((3,)), Dense(5, "glu")]).build(),
        ShapeError,
        "GLU halves axis -1, whose size must be even, got 5",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), MISTAKES, ids=[row[2][:40] for row in MISTAKES])
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()
