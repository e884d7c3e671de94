"""The yardstick: the matrix products of each step and nothing else, by NumPy (or CuPy) into arrays made beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.systems import Runner, Settings, timed
from benchmarks.workloads import CNN, MLP, RNN, Data, Transformer, Workload
from tinynn.backend import choose_device

# The factors of a product, and where it goes.
Product = tuple[Any, Any, Any]


def prepare(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready the matrix products of one epoch, and those of a prediction."""
    xp = choose_device(settings.device).xp
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return xp.asarray(rng.normal(scale=0.03, size=shape).astype("float32"))

    def step_of(size: int) -> tuple[list[Product], list[Product]]:
        network = workload.network
        products = {MLP: mlp, CNN: cnn, RNN: rnn, Transformer: transformer}[type(network)]
        pairs = list(products(network, size, array))
        return [product for forward, _ in pairs for product in forward], [p for _, back in pairs for p in back]

    steps = {size: step_of(size) for size in {workload.batch_size, len(data.x) % workload.batch_size} if size}
    predictions = {size: step_of(size)[0] for size in {workload.predict} if size}
    x = xp.asarray(data.x) if isinstance(workload.network, MLP) else None

    def train_epoch() -> None:
        for start in range(0, len(data.x), workload.batch_size):
            forward, backward = steps[min(workload.batch_size, len(data.x) - start)]
            if x is not None:  # the data come from memory, as they do for the others, but as they stand
                forward = [(x[start : start + workload.batch_size], *forward[0][1:]), *forward[1:]]
                backward = [*backward[:-1], (forward[0][0].T, *backward[-1][1:])]
            for a, b, out in (*forward, *backward):
                xp.matmul(a, b, out=out)
        if settings.device == "cuda":
            xp.cuda.get_current_stream().synchronize()

    def predict(batch: np.ndarray) -> np.ndarray:
        for a, b, out in predictions[len(batch)]:
            xp.matmul(a, b, out=out)
        return batch

    versions = {xp.__name__: xp.__version__}
    return Runner(timed(train_epoch), predict, versions, "matrix products alone", learns=False)


def dense(
    rows: int, inputs: int, outputs: int, array: Any, need_dx: bool = True
) -> tuple[list[Product], list[Product]]:
    """Return the products of y = x W and of its backward pass: dx = dy W^T, not in a first layer, and dW = x^T dy."""
    x, W, y = array(rows, inputs), array(inputs, outputs), array(rows, outputs)
    dx = [(y, W.T, array(rows, inputs))] if need_dx else []
    return [(x, W, y)], [*dx, (x.T, y, array(inputs, outputs))]


def mlp(network: MLP, size: int, array: Any) -> Iterator[tuple[list[Product], list[Product]]]:
    """Yield the products of dense layers; the backward passes run from the last to the first."""
    forwards, backwards = [], []
    for at, (inputs, outputs) in enumerate(itertools.pairwise(network.sizes)):
        forward, backward = dense(size, inputs, outputs, array, need_dx=at > 0)
        forwards += forward
        backwards[:0] = backward
    yield forwards, backwards


def cnn(network: CNN, size: int, array: Any) -> Iterator[tuple[list[Product], list[Product]]]:
    """Yield the products of convolutions as of a matrix of windows with the kernel, and of the dense layers."""
    first, second = network.filters
    yield dense(size * 24 * 24, 25, first, array, need_dx=False)
    yield dense(size * 8 * 8, 25 * first, second, array)
    yield dense(size, 16 * second, network.dense, array)
    yield dense(size, network.dense, 10, array)


def rnn(network: RNN, size: int, array: Any) -> Iterator[tuple[list[Product], list[Product]]]:
    """Yield the products of a recurrent layer: one for all inputs, and for each step that with the state."""
    gates = {"lstm": 4, "gru": 3}[network.cell] * network.units
    steps, units = network.steps, network.units
    yield dense(size * steps, network.features, gates, array, need_dx=False)
    h, U, z = array(size, units), array(units, gates), array(size, gates)
    all_h, all_dz = array(size * steps, units), array(size * steps, gates)
    dU = (all_h.T, all_dz, array(units, gates))  # one product for all steps
    yield [(h, U, z)] * steps, [(z, U.T, array(size, units))] * steps + [dU]
    yield dense(size, units, 10, array)


def transformer(network: Transformer, size: int, array: Any) -> Iterator[tuple[list[Product], list[Product]]]:
    """Yield the products of attention and of the dense layers, block by block."""
    rows, dim, length = size * network.length, network.dim, network.length
    heads = (size, network.heads)
    for _ in range(network.blocks):
        yield dense(rows, dim, 3 * dim, array)
        q, k = array(*heads, length, dim // network.heads), array(*heads, length, dim // network.heads)
        p, back = array(*heads, length, length), array(*heads, length, dim // network.heads)
        to_scores, to_values = (q, k.swapaxes(-1, -2), p), (p, k, back)
        yield [to_scores, to_values], [to_scores, (p.swapaxes(-1, -2), k, back), to_values, to_values]
        yield dense(rows, dim, dim, array)
        yield dense(rows, dim, 4 * dim, array)
        yield dense(rows, 4 * dim, dim, array)
    yield dense(rows, dim, network.characters, array)
