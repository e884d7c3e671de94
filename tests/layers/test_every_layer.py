"""What must hold for every layer, by the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import layers
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.layers import Dense, Input, Layer, Softmax

every_layer = pytest.mark.parametrize("row", TABLE, ids=str)
batch_sizes = st.integers(1, 4)
seeds = st.integers(0, 2**16)


def test_every_layer_has_a_row() -> None:
    bases = {Layer}
    public = {getattr(layers, name) for name in layers.__all__}
    expected = {c for c in public if isinstance(c, type) and issubclass(c, Layer)} - bases
    assert expected == {type(row.make()) for row in TABLE}


@every_layer
@given(data=st.data(), batch=batch_sizes, seed=seeds)
def test_gradients_are_right(row: Row, data: st.DataObject, batch: int, seed: int) -> None:
    x = row.sample((batch, *data.draw(row.shape)), seed)
    layer = row.make()
    for place, member in enumerate(layer.walk()):  # weights that nobody can draw again may lie at a kink inside
        member.rng = np.random.default_rng([seed, place])
    report = gradients(layer, x, seed=seed, training=row.training)
    assert report.ok, report
    assert report.error < (1e-12 if row.method == "complex step" else 1e-6)
    assert all(gradient.method == row.method for gradient in report.rows)


@every_layer
@given(data=st.data(), batch=batch_sizes, seed=seeds)
def test_gradients_are_right_with_a_layer_in_front(row: Row, data: st.DataObject, batch: int, seed: int) -> None:
    shape = data.draw(row.shape)
    front = [] if row.tokens else [Dense(shape[-1], kernel_initializer="orthogonal")]
    behind = [Dense(2, kernel_initializer="orthogonal")] if row.tokens else []  # nothing stands before tokens
    model = tinynn.Sequential([Input(shape), *front, row.make(), *behind], seed=seed)
    report = gradients(model, row.sample((batch, *shape), seed), seed=seed, training=row.training)
    assert report.ok, report
    assert ("dx" in {gradient.name for gradient in report.rows}) == (not row.tokens)


@every_layer
@given(data=st.data(), seed=seeds)
def test_batch_equals_one_by_one(row: Row, data: st.DataObject, seed: int) -> None:
    if not row.one_by_one:
        return
    x = row.sample((3, *data.draw(row.shape)), seed)
    layer = row.make()
    y = row.run(layer, x)
    dy = np.random.default_rng(seed).normal(size=y.shape)
    together = layer.backward(dy)
    for i in range(3):
        np.testing.assert_allclose(row.run(layer, x[i : i + 1]), y[i : i + 1], rtol=1e-6, atol=1e-12)
        dx = layer.backward(dy[i : i + 1])
        assert (dx is None) == bool(row.tokens)
        if dx is not None:
            np.testing.assert_allclose(dx, together[i : i + 1], rtol=1e-6, atol=1e-12)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data(), seed=seeds)
def test_dtype_stays(row: Row, dtype: str, data: st.DataObject, seed: int) -> None:
    x = row.cast(row.sample((2, *data.draw(row.shape)), seed), dtype)
    layer = row.make()
    layer.dtype = dtype
    y = row.run(layer, x)
    dx = layer.backward(np.ones_like(y))
    assert y.dtype == dtype
    assert row.tokens or dx.dtype == dtype
    assert all(parameter.value.dtype == parameter.grad.dtype == dtype for parameter in layer.parameters)


@every_layer
@given(data=st.data(), seed=seeds)
def test_inputs_need_not_be_contiguous(row: Row, data: st.DataObject, seed: int) -> None:
    shape = data.draw(row.shape)
    x = row.sample((4, *shape), seed)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    assert np.array_equal(strided, x)
    layer = row.make()
    y = row.run(layer, x)
    dy = np.random.default_rng(seed).normal(size=y.shape)
    dx = layer.backward(dy)
    grads = [parameter.grad.copy() for parameter in layer.parameters]
    np.testing.assert_allclose(row.run(layer, strided), y, rtol=1e-5, atol=1e-6)
    dx_strided = layer.backward(np.repeat(dy, 2, axis=-1)[..., ::2])
    if not row.tokens:
        np.testing.assert_allclose(dx_strided, dx, rtol=1e-5, atol=1e-6)
    for parameter, grad in zip(layer.parameters, grads, strict=True):
        if parameter.trainable:
            np.testing.assert_allclose(parameter.grad, grad, rtol=1e-5, atol=1e-6)


@every_layer
def test_one_backward_for_each_forward(row: Row) -> None:
    layer = row.make()
    layer.name = "mine"
    with pytest.raises(RuntimeError, match=r"mine .*: backward was called without a forward before it\. Call forward"):
        layer.backward(np.ones((2, *row.example)))
    y = layer(row.sample((2, *row.example), 0), row.training)
    layer.backward(np.ones_like(y))
    with pytest.raises(RuntimeError, match="without a forward"):
        layer.backward(np.ones_like(y))


@every_layer
@given(data=st.data())
def test_build_promises_the_right_shape(row: Row, data: st.DataObject) -> None:
    shape = data.draw(row.shape)
    layer = row.make()
    assert layer(row.sample((2, *shape), 0), row.training).shape[1:] == layer.output_shape


@every_layer
@given(data=st.data())
def test_need_dx_false_writes_the_same_gradients(row: Row, data: st.DataObject) -> None:
    layer = row.make()
    x = row.sample((3, *data.draw(row.shape)), 0)
    y = row.run(layer, x)
    layer.backward(np.ones_like(y))
    grads = [parameter.grad.copy() for parameter in layer.parameters if parameter.trainable]
    row.run(layer, x)
    for parameter in layer.parameters:
        if parameter.trainable:
            parameter.grad[...] = np.nan
    layer.backward(np.ones_like(y), need_dx=False)
    learned = [parameter for parameter in layer.parameters if parameter.trainable]
    for parameter, grad in zip(learned, grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)


@every_layer
def test_weights_survive_save_and_load(row: Row, tmp_path: Path) -> None:
    first, second = row.make(), row.make()
    x = row.sample((2, *row.example), 0)
    first(x)
    second(x)
    np.savez(tmp_path / "weights.npz", *first.get_weights())
    with np.load(tmp_path / "weights.npz") as saved:
        second.set_weights([saved[f"arr_{i}"] for i in range(len(saved.files))])
    np.testing.assert_array_equal(second(x), first(x))


@every_layer
@given(data=st.data(), seed=seeds)
def test_device_computes_what_the_cpu_computes(row: Row, device: Device, data: st.DataObject, seed: int) -> None:
    shape = data.draw(row.shape)
    x = row.cast(row.sample((3, *shape), seed), "float32")
    here, there = (tinynn.Sequential([Input(shape), row.make()], device=d, seed=seed) for d in ("cpu", device))
    y_here, y_there = here(x, row.training), there(x, row.training)
    np.testing.assert_allclose(to_host(y_there), y_here, rtol=1e-5, atol=1e-6)
    dy = np.random.default_rng(seed).normal(size=y_here.shape).astype("float32")
    dx_here, dx_there = here.backward(dy, not row.tokens), there.backward(to_device(dy, device), not row.tokens)
    if not row.tokens:
        np.testing.assert_allclose(to_host(dx_there), dx_here, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_host(there.need_arena().grads), here.need_arena().grads, rtol=1e-4, atol=1e-5)


def test_relu_at_its_kink_passes_nothing() -> None:
    relu = layers.ReLU()
    x = np.array([[-1.0, -0.0, 0.0, 1.0]])
    relu(x)
    np.testing.assert_array_equal(relu.backward(np.ones((1, 4))), [[0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax", "tanh", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_are_stable_at_extremes(name: str, dtype: str) -> None:
    layer = layers.activations.get(name)
    x = np.array([[-1e4, -88.0, 0.0, 88.0, 1e4]], dtype=dtype)
    y = layer(x)
    dx = layer.backward(np.ones_like(y))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_sigmoid_keeps_small_outputs() -> None:
    x = np.array([[-30.0]])
    np.testing.assert_allclose(layers.Sigmoid()(x), np.exp(x), rtol=1e-12)


def test_softmax_has_its_true_jacobian() -> None:
    x = np.array([[0.3, -1.0, 2.0]])
    softmax = Softmax()
    y = softmax(x)[0]
    jacobian = np.diag(y) - np.outer(y, y)
    for i in range(3):
        softmax(x)
        np.testing.assert_allclose(softmax.backward(np.eye(3)[i : i + 1])[0], jacobian[i], atol=1e-15)
