"""The CUDA kernels, run on the CPU or on a device: each equals its twin in NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tinynn import layers
from tinynn.backend import to_host
from tinynn.kernels.cuda import activations, columns, embedding, losses, normalization, optimizers, pooling, recurrent
from tinynn.layers.windows import Windows

# The package has functions under these names.
softmax, convolution = (importlib.import_module(f"tinynn.kernels.cuda.{name}") for name in ("softmax", "convolution"))

LONG = np.longdouble

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_equal(found: Any, expected: np.ndarray, dtype: str, factor: float = 16) -> None:
    """Compare with what the twin made of longer numbers: 16 units of the last place of the largest number."""
    found = to_host(found)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    atol = factor * np.finfo(dtype).eps * np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


NUMBERS = {"relu": (2.0,), "leaky_relu": (0.2,), "elu": (1.1, 1.5, 0.8)}


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (1300, 3), (2, 3, 40)], ids=str)
@every_dtype
def test_activations(name: str, shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    activation, numbers = activations.ACTIVATIONS[name], NUMBERS.get(name, ())
    rng = np.random.default_rng(0)
    x, dy = ((3 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    b = rng.normal(size=shape[-1]).astype(dtype)
    forward, backward = getattr(activations, name), getattr(activations, f"{name}_backward")
    exact = x.astype(LONG)
    y = activation.twin(exact, *numbers)
    assert_equal(forward(xp.asarray(x), *numbers), y, dtype)
    kept = exact if activation.keeps == "x" else y.astype(dtype).astype(LONG)
    dx = activation.backward_twin(dy.astype(LONG), kept, *numbers)
    assert_equal(backward(xp.asarray(dy), xp.asarray(kept.astype(dtype)), *numbers), dx, dtype)

    y, kept = activations.biased(xp.asarray(x), xp.asarray(b), name, *numbers)
    assert_equal(y, activations.biased_twin(exact, b.astype(LONG), name, *numbers), dtype)
    db = xp.asarray(np.full_like(b, np.nan))
    da, db_true = activations.biased_backward_twin(dy.astype(LONG), to_host(kept).astype(LONG), name, *numbers)
    assert_equal(activations.biased_backward(xp.asarray(dy), kept, db, name, *numbers), da, dtype)
    assert_equal(db, db_true, dtype)


LAYERS = {
    "linear": layers.Linear(),
    "relu": layers.ReLU(2.0),
    "leaky_relu": layers.LeakyReLU(0.2),
    "elu": layers.ELU(1.5),
    "tanh": layers.Tanh(),
    "sigmoid": layers.Sigmoid(),
    "log_sigmoid": layers.LogSigmoid(),
    "softplus": layers.Softplus(),
    "silu": layers.SiLU(),
    "gelu": layers.GELU(),
    "gelu_tanh": layers.GELU(approximate=True),
    "hard_sigmoid": layers.HardSigmoid(),
    "hard_swish": layers.HardSwish(),
    "hard_tanh": layers.HardTanh(),
}


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_twins_equal_the_plain_lines(name: str) -> None:
    activation, layer = activations.ACTIVATIONS[name], LAYERS[name]
    layer.plain = True
    numbers = layer.kernel_numbers()[: len(activation.numbers)]
    x, dy = np.random.default_rng(0).normal(scale=3, size=(2, 40, 5))
    y = layer.forward(x)
    np.testing.assert_allclose(activation.twin(x, *numbers), y, rtol=1e-12, atol=1e-12)
    dx = activation.backward_twin(dy, x if activation.keeps == "x" else y, *numbers)
    np.testing.assert_allclose(dx, layer.backward(dy), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (2500, 5), (2, 3, 10)], ids=str)
@every_dtype
def test_column_sums(shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    true = columns.column_sums_twin(x.astype(LONG))
    out = xp.asarray(np.full(shape[-1], np.nan, dtype))
    assert columns.column_sums(xp.asarray(x), out).shape == true.shape
    assert_equal(out, true, dtype)
    assert_equal(columns.column_sums(xp.asarray(x)), true, dtype)


ROWS = [(1, 1), (3, 5), (4, 37), (2, 3, 700)]


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@every_dtype
def test_softmax(name: str, shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x, dy = ((5 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    y = getattr(softmax, f"{name}_twin")(x.astype(LONG))
    assert_equal(getattr(softmax, name)(xp.asarray(x)), y, dtype)
    kept = y.astype(dtype)
    dx = getattr(softmax, f"{name}_backward_twin")(dy.astype(LONG), kept.astype(LONG))
    assert_equal(getattr(softmax, f"{name}_backward")(xp.asarray(dy), xp.asarray(kept)), dx, dtype)


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("kind", ["categorical", "sparse_categorical", "binary"])
@every_dtype
def test_losses(kind: str, shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    module = losses if kind == "binary" else softmax
    z, t = (5 * rng.normal(size=shape)).astype(dtype), rng.random(shape).astype(dtype)
    if kind == "sparse_categorical":
        z, t = z.reshape(-1, shape[-1]), rng.integers(shape[-1], size=z.size // shape[-1]).astype("int32")
    exact = t if kind == "sparse_categorical" else t.astype(LONG)
    name = f"{kind}_crossentropy"
    true = getattr(module, f"{name}_twin")(exact, z.astype(LONG))
    for ours, theirs in zip(getattr(module, name)(xp.asarray(t), xp.asarray(z)), true, strict=True):
        assert_equal(ours, theirs, dtype)
    q = true[1].astype(dtype)
    weights = rng.random((*z.shape[:-1], 1)).astype(dtype)
    for dv, on_device in ((0.25, 0.25), (weights, xp.asarray(weights)), (weights[:1], xp.asarray(weights[:1]))):
        if np.size(dv) == 1 or dv.shape == weights.shape:
            dv = dv if isinstance(dv, float) else dv.astype(LONG)
            dz = getattr(module, f"{name}_backward_twin")(dv, exact, q.astype(LONG))
            assert_equal(getattr(module, f"{name}_backward")(on_device, xp.asarray(t), xp.asarray(q)), dz, dtype)


SETTINGS = {
    "adam": [(2, (0.9, 0.999, 1e-5))],
    "sgd": [(0, ())],
    "momentum": [(1, (0.9, False)), (1, (0.9, True))],
    "rmsprop": [(1, (None, None, 0.9, 0.0, 1e-5)), (2, (None, 0.9, 0.0, 1e-5)), (3, (0.9, 0.8, 1e-5))],
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("where", ["a number", "on the device"])
@every_dtype
def test_optimizers(name: str, where: str, dtype: str, xp: Any) -> None:
    for slots, settings in SETTINGS[name]:
        rng = np.random.default_rng(0)
        given = [np.abs(rng.normal(size=1000)).astype(dtype) for _ in range(2 + slots)]
        exact, ours = [array.astype(LONG) for array in given], [xp.asarray(array) for array in given]
        for rate in (0.1, 0.03):
            getattr(optimizers, f"{name}_twin")(*exact, *settings, rate)
            number = rate if where == "a number" else xp.asarray(np.array(rate, dtype))
            getattr(optimizers, name)(*ours, *settings, number)
        for found, true in zip(ours, exact, strict=True):
            assert_equal(found, true, dtype, 64)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1500, 37), (4, 700)], ids=str)
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@every_dtype
def test_normalization_of_rows(shape: tuple[int, int], centered: bool, scaled: bool, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x, dy = ((1 + 2 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    gamma, beta = (rng.normal(size=shape[1]).astype(dtype) if scaled else None for _ in range(2))
    exact, on_device = ([None if a is None else to(a) for a in (x, gamma, beta)] for to in (LONG, xp.asarray))
    true = normalization.rows_forward_twin(*exact, 1e-3, centered)
    found = normalization.rows_forward(*on_device, 1e-3, centered)
    for ours, theirs in zip(found, true, strict=True):
        assert_equal(ours, theirs, dtype, 64)
    kept = [to_host(array) for array in found[1:]]
    true = normalization.rows_backward_twin(dy.astype(LONG), *exact[:2], *(k.astype(LONG) for k in kept), centered)
    given = (xp.asarray(dy), *on_device[:2], *found[1:], centered)
    for ours, theirs in zip(normalization.rows_backward(*given, need_dx=True), true, strict=True):
        assert_equal(ours, theirs, dtype, 64)
    assert normalization.rows_backward(*given, need_dx=False)[2].shape == (0, shape[1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (1, 2500, 37), (5, 3, 70)], ids=str)
@pytest.mark.parametrize("scaled", [True, False])
@every_dtype
def test_normalization_of_columns(shape: tuple[int, int, int], scaled: bool, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x, dy = ((100 + 2 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    gamma, beta = (rng.normal(size=shape[2]).astype(dtype) if scaled else None for _ in range(2))
    (x_long, gamma_long, beta_long), (x_on, gamma_on, beta_on) = (
        [None if a is None else to(a) for a in (x, gamma, beta)] for to in (LONG, xp.asarray)
    )
    for ours, theirs in zip(normalization.moments(x_on), normalization.moments_twin(x_long), strict=True):
        assert_equal(ours, theirs, dtype)
    mean, inv, m, m_x = (rng.random((shape[0], shape[2])).astype(dtype) for _ in range(4))
    kept_long, kept_on = ([to(array) for array in (mean, inv)] for to in (LONG, xp.asarray))
    y = normalization.columns_forward_twin(x_long, *kept_long, gamma_long, beta_long)
    assert_equal(normalization.columns_forward(x_on, *kept_on, gamma_on, beta_on), y, dtype)
    true = normalization.columns_sums_twin(dy.astype(LONG), x_long, *kept_long)
    for ours, theirs in zip(normalization.columns_sums(xp.asarray(dy), x_on, *kept_on), true, strict=True):
        assert_equal(ours, theirs, dtype)
    true = normalization.columns_backward_twin(
        dy.astype(LONG), x_long, *kept_long, gamma_long, (m.astype(LONG), m_x.astype(LONG))
    )
    means = xp.asarray(m), xp.asarray(m_x)
    assert_equal(normalization.columns_backward(xp.asarray(dy), x_on, *kept_on, gamma_on, means), true, dtype)


def test_more_samples_than_a_grid_is_deep(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (5, 3, 40)
    x, dy, mean, inv = (xp.asarray(np.random.default_rng(k).normal(size=shape if k < 2 else (5, 40))) for k in range(4))
    found = []
    for deepest in (2, normalization.DEEPEST):
        monkeypatch.setattr(normalization, "DEEPEST", deepest)
        found.append([*normalization.moments(x), *normalization.columns_sums(dy, x, mean, inv)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(to_host(ours), to_host(theirs))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 17)], ids=str)
@every_dtype
def test_lstm_step(shape: tuple[int, int], dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    B, H = shape
    h, c = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    U, a = rng.normal(size=(H, 4 * H)).astype(dtype), rng.normal(size=(B, 4 * H)).astype(dtype)
    gates, *states = recurrent.lstm_gates_twin(h.astype(LONG) @ U.astype(LONG), a.astype(LONG), c.astype(LONG))
    c_new, s, h_new = (xp.asarray(np.empty_like(c)) for _ in range(3))
    a_on = xp.asarray(a)
    recurrent.lstm_step(xp.asarray(h @ U), a_on, xp.asarray(c), c_new, s, h_new)
    for ours, theirs in zip((a_on, c_new, s, h_new), (gates, *states), strict=True):
        assert_equal(ours, theirs, dtype, 64)
    dh, dc = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    kept = [to_host(array) for array in (s, a_on)]
    true = recurrent.lstm_step_backward_twin(*(array.astype(LONG) for array in (dh, dc, c, *kept)))
    dc_on = xp.asarray(dc)
    recurrent.lstm_step_backward(xp.asarray(dh), dc_on, xp.asarray(c), s, a_on)
    for ours, theirs in zip((a_on, dc_on), true, strict=True):
        assert_equal(ours, theirs, dtype)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 17)], ids=str)
@pytest.mark.parametrize("use_bias", [True, False])
@every_dtype
def test_gru_step(shape: tuple[int, int], use_bias: bool, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    B, H = shape
    h, dh = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    a, k = (rng.normal(size=(B, 3 * H)).astype(dtype) for _ in range(2))
    b = rng.normal(size=3 * H).astype(dtype) if use_bias else None
    true = recurrent.gru_step_twin(*(None if array is None else array.astype(LONG) for array in (k, b, a, h)))
    v, q, h_new = (xp.asarray(np.empty(shape, dtype)) for shape in ((3, B, H), (B, H), (B, H)))
    given = (xp.asarray(k), None if b is None else xp.asarray(b), xp.asarray(a), xp.asarray(h))
    recurrent.gru_step(*given, v, q, h_new)
    for ours, theirs in zip((v, q, h_new), true, strict=True):
        assert_equal(ours, theirs, dtype)
    kept = [to_host(array).astype(LONG) for array in (v, q)]
    true = recurrent.gru_step_backward_twin(dh.astype(LONG), h.astype(LONG), *kept)
    da, dk, dh_old = (xp.asarray(np.empty_like(array)) for array in (a, k, h))
    recurrent.gru_step_backward(xp.asarray(dh), xp.asarray(h), v, q, da, dk, dh_old)
    for ours, theirs in zip((da, dk, dh_old), true, strict=True):
        assert_equal(ours, theirs, dtype)


WINDOWS = {
    "a sequence": Windows.on((9,), (3,), (2,), "same"),
    "causal, with holes": Windows.on((9,), (3,), (1,), "causal", (2,)),
    "an image": Windows.on((8, 9), (3, 3), (1, 1), "same"),
    "strides": Windows.on((8, 9), (2, 3), (3, 2)),
    "a volume": Windows.on((4, 5, 6), (2, 3, 2), (1, 2, 1), "same"),
    "a large kernel": Windows.on((11, 7), (9, 6), (1, 1), "same"),
}


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("groups", [1, 3])
@every_dtype
def test_im2col_and_back(windows: Windows, groups: int, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *windows.sizes, 6)).astype(dtype)
    columns = convolution.im2col_twin(x, windows, groups)
    np.testing.assert_array_equal(columns, windows.im2col(x, groups))
    np.testing.assert_array_equal(to_host(convolution.im2col(xp.asarray(x), windows, groups)), columns)
    dcolumns = rng.normal(size=columns.shape).astype(dtype)
    dx = convolution.col2im_twin(dcolumns.astype(LONG), windows, 6)
    assert_equal(windows.col2im(dcolumns, groups), dx, dtype)
    assert_equal(convolution.col2im(xp.asarray(dcolumns), windows, 6), dx, dtype)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_in_parts(groups: int, xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    windows = WINDOWS["an image"]
    x, dz = rng.normal(size=(5, 8, 9, 6)), rng.normal(size=(5, 8, 9, 12))
    W, b = rng.normal(size=(3, 3, 6 // groups, 12)), rng.normal(size=12)
    x, dz, W, b = (xp.asarray(array) for array in (x, dz, W, b))
    outcomes = []
    for at_once in (2**27, 9000):
        monkeypatch.setattr(convolution, "AT_ONCE", at_once)
        z = convolution.convolution(x, W, b, windows, groups)
        dW = convolution.convolution_weights(dz, x, windows, groups)
        outcomes.append([z, dW, convolution.convolution_input(dz, W, windows, groups)])
    for whole, in_parts in zip(*outcomes, strict=True):
        np.testing.assert_allclose(to_host(in_parts), to_host(whole), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"expected an array of shape \(5, 8, 9, 6\), got \(5, 7, 9, 6\)"):
        convolution.convolution(x[:, 1:], W, b, windows, groups)


@pytest.mark.parametrize("seen", [(2, 1, 1, 5, 40), (1, 1, 1, 5, 40), (2, 1, 1, 1, 40), (2, 1, 1, 5, 1)], ids=str)
@every_dtype
def test_shares(seen: tuple[int, ...], dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    s, see = (5 * rng.normal(size=(2, 3, 10, 40))).astype(dtype), rng.random(seen) < 0.3
    see[0, 0, 0, 0] = False  # of the first question, or of all, nothing is seen
    found = softmax.attention_shares(xp.asarray(s), xp.asarray(see), 5)
    assert_equal(found, softmax.attention_shares_twin(s.astype(LONG), see, 5), dtype)
    np.testing.assert_array_equal(to_host(found)[0, :, 0], 0)


POOLS = {
    "apart": Windows.on((8, 9), (2, 2), (2, 2)),
    "overlapping": Windows.on((8, 9), (3, 3), (2, 1), "same"),
    "far apart": Windows.on((9,), (2,), (3,), "same"),
    "a volume": Windows.on((4, 5, 6), (2, 3, 2), (1, 2, 2), "same"),
}


@pytest.mark.parametrize("windows", POOLS.values(), ids=POOLS)
@every_dtype
def test_max_pooling(windows: Windows, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, (3, *windows.sizes, 5)).astype(dtype)  # with many equal maxima
    x[0, 0] = np.nan
    y = pooling.max_pooling_twin(x, windows)
    np.testing.assert_array_equal(to_host(pooling.max_pooling(xp.asarray(x), windows)), y)
    dy = rng.normal(size=y.shape).astype(dtype)
    dx = pooling.max_pooling_backward_twin(dy.astype(LONG), x.astype(LONG), y, windows)
    found = pooling.max_pooling_backward(*map(xp.asarray, (dy, x, y)), windows)
    assert_equal(found, dx, dtype)


@pytest.mark.parametrize("columns", [1, 7, 300])
@every_dtype
def test_sum_by_number(columns: int, dtype: str, xp: Any) -> None:
    rng = np.random.default_rng(0)
    numbers, rows = rng.integers(0, 5, 700).astype("int32"), rng.normal(size=(700, columns)).astype(dtype)
    out = xp.asarray(np.full((6, columns), np.nan, dtype))
    true = embedding.sum_by_number_twin(numbers, rows.astype(LONG), np.empty((6, columns), LONG))
    assert_equal(embedding.sum_by_number(xp.asarray(numbers), xp.asarray(rows), out), true, dtype)


@every_dtype
def test_running_averages(dtype: str, xp: Any) -> None:
    given = [np.random.default_rng(k).normal(size=300).astype(dtype) for k in range(4)]
    true = [array.astype(LONG) for array in given]
    normalization.move_averages_twin(*true, 0.9)
    on_device = [xp.asarray(array) for array in given]
    normalization.move_averages(*on_device, 0.9)
    for ours, theirs in zip(on_device, true, strict=True):
        assert_equal(ours, theirs, dtype)


@pytest.mark.parametrize("layer", [layers.Softmax(), layers.LayerNormalization(), layers.Dense(3, "relu")], ids=str)
def test_an_empty_batch(layer: layers.Layer, xp: Any) -> None:
    layer(xp.ones((2, 4), dtype="float32"))
    assert len(layer.forward(xp.ones((0, 4), dtype="float32"))) == 0


def test_attention_of_an_empty_batch(xp: Any) -> None:
    seen = xp.asarray(np.ones((1, 1, 1, 5, 4), dtype=bool))
    assert softmax.attention_shares(xp.ones((0, 3, 10, 4), dtype="float32"), seen, 5).shape == (0, 3, 10, 4)
