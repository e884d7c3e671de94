"""Rows: embedding, positions, attention, transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.layers.row import Row, Shape, shapes
from tests.layers.rows_combine import keras_fork
from tinynn import layers

# Without dropout Keras on JAX takes a fused kernel whose softmax is in float32. In inference nothing is dropped.
EXACTLY = {"dropout": 0.1}


def steps(features: int, most: int = 5) -> st.SearchStrategy[Shape]:
    """Draw shapes (steps, features) with a fixed number of features."""
    return st.tuples(st.integers(1, most), st.just(features))


def keras_function(k: Any, function: Any) -> Any:
    """Return a Keras layer without weights that computes function(x)."""

    class Function(k.layers.Layer):
        def call(self, x: Any) -> Any:
            return function(x)

    return Function()


def keras_positions(k: Any, length: int) -> Any:
    """Return learned positions in Keras."""

    class Positions(k.layers.Layer):
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(length, shape[-1]))

        def call(self, x: Any) -> Any:
            return x + self.table[: x.shape[1]]

    return Positions()


def keras_sines(k: Any, wavelength: float) -> Any:
    """Return x + the waves, one number at a time, as the paper writes them."""

    def add(x: Any) -> Any:
        waves = np.zeros(x.shape[1:])
        for t in range(waves.shape[0]):
            for feature in range(waves.shape[1]):
                angle = t / wavelength ** (2 * (feature // 2) / waves.shape[1])
                waves[t, feature] = np.cos(angle) if feature % 2 else np.sin(angle)
        return x + waves

    return keras_function(k, add)


def keras_rotation(k: Any, wavelength: float) -> Any:
    """Return x turned, as a product of complex numbers."""

    def turn(x: Any) -> Any:
        T, D = x.shape[-2:]
        pairs = x[..., : D // 2] + 1j * x[..., D // 2 :]
        turned = pairs * np.exp(1j * np.arange(T)[:, None] / wavelength ** (2 * np.arange(D // 2) / D))
        return k.ops.concatenate([turned.real, turned.imag], axis=-1)

    return keras_function(k, turn)


def keras_self(k: Any, attention: Any, **options: Any) -> Any:
    """Return a Keras layer of self-attention."""

    class SelfAttention(k.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def build(self, shape: Any) -> None:
            self.attention.build(shape, shape)

        def call(self, x: Any) -> Any:
            return self.attention(x, x, **options)

    return SelfAttention()


def keras_block(k: Any, heads: int, size: int, width: int, norm_first: bool, causal: bool, dim: int) -> Any:
    """Return a transformer block in Keras."""

    def norm() -> Any:
        return k.layers.LayerNormalization(epsilon=1e-5)

    def residual(layers: list[Any]) -> Any:
        return keras_fork(k, [k.Sequential(layers), k.layers.Identity()], k.layers.Add())

    attention = keras_self(k, k.layers.MultiHeadAttention(heads, size, **EXACTLY), use_causal_mask=causal)
    network = [k.layers.Dense(width, "relu"), k.layers.Dense(dim)]
    if norm_first:
        return k.Sequential([residual([norm(), attention]), residual([norm(), *network])])
    return k.Sequential([residual([attention]), norm(), residual(network), norm()])


ROWS = [
    Row(
        "Embedding",
        lambda: layers.Embedding(7, 3),
        shapes(0, 2),
        lambda k: k.layers.Embedding(7, 3),
        parity_shapes=((), (5,), (2, 3)),
        tokens=7,
    ),
    Row(
        "Embedding(of things that do not occur)",
        lambda: layers.Embedding(9, 1, mask_zero=True),
        shapes(1, 2),
        lambda k: k.layers.Embedding(9, 1, mask_zero=True),
        parity_shapes=((5,),),
        tokens=2,
    ),
    Row(
        "PositionEmbedding",
        lambda: layers.PositionEmbedding(6),
        shapes(2, 2),
        lambda k: keras_positions(k, 6),
        example=(3, 4),
        parity_shapes=((4, 3), (6, 1)),
    ),
    Row(
        "SinePositionEncoding",
        lambda: layers.SinePositionEncoding(max_wavelength=100),
        shapes(2, 2),
        lambda k: keras_sines(k, 100),
        example=(3, 4),
        parity_shapes=((4, 3), (9, 6)),
    ),
    Row(
        "RotaryEmbedding",
        lambda: layers.RotaryEmbedding(),
        st.tuples(st.integers(1, 5), st.sampled_from([2, 4, 6])),
        lambda k: keras_rotation(k, 10000),
        example=(3, 4),
        parity_shapes=((4, 2), (9, 6)),
    ),
    Row(
        "RotaryEmbedding(heads)",
        lambda: layers.RotaryEmbedding(max_wavelength=50),
        st.tuples(st.integers(1, 2), st.integers(1, 4), st.sampled_from([2, 4])),
        lambda k: keras_rotation(k, 50),
        example=(2, 3, 4),
        parity_shapes=((2, 7, 4),),
    ),
    Row(
        "MultiHeadAttention",
        lambda: layers.MultiHeadAttention(2, 3, bias_initializer="normal"),
        shapes(2, 2),
        lambda k: keras_self(k, k.layers.MultiHeadAttention(2, 3, **EXACTLY)),
        example=(3, 4),
        parity_shapes=((5, 4), (2, 3)),
    ),
    Row(
        "MultiHeadAttention(causal, sizes)",
        lambda: layers.MultiHeadAttention(3, 1, value_dim=2, use_bias=False, output_shape=5, use_causal_mask=True),
        shapes(2, 2),
        lambda k: keras_self(
            k,
            k.layers.MultiHeadAttention(3, 1, value_dim=2, use_bias=False, output_shape=5, **EXACTLY),
            use_causal_mask=True,
        ),
        example=(3, 4),
        parity_shapes=((5, 4),),
    ),
    Row(
        "MultiHeadAttention(grouped keys)",
        lambda: layers.MultiHeadAttention(4, 3, num_key_value_heads=2, bias_initializer="normal"),
        shapes(2, 2),
        lambda k: keras_self(k, k.layers.GroupQueryAttention(3, 4, 2, **EXACTLY)),
        example=(3, 4),
        parity_shapes=((5, 4), (2, 3)),
    ),
    Row(
        "MultiHeadAttention(one key head, causal)",
        lambda: layers.MultiHeadAttention(3, 2, num_key_value_heads=1, use_causal_mask=True),
        shapes(2, 2),
        lambda k: keras_self(k, k.layers.GroupQueryAttention(2, 3, 1, **EXACTLY), use_causal_mask=True),
        example=(3, 4),
        parity_shapes=((5, 4),),
    ),
    Row(
        "MultiHeadAttention(rotary)",
        lambda: layers.MultiHeadAttention(2, 4, rotary=True, use_causal_mask=True),
        shapes(2, 2),
        None,
        example=(3, 4),
        unlike_keras="Keras's attention has no rotation; RotaryEmbedding is compared by itself",
    ),
    Row(
        "MultiHeadAttention(dropout)",
        lambda: layers.MultiHeadAttention(2, 2, dropout=0.4),
        shapes(2, 2),
        None,
        example=(3, 4),
        training=True,
        one_by_one=False,
        unlike_keras="random",
    ),
    Row(
        "TransformerBlock",
        lambda: layers.TransformerBlock(4, 2, 5, activation="tanh"),
        steps(4),
        None,
        example=(3, 4),
        unlike_keras="compared with relu, in the row below; here without kinks",
    ),
    Row(
        "TransformerBlock(relu, causal)",
        lambda: layers.TransformerBlock(4, 2, 5, use_causal_mask=True),
        steps(4),
        lambda k: keras_block(k, 2, 2, 5, True, True, 4),
        example=(3, 4),
        parity_shapes=((5, 4), (2, 4)),
    ),
    Row(
        "TransformerBlock(norm last)",
        lambda: layers.TransformerBlock(4, 1, 6, norm_first=False, activation="silu"),
        steps(4),
        None,
        example=(3, 4),
        unlike_keras="compared with relu, in the row below",
    ),
    Row(
        "TransformerBlock(norm last, relu)",
        lambda: layers.TransformerBlock(4, 1, 6, norm_first=False),
        steps(4),
        lambda k: keras_block(k, 1, 4, 6, False, False, 4),
        example=(3, 4),
        parity_shapes=((5, 4),),
    ),
    Row(
        "TransformerBlock(dropout, rotary, grouped keys)",
        lambda: layers.TransformerBlock(8, 2, 5, 0.3, "tanh", num_key_value_heads=1, rotary=True),
        steps(8, 3),
        None,
        example=(3, 8),
        training=True,
        one_by_one=False,
        unlike_keras="random",
    ),
]
