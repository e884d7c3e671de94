"""Captured steps with the CUDA kernels, compiled as C++: equal to eager ones bit by bit; and what a step launches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn
from tests import capturing
from tests.graph.network import LABELS, both, network
from tests.kernels.emulation import Kernel
from tinynn import layers

pytestmark = pytest.mark.usefixtures("emulated_cupy")

INSIDE = {
    "nothing": lambda: (),
    "activations": lambda: (layers.Dense(5, "gelu"), layers.LeakyReLU(), layers.Dense(4, "tanh"), layers.Softmax()),
    "noise": lambda: (layers.Dropout(0.4), layers.GaussianNoise(0.1), layers.GaussianDropout(0.2)),
    "normalizations": lambda: (layers.LayerNormalization(), layers.BatchNormalization(), layers.GroupNormalization(2)),
    "convolution": lambda: (
        layers.Reshape((2, 2, 2)),
        layers.Conv2D(4, 2, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
    ),
    "lstm": lambda: (layers.Reshape((4, 2)), layers.LSTM(5, dropout=0.3)),
    "gru": lambda: (layers.Reshape((4, 2)), layers.GRU(5, recurrent_dropout=0.3)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_captured_run_equals_an_eager_one(name: str) -> None:
    before, launches = Kernel.launches, capturing.Graph.launches
    both(make=lambda: network(*INSIDE[name]()))
    assert Kernel.launches > before
    assert capturing.Graph.launches - launches == 4 * 5 - 2  # all but two rehearsals


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"])
def test_losses_and_optimizers(optimizer: str, loss: str) -> None:
    def options() -> dict[str, Any]:
        return {} if loss.startswith("sparse") else {"y": np.eye(3, dtype="float32")[LABELS]}

    both(optimizer=optimizer, fit_options=options, loss=loss, metrics=None)


@pytest.mark.parametrize("mask_zero", [False, True])
def test_a_transformer(mask_zero: bool) -> None:
    def make() -> Any:
        inside = (
            layers.Embedding(9, 8, mask_zero=mask_zero),
            layers.PositionEmbedding(6),
            layers.TransformerBlock(8, 2, dropout=0.2, use_causal_mask=True),
            layers.GlobalAveragePooling1D(),
        )
        return tinynn.Sequential([layers.Input((6,)), *inside, layers.Dense(3, "softmax")], seed=1, device="cuda")

    both(make=make, fit_options=lambda: {"x": np.random.default_rng(0).integers(0, 9, (70, 6))})
