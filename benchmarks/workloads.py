"""The workloads: which network, on which data, in batches of what size, and what it must have learned at the end.

Everything a system needs to know stands in a `Workload`; the systems build the networks in their own ways.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pydoc_data.topics import topics

import numpy as np

import tinynn
from tinynn.datasets import mnist

# Adam with Keras's defaults, given to every system.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


# The networks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MLP:
    """Dense layers: sizes from input to output, the activation between them, and the one at the end."""

    sizes: tuple[int, ...]
    hidden: str = "relu"
    output: str = "softmax"


@dataclass(frozen=True)
class CNN:
    """That of examples/mnist_cnn.py: twice convolution 5 x 5, batch normalization, ReLU, pooling; then two Dense.

    The running averages move faster than in the example, for there are fewer steps.
    """

    filters: tuple[int, int] = (16, 32)
    momentum: float = 0.9
    epsilon: float = 1e-3
    dense: int = 128
    drop: tuple[float, float] = (0.25, 0.4)


@dataclass(frozen=True)
class RNN:
    """One recurrent layer that reads (steps, features), and Dense(10) with softmax on its last step."""

    cell: str
    steps: int
    features: int = 28
    units: int = 128


@dataclass(frozen=True)
class Transformer:
    """That of examples/char_transformer.py: causal, norm first, ReLU; it predicts the next character at each step."""

    characters: int
    length: int = 64
    dim: int = 128
    heads: int = 4
    blocks: int = 2


# The data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Everything in memory: inputs and targets as the loss wants them; test inputs with their class numbers."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray


@functools.cache
def images() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return MNIST as it is stored."""
    return mnist.load_data()


def digits(samples: int, shape: tuple[int, ...], one_hot: bool, tests: int = 10_000) -> Data:
    """Return MNIST as float32 from 0 to 1, each image in this shape."""
    (x, labels), (x_test, labels_test) = images()
    x, x_test = (array.reshape(-1, *shape).astype("float32") / 255 for array in (x[:samples], x_test[:tests]))
    y = tinynn.to_categorical(labels[:samples], 10) if one_hot else labels[:samples].astype("int32")
    return Data(x, y, x_test, labels_test[:tests])


def xor(samples: int) -> Data:
    """Return the four rows of the exclusive or, again and again."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    labels = np.array([0, 1, 1, 0])
    times = samples // 4
    return Data(np.tile(x, (times, 1)), np.tile(labels[:, None].astype("float32"), (times, 1)), x, labels)


@functools.cache
def text() -> tuple[int, np.ndarray]:
    """Return Python's own documentation as numbers, and how many different characters there are."""
    characters, numbers = np.unique(list("\n\n".join(topics[name] for name in sorted(topics))), return_inverse=True)
    return len(characters), numbers.astype("int32")


def windows(samples: int, length: int) -> Data:
    """Return pieces of the text, and for each of their characters the one that follows."""
    _, numbers = text()
    pieces = np.lib.stride_tricks.sliding_window_view(numbers, length + 1)
    train = np.ascontiguousarray(pieces[: len(pieces) * 9 // 10][:: length // 4][:samples])
    test = np.ascontiguousarray(pieces[len(pieces) * 9 // 10 :][::length][:100])
    return Data(train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:])


def noise(samples: int, features: int) -> Data:
    """Return random numbers in random classes: for measuring time and memory only."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(samples, features)).astype("float32"), rng.integers(0, 10, samples)
    return Data(x, tinynn.to_categorical(labels, 10), x[:16], labels[:16])


# The workloads -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """One measurement.

    Attributes
    ----------
    number, name : int, str
        Its group, which ``--workloads`` chooses, and its name.
    network : MLP, CNN, RNN or Transformer
    load : function
        Given the number of samples, returns the data.
    samples, quick_samples : int
        How many samples a turn goes through; and with ``--quick``.
    batch_size : int
    loss : {"categorical", "sparse", "binary"}
        Cross-entropy, as Keras names it.
    rate : float
        Of Adam.
    count : bool
        Whether the right answers are counted while training, as the examples do.
    least : float or None
        The accuracy on the test data that a system must reach; None: outputs must be finite.
    warm_up : int
        Epochs before the first turn that counts. Things are compiled in them.
    predict, predictions : int or None, int
        If given, a turn is no epoch but so many predictions, for so many samples at a time.
    memory : {None, "bound", "resident"}
        Whether to measure the peak of memory: NumPy's, against the bound; or the process's.
    large : bool
        Whether ``--quick`` leaves it out.
    """

    number: int
    name: str
    network: MLP | CNN | RNN | Transformer
    load: Callable[[int], Data]
    samples: int
    quick_samples: int
    batch_size: int
    loss: str
    rate: float = 1e-3
    count: bool = True
    least: float | None = None
    warm_up: int = 1
    predict: int | None = None
    predictions: int = 0
    memory: str | None = None
    large: bool = False

    @property
    def steps(self) -> int:
        """How many steps or predictions a turn makes."""
        return self.predictions or -(-self.samples // self.batch_size)

    def quick(self) -> Workload:
        """Return a small one, for trying out: no accuracy is asked for but that outputs are finite."""
        few = min(self.predictions, 5)
        return replace(self, samples=self.quick_samples, least=None, warm_up=1, predictions=few)


def flat(samples: int) -> Data:
    """Return the images as rows, with one-hot targets."""
    return digits(samples, (784,), one_hot=True)


def sequences(steps: int) -> Callable[[int], Data]:
    """Return a function that loads the images as sequences of their rows, each again and again if there are more."""
    rows = np.arange(steps) * 28 // steps

    def load(samples: int) -> Data:
        data = digits(samples, (28, 28), one_hot=False, tests=2000)
        return replace(data, x=data.x[:, rows], x_test=data.x_test[:, rows])

    return load


ARTICLE = MLP((784, 784, 10))

WORKLOADS = [
    Workload(1, "1 mlp", ARTICLE, flat, 60_000, 2_560, 128, "categorical", least=0.96, memory="bound"),
    *(
        Workload(
            2,
            f"2 tanh-sigmoid {hidden}",
            MLP((784, hidden, 10), "tanh", "sigmoid"),
            flat,
            samples,
            640,
            32,
            "binary",
            least=least,
        )
        for hidden, samples, least in ((16, 9_600, 0.84), (128, 6_400, 0.88), (1024, 3_200, 0.88))
    ),
    Workload(3, "3 xor", MLP((2, 8, 1), "tanh", "sigmoid"), xor, 2_000, 400, 4, "binary", 0.02, count=False, least=1.0),
    Workload(
        4,
        "4 cnn",
        CNN(),
        lambda samples: digits(samples, (28, 28, 1), False, 2000),
        2_560,
        128,
        64,
        "sparse",
        0.002,
        least=0.9,
    ),
    *(
        Workload(
            5,
            f"5 {cell} T={steps}",
            RNN(cell, steps),
            sequences(steps),
            samples,
            128,
            128,
            "sparse",
            0.003,
            least=least,
        )
        for cell, steps, samples, least in (
            ("lstm", 28, 1_280, 0.5),
            ("lstm", 100, 1_280, 0.15),
            ("gru", 28, 1_280, 0.5),
            ("gru", 100, 1_280, 0.15),
        )
    ),
    Workload(
        6,
        "6 transformer",
        Transformer(text()[0]),
        lambda samples: windows(samples, 64),
        320,
        64,
        32,
        "sparse",
        0.003,
        count=False,
        least=0.2,
    ),
    *(
        Workload(
            7,
            f"7 predict {size}",
            ARTICLE,
            flat,
            10_240,
            1_024,
            128,
            "categorical",
            least=0.9,
            warm_up=2,
            predict=size,
            predictions=predictions,
        )
        for size, predictions in ((1, 500), (1024, 10))
    ),
]


def growing(name: str, width: int, depth: int, batch: int, steps: int) -> Workload:
    """Return a workload of group 8: a ReLU network with so many hidden layers of a width, on random numbers."""
    network = MLP((64, *[width] * depth, 10))
    load = functools.partial(noise, features=64)
    return Workload(
        number=8,
        name=f"8 {name}",
        network=network,
        load=load,
        samples=batch * steps,
        quick_samples=batch,
        batch_size=batch,
        loss="categorical",
        count=False,
        memory="resident",
        large=max(width // 16, depth, batch // 16) >= 256,
    )


# The number of steps is such that a turn takes some tenths of a second.
GROWTH = [
    *(
        growing(f"width {width}", width, 2, 128, steps)
        for width, steps in ((64, 100), (256, 60), (1024, 10), (4096, 1), (8192, 1))
    ),
    *(
        growing(f"depth {depth}", 64, depth, 128, steps)
        for depth, steps in ((1, 150), (4, 60), (16, 20), (64, 6), (256, 2))
    ),
    *(
        growing(f"batch {batch}", 256, 2, batch, steps)
        for batch, steps in ((1, 100), (8, 100), (64, 60), (512, 15), (8192, 1))
    ),
]

ALL = [*WORKLOADS, *GROWTH]


def find_workload(name: str, quick: bool = False) -> Workload:
    """Return the workload of this name, or the small one for trying out."""
    workload = next(workload for workload in ALL if workload.name == name)
    return workload.quick() if quick else workload
