"""Time one epoch of the article's network on MNIST, in tinynn and in other libraries, side by side.

    python benchmarks/mnist_mlp.py
    python benchmarks/mnist_mlp.py --rounds 9 --systems products,tinynn,torch --json result.json

The network: 784 inputs -> 784 relu -> 10 softmax, cross-entropy on one-hot targets, Adam, float32. Every system runs
in a process of its own, and the processes take turns: one epoch each, round after round, so that whatever else the
machine does meets all of them alike. `benchmarks/README.md` says what is compared and why it is fair.

What each system does stands in `mnist_systems.py`. Those that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import platform
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from machine import limit_to_threads, processor_model, usable_processors
from mnist_systems import ALL_SAMPLES, CLASSES, HIDDEN, SYSTEMS, Settings, load_data
from rich.console import Console
from rich.table import Table

from tinynn.backend import describe

# A fast wrong answer is no result: after three epochs on all the data this network gets more than 97 % right.
ENOUGH_EPOCHS, ENOUGH_ACCURACY = 3, 0.96

# Thread pools (OpenBLAS, OpenMP, Eigen) let their threads spin for up to a fifth of a second after the last product,
# waiting for the next one. The spinning threads of the system before would take the processors from this one.
PAUSE = 0.5


# The processes -------------------------------------------------------------------------------------------------------


def serve(name: str, settings: Settings, connection: Connection) -> None:
    """Prepare one system, then do what the parent asks: an epoch, again and again, and at the end the accuracy.

    This runs in the child. An error ends it with a traceback, and the parent sees the pipe closed.
    """
    data = load_data(settings.samples)
    runner = SYSTEMS[name][1](data, settings)
    runner.train_epoch()  # compiles and warms up; not counted
    connection.send({"versions": runner.versions, "how": runner.how, "blas": describe()["BLAS"]})
    while connection.recv() == "epoch":
        connection.send(runner.train_epoch())
    connection.send(None if runner.predict is None else float(np.mean(runner.predict() == data.labels_test)))


class WorkerError(Exception):
    """A child ended before it answered."""


class Worker:
    """The child process of one system, seen from the parent."""

    def __init__(self, name: str, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")  # a fresh interpreter: nothing of the parent's is loaded
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(name, settings, theirs), name=name, daemon=True)
        self.process.start()
        theirs.close()  # now the child alone holds its end, so its death closes the pipe

    def receive(self) -> Any:
        """Wait for the child's next answer."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise WorkerError(f"its process ended with exit code {self.process.exitcode}") from None

    def ask(self, command: str) -> Any:
        """Tell the child what to do and wait for its answer."""
        with suppress(ConnectionError):  # it has died since its last answer: receive says so
            self.connection.send(command)
        return self.receive()


@dataclass
class Result:
    """What came of one system.

    Attributes
    ----------
    status : str
        ``"ok"``, ``"wrong"`` (it learned too little), ``"failed"`` or ``"not installed"``.
    why : str
        What went wrong, where something did.
    seconds : list of float
        One epoch each, in the order of the rounds.
    to_products, to_tinynn : dict of float or None
        Median, min and max of the ratios of the rounds.
    accuracy : float or None
        The part of the test images that is classified rightly after all epochs.
    """

    status: str = "ok"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    to_products: dict[str, float] | None = None
    to_tinynn: dict[str, float] | None = None
    accuracy: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    how: str = ""
    blas: str = ""


def measure(names: list[str], rounds: int, settings: Settings, console: Console) -> dict[str, Result]:
    """Run all systems, round after round, and return what came of each."""
    results = {name: Result() for name in names}
    workers: dict[str, Worker] = {}

    def give_up(name: str, error: WorkerError, when: str) -> None:
        workers.pop(name, None)
        results[name].status, results[name].why = "failed", f"{error} {when}"
        console.print(f"{name} failed: {error} {when}; going on without it.", style="red")

    for name in names:
        missing = [module for module in SYSTEMS[name][0] if importlib.util.find_spec(module) is None]
        if missing:
            results[name].status, results[name].why = "not installed", f"no module {', '.join(missing)}"
            continue
        console.print(f"preparing {name}", style="dim")
        workers[name] = Worker(name, settings)
        try:
            ready = workers[name].receive()  # one after another, so that no one warms up beside another
        except WorkerError as error:
            give_up(name, error, "while it was prepared")
            continue
        results[name].versions, results[name].how, results[name].blas = ready["versions"], ready["how"], ready["blas"]

    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}", style="dim")
        first = number % len(names)  # each round begins with another system, so that none always follows the same
        for name in names[first:] + names[:first]:
            if name not in workers:
                continue
            time.sleep(PAUSE)
            try:
                results[name].seconds.append(workers[name].ask("epoch"))
            except WorkerError as error:
                give_up(name, error, f"in round {number + 1}")

    for name, worker in list(workers.items()):
        try:
            results[name].accuracy = worker.ask("accuracy")
        except WorkerError as error:
            give_up(name, error, "while it classified the test images")
            continue
        worker.process.join()
    judge(results, rounds, settings)
    return results


def judge(results: dict[str, Result], rounds: int, settings: Settings) -> None:
    """Work out the ratios, and mark the systems that learned too little."""
    for result in results.values():
        if result.status != "ok":
            continue
        result.to_products = ratios(result, results.get("products"))
        result.to_tinynn = ratios(result, results.get("tinynn"))
        trained_enough = rounds + 1 >= ENOUGH_EPOCHS and settings.samples == ALL_SAMPLES  # + 1: the warm-up
        if result.accuracy is not None and trained_enough and result.accuracy < ENOUGH_ACCURACY:
            result.status = "wrong"
            result.why = f"{result.accuracy:.2%} of the test images is less than {ENOUGH_ACCURACY:.0%}"


def ratios(result: Result, yardstick: Result | None) -> dict[str, float] | None:
    """Return median, min and max of the ratios of two systems, epoch by epoch of the same round."""
    if yardstick is None or yardstick.status in ("failed", "not installed"):
        return None
    each = [mine / other for mine, other in zip(result.seconds, yardstick.seconds, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


# The output ----------------------------------------------------------------------------------------------------------


def show(results: dict[str, Result], machine: dict[str, Any], rounds: int, settings: Settings) -> None:
    """Print the machine, the table, and what is compared in it."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    console.print(
        f"Processor  {machine['processor_model']}, {machine['processors']} usable\n"
        f"Threads    {settings.threads} for every system, {machine['thread_limits']}\n"
        f"NumPy      {machine['numpy']}\n"
        f"BLAS       {machine['blas']}"
    )
    table = Table()
    table.add_column("System", no_wrap=True)
    table.add_column("s / epoch", justify="right")
    table.add_column("min - max", justify="right")
    table.add_column("/ products", justify="right")
    table.add_column("min - max", justify="right")
    table.add_column("/ tinynn", justify="right")
    table.add_column("Test accuracy", justify="right")
    table.add_column("Version", overflow="fold")
    table.add_column("What runs", overflow="fold")
    for name, result in results.items():
        versions = ", ".join(f"{library} {version}" for library, version in result.versions.items())
        if result.status in ("failed", "not installed"):
            table.add_row(name, result.status, "", "", "", "", "", versions, result.why)
            continue
        accuracy = "" if result.accuracy is None else f"{result.accuracy:.2%}"
        table.add_row(
            name,
            f"{statistics.median(result.seconds):.3f}",
            f"{min(result.seconds):.3f} - {max(result.seconds):.3f}",
            "" if result.to_products is None else f"{result.to_products['median']:.2f}",
            "" if result.to_products is None else f"{result.to_products['min']:.2f} - {result.to_products['max']:.2f}",
            "" if result.to_tinynn is None else f"{result.to_tinynn['median']:.2f}",
            f"[red]wrong: {accuracy}[/red]" if result.status == "wrong" else accuracy,
            versions,
            result.how,
        )
    console.print(table)
    console.print(
        f"One epoch of training 784 -> {HIDDEN} relu -> {CLASSES} softmax on {settings.samples:,} MNIST images: "
        f"shuffled batches of {settings.batch_size}, forward, cross-entropy, backward, Adam and, but for sklearn, the "
        f"count of right answers, in float32. Medians over {rounds} round(s), in which the systems took turns; ratios "
        "are taken within a round. 'products' is the matrix products of the same epoch alone, by NumPy's BLAS; a "
        "system with a faster matrix product of its own can come out below 1. "
        f"Test accuracy is that after {rounds + 1} epochs, the uncounted first one included."
    )


def write_json(
    path: Path, results: dict[str, Result], machine: dict[str, Any], rounds: int, settings: Settings
) -> None:
    """Write every number that was measured, and what it was measured with."""
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "settings": {"rounds": rounds, **asdict(settings)},
        "systems": {name: asdict(result) for name, result in results.items()},
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


# The command line ----------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """Return a whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def system_names(text: str) -> list[str]:
    """Return the systems named in a comma-separated list, for argparse."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(f"unknown system {name!r}; choose from {', '.join(SYSTEMS)}")
    return names


def main() -> int:
    """Measure, print, and return 1 if a system failed or learned too little."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=positive, default=5, help="epochs counted of each system (default 5)")
    parser.add_argument("--batch-size", type=positive, default=128)
    parser.add_argument("--systems", type=system_names, default=list(SYSTEMS), help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--samples", type=positive, default=ALL_SAMPLES, help="how many of the training images")
    parser.add_argument(
        "--threads", type=positive, default=len(usable_processors()), help="for every system (default: all processors)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers to this file")
    args = parser.parse_args()
    if args.samples > ALL_SAMPLES:
        parser.error(f"--samples: there are {ALL_SAMPLES} training images, got {args.samples}")

    settings = Settings(args.batch_size, args.samples, args.threads)
    machine: dict[str, Any] = {
        "processor_model": processor_model(),
        "processor": platform.processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": len(usable_processors()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "thread_limits": limit_to_threads(args.threads),
    }
    results = measure(args.systems, args.rounds, settings, Console(stderr=True, highlight=False))
    # As a child found it, for the libraries of the parent were loaded before the threads were limited.
    machine["blas"] = next((result.blas for result in results.values() if result.blas), "unknown")
    show(results, machine, args.rounds, settings)
    if args.json is not None:
        write_json(args.json, results, machine, args.rounds, settings)
    return int(any(result.status in ("failed", "wrong") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
