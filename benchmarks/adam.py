"""Time Adam block by block against Adam in one call, between the matrix products of a training step.

    python benchmarks/adam.py

`tinynn/optimizers.py` hands an optimizer's formula one block of the flat vectors after another, so that the formula's
intermediates are as large as a block and not as all parameters. This script shows what that is worth in time. The
optimizer by itself would find its vectors in the cache, where in training the products have pushed them out; so it is
timed among the products of a step of the article's network (784 -> 784 -> 10), whose weights are the optimizer's
vectors, and in `Sequential.fit`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

import tinynn
from tinynn import optimizers
from tinynn.backend import describe
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input

INPUTS, HIDDEN, CLASSES = 784, 784, 10


def make_model() -> tinynn.Sequential:
    """Return the article's network, with weights."""
    model = tinynn.Sequential(
        [Input((INPUTS,)), Dense(HIDDEN, activation="relu"), Dense(CLASSES, activation="softmax")],
        device="cpu",
        seed=0,
    )
    model.build()
    return model


def make_steps(x: np.ndarray, batch_size: int) -> Callable[[tinynn.Optimizer | None], None]:
    """Return a function that does the matrix products of one epoch, and after each step's the optimizer's step."""
    model = make_model()
    arena = model.ensure_built()
    first, second = model.layers
    assert isinstance(first, Dense)
    assert isinstance(second, Dense)
    rng = np.random.default_rng(0)
    dz = rng.normal(scale=0.01, size=(batch_size, CLASSES)).astype("float32")
    h, dh = np.empty((batch_size, HIDDEN), "float32"), np.empty((batch_size, HIDDEN), "float32")
    z = np.empty((batch_size, CLASSES), "float32")

    def epoch(optimizer: tinynn.Optimizer | None) -> None:
        for start in range(0, len(x), batch_size):
            rows = x[start : start + batch_size]
            n = len(rows)
            np.matmul(rows, first.W, out=h[:n])
            np.matmul(h[:n], second.W, out=z[:n])
            np.matmul(h[:n].T, dz[:n], out=second.dW)
            np.matmul(dz[:n], second.W.T, out=dh[:n])
            np.matmul(rows.T, dh[:n], out=first.dW)
            if optimizer is not None:
                optimizer.step(arena)

    return epoch


def make_fit(x: np.ndarray, y: np.ndarray, batch_size: int) -> Callable[[], None]:
    """Return a function that trains one epoch, every call another one."""
    model = make_model()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])

    def epoch() -> None:
        model.fit(x, y, batch_size=batch_size, verbose=0)

    return epoch


def in_one_call(size: int) -> AbstractContextManager[object]:
    """Return a context in which the optimizers take all of `size` numbers as one block."""
    return patch.object(optimizers, "BLOCK", size)


def seconds(function: Callable[[], None]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="epochs counted of each kind (default 7)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=60_000, help="how many of the training images")
    args = parser.parse_args()
    if args.rounds < 1 or args.batch_size < 1 or not 1 <= args.samples <= 60_000:
        parser.error("--rounds and --batch-size must be at least 1, and --samples between 1 and 60000")

    (images, labels), _ = mnist.load_data()
    x = images[: args.samples].reshape(-1, INPUTS).astype("float32") / 255
    y = tinynn.to_categorical(labels[: args.samples], CLASSES)
    steps = -(-len(x) // args.batch_size)
    size = make_model().count_params()

    # A learning rate of 0 costs what another costs, and the weights stay as they are, however many rounds there are.
    products = make_steps(x, args.batch_size)
    blocks_steps, whole_steps = make_steps(x, args.batch_size), make_steps(x, args.batch_size)
    blocks_adam, whole_adam = tinynn.Adam(learning_rate=0.0), tinynn.Adam(learning_rate=0.0)
    # Each kind: what is timed, and whether with one block for all.
    kinds: dict[str, tuple[Callable[[], None], bool]] = {
        "products": (lambda: products(None), False),
        "products and Adam, by blocks": (lambda: blocks_steps(blocks_adam), False),
        "products and Adam, one call": (lambda: whole_steps(whole_adam), True),
        "fit, Adam by blocks": (make_fit(x, y, args.batch_size), False),
        "fit, Adam in one call": (make_fit(x, y, args.batch_size), True),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(args.rounds + 1):  # the first round warms up and is not counted
        for kind, (function, whole) in kinds.items():
            with in_one_call(size) if whole else nullcontext():
                elapsed = seconds(function)
            if number:
                times[kind].append(elapsed)

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    information = describe()
    console.print(f"NumPy {information['NumPy']}, {information['BLAS']}; {information['processors']} processors")
    table = Table(
        title=f"{steps} steps of batch {args.batch_size}; Adam on {size:,} numbers, blocks of {optimizers.BLOCK:,}"
    )
    for column in ("", "s / epoch", "/ products", "min - max"):
        table.add_column(column, justify="right" if column else "left")
    for kind, mine in times.items():
        ratios = [one / other for one, other in zip(mine, times["products"], strict=True)]
        table.add_row(
            kind,
            f"{statistics.median(mine):.3f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} - {max(ratios):.2f}",
        )
    console.print(table)
    for blocks, whole in (
        ("products and Adam, by blocks", "products and Adam, one call"),
        ("fit, Adam by blocks", "fit, Adam in one call"),
    ):
        saved = [1 - one / other for one, other in zip(times[blocks], times[whole], strict=True)]
        console.print(
            f"{blocks}: {statistics.median(saved):.1%} less time than in one call "
            f"(from {min(saved):.1%} to {max(saved):.1%})"
        )
    for kind in ("products and Adam, by blocks", "products and Adam, one call"):
        rest = [one - other for one, other in zip(times[kind], times["products"], strict=True)]
        console.print(f"{kind}: Adam takes {1000 * statistics.median(rest) / steps:.3f} ms of a step")


if __name__ == "__main__":
    main()
