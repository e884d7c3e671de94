"""JAX: the whole step, Adam included, as one compiled function that reuses its buffers; or the whole epoch (scan)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.systems import Runner, Settings, timed
from benchmarks.workloads import BETA_1, BETA_2, CNN, EPSILON, MLP, RNN, Data, Transformer, Workload

# A network is three things: parameters, running averages, and a function (params, averages, x, key) -> (z, averages)
# that trains if it gets a key for its random numbers.
Forward = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def glorot(rng: np.random.Generator, *shape: int, fans: tuple[int, int] | None = None) -> Any:
    """Return Glorot's uniform initial weights."""
    limit = math.sqrt(6 / sum(fans or shape))
    return jnp.asarray(rng.uniform(-limit, limit, shape).astype("float32"))


def dense(rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
    """Return the parameters of a dense layer."""
    return {"W": glorot(rng, inputs, outputs), "b": jnp.zeros(outputs)}


def apply(layer: dict[str, Any], x: Any) -> Any:
    """Return x W + b."""
    return x @ layer["W"] + layer["b"]


def mlp(network: MLP, rng: np.random.Generator) -> tuple[Any, Any, Forward]:
    """Return dense layers."""
    params = [dense(rng, *sizes) for sizes in itertools.pairwise(network.sizes)]
    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[network.hidden]

    def forward(params: Any, averages: Any, x: Any, key: Any) -> tuple[Any, Any]:
        for layer in params[:-1]:
            x = activation(apply(layer, x))
        return apply(params[-1], x), averages

    return params, {}, forward


def cnn(network: CNN, rng: np.random.Generator) -> tuple[Any, Any, Forward]:
    """Return the convolutional network."""
    first, second = network.filters
    momentum = network.momentum
    params = {
        "K1": glorot(rng, 5, 5, 1, first, fans=(25, 25 * first)),
        "K2": glorot(rng, 5, 5, first, second, fans=(25 * first, 25 * second)),
        "norms": [{"gamma": jnp.ones(size), "beta": jnp.zeros(size)} for size in network.filters],
        "dense": [dense(rng, 16 * second, network.dense), dense(rng, network.dense, 10)],
    }
    averages = [{"mean": jnp.zeros(size), "variance": jnp.ones(size)} for size in network.filters]

    def block(K: Any, norm: Any, average: Any, x: Any, training: bool) -> tuple[Any, Any]:
        z = jax.lax.conv_general_dilated(x, K, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        if training:
            mean, variance = z.mean(axis=(0, 1, 2)), z.var(axis=(0, 1, 2))
            average = jax.tree.map(
                lambda old, new: momentum * old + (1 - momentum) * new, average, {"mean": mean, "variance": variance}
            )
        else:
            mean, variance = average["mean"], average["variance"]
        y = jax.nn.relu((z - mean) * (jax.lax.rsqrt(variance + network.epsilon) * norm["gamma"]) + norm["beta"])
        return jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), average

    def drop(x: Any, rate: float, key: Any) -> Any:
        return x if key is None else jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)

    def forward(params: Any, averages: Any, x: Any, key: Any) -> tuple[Any, Any]:
        keys = (None, None) if key is None else jax.random.split(key)
        x, one = block(params["K1"], params["norms"][0], averages[0], x, key is not None)
        x, two = block(params["K2"], params["norms"][1], averages[1], x, key is not None)
        x = drop(x.reshape(len(x), -1), network.drop[0], keys[0])
        x = drop(jax.nn.relu(apply(params["dense"][0], x)), network.drop[1], keys[1])
        return apply(params["dense"][1], x), [one, two]

    return params, averages, forward


def rnn(network: RNN, rng: np.random.Generator) -> tuple[Any, Any, Forward]:
    """Return the recurrent network: one product for all inputs, then a scan over the steps."""
    units = network.units
    gates = 4 if network.cell == "lstm" else 3
    orthogonal = np.linalg.qr(rng.normal(size=(gates * units, units)))[0].T
    b = np.zeros(gates * units, "float32")
    if network.cell == "lstm":
        b[units : 2 * units] = 1  # the gate that forgets begins open
    params = {
        "cell": {
            "W": glorot(rng, network.features, gates * units),
            "U": jnp.asarray(orthogonal.astype("float32")),
            "b": jnp.asarray(b),
            "recurrent b": jnp.zeros(gates * units),
        },
        "dense": dense(rng, units, 10),
    }
    if network.cell == "lstm":
        del params["cell"]["recurrent b"]

    def lstm(cell: Any, state: Any, x: Any) -> tuple[Any, None]:
        h, c = state
        i, f, g, o = jnp.split(x + h @ cell["U"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(cell: Any, state: Any, x: Any) -> tuple[Any, None]:
        (h,) = state
        xz, xr, xh = jnp.split(x, 3, axis=1)
        hz, hr, hh = jnp.split(h @ cell["U"] + cell["recurrent b"], 3, axis=1)
        z = jax.nn.sigmoid(xz + hz)
        return (z * h + (1 - z) * jnp.tanh(xh + jax.nn.sigmoid(xr + hr) * hh),), None

    step, states = (lstm, 2) if network.cell == "lstm" else (gru, 1)

    def forward(params: Any, averages: Any, x: Any, key: Any) -> tuple[Any, Any]:
        inputs = apply(params["cell"], x.swapaxes(0, 1))  # (steps, batch, gates)
        start = (jnp.zeros((x.shape[0], units)),) * states
        state, _ = jax.lax.scan(partial(step, params["cell"]), start, inputs)
        return apply(params["dense"], state[0]), averages

    return params, {}, forward


def transformer(network: Transformer, rng: np.random.Generator) -> tuple[Any, Any, Forward]:
    """Return the character transformer."""
    dim, heads = network.dim, network.heads

    def norm() -> dict[str, Any]:
        return {"gamma": jnp.ones(dim), "beta": jnp.zeros(dim)}

    params = {
        "characters": jnp.asarray(rng.uniform(-0.05, 0.05, (network.characters, dim)).astype("float32")),
        "positions": glorot(rng, network.length, dim),
        "blocks": [
            {
                "norms": [norm(), norm()],
                "qkv": dense(rng, dim, 3 * dim),
                "out": dense(rng, dim, dim),
                "up": dense(rng, dim, 4 * dim),
                "down": dense(rng, 4 * dim, dim),
            }
            for _ in range(network.blocks)
        ],
        "norm": norm(),
        "dense": dense(rng, dim, network.characters),
    }

    def normalize(layer: Any, x: Any) -> Any:
        mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["gamma"] + layer["beta"]

    def forward(params: Any, averages: Any, x: Any, key: Any) -> tuple[Any, Any]:
        x = params["characters"][x] + params["positions"]
        for block in params["blocks"]:
            qkv = apply(block["qkv"], normalize(block["norms"][0], x)).reshape(*x.shape[:2], 3, heads, dim // heads)
            seen = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)
            x = x + apply(block["out"], seen.reshape(x.shape))
            x = x + apply(block["down"], jax.nn.relu(apply(block["up"], normalize(block["norms"][1], x))))
        return apply(params["dense"], normalize(params["norm"], x)), averages

    return params, {}, forward


NETWORKS: dict[type, Callable[..., tuple[Any, Any, Forward]]] = {
    MLP: mlp,
    CNN: cnn,
    RNN: rnn,
    Transformer: transformer,
}


def cross_entropy(loss: str, z: Any, y: Any) -> Any:
    """Return the mean cross-entropy of logits."""
    if loss == "binary":
        return (jax.nn.softplus(z) - y * z).mean()
    logs = jax.nn.log_softmax(z)
    if loss == "sparse":
        return -jnp.take_along_axis(logs, y[..., None], axis=-1).mean()
    return -(y * logs).sum(axis=-1).mean()


class Training:
    """What the two ways of running share: data on the device, the state, and the step."""

    def __init__(self, workload: Workload, data: Data, settings: Settings) -> None:
        precision = "tensorfloat32" if settings.precision == "tf32" else "highest"
        jax.config.update("jax_default_matmul_precision", precision)
        jax.config.update("jax_platforms", settings.device)
        self.rng, self.workload = np.random.default_rng(0), workload
        self.x, self.y = jnp.asarray(data.x), jnp.asarray(data.y)
        params, averages, self.forward = NETWORKS[type(workload.network)](workload.network, self.rng)
        self.state: dict[str, Any] = {
            "params": params,
            "averages": averages,
            "m": jax.tree.map(jnp.zeros_like, params),
            "v": jax.tree.map(jnp.zeros_like, params),
            "t": jnp.zeros(()),
            "key": jax.random.key(0),
        }
        last = jax.nn.sigmoid if workload.loss == "binary" else jax.nn.softmax
        self.probabilities = jax.jit(lambda params, averages, x: last(self.forward(params, averages, x, None)[0]))

    def step(self, state: Any, x: Any, y: Any, rows: Any) -> Any:
        """Return the state after one step on these rows."""
        x_batch, y_batch = x[rows], y[rows]
        key, mine = jax.random.split(state["key"])

        def loss(params: Any) -> tuple[Any, Any]:
            z, averages = self.forward(params, state["averages"], x_batch, mine)
            return cross_entropy(self.workload.loss, z, y_batch), (z, averages)

        (L, (z, averages)), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
        t = state["t"] + 1
        rate = self.workload.rate * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, state["m"], grads)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, state["v"], grads)
        params = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), state["params"], m, v)
        total, right = state["total"] + L * len(rows), state["right"]
        if self.workload.count:
            classes = y_batch.argmax(axis=-1) if y_batch.ndim == z.ndim else y_batch
            right = right + (z.argmax(axis=-1) == classes).sum()
        rest = {"averages": averages, "t": t, "key": key, "total": total, "right": right}
        return {"params": params, "m": m, "v": v, **rest}

    def begin(self) -> np.ndarray:
        """Return an order of the samples, drawn anew, and begin to count."""
        self.state |= {"right": jnp.zeros((), "int32"), "total": jnp.zeros(())}
        return self.rng.permutation(len(self.x)).astype("int32")

    def runner(self, train_epoch: Callable[[], None], how: str) -> Runner:
        """Return the runner."""

        def predict(x: np.ndarray) -> np.ndarray:
            return np.asarray(self.probabilities(self.state["params"], self.state["averages"], x))

        return Runner(timed(train_epoch), predict, {"jax": jax.__version__}, how)


def prepare_step(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready JAX with one compiled function for the step."""
    training = Training(workload, data, settings)
    step = jax.jit(training.step, donate_argnums=0)

    def train_epoch() -> None:
        order = training.begin()
        for start in range(0, len(order), workload.batch_size):
            rows = order[start : start + workload.batch_size]
            training.state = step(training.state, training.x, training.y, rows)
        jax.block_until_ready(training.state)  # steps are queued; an epoch ends when they are done

    return training.runner(train_epoch, "compiled step")


def prepare_epoch(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready JAX with one compiled function for all whole batches of an epoch, a scan over their rows."""
    training = Training(workload, data, settings)
    step = jax.jit(training.step, donate_argnums=0)
    size = workload.batch_size

    @partial(jax.jit, donate_argnums=0)
    def steps(state: Any, x: Any, y: Any, batches: Any) -> Any:
        return jax.lax.scan(lambda state, rows: (training.step(state, x, y, rows), None), state, batches)[0]

    def train_epoch() -> None:
        order = training.begin()
        whole = len(order) // size * size
        training.state = steps(training.state, training.x, training.y, order[:whole].reshape(-1, size))
        if whole < len(order):
            training.state = step(training.state, training.x, training.y, order[whole:])
        jax.block_until_ready(training.state)

    return training.runner(train_epoch, "compiled epoch (scan)")
