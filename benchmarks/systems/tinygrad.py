"""tinygrad: the step, Adam included, under TinyJit, one for each size of batch. Its compiler on processors is clang."""

from __future__ import annotations

import importlib.metadata
import itertools
from typing import Any

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn
from tinygrad.helpers import NUM_CPU_THREADS

from benchmarks.systems import Runner, Settings, timed
from benchmarks.workloads import BETA_1, BETA_2, EPSILON, Data, Workload


def prepare(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready tinygrad, for networks of dense layers."""
    NUM_CPU_THREADS.value = settings.threads
    Tensor.manual_seed(0)
    rng = np.random.default_rng(0)
    sizes = workload.network.sizes
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes)]
    adam = nn.optim.Adam(nn.state.get_parameters(layers), workload.rate, BETA_1, BETA_2, EPSILON)
    x, y = Tensor(data.x).realize(), Tensor(data.y).realize()
    right, total = Tensor.zeros(1).contiguous().realize(), Tensor.zeros(1).contiguous().realize()
    steps: dict[int, Any] = {}
    predictions: dict[int, Any] = {}

    def logits(x: Tensor) -> Tensor:
        for layer in layers[:-1]:
            x = layer(x).relu() if workload.network.hidden == "relu" else layer(x).tanh()
        return layers[-1](x)

    def step(rows: Tensor) -> None:
        with Context(TRAINING=1):
            x_batch, y_batch = x[rows], y[rows]
            z = logits(x_batch)
            loss = z.binary_crossentropy_logits(y_batch) if workload.loss == "binary" else z.cross_entropy(y_batch)
            adam.zero_grad()
            loss.backward()
            total.assign(total + loss.detach() * rows.shape[0])
            if workload.count:
                right.assign(right + (z.detach().argmax(axis=1) == y_batch.argmax(axis=1)).sum())
            Tensor.realize(total, right, *adam.schedule_step())

    def train_epoch() -> None:
        right.assign(Tensor.zeros(1)).realize()
        total.assign(Tensor.zeros(1)).realize()
        order = rng.permutation(len(data.x)).astype("int32")
        for start in range(0, len(order), workload.batch_size):
            rows = order[start : start + workload.batch_size]
            steps.setdefault(len(rows), TinyJit(step))(Tensor(rows).realize())
        total.item()  # waits

    def probabilities(x: Tensor) -> Tensor:
        z = logits(x)
        return (z.sigmoid() if workload.loss == "binary" else z.softmax()).realize()

    def predict(x: np.ndarray) -> np.ndarray:
        return predictions.setdefault(len(x), TinyJit(probabilities))(Tensor(x).realize()).numpy()

    versions = {"tinygrad": importlib.metadata.version("tinygrad")}
    return Runner(timed(train_epoch), predict, versions, "TinyJit")
