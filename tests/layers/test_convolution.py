"""Convolution: values by hand, padding, groups, adjointness, and what a wrong argument says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynn import Dense, Input, Sequential
from tinynn.layers import windows
from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.convolution import Conv1D, Conv2D, Conv3D
from tinynn.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from tinynn.layers.shape import Flatten
from tinynn.layers.transposed import Conv1DTranspose, Conv2DTranspose


def built(layer: Layer, *shape: int, dtype: str = "float64") -> Any:
    """Return the layer, built for inputs of this shape."""
    layer.dtype = dtype
    layer(np.zeros((1, *shape), dtype=dtype))
    layer.cache = None
    return layer


def slow_conv2d(x: np.ndarray, W: np.ndarray, strides: tuple[int, int], dilation: tuple[int, int]) -> np.ndarray:
    """Return the convolution without padding, one output at a time, as the formula says."""
    (kh, kw, _, filters), (B, H, width, _) = W.shape, x.shape
    rows = (H - dilation[0] * (kh - 1) - 1) // strides[0] + 1
    columns = (width - dilation[1] * (kw - 1) - 1) // strides[1] + 1
    y = np.zeros((B, rows, columns, filters))
    for r in range(rows):
        for c in range(columns):
            for i in range(kh):
                for j in range(kw):
                    y[:, r, c] += x[:, strides[0] * r + dilation[0] * i, strides[1] * c + dilation[1] * j] @ W[i, j]
    return y


@pytest.mark.parametrize(("strides", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 1))])
def test_conv2d_is_the_formula(rng: np.random.Generator, strides: Any, dilation: Any) -> None:
    x = rng.normal(size=(2, 7, 8, 3))
    conv = built(Conv2D(4, (3, 2), strides, dilation_rate=dilation), 7, 8, 3)
    np.testing.assert_allclose(conv(x), slow_conv2d(x, conv.W, strides, dilation), rtol=1e-12, atol=1e-12)


def test_it_is_a_correlation_the_kernel_is_not_turned() -> None:
    conv = built(Conv1D(1, 3), 3, 1)
    conv.W[:, 0, 0] = [100, 10, 1]
    assert conv(np.array([[[1.0], [2.0], [3.0]]])).item() == 123


def test_same_padding_puts_the_odd_zero_after() -> None:
    conv = built(Conv1D(1, 2, padding="same"), 3, 1)
    conv.W[:, 0, 0] = [10, 1]
    assert conv(np.array([[[1.0], [2.0], [3.0]]])).ravel().tolist() == [12, 23, 30]


@pytest.mark.parametrize(("size", "stride", "expected"), [(7, 2, 4), (8, 2, 4), (1, 3, 1), (9, 4, 3)])
def test_same_padding_makes_size_over_stride_windows(size: int, stride: int, expected: int) -> None:
    assert built(Conv1D(1, 3, stride, "same"), size, 1).output_shape == (expected, 1)


@pytest.mark.parametrize("options", [{}, {"dilation_rate": 3}, {"strides": 2}])
def test_causal_outputs_see_no_later_step(rng: np.random.Generator, options: dict[str, int]) -> None:
    conv = built(Conv1D(2, 3, padding="causal", **options), 9, 2)
    stride = options.get("strides", 1)
    x = rng.normal(size=(1, 9, 2))
    y = conv(x)
    for step in range(9):
        later = x.copy()
        later[:, step + 1 :] = 1e3
        seen = step // stride + 1
        np.testing.assert_array_equal(conv(later)[:, :seen], y[:, :seen])
        changed = x.copy()
        changed[:, step] += 1
        if step % stride == 0:
            assert (conv(changed)[:, step // stride] != y[:, step // stride]).all()


def test_a_group_sees_its_own_channels(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 5, 6))
    conv = built(Conv2D(4, 3, groups=2, use_bias=False), 5, 5, 6)
    halves = [built(Conv2D(2, 3, use_bias=False), 5, 5, 3) for _ in range(2)]
    for g, half in enumerate(halves):
        half.W[...] = conv.W[..., 2 * g : 2 * g + 2]
    expected = np.concatenate([half(x[..., 3 * g : 3 * g + 3]) for g, half in enumerate(halves)], axis=-1)
    np.testing.assert_allclose(conv(x), expected, rtol=1e-12, atol=1e-14)


def test_depthwise_is_a_convolution_with_as_many_groups_as_channels(rng: np.random.Generator) -> None:
    x, dy = rng.normal(size=(2, 6, 5, 3)), rng.normal(size=(2, 3, 3, 6))
    depthwise = built(DepthwiseConv2D(3, 2, "same", depth_multiplier=2), 6, 5, 3)
    conv = built(Conv2D(6, 3, 2, "same", groups=3), 6, 5, 3)
    conv.W[...] = depthwise.W.reshape(conv.W.shape)
    np.testing.assert_allclose(depthwise(x), conv(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(depthwise.backward(dy), conv.backward(dy), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(depthwise.dW.ravel(), conv.dW.ravel(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_is_the_adjoint(rng: np.random.Generator, padding: str, stride: int) -> None:
    """<conv(u), v> = <u, transposed(v)> for the same kernel."""
    transposed = built(Conv2DTranspose(2, 3, stride, padding, use_bias=False), 4, 5, 3)
    conv = built(Conv2D(3, 3, stride, padding, use_bias=False), *transposed.output_shape)
    conv.W[...] = transposed.W
    u, v = rng.normal(size=(2, *transposed.output_shape)), rng.normal(size=(2, 4, 5, 3))
    assert (conv(u) * v).sum() == pytest.approx((u * transposed(v)).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more", "expected"),
    [(3, 2, "valid", None, 9), (2, 3, "valid", None, 12), (3, 2, "same", None, 8), (3, 2, "same", 0, 7),
     (4, 2, "same", 1, 7), (3, 2, "valid", 1, 10)],
)  # fmt: skip
def test_transposed_sizes(kernel: int, stride: int, padding: str, more: Any, expected: int) -> None:
    assert built(Conv1DTranspose(1, kernel, stride, padding, more), 4, 1).output_shape == (expected, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2D(4, 3, padding="same", groups=2),
        lambda: DepthwiseConv2D(3, 2),
        lambda: Conv2DTranspose(3, 3, 2, "same"),
    ],
)
def test_parts_of_the_batch_make_no_difference(
    make: Callable[[], Layer], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.normal(size=(7, 6, 5, 2))
    layer = built(make(), 6, 5, 2)
    y = layer(x)
    dy = rng.normal(size=y.shape)
    dx, dW = layer.backward(dy), layer.parameters[0].grad.copy()
    for numbers in (1, 2 * 6 * 5 * 9 * 4):  # one sample at a time; several, with a remainder
        monkeypatch.setattr(windows, "NUMBERS_AT_ONCE", numbers)
        np.testing.assert_allclose(layer(x), y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.parameters[0].grad, dW, rtol=1e-12, atol=1e-12)


def test_backward_comes_out_the_same_every_time(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9, 12, 12, 8)).astype("float32")
    conv = built(Conv2D(8, 3), 12, 12, 8, dtype="float32")
    dy = rng.normal(size=(9, 10, 10, 8)).astype("float32")
    first = [conv(x), conv.backward(dy), conv.dW.copy()]
    for a, b in zip(first, [conv(x), conv.backward(dy), conv.dW], strict=True):
        np.testing.assert_array_equal(a, b)


def test_separable_has_keras_weights_and_its_parts_learn(rng: np.random.Generator) -> None:
    model = Sequential([Input((5, 5, 3)), SeparableConv2D(4, 3, depth_multiplier=2)], seed=0)
    shapes = [weight.shape for weight in model.get_weights()]
    assert shapes == [(3, 3, 3, 2), (1, 1, 6, 4), (4,)]
    model(rng.normal(size=(2, 5, 5, 3)))
    model.backward(np.ones((2, 3, 3, 4), dtype="float32"), need_dx=False)
    assert all(np.abs(parameter.grad).min() > 0 for parameter in model.parameters)


def test_a_small_network_learns(rng: np.random.Generator) -> None:
    """Where is the bright row? Positions that only a convolution and a dense layer together can tell."""
    labels = rng.integers(0, 3, size=96)
    x = 0.3 * rng.normal(size=(96, 8, 8, 1))
    x[np.arange(96), 1 + 2 * labels] += 1
    layers = [Input((8, 8, 1)), Conv2D(4, 3, 2, "same", activation="relu"), Flatten(), Dense(3, activation="softmax")]
    model = Sequential(layers, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, labels, epochs=40, batch_size=16, verbose=0)
    assert history.history["accuracy"][-1] > 0.97


def image(*shape: int) -> np.ndarray:
    return np.zeros((2, *shape))


MISTAKES = [
    ("filters 0", lambda: Conv2D(0, 3), ValueError, r"Conv2D: filters must be a whole number from 1 up, got 0\."),
    ("kernel 0", lambda: Conv2D(4, 0), ValueError, "Conv2D: kernel_size must be .*from 1 up, or a tuple of 2, got 0"),
    ("kernel of 3 axes", lambda: Conv2D(4, (3, 3, 3)), ValueError, r"kernel_size must be .*, got \(3, 3, 3\)"),
    ("stride 0", lambda: Conv1D(4, 3, 0), ValueError, r"Conv1D: strides must be a whole number from 1 up, got 0\."),
    ("stride 1.5", lambda: Conv3D(4, 3, 1.5), ValueError, "Conv3D: strides must be .*tuple of 3, got 1.5"),
    ("dilation -1", lambda: Conv2D(4, 3, dilation_rate=(1, -1)), ValueError, r"dilation_rate must .*got \(1, -1\)"),
    (
        "unknown padding",
        lambda: Conv2D(4, 3, padding="full"),
        ValueError,
        r"Conv2D: padding must be one of 'valid', 'same', got 'full'\.",
    ),
    ("causal images", lambda: Conv2D(4, 3, padding="causal"), ValueError, "one of 'valid', 'same', got 'causal'"),
    ("unknown padding 1D", lambda: Conv1D(4, 3, padding=1), ValueError, "'valid', 'same', 'causal', got 1"),
    (
        "strides and dilation",
        lambda: Conv2D(4, 3, strides=2, dilation_rate=2),
        ValueError,
        r"Conv2D: strides \(2, 2\) and dilation_rate \(2, 2\) are both above 1, .* one of them must be 1",
    ),
    (
        "groups and filters",
        lambda: Conv2D(4, 3, groups=3),
        ValueError,
        "Conv2D: 4 filters cannot be divided into 3 groups; filters must be a multiple of groups",
    ),
    (
        "groups and channels",
        lambda: Conv2D(4, 3, groups=2)(image(5, 5, 3)),
        ShapeError,
        "Conv2D: 3 input channels cannot be divided into 2 groups; the channels must be a multiple of groups",
    ),
    ("groups 0", lambda: Conv2D(4, 3, groups=0), ValueError, "Conv2D: groups must be a whole number from 1 up, got 0"),
    (
        "kernel larger than the input",
        lambda: Conv2D(4, 5)(image(4, 9, 1)),
        ShapeError,
        r"Conv2D: kernel_size \(5, 5\) with dilation_rate \(1, 1\) covers \(5, 5\), which is larger than the input, "
        r"\(4, 9\)\. Make it smaller, or use padding='same'",
    ),
    ("dilated kernel", lambda: Conv1D(4, 3, dilation_rate=2)(image(4, 1)), ShapeError, r"covers \(5,\).* \(4,\)"),
    (
        "no channel axis",
        lambda: Conv2D(4, 3)(image(28, 28)),
        ShapeError,
        r"Conv2D expected an input of shape \(batch, height, width, channels\), got \(batch, 28, 28\)\. "
        r"If it has one channel, give it a channel axis with x\[\.\.\., None\]",
    ),
    (
        "rows",
        lambda: Conv2D(4, 3)(image(784)),
        ShapeError,
        r"\(batch, height, width, channels\), got \(batch, 784\)\.$",
    ),
    ("no steps", lambda: Conv1D(4, 3)(image(9)), ShapeError, r"\(batch, steps, channels\), got \(batch, 9\)\. If it"),
    (
        "channels first",
        lambda: Conv2D(4, 3, data_format="channels_first"),
        ValueError,
        r"Conv2D: data_format must be 'channels_last', got 'channels_first'\. Move .* numpy\.moveaxis\(x, 1, -1\)",
    ),
    ("activation", lambda: Conv2D(4, 3, activation="rleu"), ValueError, "unknown activation 'rleu'"),
    (
        "multiplier",
        lambda: DepthwiseConv2D(3, depth_multiplier=0),
        ValueError,
        "DepthwiseConv2D: depth_multiplier must",
    ),
    ("depthwise kernel", lambda: DepthwiseConv2D(3)(image(2, 2, 1)), ShapeError, r"DepthwiseConv2D: kernel_size \(3,"),
    ("depthwise holes", lambda: DepthwiseConv2D(3, 2, dilation_rate=2), ValueError, "one of them must be 1"),
    (
        "separable kernel",
        lambda: SeparableConv2D(4, 3, name="mine")(image(2, 2, 1)),
        ShapeError,
        r"mine \(SeparableConv2D\): depthwise \(DepthwiseConv2D\): kernel_size \(3, 3\) .* larger than the input",
    ),
    (
        "separable stride",
        lambda: SeparableConv2D(4, 3, 0),
        ValueError,
        "SeparableConv2D: depthwise .*: strides must be",
    ),
    ("separable filters", lambda: SeparableConv2D(0, 3), ValueError, "SeparableConv2D: pointwise .*: filters must be"),
    (
        "separable axes",
        lambda: SeparableConv2D(4, 3)(image(9, 9)),
        ShapeError,
        r"^SeparableConv2D expected .*x\[\.\.\.,",
    ),
    (
        "output_padding",
        lambda: Conv2DTranspose(4, 3, 2, output_padding=2),
        ValueError,
        r"Conv2DTranspose: output_padding must be below the strides \(2, 2\), got 2",
    ),
    ("output_padding -1", lambda: Conv1DTranspose(4, 3, 2, output_padding=-1), ValueError, "from 0 up, got -1"),
    (
        "transposed padding",
        lambda: Conv1DTranspose(4, 3, padding="causal"),
        ValueError,
        "'valid', 'same', got 'causal'",
    ),
    ("transposed holes", lambda: Conv2DTranspose(4, 3, 2, dilation_rate=2), ValueError, "one of them must be 1"),
    (
        "transposed axes",
        lambda: Conv2DTranspose(4, 3)(image(9, 9)),
        ShapeError,
        r"give it a channel axis with x\[\.\.\.,",
    ),
    (
        "nothing left",
        lambda: Conv1DTranspose(4, 2, 2, "same", output_padding=0)(image(1, 3)),
        ShapeError,
        r"Conv1DTranspose: an input of shape \(batch, 1, 3\) makes an output of size \(0,\)\. Leave out output_padding",
    ),
]


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [entry[1:] for entry in MISTAKES], ids=[entry[0] for entry in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()
