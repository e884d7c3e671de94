"""Attention with masks and across sequences, and padded ids: the same numbers as Keras, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.layers.rows_attention import EXACTLY
from tests.layers.test_attention import MASK, SEEN, SEEN_BY_SAMPLE, VALUE_MASK, D, T, draw
from tinynn import Dense, Input, Sequential
from tinynn.layers import Embedding, GlobalAveragePooling1D, MultiHeadAttention, TransformerBlock

EXACT = {"rtol": 1e-9, "atol": 1e-12}
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]


def compare(layer: Any, theirs: Any, arrays: list[Any], rng: np.random.Generator, masks: Any, causal: bool) -> None:
    """Compare outputs and all gradients with a layer of Keras that is called with (x, value, key)."""
    import jax

    x, *others = arrays
    given = dict(zip(("value", "key"), others, strict=False))
    layer(x, **given)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    called = [x, *(others or [x])]
    theirs.build(*(array.shape for array in called))
    theirs.set_weights(layer.get_weights())
    y = layer.forward(x, **given, **masks)
    dy = rng.normal(size=y.shape)
    their_masks = {name: mask for name, mask in masks.items() if name != "mask"}
    if "mask" in masks:  # Keras's own query_mask comes with the array alone; given as an argument it is dropped
        asking = masks["mask"][:, :, None]
        their_masks["attention_mask"] = masks.get("attention_mask", np.ones((1, 1, 1), dtype=bool)) & asking
        if not others:
            their_masks["value_mask"] = masks["mask"]

    def objective(arrays: Any, weights: Any) -> Any:
        frozen = [v.value for v in theirs.non_trainable_variables]
        sequences = arrays if others else [arrays[0], arrays[0]]
        out, _ = theirs.stateless_call(weights, frozen, *sequences, use_causal_mask=causal, **their_masks)
        return (dy * out).sum(), out

    weights = [v.value for v in theirs.trainable_variables]
    (found, dweights), out = jax.grad(objective, argnums=(0, 1), has_aux=True)(arrays, weights)
    np.testing.assert_allclose(y, out, **EXACT)
    dxs = layer.backward(dy)
    for mine, gradient in zip(dxs if others else [dxs], found, strict=True):
        np.testing.assert_allclose(mine, gradient, **EXACT)
    for parameter, gradient in zip(layer.parameters, dweights, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **EXACT)


MASKS = {
    "none": (),
    "mask": ("mask",),
    "value_mask": ("value_mask",),
    "both": ("mask", "value_mask"),
    "all": ("mask", "value_mask", "attention_mask"),
    "one for all samples": ("attention_mask",),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("given_others", [0, 1, 2])
@pytest.mark.parametrize("which", MASKS)
@pytest.mark.parametrize("grouped", [False, True])
def test_masks_as_in_keras(
    keras: Any, grouped: bool, which: str, given_others: int, causal: bool, rng: np.random.Generator
) -> None:
    if not given_others and "value_mask" in MASKS[which]:
        return  # there is one mask then
    masks: dict[str, Any] = {"mask": MASK, "value_mask": VALUE_MASK, "attention_mask": SEEN_BY_SAMPLE}
    if which == "one for all samples":
        masks["attention_mask"] = SEEN[None]
    masks = {name: masks[name] if given_others else masks[name][..., :T] for name in MASKS[which]}
    options: dict[str, Any] = {} if grouped else {"value_dim": 5, "output_shape": 3}
    layer = MultiHeadAttention(4, 3, use_causal_mask=causal, num_key_value_heads=2 if grouped else None, **options)
    layer.dtype = "float64"
    theirs = (
        keras.layers.GroupQueryAttention(3, 4, 2, **EXACTLY)
        if grouped
        else keras.layers.MultiHeadAttention(4, 3, **EXACTLY, **options)
    )
    compare(layer, theirs, list(draw(11)[: given_others + 1]), rng, masks, causal)


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_model_of_padded_ids_as_in_keras(keras: Any, causal: bool, block: bool, rng: np.random.Generator) -> None:
    """From token ids with padding through attention to the average of the steps that count."""
    import jax

    class Attend(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.supports_masking = True
            self.attention = keras.layers.MultiHeadAttention(2, 2, **EXACTLY)
            norms = [keras.layers.LayerNormalization(epsilon=1e-5) for _ in range(2)] if block else []
            network = [keras.layers.Dense(5, "relu"), keras.layers.Dense(D)] if block else []
            self.rest = [*norms, *network]

        def build(self, shape: Any) -> None:
            self.attention.build(shape, shape)
            for layer in self.rest:
                layer.build((*shape[:-1], 5) if layer is self.rest[-1] else shape)

        def call(self, x: Any, mask: Any = None) -> Any:
            masks = {"query_mask": mask, "value_mask": mask, "use_causal_mask": causal}
            if not block:
                return self.attention(x, x, **masks)
            first, second, wide, narrow = self.rest
            n = first(x)
            x = x + self.attention(n, n, **masks)
            return x + narrow(wide(second(x)))

    if block:
        mine_attends: Any = TransformerBlock(D, 2, 5, use_causal_mask=causal)
    else:
        mine_attends = MultiHeadAttention(2, 2, use_causal_mask=causal)
    embedding = Embedding(6, D, mask_zero=True)
    layers = [embedding, mine_attends, GlobalAveragePooling1D(), Dense(2)]
    mine = Sequential([Input((T,)), *layers], dtype="float64", seed=1)
    ids = np.where(MASK, rng.integers(1, 6, size=MASK.shape), 0)
    theirs = keras.Sequential(
        [
            keras.Input((T,), dtype="int32"),
            keras.layers.Embedding(6, D, mask_zero=True),
            Attend(),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2),
        ]
    )
    mine.build()
    mine.set_weights([rng.normal(size=weight.shape) for weight in mine.get_weights()])
    by_shape = dict(zip([name for name, _ in mine.named_parameters()], mine.get_weights(), strict=True))
    order = sorted(by_shape, key=lambda name: keras_place(name))
    theirs.set_weights([by_shape[name] for name in order])
    y = mine(ids)
    np.testing.assert_allclose(y, theirs(ids), **EXACT)
    dy = rng.normal(size=y.shape)
    mine.backward(dy, need_dx=False)

    def objective(weights: Any) -> Any:
        out, _ = theirs.stateless_call(weights, [v.value for v in theirs.non_trainable_variables], ids)
        return (dy * out).sum()

    dweights = jax.grad(objective)([v.value for v in theirs.trainable_variables])
    gradients_by_name = {name: parameter.grad for name, parameter in mine.named_parameters()}
    for name, gradient in zip(order, dweights, strict=True):
        np.testing.assert_allclose(gradients_by_name[name], gradient, **EXACT)


def keras_place(name: str) -> int:
    """Return where a weight stands in the model of Keras above: attention, then norms, then the small network."""
    if name.startswith("embedding"):
        return 0
    if "multi_head_attention" in name:
        return 1
    if "layer_normalization" in name:
        return 2
    return 3 if name.startswith("transformer_block") else 4
