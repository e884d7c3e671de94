"""Keras, on the backend that KERAS_BACKEND names: `fit` on NumPy arrays, as the article has it."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from benchmarks.systems import EpochClock, Runner, Settings
from benchmarks.workloads import BETA_1, BETA_2, CNN, EPSILON, MLP, RNN, Data, Workload

LOSSES = {
    "categorical": "categorical_crossentropy",
    "sparse": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
}


def network_of(network: Any, x: np.ndarray, keras: Any) -> Any:
    """Return the model, not yet compiled."""
    layers = keras.layers
    first = layers.Input(x.shape[1:], dtype=x.dtype)
    if isinstance(network, MLP):
        hidden = [layers.Dense(units, activation=network.hidden) for units in network.sizes[1:-1]]
        return keras.Sequential([first, *hidden, layers.Dense(network.sizes[-1], activation=network.output)])
    if isinstance(network, CNN):
        return keras.Sequential(
            [
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
        )
    if isinstance(network, RNN):
        cell = {"lstm": layers.LSTM, "gru": layers.GRU}[network.cell](network.units)
        return keras.Sequential([first, cell, layers.Dense(10, activation="softmax")])

    positions = keras.ops.arange(network.length)
    y = layers.Embedding(network.characters, network.dim)(first)
    y = y + layers.Embedding(network.length, network.dim)(positions)
    for _ in range(network.blocks):
        h = layers.LayerNormalization(epsilon=1e-5)(y)
        y = y + layers.MultiHeadAttention(network.heads, network.dim // network.heads)(h, h, use_causal_mask=True)
        h = layers.LayerNormalization(epsilon=1e-5)(y)
        y = y + layers.Dense(network.dim)(layers.Dense(4 * network.dim, activation="relu")(h))
    y = layers.Dense(network.characters, activation="softmax")(layers.LayerNormalization(epsilon=1e-5)(y))
    return keras.Model(first, y)


def prepare(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready Keras."""
    backend = importlib.import_module(os.environ["KERAS_BACKEND"])
    if backend.__name__ == "tensorflow":
        limit_threads(backend, settings.threads)
    import keras

    keras.backend.clear_session()  # the model of the workload before
    keras.utils.set_random_seed(0)
    model = network_of(workload.network, data.x, keras)
    adam = keras.optimizers.Adam(learning_rate=workload.rate, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON)
    model.compile(optimizer=adam, loss=LOSSES[workload.loss], metrics=["accuracy"] if workload.count else None)

    class Clock(EpochClock, keras.callbacks.Callback):
        """An EpochClock that fit can use."""

    clock = Clock()

    def train_epoch() -> float:
        model.fit(data.x, data.y, batch_size=workload.batch_size, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds

    def predict(x: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(x))  # predict would build a pipeline for every call

    versions = {"keras": keras.__version__, backend.__name__: backend.__version__}
    return Runner(train_epoch, predict, versions, f"fit, on {backend.__name__}")


def limit_threads(tensorflow: Any, threads: int) -> None:
    """Give TensorFlow its threads; it takes no other number once it has computed."""
    tensorflow.get_logger().setLevel("ERROR")  # it warns of each new model's new functions
    threading = tensorflow.config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
