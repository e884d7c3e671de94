"""Time Adam as tinynn writes it, in a scratch vector, against the plain formula, in training.

    python benchmarks/adam.py

`tinynn.Adam` writes what lies between into one vector that is there already. The plain formula of the paper makes new
vectors; it stands below, twice: on all parameters at once, and on one block after another, which keeps the new vectors
small. All train the article's network (784 -> 784 relu -> 10 softmax), an epoch each in turn.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tinynn
from tinynn.backend import describe
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input


class PlainAdam(tinynn.Adam):
    """Adam as the paper has it."""

    slot_names = ("m", "v")

    def update(self, w: Any, dw: Any, scratch: Any, *slots: Any) -> None:
        """Change w."""
        m, v = slots
        t = self.iterations
        rate = self.learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        m += (1 - self.beta_1) * (dw - m)
        v += (1 - self.beta_2) * (dw * dw - v)
        w -= rate * m / (np.sqrt(v) + self.epsilon)


class BlockedAdam(PlainAdam):
    """The plain formula, block by block."""

    block = 1 << 15

    def update(self, w: Any, *others: Any) -> None:
        """Change w."""
        for start in range(0, w.size, self.block):
            i = slice(start, start + self.block)
            super().update(w[i], *(other[i] for other in others))


class EpochClock(tinynn.Callback):
    """Times an epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="epochs counted of each kind (default %(default)s)")
    parser.add_argument("--samples", type=int, default=60_000, help="how many of the training images")
    args = parser.parse_args()

    (images, labels), _ = mnist.load_data()
    x = images[: args.samples].reshape(-1, 784).astype("float32") / 255
    y = tinynn.to_categorical(labels[: args.samples], 10)

    models = {}
    for optimizer in (tinynn.Adam(), PlainAdam(), BlockedAdam()):
        model = tinynn.Sequential(
            [Input((784,)), Dense(784, activation="relu"), Dense(10, activation="softmax")], device="cpu", seed=0
        )
        model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
        models[type(optimizer).__name__] = model

    clock = EpochClock()
    times: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for number in range(args.rounds + 1):  # the first round warms up and is not counted
        first = number % len(names)  # each round begins with another, so that none always follows the same
        for name in names[first:] + names[:first]:
            models[name].fit(x, y, batch_size=128, verbose=0, callbacks=[clock])
            if number:
                times[name].append(clock.seconds)

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    console.print(f"NumPy {np.__version__}, {describe()['BLAS']}")
    table = Table()
    for column in ("optimizer", "s / epoch", "/ Adam", "min - max"):
        table.add_column(column, justify="left" if column == "optimizer" else "right")
    for name, mine in times.items():
        ratios = [one / other for one, other in zip(mine, times["Adam"], strict=True)]
        table.add_row(
            name,
            f"{statistics.median(mine):.3f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f} - {max(ratios):.3f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
