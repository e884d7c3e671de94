"""The systems that mnist_mlp.py compares: each prepares the same network and trains one epoch of it at a time.

Other libraries are imported only by the function that prepares them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input

INPUTS, HIDDEN, CLASSES = 784, 784, 10
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7  # Keras's defaults, given to every system
ALL_SAMPLES = 60_000


@dataclass(frozen=True)
class Settings:
    """What every process is told."""

    batch_size: int
    samples: int
    threads: int


@dataclass(frozen=True)
class Data:
    """MNIST in memory: images as float32 from 0 to 1, one a row; training targets one-hot, and as class numbers."""

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray


def load_data(samples: int) -> Data:
    """Return MNIST with the first `samples` of the training images."""
    (x, labels), (x_test, labels_test) = mnist.load_data()
    x, labels = x[:samples], labels[:samples]
    return Data(
        x=x.reshape(-1, INPUTS).astype("float32") / 255,
        y=tinynn.to_categorical(labels, CLASSES),
        labels=labels,
        x_test=x_test.reshape(-1, INPUTS).astype("float32") / 255,
        labels_test=labels_test,
    )


@dataclass
class Runner:
    """A system made ready: how to train one epoch, and how to classify the test images.

    Attributes
    ----------
    train_epoch : callable
        Train one epoch over shuffled batches and return its seconds. The work is then done, not merely queued.
    predict : callable or None
        Return the class numbers of the test images; None where nothing is learned.
    versions : dict of str
        Library names and their versions.
    how : str
        What runs, in a few words.
    """

    train_epoch: Callable[[], float]
    predict: Callable[[], np.ndarray] | None
    versions: dict[str, str]
    how: str


def timed(function: Callable[[], None]) -> Callable[[], float]:
    """Return a function that calls `function` and returns the seconds it took."""

    def call() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return call


class EpochClock:
    """Half of a callback for `fit`: times an epoch from its begin to its end.

    What fit does once a call (checking the data, taking them over) is left out, for an epoch would not repeat it. In
    Keras on TensorFlow it is a copy of all the data, and here there is one call for each epoch.
    """

    start = seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def prepare_products(data: Data, settings: Settings) -> Runner:
    """Make ready the matrix products of one epoch and nothing else: the yardstick."""
    rng = np.random.default_rng(0)
    size = settings.batch_size
    W1 = rng.normal(scale=0.03, size=(INPUTS, HIDDEN)).astype("float32")
    W2 = rng.normal(scale=0.03, size=(HIDDEN, CLASSES)).astype("float32")
    dz = rng.normal(scale=0.01, size=(size, CLASSES)).astype("float32")
    h, dh = np.empty((size, HIDDEN), "float32"), np.empty((size, HIDDEN), "float32")
    z = np.empty((size, CLASSES), "float32")
    dW1, dW2 = np.empty_like(W1), np.empty_like(W2)

    def train_epoch() -> None:
        for start in range(0, len(data.x), size):
            x = data.x[start : start + size]  # as the rows stand: shuffling would copy them
            n = len(x)  # the last batch is smaller
            np.matmul(x, W1, out=h[:n])
            np.matmul(h[:n], W2, out=z[:n])
            np.matmul(h[:n].T, dz[:n], out=dW2)
            np.matmul(dz[:n], W2.T, out=dh[:n])
            np.matmul(x.T, dh[:n], out=dW1)

    return Runner(timed(train_epoch), None, {"numpy": np.__version__}, "matrix products alone")


def prepare_tinynn(data: Data, settings: Settings) -> Runner:
    """Make ready tinynn."""
    model = tinynn.Sequential(
        [Input((INPUTS,)), Dense(HIDDEN, activation="relu"), Dense(CLASSES, activation="softmax")],
        device="cpu",
        seed=0,
    )
    adam = tinynn.Adam(learning_rate=LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON)
    model.compile(optimizer=adam, loss="categorical_crossentropy", metrics=["accuracy"])

    class Clock(EpochClock, tinynn.Callback):
        """An EpochClock that fit can use."""

    clock = Clock()

    def train_epoch() -> float:
        model.fit(data.x, data.y, batch_size=settings.batch_size, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds

    def predict() -> np.ndarray:
        return model.predict(data.x_test).argmax(axis=1)

    return Runner(train_epoch, predict, {"tinynn": tinynn.__version__, "numpy": np.__version__}, "fit")


def prepare_torch(data: Data, settings: Settings) -> Runner:
    """Make ready PyTorch: eager, with the loop its users write, and data in tensors rather than in a slower loader."""
    import torch

    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    x, y, x_test = (torch.from_numpy(array) for array in (data.x, data.y, data.x_test))
    model = torch.nn.Sequential(torch.nn.Linear(INPUTS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES))
    cross_entropy = torch.nn.CrossEntropyLoss()
    arguments: dict[str, Any] = {"lr": LEARNING_RATE, "betas": (BETA_1, BETA_2), "eps": EPSILON}
    try:
        adam = torch.optim.Adam(model.parameters(), fused=True, **arguments)
        how = "eager, fused Adam"
    except RuntimeError:  # before PyTorch 2.4 the fused Adam was for GPUs alone
        adam = torch.optim.Adam(model.parameters(), **arguments)
        how = "eager, Adam not fused"

    def train_epoch() -> None:
        right, total = torch.zeros((), dtype=torch.long), torch.zeros(())
        for rows in torch.randperm(len(x)).split(settings.batch_size):
            x_batch, y_batch = x[rows], y[rows]
            z = model(x_batch)
            loss = cross_entropy(z, y_batch)
            adam.zero_grad()
            loss.backward()
            adam.step()
            right += (z.detach().argmax(dim=1) == y_batch.argmax(dim=1)).sum()
            total += loss.detach() * len(rows)

    def predict() -> np.ndarray:
        with torch.no_grad():
            return model(x_test).argmax(dim=1).numpy()

    return Runner(timed(train_epoch), predict, {"torch": torch.__version__}, how)


def prepare_jax(data: Data, settings: Settings) -> Runner:
    """Make ready JAX: one compiled function for the whole step, Adam included, that reuses its buffers."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    x, y, x_test = (jnp.asarray(array) for array in (data.x, data.y, data.x_test))

    def layer(inputs: int, outputs: int) -> dict[str, Any]:
        limit = math.sqrt(6 / (inputs + outputs))
        W = rng.uniform(-limit, limit, (inputs, outputs)).astype("float32")
        return {"W": jnp.asarray(W), "b": jnp.zeros(outputs, "float32")}

    def logits(params: Any, x: Any) -> Any:
        first, second = params
        h = jax.nn.relu(x @ first["W"] + first["b"])
        return h @ second["W"] + second["b"]

    def loss(params: Any, x: Any, y: Any) -> tuple[Any, Any]:
        z = logits(params, x)
        return -(y * jax.nn.log_softmax(z)).sum(axis=1).mean(), z

    def step(state: dict[str, Any], x: Any, y: Any, rows: Any) -> dict[str, Any]:
        x_batch, y_batch = x[rows], y[rows]
        (L, z), grads = jax.value_and_grad(loss, has_aux=True)(state["params"], x_batch, y_batch)
        t = state["t"] + 1
        rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, state["m"], grads)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, state["v"], grads)
        params = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), state["params"], m, v)
        right = state["right"] + (z.argmax(axis=1) == y_batch.argmax(axis=1)).sum()
        total = state["total"] + L * len(rows)
        return {"params": params, "m": m, "v": v, "t": t, "right": right, "total": total}

    compiled_step = jax.jit(step, donate_argnums=0)
    params = (layer(INPUTS, HIDDEN), layer(HIDDEN, CLASSES))
    state: dict[str, Any] = {
        "params": params,
        "m": jax.tree.map(jnp.zeros_like, params),
        "v": jax.tree.map(jnp.zeros_like, params),
        "t": jnp.zeros((), "float32"),
    }

    def train_epoch() -> None:
        nonlocal state
        state |= {"right": jnp.zeros((), "int32"), "total": jnp.zeros((), "float32")}
        order = rng.permutation(len(x)).astype("int32")
        for start in range(0, len(x), settings.batch_size):
            state = compiled_step(state, x, y, order[start : start + settings.batch_size])
        jax.block_until_ready(state)  # steps are queued; an epoch ends when they are done

    def predict() -> np.ndarray:
        return np.asarray(logits(state["params"], x_test).argmax(axis=1))

    return Runner(timed(train_epoch), predict, {"jax": jax.__version__}, "compiled step")


def prepare_keras(data: Data, settings: Settings) -> Runner:
    """Make ready Keras on TensorFlow, as the article has it: fit on NumPy arrays."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((INPUTS,)),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    adam = keras.optimizers.Adam(learning_rate=LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON)
    model.compile(optimizer=adam, loss="categorical_crossentropy", metrics=["accuracy"])

    class Clock(EpochClock, keras.callbacks.Callback):
        """An EpochClock that fit can use."""

    clock = Clock()

    def train_epoch() -> float:
        model.fit(data.x, data.y, batch_size=settings.batch_size, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds

    def predict() -> np.ndarray:
        return model.predict(data.x_test, batch_size=1024, verbose=0).argmax(axis=1)

    return Runner(train_epoch, predict, {"keras": keras.__version__, "tensorflow": tf.__version__}, "fit")


def prepare_sklearn(data: Data, settings: Settings) -> Runner:
    """Make ready scikit-learn, whose partial_fit makes one epoch of shuffled batches and keeps Adam's memory.

    (fit with warm_start would forget that memory at every call.) It takes class numbers and writes them one-hot
    itself, and checks the data, once a call: a few hundredths of its epoch. It does not count the right answers.
    """
    import sklearn
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (HIDDEN,),
        solver="adam",
        alpha=0.0,  # no weight decay: the other systems have none
        batch_size=settings.batch_size,
        learning_rate_init=LEARNING_RATE,
        beta_1=BETA_1,
        beta_2=BETA_2,
        epsilon=EPSILON,
        random_state=0,
    )
    classes = np.arange(CLASSES)

    def train_epoch() -> None:
        model.partial_fit(data.x, data.labels, classes=classes)

    def predict() -> np.ndarray:
        return model.predict(data.x_test)

    return Runner(timed(train_epoch), predict, {"scikit-learn": sklearn.__version__}, "partial_fit")


# Each system: the modules it needs, and the function that makes it ready.
SYSTEMS: dict[str, tuple[tuple[str, ...], Callable[[Data, Settings], Runner]]] = {
    "products": ((), prepare_products),
    "tinynn": ((), prepare_tinynn),
    "torch": (("torch",), prepare_torch),
    "jax": (("jax",), prepare_jax),
    "keras-tensorflow": (("keras", "tensorflow"), prepare_keras),
    "sklearn": (("sklearn",), prepare_sklearn),
}
