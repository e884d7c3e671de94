"""Rows: convolution, depthwise, separable and transposed convolution."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row, Shape
from tinynn.layers import convolution, depthwise, transposed


def images(axes: int, *, least: int = 1, most: int = 7, channels: tuple[int, ...] = (1, 2, 3)) -> st.SearchStrategy:
    """Draw shapes of sequences, images or volumes with channels."""
    sizes = st.lists(st.integers(least, most), min_size=axes, max_size=axes)
    return st.builds(lambda places, c: (*places, c), sizes, st.sampled_from(channels))


def row(
    kind: Any, axes: int, shape: st.SearchStrategy, example: Shape, parity: tuple[Shape, ...], **options: Any
) -> Row:
    """Return the row of a layer whose arguments Keras takes as they are."""
    shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return Row(
        f"{kind.__name__}({shown})",
        lambda: kind(**options, bias_initializer="normal") if options.get("use_bias", True) else kind(**options),
        shape,
        lambda k: getattr(k.layers, kind.__name__)(**options),
        example=example,
        parity_shapes=parity,
    )


EVEN = (2, 4)
ROWS = [
    row(convolution.Conv1D, 1, images(1, least=3, most=9), (7, 2), ((5, 1), (8, 3)), filters=3, kernel_size=3),
    row(convolution.Conv1D, 1, images(1), (7, 2), ((1, 1), (5, 2)), filters=2, kernel_size=1, activation="tanh"),
    row(
        convolution.Conv1D, 1, images(1, most=9), (7, 2), ((1, 2), (5, 1), (8, 3)),
        filters=3, kernel_size=4, strides=3, padding="same",
    ),
    row(
        convolution.Conv1D, 1, images(1, most=9), (7, 2), ((1, 2), (7, 1), (8, 3)),
        filters=2, kernel_size=3, padding="causal", dilation_rate=2,
    ),
    row(
        convolution.Conv1D, 1, images(1, most=9), (7, 2), ((1, 2), (7, 1), (8, 3)),
        filters=2, kernel_size=3, padding="causal", strides=2,
    ),
    row(
        convolution.Conv1D, 1, images(1, most=9, channels=EVEN), (7, 4), ((7, 4), (8, 2)),
        filters=4, kernel_size=3, padding="same", groups=2, use_bias=False,
    ),
    row(convolution.Conv2D, 2, images(2, least=3), (6, 5, 2), ((3, 3, 1), (6, 5, 3)), filters=3, kernel_size=3),
    row(
        convolution.Conv2D, 2, images(2), (6, 5, 2), ((1, 1, 1), (6, 5, 3), (7, 7, 2)),
        filters=2, kernel_size=3, padding="same", activation="sigmoid",
    ),
    row(
        convolution.Conv2D, 2, images(2), (6, 5, 2), ((1, 1, 1), (6, 5, 3), (7, 8, 2)),
        filters=3, kernel_size=(2, 4), strides=(2, 3), padding="same", use_bias=False,
    ),
    row(
        convolution.Conv2D, 2, images(2, least=3), (6, 5, 2), ((3, 4, 1), (6, 5, 3), (7, 8, 2)),
        filters=2, kernel_size=(3, 2), strides=2,
    ),
    row(
        convolution.Conv2D, 2, images(2), (6, 5, 2), ((2, 3, 1), (6, 5, 3)),
        filters=2, kernel_size=1, strides=3,
    ),
    row(
        convolution.Conv2D, 2, images(2, least=5), (6, 5, 2), ((5, 5, 1), (6, 7, 3)),
        filters=2, kernel_size=(3, 2), dilation_rate=(2, 3), activation="softmax",
    ),
    row(
        convolution.Conv2D, 2, images(2), (6, 5, 2), ((2, 1, 1), (6, 7, 3)),
        filters=2, kernel_size=3, dilation_rate=2, padding="same",
    ),
    row(
        convolution.Conv2D, 2, images(2, channels=EVEN), (6, 5, 4), ((2, 1, 2), (6, 7, 4)),
        filters=6, kernel_size=(2, 3), groups=2, strides=2, padding="same",
    ),
    row(
        convolution.Conv3D, 3, images(3, most=3, channels=(1, 2)), (3, 3, 2, 2), ((1, 2, 3, 1), (4, 3, 5, 2)),
        filters=2, kernel_size=2, padding="same", strides=(1, 2, 2),
    ),
    row(
        convolution.Conv3D, 3, images(3, least=2, most=3, channels=EVEN), (3, 3, 2, 2), ((2, 2, 3, 2), (4, 3, 5, 4)),
        filters=2, kernel_size=(1, 2, 2), groups=2,
    ),
    row(depthwise.DepthwiseConv2D, 2, images(2, least=3), (6, 5, 2), ((3, 4, 1), (6, 5, 3)), kernel_size=3),
    row(
        depthwise.DepthwiseConv2D, 2, images(2), (6, 5, 2), ((1, 2, 1), (6, 5, 3)),
        kernel_size=(3, 2), strides=2, padding="same", depth_multiplier=2, activation="tanh",
    ),
    row(
        depthwise.DepthwiseConv2D, 2, images(2), (6, 5, 2), ((6, 5, 3),),
        kernel_size=3, dilation_rate=2, padding="same", use_bias=False,
    ),
    row(
        depthwise.SeparableConv2D, 2, images(2, least=3), (6, 5, 2), ((3, 4, 1), (6, 5, 3)),
        filters=4, kernel_size=3, activation="sigmoid",
    ),
    row(
        depthwise.SeparableConv2D, 2, images(2), (6, 5, 2), ((1, 4, 1), (6, 5, 3)),
        filters=2, kernel_size=3, strides=2, padding="same", depth_multiplier=2, use_bias=False,
    ),
    row(transposed.Conv1DTranspose, 1, images(1), (5, 2), ((1, 1), (5, 3)), filters=2, kernel_size=3),
    row(
        transposed.Conv1DTranspose, 1, images(1), (5, 2), ((1, 1), (5, 3)),
        filters=2, kernel_size=2, strides=3, padding="same", activation="tanh",
    ),
    row(
        transposed.Conv1DTranspose, 1, images(1), (5, 2), ((1, 1), (5, 3)),
        filters=2, kernel_size=2, strides=3, use_bias=False,
    ),
    row(
        transposed.Conv1DTranspose, 1, images(1), (5, 2), ((5, 3),),
        filters=2, kernel_size=3, dilation_rate=2, padding="same",
    ),
    row(
        transposed.Conv1DTranspose, 1, images(1, least=2), (5, 2), ((5, 3),),
        filters=2, kernel_size=4, strides=2, padding="same", output_padding=1,
    ),
    row(
        transposed.Conv2DTranspose, 2, images(2, most=5), (4, 5, 2), ((1, 1, 1), (4, 5, 3)),
        filters=3, kernel_size=3, strides=2, padding="same",
    ),
    row(
        transposed.Conv2DTranspose, 2, images(2, most=5), (4, 5, 2), ((4, 5, 3),),
        filters=2, kernel_size=(4, 2), strides=(2, 3), activation="sigmoid",
    ),
    row(
        transposed.Conv2DTranspose, 2, images(2, least=2, most=5), (4, 5, 2), ((4, 5, 3),),
        filters=2, kernel_size=(4, 3), strides=(2, 2), padding="same", output_padding=(0, 1), use_bias=False,
    ),
    row(
        transposed.Conv2DTranspose, 2, images(2, least=2, most=5), (4, 5, 2), ((4, 5, 3),),
        filters=2, kernel_size=(2, 3), strides=(3, 2), output_padding=1,
    ),
]  # fmt: skip
