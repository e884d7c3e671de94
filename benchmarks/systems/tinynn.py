"""tinynn: `Sequential.fit`, with the fused kernels of the extra `fast` or with NumPy alone, or on CuPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import tinynn
from benchmarks.memory import traced_peak
from benchmarks.systems import EpochClock, Runner, Settings
from benchmarks.workloads import BETA_1, BETA_2, CNN, EPSILON, MLP, RNN, Data, Workload
from tinynn import layers
from tinynn.backend import to_device
from tinynn.kernels import load_fused

LOSSES = {
    "categorical": "categorical_crossentropy",
    "sparse": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
}


PRECISIONS = {"fp32": "float32", "tf32": "tensorfloat32"}


class Clock(EpochClock, tinynn.Callback):
    """An EpochClock that fit can use."""


def layers_of(network: Any, input_shape: tuple[int, ...]) -> list[layers.Layer]:
    """Return the layers of a network."""
    first = layers.Input(input_shape)
    if isinstance(network, MLP):
        hidden = [layers.Dense(units, activation=network.hidden) for units in network.sizes[1:-1]]
        return [first, *hidden, layers.Dense(network.sizes[-1], activation=network.output)]
    if isinstance(network, CNN):
        return [
            first,
            layers.Conv2D(network.filters[0], 5, use_bias=False),
            layers.BatchNormalization(momentum=network.momentum, epsilon=network.epsilon),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(network.filters[1], 5, use_bias=False),
            layers.BatchNormalization(momentum=network.momentum, epsilon=network.epsilon),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(network.drop[0]),
            layers.Dense(network.dense, activation="relu"),
            layers.Dropout(network.drop[1]),
            layers.Dense(10, activation="softmax"),
        ]
    if isinstance(network, RNN):
        cell = {"lstm": layers.LSTM, "gru": layers.GRU}[network.cell](network.units)
        return [first, cell, layers.Dense(10, activation="softmax")]
    blocks = [layers.TransformerBlock(network.dim, network.heads, use_causal_mask=True) for _ in range(network.blocks)]
    return [
        first,
        layers.Embedding(network.characters, network.dim),
        layers.PositionEmbedding(network.length),
        *blocks,
        layers.LayerNormalization(),
        layers.Dense(network.characters, activation="softmax"),
    ]


def compiled_model(workload: Workload, data: Data, settings: Settings, graph: bool | str = "auto") -> tinynn.Sequential:
    """Return the network, compiled."""
    model = tinynn.Sequential(layers_of(workload.network, data.x.shape[1:]), device=settings.device, seed=0)
    adam = tinynn.Adam(learning_rate=workload.rate, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON)
    model.compile(
        optimizer=adam,
        loss=LOSSES[workload.loss],
        metrics=["accuracy"] if workload.count else None,
        graph=graph,
        matmul_precision=PRECISIONS[settings.precision],
    )
    return model


def prepare_eager(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready tinynn on a device without captured steps."""
    return prepare(workload, data, settings, graph=False)


def prepare(workload: Workload, data: Data, settings: Settings, graph: bool | str = "auto") -> Runner:
    """Make ready tinynn, on a device with steps that are captured and replayed, where they can be."""
    model = compiled_model(workload, data, settings, graph)
    clock = Clock()
    x, y = (to_device(array, model.device) for array in (data.x, data.y))  # there the next fit finds its graphs again

    def train_epoch() -> float:
        model.fit(x, y, batch_size=workload.batch_size, epochs=1, verbose=0, callbacks=[clock])
        if settings.device == "cuda":
            runner.how = f"fit, {model.graph_reason}"
        return clock.seconds

    def predict(x: np.ndarray) -> np.ndarray:
        return model.predict(x, verbose=0)

    versions = {"tinynn": tinynn.__version__, "numpy": np.__version__}
    how = "fit"
    if settings.device == "cpu":
        kernels, how = load_fused()
        how = f"fit, {how.partition(';')[0]}"
        if kernels is not None:
            versions["numba"] = how.split()[-1]
    runner = Runner(train_epoch, predict, versions, how, memory=lambda: memory(workload, data, settings))
    return runner


def memory(workload: Workload, data: Data, settings: Settings) -> dict[str, int]:
    """Return the peak of memory of a training, less the data, and what it may be.

    That is 3 x parameters (values, gradients, and one more), Adam's two slots, and a batch with all that layers return.
    """
    rows = slice(0, 20 * workload.batch_size)  # an epoch of twenty steps holds as much as one of hundreds

    def train() -> None:
        model = compiled_model(workload, data, settings)
        model.fit(data.x[rows], data.y[rows], batch_size=workload.batch_size, epochs=2, verbose=0)

    train()  # what is made at the first use and kept (compiled kernels, tables) is no matter of this network
    peak = traced_peak(train)
    sizes = workload.network.sizes
    parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))
    activations = workload.batch_size * (sizes[0] + 2 * sum(sizes[1:]) + sizes[-1])  # x; z and y of each layer; targets
    return {"peak": peak, "allowed": 4 * ((3 + 2) * parameters + activations)}
