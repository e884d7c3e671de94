"""FLOPs: how much a layer computes in one forward pass of one sample, counted from shapes.

The convention, which papers do not agree on: a multiply-add is 2 FLOPs, so y = x W with W (I, O) costs 2 I O. What is
no product counts 1 for each number that it makes, whether it is an added bias, an exponential or a normalization. What
only moves numbers (a reshape, padding, a lookup) or does nothing at inference (dropout) costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from tinynn import layers
from tinynn.layers.activation_function import ActivationFunction
from tinynn.layers.activity import ActivityRegularization
from tinynn.layers.base import Layer
from tinynn.layers.batch_normalization import Normalization
from tinynn.layers.combine import Chain
from tinynn.layers.convolution import Convolution
from tinynn.layers.global_pooling import GlobalPooling
from tinynn.layers.padding import Framed
from tinynn.layers.pooling import Pooling
from tinynn.layers.regularization import Noise
from tinynn.layers.shape import UpSampling
from tinynn.layers.transposed import TransposedConvolution
from tinynn.sequential import Sequential


def flops(layer: Layer) -> int | None:
    """Return the FLOPs of one forward pass of one sample; None for a layer of one's own that does not say them.

    Parameters
    ----------
    layer : Layer
        It must be built. A layer of one's own says its FLOPs in a method ``flops(self)``.

    Returns
    -------
    int or None

    Examples
    --------
    >>> from tinynn.layers import Dense
    >>> dense = Dense(10, activation="relu")
    >>> dense.build_for((784,))
    (10,)
    >>> flops(dense)                       # 2 x 784 x 10 for the product, 10 for the bias, 10 for the ReLU
    15700
    """
    own = getattr(layer, "flops", None)
    if own is not None:
        return int(own())
    for kind in type(layer).__mro__:
        if kind in COUNTS:
            return COUNTS[kind](layer)
        if "forward" in vars(kind) and not kind.__module__.startswith("tinynn."):
            return None  # one's own forward may do anything
    return None


def total(counts: Iterable[int | None]) -> int | None:
    """Return the sum, None if one is unknown.

    Examples
    --------
    >>> total([1, 2]), total([1, None])
    (3, None)
    """
    counts = list(counts)
    return None if None in counts else sum(count for count in counts if count is not None)


def inside(layer: Layer) -> int | None:
    """Return the FLOPs of all layers in this layer."""
    return total(flops(child) for child in layer.children)


def plus(count: int | None, more: int) -> int | None:
    """Return a count with some more, None if it is unknown."""
    return None if count is None else count + more


def inputs(layer: Layer) -> int:
    """Return how many numbers a sample of the input has."""
    return math.prod(layer.input_shape or ())


def outputs(layer: Layer) -> int:
    """Return how many numbers a sample of the output has."""
    return math.prod(layer.output_shape or ())


# Products ------------------------------------------------------------------------------------------------------------


def dense(layer: Any) -> int | None:
    """Return 2 I for each output: a row of x times a column of W."""
    a = outputs(layer)
    return plus(flops(layer.activation), 2 * layer.W.shape[0] * a + layer.use_bias * a)


def convolution(layer: Any) -> int | None:
    """Return 2 K for each output: a window of K = k C / G numbers times a filter."""
    a, window = outputs(layer), math.prod(layer.W.shape[:-1])
    return plus(flops(layer.activation), 2 * window * a + layer.use_bias * a)


def depthwise(layer: Any) -> int | None:
    """Return 2 k for each output: a window of one channel times a filter."""
    a, window = outputs(layer), math.prod(layer.W.shape[:-2])
    return plus(flops(layer.activation), 2 * window * a + layer.use_bias * a)


def transposed(layer: Any) -> int | None:
    """Return 2 k O for each input: each number of x times a filter, added to the window; what is cut off counts too."""
    a, filters = outputs(layer), math.prod(layer.W.shape[:-1])
    return plus(flops(layer.activation), 2 * filters * inputs(layer) + layer.use_bias * a)


def simple_rnn(layer: Any) -> int:
    """Return T (2 H (F + H) + 3 H): x W, h U, the bias, their sum, the activation."""
    return recurrent(layer, products=1, others=2)


def lstm(layer: Any) -> int:
    """Return T (8 H (F + H) + 17 H): four of x W + b + h U, their activations; c = f c + i g, tanh(c), o times it."""
    return recurrent(layer, products=4, others=4 + 4 + 3 + 1 + 1)


def gru(layer: Any) -> int:
    """Return T (6 H (F + H) + 16 H), of which 6 H are biases: three of x W and h U, joined into z, r, g and h.

    Both forms add h U to two gates, take two gates and the candidate, and make h = g + z (h - g); with reset_after r
    meets h U and the sum, without it r meets h, and h U is added.
    """
    return recurrent(layer, products=3, others=2 + 3 + 3 + 2)


def recurrent(layer: Any, products: int, others: int) -> int:
    """Return the FLOPs of a recurrent layer, of `products` gates and `others` numbers made for each unit and step."""
    steps, features = layer.input_shape
    H = layer.units
    biases = layer.b.size if layer.use_bias else 0
    return int(steps * (2 * products * H * (features + H) + biases + others * H))


def bidirectional(layer: Any) -> int | None:
    """Return that of both directions, and of merging them."""
    merge = {"concat": 0, "sum": 1, "mul": 1, "ave": 2}[layer.merge_mode]
    return plus(inside(layer), merge * outputs(layer))


def attention(layer: Any) -> int:
    """Return four projections, the questions times the keys, the softmax, the weights times the values."""
    T, D = layer.input_shape
    H, G, K, V = layer.num_heads, layer.num_key_value_heads, layer.key_dim, layer.value_dim
    features = layer.output_shape[1]
    projections = 2 * T * (D * H * K + D * G * K + D * G * V + H * V * features)
    biases = layer.use_bias * T * (H * K + G * K + G * V + features)
    turns = 3 * T * (H * K + G * K) if layer.turn_q is not None else 0
    scores = 2 * T * T * H * K + T * H * K + T * T * H  # q k^T, q / sqrt(K), softmax
    mixing = 2 * T * T * H * V
    return int(projections + biases + turns + scores + mixing)


def adaptive_pooling(layer: Any) -> int:
    """Return two products with matrices of averages, first of the rows and then of the columns."""
    (H, W, C), (h, w, _) = layer.input_shape, layer.output_shape
    return int(2 * h * H * W * C + 2 * h * w * W * C)


# Everything else -----------------------------------------------------------------------------------------------------


def nothing(layer: Any) -> int:
    """Return 0: numbers are moved, or the layer acts in training only."""
    return 0


def pooling(layer: Any) -> int:
    """Return 1 for each number that a window sees."""
    return outputs(layer) * math.prod(layer.pool_size)


def residual(layer: Any) -> int | None:
    """Return that of both ways and of adding them."""
    return plus(inside(layer), outputs(layer))


def merged(layer: Any) -> int | None:
    """Return that of the branches and of bringing n of them together, n - 1 for each output."""
    return plus(inside(layer), (len(layer.branches) - 1) * outputs(layer))


def average(layer: Any) -> int | None:
    """Return that of the branches, of adding them and of dividing."""
    return plus(inside(layer), len(layer.branches) * outputs(layer))


def every_step(layer: Any) -> int | None:
    """Return the layer's, once for each step."""
    count = flops(layer.layer)
    return None if count is None else layer.input_shape[0] * count


COUNTS: dict[type, Callable[[Any], int | None]] = {
    layers.Dense: dense,
    Convolution: convolution,
    TransposedConvolution: transposed,
    layers.DepthwiseConv2D: depthwise,
    layers.SeparableConv2D: inside,
    layers.SimpleRNN: simple_rnn,
    layers.LSTM: lstm,
    layers.GRU: gru,
    layers.Bidirectional: bidirectional,
    layers.MultiHeadAttention: attention,
    layers.RotaryEmbedding: lambda layer: 3 * outputs(layer),  # x c + turned x s
    layers.PositionEmbedding: outputs,
    layers.SinePositionEncoding: outputs,
    layers.Embedding: nothing,
    layers.Masking: nothing,
    layers.Activation: inside,
    layers.Linear: nothing,
    ActivationFunction: outputs,
    Normalization: outputs,
    ActivityRegularization: nothing,
    Noise: nothing,
    Pooling: pooling,
    GlobalPooling: inputs,
    layers.AdaptiveAveragePooling2D: adaptive_pooling,
    layers.Rescaling: outputs,
    layers.Flatten: nothing,
    layers.Reshape: nothing,
    layers.Permute: nothing,
    layers.RepeatVector: nothing,
    UpSampling: nothing,
    Framed: nothing,
    Sequential: inside,
    Chain: inside,
    layers.Residual: residual,
    layers.TimeDistributed: every_step,
    layers.Add: merged,
    layers.Multiply: merged,
    layers.Average: average,
    layers.Concatenate: inside,
}
