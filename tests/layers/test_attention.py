"""Attention and the transformer block: by hand, with masks, across sequences; what they learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import Dense, Input, Sequential
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.initializers import RandomNormal
from tinynn.layers import (
    Embedding,
    GlobalAveragePooling1D,
    Layer,
    MultiHeadAttention,
    PositionEmbedding,
    TransformerBlock,
)

B, T, S, D, E, F = 3, 4, 5, 4, 6, 3  # samples, questions, keys; features of x, value and key
# Whole, padded on the right, with a hole.
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool)
VALUE_MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [1, 0, 0, 0, 1]], dtype=bool)
# Every question may look somewhere, but for the last, which may look nowhere.
SEEN = np.array([[1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)
SEEN_BY_SAMPLE = np.stack([SEEN, SEEN[::-1], ~SEEN])
RANDOM: dict[str, Any] = {"bias_initializer": RandomNormal(stddev=1.0), "kernel_initializer": RandomNormal(stddev=0.7)}


def made(value: bool = False, key: bool = False, **options: Any) -> Any:
    """Return attention with random weights in float64, built for x alone or for other sequences too."""
    layer = MultiHeadAttention(options.pop("num_heads", 2), options.pop("key_dim", 4), **RANDOM, **options)
    layer.dtype = "float64"
    others = {"value": np.zeros((1, S, E))} if value else {}
    layer(np.zeros((1, T, D)), **others, **({"key": np.zeros((1, S, F))} if key else {}))
    return layer


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random x, value and key."""
    rng = np.random.default_rng([seed, 1])
    return rng.normal(size=(B, T, D)), rng.normal(size=(B, S, E)), rng.normal(size=(B, S, F))


# By hand -------------------------------------------------------------------------------------------------------


def test_two_steps_by_hand() -> None:
    layer = MultiHeadAttention(1, 1, use_bias=False)
    layer.dtype = "float64"
    x = np.array([[[1.0], [2.0]]])
    layer(x)
    layer.set_weights([np.full((1, 1, 1), w) for w in (2.0, 3.0, 5.0, 7.0)])
    # q = 2, 4; k = 3, 6; v = 5, 10: each step's second share is the sigmoid of q (6 - 3).
    late = 1 / (1 + np.exp([-6.0, -12.0]))
    np.testing.assert_allclose(layer(x)[0, :, 0], 7 * (5 * (1 - late) + 10 * late), rtol=1e-14)
    layer.backward(np.array([[[1.0], [0.0]]]))
    slope = late[0] * (1 - late[0])
    np.testing.assert_allclose(layer.dWo.item(), 5 + 5 * late[0], rtol=1e-14)
    np.testing.assert_allclose(layer.dWv.item(), 7 * (1 + late[0]), rtol=1e-14)
    np.testing.assert_allclose(layer.dWq.item(), 35 * slope * 3, rtol=1e-10)  # the score's difference is 3 Wq
    np.testing.assert_allclose(layer.dWk.item(), 35 * slope * 2, rtol=1e-10)  # and 2 Wk


def plainly(layer: Any, x: Any, value: Any, key: Any, seen: Any) -> Any:
    """Return attention as its docstring writes it, one sample, head and question at a time."""
    weights = dict(zip(["Wq", "bq", "Wk", "bk", "Wv", "bv", "Wo", "bo"], layer.get_weights(), strict=True))
    heads, share = layer.num_heads, layer.num_heads // layer.num_key_value_heads
    y = np.zeros((*x.shape[:2], weights["bo"].size)) + weights["bo"]
    for b in range(len(x)):
        for h in range(heads):
            q = x[b] @ weights["Wq"][:, h] + weights["bq"][h]
            k = key[b] @ weights["Wk"][:, h // share] + weights["bk"][h // share]
            v = value[b] @ weights["Wv"][:, h // share] + weights["bv"][h // share]
            for t in range(x.shape[1]):
                if seen[b, t].any():  # who may look nowhere gets no answer
                    e = np.where(seen[b, t], np.exp(k @ q[t] / np.sqrt(layer.key_dim)), 0)
                    y[b, t] += (e / e.sum()) @ v @ weights["Wo"][h]
    return y


@pytest.mark.parametrize("options", [{}, {"num_heads": 4, "num_key_value_heads": 2, "value_dim": 3}], ids=str)
def test_as_the_docstring_says(options: dict[str, Any]) -> None:
    x, value, key = draw(0)
    layer = made(True, True, **options)
    y = layer.forward(x, mask=MASK, value=value, key=key, value_mask=VALUE_MASK, attention_mask=SEEN_BY_SAMPLE)
    seen = MASK[:, :, None] & VALUE_MASK[:, None] & SEEN_BY_SAMPLE
    assert not seen.any(axis=2).all()  # some may look nowhere
    np.testing.assert_allclose(y, plainly(layer, x, value, key, seen), rtol=1e-12)


def test_shapes_of_an_attention_mask() -> None:
    x, value, _ = draw(1)
    layer = made(True)
    y = layer(x, value=value, attention_mask=SEEN)
    for mask in (SEEN[None], np.stack([SEEN] * B)):
        np.testing.assert_array_equal(layer(x, value=value, attention_mask=mask), y)
    assert (layer(x, value=value) != y).any(axis=2)[:, 0].all()


def test_x_given_as_value_is_self_attention() -> None:
    x = draw(2)[0]
    layer, dy = made(), np.ones((B, T, D))
    y = layer.forward(x, mask=MASK)
    dx = layer.backward(dy)
    np.testing.assert_array_equal(layer.forward(x, value=x, mask=MASK), y)
    np.testing.assert_allclose(sum(layer.backward(dy)), dx, rtol=1e-13)
    np.testing.assert_array_equal(layer.forward(x, value=x, key=x, mask=MASK), y)
    np.testing.assert_allclose(sum(layer.backward(dy)), dx, rtol=1e-13)


def test_rotary_attention_sees_distances_alone(rng: np.random.Generator) -> None:
    """Where the same sequence stands three places later, the answers are the same."""
    x = rng.normal(size=(1, 4, D))
    layer = made(rotary=True)
    later = np.concatenate([rng.normal(size=(1, 3, D)), x], axis=1)
    long = MultiHeadAttention(2, 4, rotary=True)
    long.dtype = "float64"
    long(later)
    long.set_weights(layer.get_weights())
    mask = np.arange(7)[None] >= 3
    np.testing.assert_allclose(long.forward(later, mask=mask)[:, 3:], layer(x), rtol=1e-12)
    assert np.abs(layer(x) - layer(x[:, ::-1])[:, ::-1]).max() > 0.01  # but order counts


# Gradients -----------------------------------------------------------------------------------------------------


class Whole(Layer):
    """Attention with value and key as weights, so that a check of gradients checks theirs too."""

    def __init__(self, inner: Any, others: dict[str, np.ndarray], **masks: Any) -> None:
        super().__init__()
        self.inner, self.others, self.masks = inner, others, masks

    def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.inner.dtype = self.dtype
        self.inner(np.zeros((len(MASK), *input_shape)), **self.others)
        for name, array in self.others.items():
            self.add_weight(name, array.shape, lambda *_, array=array: array.astype(self.dtype))
        return self.inner.output_shape

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = ()
        others = {name: getattr(self, name) for name in self.others}
        return self.inner.forward(x, training, **others, **self.masks)

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        found = self.inner.backward(dy)
        if not self.others:
            return found
        for name, gradient in zip(self.others, found[1:], strict=True):
            setattr(self, f"d{name}", gradient)
        return found[0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_causal_mask": True, "use_bias": False},
        {"num_heads": 4, "num_key_value_heads": 2, "value_dim": 3, "output_shape": 2},
        {"rotary": True, "num_key_value_heads": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("given_others", ["", "value", "value, key"])
@given(seed=st.integers(0, 2**16), masked=st.booleans())
def test_gradients(given_others: str, options: dict[str, Any], dropout: float, seed: int, masked: bool) -> None:
    x, value, key = draw(seed)
    others = {name: array for name, array in (("value", value), ("key", key)) if name in given_others}
    masks: dict[str, Any] = {"mask": MASK} if masked else {}
    if masked:
        masks["attention_mask"] = SEEN_BY_SAMPLE if others else SEEN_BY_SAMPLE[:, :, :T]
    if masked and others:
        masks["value_mask"] = VALUE_MASK
    use_bias = options.get("use_bias", True)
    start = RANDOM if use_bias else {"kernel_initializer": RANDOM["kernel_initializer"]}
    more = {name: option for name, option in options.items() if name != "num_heads"}
    inner = MultiHeadAttention(options.get("num_heads", 2), 2, dropout=dropout, **start, **more)
    inner.rng = np.random.default_rng(seed)
    report = gradients(Whole(inner, others, **masks), x, training=dropout > 0, seed=seed, max_entries=30)
    assert report.ok, report
    assert report.error < 1e-12
    assert {f"d{name}" for name in others} < {row.name for row in report.rows}
    assert all(row.method == "complex step" for row in report.rows)


@given(seed=st.integers(0, 2**16), norm_first=st.booleans())
def test_gradients_of_a_block_on_padded_batches(seed: int, norm_first: bool) -> None:
    ids = np.where(MASK, np.random.default_rng(seed).integers(1, 6, size=MASK.shape), 0)
    block = TransformerBlock(4, 2, 5, 0.2, "tanh", norm_first=norm_first)
    layers = [Embedding(6, 4, mask_zero=True), PositionEmbedding(T), block, GlobalAveragePooling1D(), Dense(2)]
    report = gradients(Sequential([Input((T,)), *layers], seed=seed), ids, training=True, seed=seed, max_entries=20)
    assert report.ok, report


def test_without_dx_the_weights_learn_the_same() -> None:
    x, value, key = draw(3)
    layer = made(True, True)
    grads = []
    for need_dx in (True, False):
        y = layer(x, value=value, key=key)
        assert (layer.backward(np.ones_like(y), need_dx) is None) == (not need_dx)
        grads.append([parameter.grad.copy() for parameter in layer.parameters])
    for first, second in zip(*grads, strict=True):
        np.testing.assert_array_equal(first, second)


# What masks hide -----------------------------------------------------------------------------------------------

HIDING = [
    lambda: MultiHeadAttention(2, 4, use_causal_mask=True),
    lambda: MultiHeadAttention(4, 2, num_key_value_heads=2, rotary=True, use_causal_mask=True),
    lambda: TransformerBlock(D, 2, use_causal_mask=True),
    lambda: TransformerBlock(D, 2, use_causal_mask=True, norm_first=False, rotary=True),
]


@pytest.mark.parametrize("make", HIDING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_causal_attention_does_not_see_what_comes(make: Callable[[], Any], dtype: str) -> None:
    x = draw(4)[0].astype(dtype)
    layer = make()
    layer.dtype = dtype
    y = layer(x).copy()
    for t in range(T):
        changed = x.copy()
        changed[:, t] += 100
        z = layer(changed)
        np.testing.assert_array_equal(z[:, :t], y[:, :t])
        assert (z[:, t:] != y[:, t:]).any(axis=2).all()
        dy = np.zeros_like(y)
        dy[:, t] = np.random.default_rng(t).normal(size=(B, D))
        np.testing.assert_array_equal(layer.backward(dy)[:, t + 1 :], 0)


@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(2, 4), lambda: TransformerBlock(D, 2), *HIDING])
def test_padding_changes_nothing(make: Callable[[], Any]) -> None:
    x, dy = draw(5)[0], np.where(MASK[..., None], draw(6)[0], 0)
    layer = make()
    layer(x)
    y, mask = layer.forward_with_mask(x, mask=MASK)
    assert mask is MASK
    dx = layer.backward(dy)
    np.testing.assert_array_equal(dx[~MASK], 0)
    grads = [parameter.grad.copy() for parameter in layer.parameters]
    changed = np.where(MASK[..., None], x, 50 * x + 7)
    np.testing.assert_array_equal(layer.forward_with_mask(changed, mask=MASK)[0][MASK], y[MASK])
    np.testing.assert_array_equal(layer.backward(dy)[MASK], dx[MASK])
    for parameter, grad in zip(layer.parameters, grads, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=1e-6, atol=1e-6)
    short = make()
    short(x[1:2, :2])
    short.set_weights(layer.get_weights())
    np.testing.assert_allclose(short(x[1:2, :2]), y[1:2, :2], rtol=1e-5, atol=1e-6)


def test_padding_of_value_changes_nothing() -> None:
    x, value, key = draw(7)
    layer = made(True, True)
    y = layer(x, value=value, key=key, value_mask=VALUE_MASK)
    value, key = np.where(VALUE_MASK[..., None], value, 9.0), np.where(VALUE_MASK[..., None], key, -9.0)
    np.testing.assert_array_equal(layer(x, value=value, key=key, value_mask=VALUE_MASK), y)
    for gradient in layer.backward(np.ones_like(y))[1:]:
        np.testing.assert_array_equal(gradient[~VALUE_MASK], 0)


def test_large_scores_stay_finite() -> None:
    x = 1e4 * draw(8)[0].astype("float32")
    layer = MultiHeadAttention(2, 4, **RANDOM)
    for mask in (None, MASK):
        y = layer(x, mask=mask)
        assert np.isfinite(y).all()
        assert np.isfinite(layer.backward(np.ones_like(y))).all()


# Dropout, dtypes, names ----------------------------------------------------------------------------------------


def test_dropout_drops_shares_in_training_only() -> None:
    """With values of one and a head that hands them on, y is the sum of the shares that were kept."""
    layer = MultiHeadAttention(1, 1, dropout=0.4, use_bias=False, kernel_initializer="ones")
    x = np.ones((200, 10, 1), "float32")
    np.testing.assert_allclose(layer(x), 1, rtol=1e-6)
    y = layer(x, training=True)
    np.testing.assert_allclose(y * 10 * 0.6, np.round(y * 10 * 0.6), atol=1e-4)
    assert abs(y.mean() - 1) < 0.02
    assert y.std() > 0.1


def test_dropout_by_seed() -> None:
    def model(seed: int, dtype: str = "float32") -> Any:
        layers = [Input((T, D)), TransformerBlock(D, 2, dropout=0.5)]
        return Sequential(layers, seed=seed, dtype=dtype)(draw(9)[0], training=True)

    np.testing.assert_array_equal(model(1), model(1))
    assert (model(1) != model(2)).any()
    np.testing.assert_allclose(model(1), model(1, "float64"), rtol=1e-4, atol=1e-5)


def test_a_block_by_itself(rng: np.random.Generator) -> None:
    block = TransformerBlock(D, 2, dropout=0.3)
    y = block(rng.normal(size=(B, T, D)), training=True)
    assert y.dtype == "float64"  # of the input; its own numbers are as its dtype says
    assert block.backward(np.ones_like(y)).dtype == "float64"
    assert {parameter.value.dtype for parameter in block.parameters} == {np.dtype("float32")}
    other = TransformerBlock(D, 2)
    other.dtype = "float64"
    other(y)
    assert {layer.dtype for layer in other.walk()} == {"float64"}
    assert {parameter.value.dtype for parameter in other.parameters} == {np.dtype("float64")}


@pytest.mark.parametrize("norm_first", [True, False])
def test_names_say_where_weights_are(norm_first: bool) -> None:
    model = Sequential([Input((T, D)), TransformerBlock(D, 2, norm_first=norm_first)])
    model.build()
    names = [name for name, _ in model.named_parameters()]
    assert len(set(names)) == len(names) == 16
    assert {name.split(".")[1] for name in names} >= {"attention", "network"}
    attention = [name for name in names if "multi_head_attention" in name]
    assert [name.rpartition(".")[2] for name in attention] == ["Wq", "bq", "Wk", "bk", "Wv", "bv", "Wo", "bo"]
    assert all(name.startswith("transformer_block.attention.") for name in attention)
    assert all(name.startswith("transformer_block.network.") for name in names if "dense" in name)


# Devices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"rotary": True, "num_key_value_heads": 1, "use_causal_mask": True}], ids=str)
def test_cross_attention_on_any_device(options: dict[str, Any], device: Device) -> None:
    arrays = [array.astype("float32") for array in draw(10)]
    masks = {"mask": MASK, "value_mask": VALUE_MASK, "attention_mask": SEEN}
    here, there = (MultiHeadAttention(2, 2, dropout=0.3, **options) for _ in range(2))
    outputs, found, grads = [], [], []
    for layer, place in ((here, "cpu"), (there, device)):
        x, value, key = (array if place == "cpu" else to_device(array, device) for array in arrays)
        more = {name: mask if place == "cpu" else to_device(mask, device) for name, mask in masks.items()}
        layer(x, value=value, key=key, **more)
        layer.set_weights(here.get_weights())
        for inner in layer.walk():
            inner.rng = np.random.default_rng(5)
        y = layer(x, training=True, value=value, key=key, **more)
        outputs.append(to_host(y))
        dy = np.random.default_rng(0).normal(size=y.shape).astype("float32")
        found.append([to_host(d) for d in layer.backward(dy if place == "cpu" else to_device(dy, device))])
        grads.append([to_host(parameter.grad) for parameter in layer.parameters])
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(found[0] + grads[0], found[1] + grads[1], strict=True):
        assert mine.dtype == theirs.dtype == "float32"
        np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-5)


def test_padded_batches_on_any_device(device: Device) -> None:
    def model(place: Any) -> Sequential:
        layers = [Embedding(5, D, mask_zero=True), TransformerBlock(D, 2), GlobalAveragePooling1D(), Dense(1)]
        network = Sequential([Input((T,)), *layers], device=place, seed=1)
        network.compile("sgd", "mse")
        network.fit(np.where(MASK, 3, 0), np.arange(3.0)[:, None], verbose=0, epochs=2)
        return network

    here, there = model("cpu"), model(device)
    for mine, theirs in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-5)


# What it learns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["copy", "reverse", "the one before"])
def test_a_small_transformer_learns(task: str) -> None:
    ids = np.random.default_rng(0).integers(0, 6, size=(512, 5))
    targets = {"copy": ids, "reverse": ids[:, ::-1], "the one before": np.roll(ids, 1, axis=1)}[task].copy()
    targets[:, 0] = ids[:, 0] if task == "the one before" else targets[:, 0]

    def trained(epochs: int) -> tuple[Sequential, float]:
        model = Sequential(
            [
                Input((5,)),
                Embedding(6, 16),
                PositionEmbedding(5),
                TransformerBlock(16, 2, use_causal_mask=task == "the one before"),
                Dense(6, activation="softmax"),
            ],
            seed=2,
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.optimizer.learning_rate = 0.01
        history = model.fit(ids, targets, epochs=epochs, verbose=0)
        return model, history.history["accuracy"][-1]

    model, accuracy = trained(15)
    assert accuracy > 0.99
    unseen = np.array([[5, 0, 0, 3, 1]])
    expected = {"copy": [5, 0, 0, 3, 1], "reverse": [1, 3, 0, 0, 5], "the one before": [5, 5, 0, 0, 3]}[task]
    np.testing.assert_array_equal(model.predict(unseen).argmax(axis=2), [expected])
    for mine, again in zip(trained(2)[0].get_weights(), trained(2)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, again)
