"""The fused kernels compute what the plain lines of their layers compute."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import kernels, layers
from tinynn.check import gradients, lines
from tinynn.layers import Layer
from tinynn.losses import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from tinynn.optimizers import Adam

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba, which compiles the fused kernels, is not installed"
)

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(scope="module", autouse=True)
def however_few() -> Iterator[None]:
    """Let kernels run for however few numbers."""
    fused = kernels.load_fused()[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "LEAST", dict.fromkeys(fused.LEAST, 0))
        yield


FUSED = [row for row in TABLE if row.make().has_fused]


def outcome(layer: Layer, x: np.ndarray, dy: Any, plain: bool, training: bool = True) -> list[np.ndarray]:
    """Return y, dx and every parameter with its gradient, from a copy of the layer."""
    twin = copy.deepcopy(layer)
    for index, inner in enumerate(twin.walk()):
        inner.plain = plain
        inner.rng = np.random.default_rng(index)
    x_before, dy_before = x.copy(), np.array(dy)
    y = twin.forward(x, training)
    dx = twin.backward(dy)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dy, dy_before)
    return [y, dx, *(array for parameter in twin.parameters for array in (parameter.value, parameter.grad))]


def in_dtype(layer: Layer, dtype: str) -> Layer:
    """Return the layer with its parameters in a dtype, and none of them a round number."""
    rng = np.random.default_rng(7)
    for parameter in layer.parameters:
        value = (parameter.value + 0.3 * rng.random(parameter.shape)).astype(dtype)
        parameter.bind(value, np.zeros_like(value))
    return layer


def assert_equal(layer: Layer, x: np.ndarray, dy: np.ndarray, dtype: str, training: bool = True) -> None:
    """Compare with the plain lines in longer numbers: the fused ones may err twice as much as the plain, and 16 places.

    That is 16 units of the last place of the largest number that goes in or comes out, for what is 0 may be so because
    it cancels.
    """
    fused = outcome(layer, x, dy, plain=False, training=training)
    plain = outcome(layer, x, dy, plain=True, training=training)
    exact = outcome(in_long(layer), x.astype("longdouble"), dy.astype("longdouble"), plain=True, training=training)
    for ours, theirs, true in zip(fused, plain, exact, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.dtype == dtype
        assert ours.shape == theirs.shape
        scale = max(np.abs(array).max(initial=0.0) for array in (true, x, dy))
        theirs_error = np.abs(theirs - true).max(initial=0.0)
        tolerance = 2 * theirs_error + 16 * np.finfo(dtype).eps * scale
        np.testing.assert_allclose(ours, true, rtol=0, atol=tolerance)


def in_long(layer: Layer) -> Layer:
    """Return a copy with the same parameters in numbers of more bits than float64, where the processor has them."""
    twin = copy.deepcopy(layer)
    for parameter in twin.parameters:
        parameter.bind(parameter.value.astype("longdouble"), parameter.grad.astype("longdouble"))
    return twin


@pytest.mark.parametrize("row", FUSED, ids=str)
@every_dtype
@given(data=st.data(), batch=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_the_table(row: Row, dtype: str, data: st.DataObject, batch: int, seed: int) -> None:
    x = row.cast(row.sample((batch, *data.draw(row.shape)), seed), dtype)
    layer = row.make()
    layer.dtype = dtype
    y = layer(x, row.training)
    dy = np.random.default_rng(seed).normal(size=y.shape).astype(dtype)
    in_dtype(layer, dtype)
    for training in (True, False):
        assert_equal(layer, x, dy, dtype, training)
        strided = np.repeat(x, 2, axis=-1)[..., ::2], np.repeat(dy, 2, axis=-1)[..., ::2]
        assert_equal(layer, *strided, dtype, training)
        turned = np.asfortranarray(x), np.asfortranarray(dy)
        assert_equal(layer, *turned, dtype, training)


BY_NUMBER = [
    layers.CELU(0.7),
    layers.ELU(),
    layers.GELU(),
    layers.GELU(approximate=True),
    layers.HardSigmoid(),
    layers.HardSwish(),
    layers.HardTanh(),
    layers.LeakyReLU(),
    layers.LogSigmoid(),
    layers.LogSoftmax(),
    layers.ReLU(),
    layers.ReLU6(),
    layers.SELU(),
    layers.Sigmoid(),
    layers.SiLU(),
    layers.Softmax(),
    layers.Softplus(),
]
by_number = pytest.mark.parametrize("layer", BY_NUMBER, ids=lambda layer: f"{type(layer).__name__}{vars(layer)}")


@by_number
@every_dtype
def test_activations_at_extremes(layer: Layer, dtype: str) -> None:
    extremes = [-1e4, -1e3, -104.0, -88.0, -40.0, -1e-30, -0.0, 0.0, 1e-30, 6.0, 40.0, 88.0, 104.0, 1e3, 1e4]
    x = np.array([[value, 0.0] for value in extremes], dtype=dtype)
    fused, plain = (outcome(layer, x, np.ones_like(x), p) for p in (False, True))
    for ours, theirs in zip(fused, plain, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, rtol=2e-5 if dtype == "float32" else 1e-12, atol=np.finfo(dtype).eps)


@by_number
@every_dtype
def test_nan_stays_nan_and_stays_alone(layer: Layer, dtype: str) -> None:
    x = np.full((40, 3), 0.5, dtype=dtype)
    x[7, 1] = np.nan
    with np.errstate(invalid="ignore"):
        fused, plain = (outcome(layer, x, np.ones_like(x), p) for p in (False, True))
    for ours, theirs in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [layers.Softmax(), layers.LogSoftmax()], ids=str)
@every_dtype
def test_the_largest_number_is_found_wherever_it_stands(layer: Layer, dtype: str) -> None:
    x = np.zeros((37, 37), dtype=dtype)
    np.fill_diagonal(x, 1e4)
    fused, plain = (outcome(layer, x, np.ones_like(x), p) for p in (False, True))
    for ours, theirs in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_dtype
def test_infinity_passes_a_relu(dtype: str) -> None:
    x = np.array([[-np.inf, 1.0, np.inf]], dtype=dtype)
    for layer, slopes in (
        (layers.ReLU(), [0, 1, 1]),
        (layers.ReLU6(), [0, 1, 0]),
        (layers.LeakyReLU(0.5), [0.5, 1, 1]),
    ):
        y, dx = outcome(layer, x, np.ones_like(x), plain=False)
        assert y.dtype == dtype
        np.testing.assert_array_equal(dx[0], slopes)


@pytest.mark.parametrize("shape", [(2, 2, 3, 5, 21), (1, 1, 1, 5, 21), (2, 1, 1, 1, 21), (1, 1, 1, 5, 1)])
@every_dtype
def test_masked_softmax(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = (100 * rng.normal(size=(2, 2, 3, 5, 21))).astype(dtype)
    seen = rng.random(shape) < 0.3
    seen[0, 0, 0, 0] = False
    z = np.where(seen, x, -1e4)
    e = np.exp(z - z.max(axis=-1, keepdims=True)) * seen
    true = e / np.maximum(e.sum(axis=-1, keepdims=True), np.finfo(dtype).tiny)
    shares = kernels.fused_kernels(np.zeros(1)).masked_softmax(x, seen)
    assert shares.dtype == dtype
    np.testing.assert_allclose(shares, true, rtol=1e-5 if dtype == "float32" else 1e-13, atol=np.finfo(dtype).tiny)
    nothing = kernels.fused_kernels(np.zeros(1)).masked_softmax(x, np.zeros((1, 1, 1, 1, 1), dtype=bool))
    np.testing.assert_array_equal(nothing, 0)


@every_dtype
def test_normalizations_hand_nan_on(dtype: str) -> None:
    for layer in (layers.BatchNormalization(), layers.LayerNormalization(), layers.GroupNormalization(1)):
        x = np.random.default_rng(0).normal(size=(70, 3)).astype(dtype)
        layer(x)
        in_dtype(layer, dtype)
        x[7, 1] = np.nan
        fused, plain = (outcome(layer, x, np.ones_like(x), p) for p in (False, True))
        for ours, theirs in zip(fused, plain, strict=True):
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization])
def test_sums_over_many_rows_are_no_less_exact(kind: Any) -> None:
    x = np.random.default_rng(0).normal(3.0, 1.0, size=(3000, 5)).astype("float32")
    layer = kind()
    layer(x)
    in_dtype(layer, "float32")
    assert_equal(layer, x, np.random.default_rng(1).normal(size=x.shape).astype("float32"), "float32")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv2D(5, 3, padding="same"), (9, 8, 3)),
        (layers.Conv2D(6, (2, 3), strides=(2, 1), groups=3), (9, 8, 6)),
        (layers.Conv1D(4, 3, dilation_rate=2, padding="causal"), (11, 3)),
        (layers.Conv2D(40, 3, padding="same"), (9, 8, 19)),  # a tile and a part of one
        (layers.Conv2D(33, (5, 2), strides=(3, 2)), (13, 10, 34)),  # places that no window sees
        (layers.Conv2D(32, 2, strides=3), (8, 9, 16)),  # whole tiles; places between windows
        (layers.Conv2D(70, 3, dilation_rate=2, groups=2), (9, 8, 12)),
        (layers.Conv1D(5, 4, strides=3, padding="causal"), (20, 3)),
        (layers.Conv1DTranspose(20, 3, strides=2, padding="same"), (9, 5)),
        (layers.Conv2DTranspose(33, 3, strides=(3, 2), output_padding=(2, 1)), (4, 5, 17)),
        (layers.Conv2DTranspose(1, 4, strides=2, padding="same"), (4, 5, 3)),
        (layers.Conv3D(17, 2, strides=(1, 2, 1), padding="same"), (3, 4, 3, 5)),
        (layers.DepthwiseConv2D(3, padding="same"), (9, 20, 7)),
        (layers.DepthwiseConv2D((3, 2), strides=2, use_bias=False), (9, 8, 17)),
        (layers.DepthwiseConv2D(2, dilation_rate=(1, 3)), (9, 8, 1)),
        (layers.Softmax(), (5, 37)),
        (layers.GLU(), (5, 74)),
        (layers.LayerNormalization(axis=(1, 2)), (5, 37)),
        (layers.GroupNormalization(3, axis=1), (6, 7)),
    ],
    ids=str,
)
@every_dtype
def test_larger_than_the_table(layer: Layer, shape: tuple[int, ...], dtype: str) -> None:
    layer = copy.deepcopy(layer)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, *shape)).astype(dtype)
    dy = rng.normal(size=layer(x).shape).astype(dtype)
    assert_equal(in_dtype(layer, dtype), x, dy, dtype)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_convolution_of_many_parts(padding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("tinynn.kernels.fused.convolution"), "NUMBERS", 300)
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        layer = layers.Conv2D(5, 3, padding=padding)
        x = rng.normal(size=(7, 6, 6, channels)).astype("float32")
        dy = rng.normal(size=layer(x).shape).astype("float32")
        assert_equal(in_dtype(layer, "float32"), x, dy, "float32")


@every_dtype
def test_a_convolution_keeps_nan_and_infinity_in_their_windows(dtype: str) -> None:
    layer = layers.Conv2D(3, 2)
    x = np.random.default_rng(0).random((2, 7, 7, 2)).astype(dtype)
    dy = layer(x)
    in_dtype(layer, dtype)
    x[0, 2, 3, 1], x[1, 5, 5, 0] = np.nan, np.inf
    dy[0, 1, 1, 2], dy[1, 4, 4, 0] = np.nan, -np.inf
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        fused, plain = (outcome(layer, x, dy, plain) for plain in (False, True))
    for ours, theirs in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))


def test_a_convolution_refuses_what_does_not_fit() -> None:
    layer = layers.Conv2D(4, 3)
    layer(np.ones((2, 6, 6, 3)))
    with pytest.raises(ValueError, match=r"expected an array of shape \(2, 6, 6, 3\), got \(2, 6, 6, 5\)"):
        layer.forward(np.ones((2, 6, 6, 5)))
    for wrong in ((2, 4, 5, 4), (3, 4, 4, 4), (2, 4, 4, 8)):
        layer(np.ones((2, 6, 6, 3)))
        with pytest.raises(ValueError, match="shape"):
            layer.backward(np.ones(wrong))


@every_dtype
def test_exp_is_right_to_the_last_place(dtype: str) -> None:
    compiler = importlib.import_module("tinynn.kernels.fused.compiler")
    one = np.dtype(dtype).type(1)
    limit = {"float32": 87.3, "float64": 708.0}[dtype]
    x = np.random.default_rng(0).uniform(-limit, limit, 5000).astype(dtype)
    for exp, reference, at in (
        (compiler.exp, np.exp, x),
        (compiler.expm1, np.expm1, -np.abs(x)),
        (compiler.expm1, np.expm1, -np.abs(x) / 1000),
    ):
        true = reference(at.astype("longdouble"))
        found = np.array([exp(value, one) for value in at], dtype=dtype)
        assert np.max(np.abs(found - true) / np.spacing(np.abs(true).astype(dtype))) < 2
    at_extremes = [compiler.exp(one * value, one) for value in (-np.inf, -1e4, 0.0, 1e4, np.inf, np.nan)]
    np.testing.assert_array_equal(at_extremes, [0.0, 0.0, 1.0, np.inf, np.inf, np.nan])


@pytest.mark.parametrize("kind", [BinaryCrossentropy, CategoricalCrossentropy])
@pytest.mark.parametrize("shape", [(4, 1), (5, 37), (2, 3, 10)], ids=str)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@every_dtype
def test_losses(kind: Any, shape: tuple[int, ...], label_smoothing: float, dtype: str) -> None:
    rng = np.random.default_rng(0)
    z = (5 * rng.normal(size=shape)).astype(dtype)
    t = rng.integers(0, 2, shape)

    def outcome_of(plain: bool, z: np.ndarray) -> list[Any]:
        loss = kind(from_logits=True, label_smoothing=label_smoothing)
        loss.plain = plain
        assert loss.fused(z) == (not plain)
        L = loss.forward(t, z)
        return [L, loss.backward()]

    exact = outcome_of(True, z.astype("longdouble"))
    for ours, theirs, true in zip(outcome_of(False, z), outcome_of(True, z), exact, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        assert ours.shape == theirs.shape
        tolerance = 2 * np.abs(theirs - true).max() + 16 * np.finfo(dtype).eps * np.abs(true).max()
        np.testing.assert_allclose(ours, true, rtol=0, atol=float(tolerance))


@pytest.mark.parametrize("shape", [(4, 1), (5, 37), (2, 3, 10)], ids=str)
@pytest.mark.parametrize("labels", ["uint8", "int64"])
@pytest.mark.parametrize("weighted", [False, True])
@every_dtype
def test_sparse_cross_entropy(shape: tuple[int, ...], labels: str, weighted: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    z = (5 * rng.normal(size=shape)).astype(dtype)
    k = rng.integers(0, shape[-1], (*shape[:-1], 1)).astype(labels)
    sample_weight = rng.random(shape[0]) if weighted else None

    def outcome_of(plain: bool, z: np.ndarray) -> list[Any]:
        loss = SparseCategoricalCrossentropy(from_logits=True)
        loss.plain = plain
        assert loss.fused(z) == (not plain)
        L = loss.forward(k, z, sample_weight)
        return [L, loss.backward()]

    exact = outcome_of(True, z.astype("longdouble"))
    for ours, theirs, true in zip(outcome_of(False, z), outcome_of(True, z), exact, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        tolerance = 2 * np.abs(theirs - true).max() + 16 * np.finfo(dtype).eps * np.abs(true).max()
        np.testing.assert_allclose(ours, true, rtol=0, atol=float(tolerance))


@pytest.mark.parametrize("label", [3, -1])
def test_a_class_that_is_not_there_is_an_error(label: int) -> None:
    with pytest.raises(IndexError, match="a class number is negative"):
        SparseCategoricalCrossentropy(from_logits=True).forward(np.array([0, label]), np.zeros((2, 3)))


def test_the_checker_reads_the_plain_lines_of_a_loss() -> None:
    report = lines(BinaryCrossentropy(from_logits=True), np.array([[0.0, 1.0]]), np.array([[0.3, -2.0]]))
    assert "t, z, e, v, p" in str(report)


@pytest.mark.parametrize("kind", [BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy])
@pytest.mark.parametrize("z", [[[1e30, -1e30]], [[np.nan, 0.0]], [[0.0, -np.inf]]], ids=str)
def test_losses_at_extremes(kind: Any, z: Any) -> None:
    fused, plain = kind(from_logits=True), kind(from_logits=True)
    plain.plain = True
    t, z = np.array([[1]] if kind is SparseCategoricalCrossentropy else [[0.0, 1.0]]), np.array(z)
    with np.errstate(all="ignore"):
        for loss in (fused, plain):
            loss.v = loss.call(t, z)
        np.testing.assert_array_equal(fused.v, plain.v)
        np.testing.assert_array_equal(fused.gradient(1.0), plain.gradient(1.0))


def test_the_fused_kernel_runs_by_default_and_plain_chooses() -> None:
    layer = layers.GELU()
    x = np.ones((1, 2))
    layer.forward(x)
    assert layer.was_fused
    layer.plain = True
    layer.forward(x)
    assert not layer.was_fused
    assert kernels.load_fused()[1].startswith("fused by numba")


def test_what_is_no_array_of_real_numbers_runs_the_plain_lines() -> None:
    for x in (np.ones((1, 2), dtype=complex), np.ones((1, 2), dtype="float16"), np.ones((1, 2), dtype="longdouble")):
        assert not layers.Sigmoid().fused(x)
    layer = layers.LayerNormalization()
    x = np.ones((1, 2))
    layer(x)
    assert layer.fused(x)
    layer.parameters[0].bind(np.ones(2, dtype=complex), np.ones(2))
    assert not layer.fused(x)


def test_a_subclass_that_writes_lines_anew_runs_them() -> None:
    class Mine(layers.Sigmoid):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            y = self.take_cache()
            return dy * y * (1 - y) * 2

    class Renamed(layers.Sigmoid):
        pass

    x = np.array([[0.5, -3.0]])
    mine, theirs = Mine(), Renamed()
    mine(x)
    theirs(x)
    assert theirs.was_fused
    np.testing.assert_allclose(mine.backward(np.ones((1, 2))), 2 * theirs.backward(np.ones((1, 2))))


def test_a_gradient_of_another_type_promotes_as_in_numpy() -> None:
    for layer in (layers.Sigmoid(), layers.Softmax(), layers.ReLU(), layers.LayerNormalization()):
        x = np.ones((3, 2), dtype="float32")
        layer(x)
        dx = layer.backward(np.ones((3, 2)))
        assert dx.dtype == "float64"


def test_the_gradient_check_reads_the_plain_lines_and_puts_back_the_kernels() -> None:
    layer = layers.GELU()
    seen = []
    forward = layer.forward
    vars(layer)["forward"] = lambda x, training=False: (seen.append(layer.plain), forward(x, training))[1]
    report = gradients(layer, np.random.default_rng(0).normal(size=(2, 3)))
    assert report.ok
    assert all(seen)
    assert not layer.plain


def test_the_choice_is_made_in_forward() -> None:
    layer = layers.GELU()
    x = np.array([[0.3, -2.0]])
    layer(x)
    layer.plain = True
    dx = layer.backward(np.ones((1, 2)))
    layer(x)
    np.testing.assert_allclose(layer.backward(np.ones((1, 2))), dx, rtol=1e-14)


@every_dtype
def test_adam(dtype: str) -> None:
    outcomes = []
    for plain in (False, True):
        rng = np.random.default_rng(0)
        adam = Adam(0.01)
        adam.plain = plain
        w, M, V = rng.normal(size=50).astype(dtype), np.zeros(50, dtype=dtype), np.zeros(50, dtype=dtype)
        for step in range(1, 20):
            adam.iterations = step
            adam.update(w, rng.normal(size=50).astype(dtype), np.empty_like(w), M, V)
        outcomes.append((w, M, V))
    for ours, theirs in zip(*outcomes, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=50 * np.finfo(dtype).eps)
