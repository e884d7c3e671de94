"""Networks to examine: healthy ones, and sick ones with the one thing that is the matter with each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import (
    GRU,
    LSTM,
    ActivityRegularization,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    LayerNormalization,
    Masking,
    MaxPooling2D,
    PositionEmbedding,
    ReLU,
    Residual,
    SimpleRNN,
    TransformerBlock,
)

Case = tuple[tinynn.Sequential, Any, Any]
SPARSE = "sparse_categorical_crossentropy"


def network(*inside: Any, seed: int = 0) -> tinynn.Sequential:
    return tinynn.Sequential(inside, seed=seed, device="cpu")


def compiled(model: tinynn.Sequential, optimizer: Any = "adam", loss: Any = SPARSE) -> tinynn.Sequential:
    model.compile(optimizer, loss)
    return model


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    (x, y), _ = mnist.load_data()
    return x[:2000].reshape(-1, 784).astype("float32") / 255, y[:2000].astype(int)


@cache
def table() -> tuple[np.ndarray, np.ndarray]:
    """500 rows of 8 columns, and a number that is a sum of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 8))
    return x, x @ rng.normal(size=(8, 1)) + 0.1 * rng.normal(size=(500, 1))


@cache
def sequences() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).normal(size=(300, 15, 6))
    return x, (x.sum(axis=(1, 2)) > 0).astype("float32")[:, None]


def padded_sequences() -> np.ndarray:
    x = sequences()[0].copy()
    x[::2, 10:] = -999
    return x


@cache
def tokens() -> np.ndarray:
    """Sequences of 12 tokens and padding."""
    x = np.random.default_rng(2).integers(1, 50, size=(400, 20))
    x[:, 12:] = 0
    return x


def mlp(optimizer: Any = "adam", **options: Any) -> tinynn.Sequential:
    """The article's network."""
    return compiled(network(Input((784,)), Dense(784, "relu"), Dense(10, "softmax", **options)), optimizer)


def deep(*first: Any, **options: Any) -> tinynn.Sequential:
    """Twenty layers of 64 units."""
    return compiled(network(Input((784,)), *(Dense(64, *first, **options) for _ in range(20)), Dense(10, "softmax")))


def regression(last: Any = None, loss: Any = "mse", outputs: int = 1, optimizer: Any = "adam") -> tinynn.Sequential:
    return compiled(network(Input((8,)), Dense(32, "relu"), Dense(outputs, last)), optimizer, loss)


def cnn() -> tinynn.Sequential:
    return compiled(
        network(
            Input((28, 28, 1)), Conv2D(16, 3, activation="relu"), MaxPooling2D(), Conv2D(32, 3, activation="relu"),
            MaxPooling2D(), Flatten(), Dropout(0.5), Dense(10, "softmax"),
        )
    )  # fmt: skip


def images(count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    x, y = digits()
    return x[:count].reshape(-1, 28, 28, 1), y[:count]


def trained(model: tinynn.Sequential, x: Any, y: Any, epochs: int = 3) -> Case:
    model.fit(x, y, epochs=epochs, verbose=0)
    return model, x, y


def one_hot(y: np.ndarray, classes: int) -> np.ndarray:
    return tinynn.to_categorical(y, classes)


def residual_block() -> tinynn.Layer:
    return Residual(
        [
            Conv2D(8, 3, padding="same"),
            BatchNormalization(),
            ReLU(),
            Conv2D(8, 3, padding="same"),
        ]
    )


def signs() -> np.ndarray:
    return np.sign(table()[1])


def counts() -> np.ndarray:
    return np.random.default_rng(3).poisson(np.exp(0.3 * table()[0][:, :1])).astype(float)


def next_tokens() -> np.ndarray:
    return np.roll(tokens(), -1, axis=1)


HEALTHY: dict[str, Callable[[], Case]] = {
    "the article's network": lambda: (mlp(), *digits()),
    "with sgd": lambda: (mlp("sgd"), *digits()),
    "with rmsprop": lambda: (mlp("rmsprop"), *digits()),
    "with a warm-up": lambda: (mlp(tinynn.Adam(tinynn.OneCycle(1e-3, 100))), *digits()),
    "trained": lambda: trained(mlp(), *digits()),
    "one-hot, smoothed": lambda: (
        compiled(network(Input((784,)), Dense(64, "relu"), Dense(10, "softmax")), "adam",
                 tinynn.CategoricalCrossentropy(label_smoothing=0.1)), digits()[0], one_hot(digits()[1], 10),
    ),
    "regularized": lambda: (
        compiled(network(Input((784,)), Dense(64, "relu", kernel_regularizer="l2"), ActivityRegularization(1e-3),
                         Dense(10, "softmax"))), *digits(),
    ),
    "ten relu layers, He": lambda: (
        compiled(network(Input((784,)), *(Dense(64, "relu", kernel_initializer="he_normal") for _ in range(10)),
                         Dense(10, "softmax"))), *digits(),
    ),
    "tanh and sigmoid, mse": lambda: (
        compiled(network(Input((784,)), Dense(128, "tanh"), Dense(10, "sigmoid")), tinynn.SGD(0.1), "mse"),
        digits()[0], one_hot(digits()[1], 10),
    ),
    "cnn": lambda: (cnn(), *images()),
    "cnn, trained": lambda: trained(cnn(), *images(1000), epochs=2),
    "residual blocks": lambda: (
        compiled(network(Input((28, 28, 1)), Conv2D(8, 3, 2), residual_block(), residual_block(),
                         GlobalAveragePooling2D(), Dense(10, "softmax"))), *images(200),
    ),
    "bytes behind a normalization": lambda: (
        compiled(network(Input((784,)), BatchNormalization(), Dense(64, "relu"), Dense(10, "softmax"))),
        255 * digits()[0], digits()[1],
    ),
    "padding of -999 that is masked": lambda: (
        compiled(network(Input((15, 6)), Masking(-999.0), LSTM(16), Dense(1, "sigmoid")), "adam",
                 "binary_crossentropy"), padded_sequences(), sequences()[1],
    ),
    "lstm on rows of images": lambda: (
        compiled(network(Input((28, 28)), LSTM(32), Dense(10, "softmax"))), images(500)[0][..., 0], images(500)[1],
    ),
    "simple rnn": lambda: (
        compiled(network(Input((15, 6)), SimpleRNN(16), Dense(1, "sigmoid")), "adam", "binary_crossentropy"),
        *sequences(),
    ),
    "gru on masked tokens": lambda: (
        compiled(network(Input((20,)), Embedding(50, 16, mask_zero=True), GRU(16), Dense(1, "sigmoid")), "adam",
                 "binary_crossentropy"), tokens(), (tokens()[:, :1] > 25).astype("float32"),
    ),
    "next token, masked": lambda: (
        compiled(network(Input((20,)), Embedding(50, 16, mask_zero=True), LSTM(32, return_sequences=True),
                         Dense(50, "softmax"))), tokens(), next_tokens(),
    ),
    "transformer": lambda: (
        compiled(network(Input((20,)), Embedding(50, 32), PositionEmbedding(20),
                         TransformerBlock(32, 4, use_causal_mask=True, dropout=0.1), LayerNormalization(), Dense(50)),
                 "adam", tinynn.SparseCategoricalCrossentropy(from_logits=True)), tokens(), next_tokens(),
    ),
    "autoencoder": lambda: (
        compiled(network(Input((784,)), Dense(64, "relu"), Dense(784, "sigmoid")), "adam", "binary_crossentropy"),
        digits()[0], digits()[0],
    ),
    "xor": lambda: (
        compiled(network(Input((2,)), Dense(8, "tanh"), Dense(1, "sigmoid"), seed=2), "adam", "binary_crossentropy"),
        np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([[0], [1], [1], [0.0]]),
    ),
    "one linear layer": lambda: (compiled(network(Input((8,)), Dense(1)), "sgd", "mse"), *table()),
    "prices from 0 to 50": lambda: (regression(), table()[0], 5 * table()[1] + 25),
    "regression, trained": lambda: trained(regression(), *table(), epochs=20),
    "mse": lambda: (regression(), *table()),
    "mae": lambda: (regression(loss="mae"), *table()),
    "huber": lambda: (regression(loss="huber"), *table()),
    "log_cosh": lambda: (regression(loss="log_cosh"), *table()),
    "hinge": lambda: (regression(loss="hinge"), table()[0], signs()),
    "squared_hinge": lambda: (regression(loss="squared_hinge"), table()[0], signs()),
    "categorical_hinge": lambda: (
        regression(None, "categorical_hinge", 3), table()[0], one_hot(table()[0][:, :3].argmax(axis=1), 3),
    ),
    "binary_focal_crossentropy": lambda: (
        regression("sigmoid", "binary_focal_crossentropy"), table()[0], (table()[1] > 0).astype(float),
    ),
    "poisson": lambda: (regression("exponential", "poisson"), table()[0], counts()),
    "kl_divergence": lambda: (
        regression("softmax", "kl_divergence", 3), table()[0], np.random.default_rng(4).dirichlet([1, 1, 1], 500),
    ),
    "cosine_similarity": lambda: (regression(None, "cosine_similarity", 3), table()[0], table()[0][:, :3]),
    "ctc": lambda: (
        compiled(network(Input((15, 6)), LSTM(16, return_sequences=True), Dense(5)), "adam", "ctc"),
        sequences()[0], np.random.default_rng(5).integers(1, 5, size=(300, 4)),
    ),
}  # fmt: skip

LARGE = tinynn.RandomNormal(stddev=5.0)
NEGATIVE = tinynn.Constant(-20.0)
ROOT_3 = tinynn.VarianceScaling(scale=3.0)  # every layer makes what goes through it 1.7 times as large

SICK: dict[str, tuple[str, Callable[[], Case]]] = {
    "relu with a bias of -20": ("dead_units", lambda: (
        compiled(network(Input((784,)), Dense(128, "relu", bias_initializer=NEGATIVE), Dense(10, "softmax"))),
        *digits(),
    )),
    "tanh with huge weights": ("saturation", lambda: (
        compiled(network(Input((784,)), Dense(128, "tanh", kernel_initializer=LARGE), Dense(10, "softmax"))),
        *digits(),
    )),
    "twenty layers of sigmoids": ("vanishing_gradients", lambda: (deep("sigmoid"), *digits())),
    "twenty layers of scale 3": ("exploding_gradients", lambda: (deep(kernel_initializer=ROOT_3), *digits())),
    "a rate of 1e-6": ("learning_rate", lambda: (mlp(tinynn.Adam(1e-6)), *digits())),
    "a rate of 10": ("learning_rate", lambda: (mlp(tinynn.Adam(10.0)), *digits())),
    "sgd with a rate of 1e-6": ("learning_rate", lambda: (mlp(tinynn.SGD(1e-6)), *digits())),
    "sgd with a rate of 10": ("learning_rate", lambda: (mlp(tinynn.SGD(10.0)), *digits())),
    "2 % of one class": ("labels", lambda: (
        regression("sigmoid", "binary_crossentropy"), table()[0],
        (table()[1] > np.quantile(table()[1], 0.98)).astype(float),
    )),
    "no digit 3": ("labels", lambda: (mlp(), digits()[0][digits()[1] != 3], digits()[1][digits()[1] != 3])),
    "one-hot, no digit 3": ("labels", lambda: (
        compiled(mlp(), "adam", "categorical_crossentropy"), digits()[0][digits()[1] != 3],
        one_hot(digits()[1][digits()[1] != 3], 10),
    )),
    "bytes from 0 to 255": ("inputs", lambda: (mlp(), (255 * digits()[0]).astype("uint8"), digits()[1])),
    "images of bytes": ("inputs", lambda: (cnn(), 255 * images(500)[0], images(500)[1])),
    "one column of thousands": ("inputs", lambda: (
        regression(), table()[0] * [1, 1, 1, 1000, 1, 1, 1, 1], table()[1],
    )),
    "divided by 255 twice": ("inputs", lambda: (mlp(), digits()[0] / 255, digits()[1])),
    "large weights in the last layer": ("loss_at_start", lambda: (
        compiled(network(Input((784,)), Dense(64, "relu"), Dense(10, "softmax", kernel_initializer=LARGE))),
        *digits(),
    )),
    "a last bias that is sure": ("loss_at_start", lambda: (
        mlp(bias_initializer=tinynn.RandomNormal(stddev=10.0)), *digits(),
    )),
    "targets of hundred thousands": ("targets", lambda: (regression(), table()[0], 1000 * table()[1] + 200_000)),
    "softmax of one output": ("last_layer", lambda: (
        regression("softmax", "binary_crossentropy"), table()[0], (table()[1] > 0).astype(float),
    )),
    "relu before negative targets": ("last_layer", lambda: (regression("relu"), table()[0], table()[1] - 5)),
    "no softmax": ("last_layer", lambda: (
        compiled(network(Input((784,)), Dense(64, "relu"), Dense(10))), *digits(),
    )),
    "softmax twice": ("last_layer", lambda: (
        compiled(mlp(), "adam", tinynn.SparseCategoricalCrossentropy(from_logits=True)), *digits(),
    )),
    "x tells nothing": ("overfit", lambda: (
        compiled(network(Input((8,)), Dense(16, "tanh"), Dense(2, "softmax"))),
        np.ones((200, 8)), np.random.default_rng(6).integers(0, 2, 200),
    )),
}  # fmt: skip
