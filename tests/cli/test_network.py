"""``--layers``: what the text means, and where it is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn
from tinynn.cli.mistakes import Mistake
from tinynn.cli.network import read_layers


def described(layer: Any) -> str:
    return type(layer).__name__


@pytest.mark.parametrize(
    ("text", "shape", "kinds", "output"),
    [
        ("784:relu,10:softmax", (28, 28), "Flatten Dense Dense", (10,)),
        ("5", (4,), "Dense", (5,)),
        (" 8 , 1:sigmoid", (4,), "Dense Dense", (1,)),
        (
            "conv6x5:relu,pool2,10:softmax",
            (28, 28),
            "Reshape Conv2D MaxPooling2D Flatten Dense",
            (10,),
        ),
        ("conv4x3,batchnorm:relu,flatten,3", (8, 9, 3), "Conv2D BatchNormalization Activation Flatten Dense", (3,)),
        ("pool3,dropout.25,2", (9, 9), "Reshape MaxPooling2D Dropout Flatten Dense", (2,)),
    ],
)
def test_a_list_becomes_layers(text: str, shape: tuple[int, ...], kinds: str, output: tuple[int, ...]) -> None:
    made = read_layers(text, shape)
    assert " ".join(map(described, made)) == kinds
    model = tinynn.Sequential([tinynn.Input(shape), *made], seed=0)
    assert model.build() == output
    assert model.predict(np.zeros((2, *shape)), verbose=0).shape == (2, *output)


def test_the_settings_arrive() -> None:
    conv, pool, dropout, _, dense = read_layers("conv6x5:tanh,pool3,dropout0.25,7:gelu", (28, 28, 2))
    assert (conv.filters, conv.kernel_size, described(conv.activation)) == (6, (5, 5), "Tanh")
    assert pool.pool_size == (3, 3)
    assert dropout.rate == 0.25
    assert (dense.units, described(dense.activation)) == (7, "GELU")


FAULTS = [
    ("784:rleu,10", "unknown activation 'rleu'. Did you mean 'relu'?", "    ^^^^"),
    ("784:relu,10:", "an activation must follow the colon, such as relu.", "           ^"),
    ("784,,10", "a layer is missing between two commas, or at an end", "    ^"),
    ("784,10,", "a layer is missing between two commas, or at an end", "       ^"),
    ("", "a layer is missing between two commas, or at an end", "^"),
    ("0:relu", "the number of units must be a whole number from 1 to 9,999,999.", "^"),
    ("10,99999999999:relu", "the number of units must be a whole number from 1 to 9,999,999.", "   ^^^^^^^^^^^"),
    ("9999999,10", "with '9999999' the network has 7,849,999,215 parameters, more than the 500,000,000", "^^^^^^^"),
    ("1.5:relu", "there is no layer '1.5'. Write a number of units", "^^^"),
    ("-5", "there is no layer '-5'.", "^^"),
    ("10 20", "there is no layer '10 20'.", "^^^^^"),
    ("784, dens10", "there is no layer 'dens10'.", "     ^^^^^^"),
    ("relu", "there is no layer 'relu'.", "^^^^"),
    ("conv32:relu", "'conv32' needs the size of its filters, such as conv32x3.", "^^^^^^"),
    ("conv0x3", "the number of filters must be a whole number from 1", "    ^"),
    ("conv8x30", "30 x 30 pixels do not fit into the image, which is 28 x 28 here.", "^^^^^^^^"),
    ("10,conv8x3", "'conv8x3' needs images, and here the samples are rows of 10 numbers.", "   ^^^^^^^"),
    ("pool20,pool2", "2 x 2 pixels do not fit into the image, which is 1 x 1 here.", "       ^^^^^"),
    ("pool", "pool needs its size, such as pool2.", "^^^^"),
    ("pool2:relu", "pool takes no activation; write it at the layer before.", "     ^^^^^"),
    ("dropout5", "dropout needs the part to drop, between 0 and 1, such as dropout0.5.", "^^^^^^^^"),
    ("dropout0.0", "dropout needs the part to drop, between 0 and 1, such as dropout0.5.", "^^^^^^^^^^"),
    ("flatten2", "flatten takes no number.", "       ^"),
    ("8:glu", "unknown activation 'glu'.", "  ^^^"),
    ("conv\u0663x3", "there is no layer 'conv\u0663x3'.", "^^^^^^^"),
]


@pytest.mark.parametrize(("text", "message", "caret"), FAULTS)
def test_a_fault_is_shown_where_it_stands(text: str, message: str, caret: str) -> None:
    with pytest.raises(Mistake) as caught:
        read_layers(text, (28, 28))
    assert str(caught.value).startswith(f"--layers: {message}")
    assert caught.value.picture == f"\n  {text}\n  {caret}"


def test_more_than_one_line_is_no_list() -> None:
    with pytest.raises(Mistake, match="expected one line of text"):
        read_layers("784\n10", (28, 28))


@given(st.text("0123456789x.,: convpoldrutbahm\u00b2\u0663\n", max_size=20))
def test_every_text_is_a_network_or_a_mistake(text: str) -> None:
    try:
        made = read_layers(text, (9, 9))
    except Mistake:
        return
    assert all(isinstance(layer, tinynn.Layer) for layer in made)
