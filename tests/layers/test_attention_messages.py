"""Attention and the transformer block: what they refuse, and what they say then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.layers.test_attention import MASK, SEEN, VALUE_MASK, T, draw, made
from tinynn import Input, Sequential, ShapeError
from tinynn.backend import Device, to_device
from tinynn.layers import Embedding, MultiHeadAttention, TransformerBlock

X, VALUE, KEY = draw(0)


def cross(**arguments: Any) -> Any:
    """Call attention that was built for value and key of their own sizes."""
    return made(True, True)(X, **({"value": VALUE, "key": KEY} | arguments))


REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "no heads",
        lambda: MultiHeadAttention(0, 2),
        ValueError,
        "MultiHeadAttention: num_heads must be a whole number from 1 up, got 0",
    ),
    ("half a head", lambda: MultiHeadAttention(1.5, 2), ValueError, "num_heads must be a whole number .* got 1.5"),
    ("no key", lambda: MultiHeadAttention(2, 0), ValueError, "MultiHeadAttention: key_dim must be .* got 0"),
    ("no answer", lambda: MultiHeadAttention(2, 2, value_dim=0), ValueError, "value_dim must be .* got 0"),
    ("an output shape", lambda: MultiHeadAttention(2, 2, output_shape=(3,)), ValueError, r"output_shape .* \(3,\)"),
    (
        "key heads that do not divide",
        lambda: MultiHeadAttention(4, 2, num_key_value_heads=3, name="mine"),
        ValueError,
        r"mine \(MultiHeadAttention\): 4 heads cannot share 3 key heads evenly; num_heads must be a multiple",
    ),
    ("no key heads", lambda: MultiHeadAttention(4, 2, num_key_value_heads=0), ValueError, "num_key_value_heads .* 0"),
    ("odd rotary", lambda: MultiHeadAttention(2, 3, rotary=True), ValueError, "key_dim must be even, got 3"),
    *(
        (
            f"dropout {rate!r}",
            lambda rate=rate: MultiHeadAttention(2, 2, dropout=rate),
            ValueError,
            f"MultiHeadAttention: dropout must be a number from 0 to 1, got {rate!r}",
        )
        for rate in (1.5, -0.1, None, "0.1")
    ),
    (
        "rows",
        lambda: MultiHeadAttention(2, 2)(np.zeros((2, 4))),
        ShapeError,
        r"MultiHeadAttention expected x of shape \(batch, steps, features\) .*, got \(batch, 4\)",
    ),
    (
        "rows in a model",
        lambda: Sequential([Input((4,)), MultiHeadAttention(2, 2)]).build(),
        ShapeError,
        r"multi_head_attention \(MultiHeadAttention\) expected x of shape .* comes from the model's input",
    ),
    (
        "other steps than in training",
        lambda: made()(X[:, :2]),
        ShapeError,
        r"MultiHeadAttention expected an input of shape \(batch, 4, 4\), got \(3, 2, 4\)",
    ),
    (
        "a value of rows",
        lambda: MultiHeadAttention(2, 2)(X, value=VALUE[:, 0]),
        ShapeError,
        r"MultiHeadAttention expected value of shape \(batch, steps, features\) .*, got \(batch, 6\)",
    ),
    (
        "a value that is no array",
        lambda: MultiHeadAttention(2, 2)(X, value=[1]),
        TypeError,
        "expected a NumPy or CuPy array, got builtins.list",
    ),
    (
        "keys of other steps at first",
        lambda: MultiHeadAttention(2, 2)(X, value=VALUE, key=KEY[:, :2]),
        ShapeError,
        "MultiHeadAttention: key has 2 steps and value 5; each key needs its answer",
    ),
    (
        "keys of other steps later",
        lambda: cross(key=KEY[:, :2]),
        ShapeError,
        r"MultiHeadAttention expected key of shape \(3, 5, 3\), got \(3, 2, 3\)\. .*the same steps",
    ),
    (
        "values of other features",
        lambda: cross(value=VALUE[..., :5]),
        ShapeError,
        r"MultiHeadAttention expected value of shape \(3, 5, 6\), got \(3, 5, 5\)\. .* features it was built for",
    ),
    (
        "values whose size fits by chance",
        lambda: cross(value=VALUE.reshape(3, 6, 5)),
        ShapeError,
        r"expected value of shape \(3, 6, 6\), got \(3, 6, 5\)",
    ),
    (
        "values of one sample",
        lambda: cross(value=VALUE[:1]),
        ShapeError,
        r"expected value of shape \(3, 5, 6\), got \(1, 5, 6\)\. It must have the samples of x",
    ),
    ("values of one step alone", lambda: cross(value=VALUE[:, 0]), ShapeError, r"value .* got \(3, 6\)"),
    ("values of no steps", lambda: cross(value=VALUE[:, :0]), ShapeError, r"\(3, steps, 6\), got \(3, 0, 6\)"),
    (
        "x alone where values were",
        lambda: made(True)(X),
        ShapeError,
        r"MultiHeadAttention expected value of shape \(3, 4, 6\), got \(3, 4, 4\)",
    ),
    (
        "a key and no value",
        lambda: MultiHeadAttention(2, 2)(X, key=KEY),
        ValueError,
        r"MultiHeadAttention: got a key and no value; each key needs its answer\. Give value=",
    ),
    ("a key and no value later", lambda: made().forward(X, key=X), ValueError, "got a key and no value"),
    (
        "a mask turned round",
        lambda: made().forward(X, mask=MASK.T),
        ShapeError,
        r"MultiHeadAttention: mask must have the shape \(3, 4\), got \(4, 3\)\. .*give mask\.T",
    ),
    ("a mask of numbers", lambda: made().forward(X, mask=MASK * 1.0), ValueError, "mask .* bool.*float64.*mask != 0"),
    ("a list", lambda: made().forward(X, mask=MASK.tolist()), ValueError, "mask must be an array .*ndarray, got list"),
    (
        "a mask of x for values",
        lambda: cross(value_mask=MASK),
        ShapeError,
        r"value_mask must have the shape \(3, 5\), got \(3, 4\)",
    ),
    ("a value mask of numbers", lambda: cross(value_mask=VALUE_MASK * 1), ValueError, "value_mask .* got int64"),
    (
        "an attention mask turned round",
        lambda: cross(attention_mask=SEEN.T),
        ShapeError,
        r"attention_mask must have the shape \(3, 4, 5\) or \(1, 4, 5\) or \(4, 5\), got \(5, 4\)\. .*mask\.T",
    ),
    (
        "an attention mask of heads",
        lambda: cross(attention_mask=SEEN[None, None]),
        ShapeError,
        r"attention_mask must have the shape .* got \(1, 1, 4, 5\)\.",
    ),
    ("an attention mask of numbers", lambda: cross(attention_mask=SEEN * 1.0), ValueError, "attention_mask .* float64"),
    ("a block without heads", lambda: TransformerBlock(4, 0), ValueError, "TransformerBlock: num_heads .* got 0"),
    ("a block of nothing", lambda: TransformerBlock(0, 1), ValueError, "TransformerBlock: dim .* got 0"),
    ("a narrow block", lambda: TransformerBlock(4, 1, 0), ValueError, "TransformerBlock: intermediate_dim .* got 0"),
    (
        "heads that do not divide",
        lambda: TransformerBlock(4, 3, name="mine"),
        ValueError,
        r"mine \(TransformerBlock\): dim must be a multiple of num_heads, .* got dim=4 and num_heads=3",
    ),
    (
        "a block that drops too much",
        lambda: TransformerBlock(4, 2, dropout=2),
        ValueError,
        "TransformerBlock: dropout must be a number from 0 to 1, got 2",
    ),
    ("a block of no activation", lambda: TransformerBlock(4, 2, activation="rel"), ValueError, "mean 'relu'"),
    ("key heads of a block", lambda: TransformerBlock(8, 4, num_key_value_heads=3), ValueError, "4 heads cannot share"),
    ("an odd rotary block", lambda: TransformerBlock(6, 2, rotary=True), ValueError, "key_dim must be even, got 3"),
    (
        "another width",
        lambda: Sequential([Input((T,)), Embedding(5, 4), TransformerBlock(8, 2)]).build(),
        ShapeError,
        r"transformer_block \(TransformerBlock\) expected .* \(batch, steps, 8\), got \(batch, 4, 4\)\. Make it with "
        r"dim=4, or put a Dense\(8\) before it\. It comes from embedding",
    ),
    (
        "rows for a block",
        lambda: TransformerBlock(4, 2)(np.zeros((2, 4))),
        ShapeError,
        r"TransformerBlock expected .* \(batch, steps, 4\), got \(batch, 4\)\. It must be steps of features",
    ),
    (
        "no steps",
        lambda: TransformerBlock(4, 2)(np.zeros((2, 0, 4))),
        ShapeError,
        r"TransformerBlock .*\(batch, 0, 4\)",
    ),
    (
        "another length in predict",
        lambda: Sequential([Input((T, 4)), TransformerBlock(4, 2)]).predict(np.zeros((2, 3, 4))),
        ShapeError,
        r"transformer_block \(TransformerBlock\) expected an input of shape \(batch, 4, 4\), got \(2, 3, 4\)",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def test_a_key_without_a_value_builds_nothing() -> None:
    layer = MultiHeadAttention(2, 2)
    with pytest.raises(ValueError, match="no value"):
        layer(X, key=KEY)
    assert layer(X).shape == X.shape


def test_whole_numbers_become_the_layers_kind() -> None:
    layer = MultiHeadAttention(2, 2)
    y = layer(X.astype(int), value=VALUE.astype(int), key=KEY.astype(int))
    assert y.dtype == "float32"


def test_a_mask_of_another_device(device: Device) -> None:
    if device.name == "cpu":
        return
    layer = MultiHeadAttention(2, 2)
    layer(to_device(X, device))
    with pytest.raises(ValueError, match="MultiHeadAttention: mask must be an array as x is"):
        layer.forward(to_device(X, device), mask=MASK)
