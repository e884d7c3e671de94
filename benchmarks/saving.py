"""Time saving and loading a large model against copying its file, and a training with checkpoints against one without.

    python benchmarks/saving.py
    python benchmarks/saving.py --megabytes 100 --epochs 2     # to try it out

A copy reads the file and writes it, and brings it to the disk (fsync), as `save` does. Everything takes turns, and a
ratio is between neighbours of one round.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tinynn
from tinynn.datasets import mnist
from tinynn.io.checkpoints import Checkpoints


def seconds(work: Callable[[], Any]) -> float:
    """Return how long some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy(source: Path, target: Path) -> None:
    """Copy a file, and bring the copy to the disk."""
    with open(source, "rb") as read, open(target, "wb") as written:
        while block := read.read(2**24):
            written.write(block)
        written.flush()
        os.fsync(written.fileno())


def files(folder: Path, megabytes: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of copying, saving and loading a model of this size, of weights alone and of all."""
    units = int(np.sqrt(megabytes * 1e6 / 4))
    layer = tinynn.Dense(units, kernel_initializer="zeros")
    model = tinynn.Sequential([tinynn.Input((units,)), layer])
    model.build()
    layer.W[...] = np.random.default_rng(0).random(layer.W.shape, dtype="float32")
    path, weights, other = folder / "model.tinynn", folder / "model.safetensors", folder / "copy"
    model.save(path)
    works: dict[str, Callable[[], Any]] = {
        "copy": lambda: copy(path, other),
        "save": lambda: model.save(path),
        "load_model": lambda: tinynn.load_model(path),
        "save_weights": lambda: model.save_weights(weights),
        "load_weights": lambda: model.load_weights(weights),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):  # the first round is not counted
        for name, work in works.items():
            gc.collect()  # a model is full of circles; without it seven would fill the memory that holds the files
            os.sync()
            np.ones(megabytes * 3 * 10**5)  # how fast the system hands out memory for the first time is not measured
            took = seconds(work)
            if number:
                times[name].append(took)
    return times


def trainings(folder: Path, epochs: int) -> dict[str, list[float]]:
    """Return the seconds of epochs of the article's network, without checkpoints and with one every 100 batches."""
    (images, labels), _ = mnist.load_data()
    x, y = images.reshape(-1, 784), tinynn.to_categorical(labels, 10)
    times: dict[str, list[float]] = {"without": [], "every 100 batches": []}
    clocks = {name: Clock() for name in times}
    models = {}
    for name in times:
        model = tinynn.Sequential([tinynn.Dense(784, "relu"), tinynn.Dense(10, "softmax")], seed=0)
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        models[name] = model
    for number in range(epochs + 1):
        for name in list(times) if number % 2 else list(times)[::-1]:
            options: dict[str, Any] = {}
            if name != "without":
                options = {"checkpoint_dir": folder / f"run{number}", "checkpoint_freq": 100}
            models[name].fit(x, y, batch_size=128, verbose=0, callbacks=[clocks[name]], **options)
            if number:
                times[name].append(clocks[name].seconds)
    checkpoints = Checkpoints(folder / "one", "epoch", resume=False)
    model = models["without"]
    state = {"training": model.get_training_state(), "run": None}
    for number in range(21):
        took = seconds(partial(checkpoints.begin, model, state, number))
        took_in_all = took + seconds(checkpoints.finish)
        times.setdefault("to begin one", []).append(took)
        times.setdefault("one checkpoint", []).append(took_in_all)
    checkpoints.close()
    return times


class Clock(tinynn.Callback):
    """Times an epoch from its first batch to its last, with the checkpoints made in it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the large model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is done (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=9, help="epochs of each training (default %(default)s)")
    parser.add_argument("--folder", help="where to write, to measure another disk; by default here")
    args = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    with tempfile.TemporaryDirectory(dir=args.folder or ".") as name:
        times = trainings(Path(name), args.epochs)
        without, checked = times["without"], times["every 100 batches"]
        more = [one / other - 1 for one, other in zip(checked, without, strict=True)]
        one, begin = statistics.median(times["one checkpoint"]), statistics.median(times["to begin one"])
        console.print(
            f"An epoch of the article's network: {statistics.median(without):.2f} s; a checkpoint every 100 batches: "
            f"{statistics.median(more):+.1%} (min {min(more):+.1%}, max {max(more):+.1%}). "
            f"One checkpoint takes {1000 * one:.1f} ms, of which the training waits for {1000 * begin:.1f}."
        )
        times = files(Path(name), args.megabytes, args.rounds)
        table = Table(title=f"A model of {args.megabytes} MB")
        for column in ("what", "MB / s", "of a copy's speed", "min - max"):
            table.add_column(column, justify="left" if column == "what" else "right")
        for what, mine in times.items():
            ratios = [one / other for one, other in zip(times["copy"], mine, strict=True)]
            speed = args.megabytes / statistics.median(mine)
            spread = f"{min(ratios):.0%} - {max(ratios):.0%}"
            table.add_row(what, f"{speed:,.0f}", f"{statistics.median(ratios):.0%}", spread)
        console.print(table)


if __name__ == "__main__":
    main()
