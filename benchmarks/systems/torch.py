"""PyTorch: eager with the loop its users write, compiled, and on CUDA the whole step as one captured graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.systems import Runner, Settings, timed
from benchmarks.workloads import BETA_1, BETA_2, CNN, EPSILON, MLP, RNN, Data, Workload

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Recurrent(nn.Module):
    """LSTM or GRU, and a linear layer on its last step."""

    def __init__(self, network: RNN) -> None:
        super().__init__()
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[network.cell]
        self.cell = cell(network.features, network.units, batch_first=True)
        self.linear = nn.Linear(network.units, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.linear(self.cell(x)[0][:, -1])


class CharacterTransformer(nn.Module):
    """Embeddings of characters and places, causal blocks, normalization, and a linear layer."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.characters = nn.Embedding(network.characters, network.dim)
        self.positions = nn.Parameter(0.02 * torch.randn(network.length, network.dim))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                network.dim, network.heads, 4 * network.dim, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(network.blocks)
        )
        self.norm = nn.LayerNorm(network.dim)
        self.linear = nn.Linear(network.dim, network.characters)
        nn.init.normal_(self.characters.weight, std=0.02)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(network.length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next character at each step."""
        x = self.characters(x) + self.positions
        for block in self.blocks:
            x = block(x, src_mask=self.mask, is_causal=True)
        return self.linear(self.norm(x))


def network_of(network: Any) -> nn.Module:
    """Return the network; it gives logits."""
    if isinstance(network, MLP):
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(network.sizes):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[network.hidden]()]
        return nn.Sequential(*layers[:-1])
    if isinstance(network, CNN):
        first, second = network.filters
        norms = [nn.BatchNorm2d(size, network.epsilon, 1 - network.momentum) for size in network.filters]
        return nn.Sequential(
            *(nn.Conv2d(1, first, 5, bias=False), norms[0], nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(first, second, 5, bias=False), norms[1], nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(network.drop[0]), nn.Linear(16 * second, network.dense), nn.ReLU()),
            *(nn.Dropout(network.drop[1]), nn.Linear(network.dense, 10)),
        )
    return Recurrent(network) if isinstance(network, RNN) else CharacterTransformer(network)


class Training:
    """What the three ways of running share: data in tensors, the network, its loss and fused Adam."""

    def __init__(self, workload: Workload, data: Data, settings: Settings, **options: Any) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(0)
        tf32 = settings.precision == "tf32"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        self.device, self.images = torch.device(settings.device), isinstance(workload.network, CNN)
        self.x, self.y = self.inputs(data.x), torch.tensor(data.y, device=self.device)
        self.loss = nn.BCEWithLogitsLoss() if workload.loss == "binary" else nn.CrossEntropyLoss()
        if workload.loss == "sparse":
            self.y = self.y.long()
        self.sigmoid, self.count = workload.loss == "binary", workload.count
        self.model = network_of(workload.network).to(self.device)
        self.adam = torch.optim.Adam(
            self.model.parameters(), workload.rate, (BETA_1, BETA_2), EPSILON, fused=True, **options
        )
        self.batch_size = workload.batch_size
        self.right = torch.zeros((), dtype=torch.long, device=self.device)
        self.total = torch.zeros((), device=self.device)

    def inputs(self, x: np.ndarray) -> torch.Tensor:
        """Return inputs on the device, images with their channels first."""
        if self.images:
            x = np.moveaxis(x, -1, 1)
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.device)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and loss."""
        z = self.model(x)
        # The classes of each step of sequences are the second axis to CrossEntropyLoss; flattened it is the same mean.
        return z, self.loss(z.flatten(0, -2), y.flatten(0, -2) if y.ndim == z.ndim else y.flatten())

    def step(self, forward: Callable[..., Any], rows: torch.Tensor) -> None:
        """Do one step on these rows, and count loss and right answers."""
        x, y = self.x[rows], self.y[rows]
        z, loss = forward(x, y)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.total += loss.detach() * len(rows)
        if self.count:
            classes = y.argmax(dim=1) if y.ndim == z.ndim else y
            self.right += (z.detach().argmax(dim=-1) == classes).sum()

    def order(self) -> tuple[torch.Tensor, ...]:
        """Return the rows of each batch of an epoch, drawn anew, and begin to count."""
        self.model.train()
        self.right.zero_()
        self.total.zero_()
        return torch.randperm(len(self.x), device=self.device).split(self.batch_size)

    def end(self) -> None:
        """Wait until all is done, and read the counts."""
        self.total.item()
        self.right.item()

    def runner(self, train_epoch: Callable[[], None], how: str, model: Any = None) -> Runner:
        """Return the runner whose predictions are those of `model`."""

        def predict(x: np.ndarray) -> np.ndarray:
            self.model.eval()
            with torch.inference_mode():
                z = (self.model if model is None else model)(self.inputs(x))
                return (z.sigmoid() if self.sigmoid else z.softmax(dim=-1)).cpu().numpy()

        return Runner(timed(train_epoch), predict, {"torch": torch.__version__}, how)


def prepare(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready eager PyTorch."""
    training = Training(workload, data, settings)

    def train_epoch() -> None:
        for rows in training.order():
            training.step(training.forward, rows)
        training.end()

    return training.runner(train_epoch, "eager, fused Adam")


def prepare_compiled(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready PyTorch with forward and backward pass compiled, for each size of batch by itself."""
    torch._dynamo.reset()  # what was compiled for the workload before counts against a limit
    training = Training(workload, data, settings)
    forward = torch.compile(training.forward, dynamic=False)
    model = torch.compile(training.model, dynamic=False)

    def train_epoch() -> None:
        for rows in training.order():
            training.step(forward, rows)
        training.end()

    return training.runner(train_epoch, "torch.compile, fused Adam", model)


def prepare_graph(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready PyTorch with the whole step, gathering and Adam included, captured as one CUDA graph."""
    training = Training(workload, data, settings, capturable=True)
    rows = torch.arange(workload.batch_size, device=training.device)  # the graph reads them here
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # some steps before the capture, as PyTorch's manual asks for
        for _ in range(3):
            training.step(training.forward, rows)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        training.step(training.forward, rows)

    def train_epoch() -> None:
        for batch in training.order():
            if len(batch) == len(rows):
                rows.copy_(batch)
                graph.replay()
            else:
                training.step(training.forward, batch)  # the last, smaller batch
        training.end()

    return training.runner(train_epoch, "the step as a CUDA graph")
