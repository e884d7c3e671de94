"""The processes: one for each system, which take turns; and what is done when one of them dies."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.memory import resident_peak
from benchmarks.systems import SYSTEMS, Runner, Settings, timed
from benchmarks.workloads import Data, Workload, find_workload
from tinynn.backend import describe

# The test data go through `predict` so many at a time.
TEST_BATCH = 500


def serve(name: str, settings: Settings, connection: Connection) -> None:
    """Do what the parent asks, for one system. This runs in the child.

    An error ends it with a traceback, and the parent sees the pipe closed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    system = SYSTEMS[name]
    system.set_environment(settings)
    runner: Runner | None = None
    while True:
        command, asked_for = connection.recv()
        if command == "prepare":
            runner = None  # frees what the workload before held
            gc.collect()
            workload = find_workload(asked_for, settings.quick)
            data = workload.load(workload.samples)
            runner = system.prepare(workload, data, settings)
            for _ in range(workload.warm_up):
                runner.train_epoch()  # compiles and warms up; not counted
            turn = runner.train_epoch if workload.predict is None else predictions(runner, workload, data)
            if workload.predict is not None:
                turn()
            connection.send({"versions": runner.versions, "how": runner.how, "blas": describe()["BLAS"]})
        elif command == "turn":
            connection.send(turn())
        elif command == "score":
            connection.send(score(runner, data) if runner is not None and runner.learns else None)
        elif command == "memory":
            peak = None
            if settings.device == "cpu" and workload.memory == "bound" and runner is not None and runner.memory:
                peak = runner.memory()
            elif settings.device == "cpu" and workload.memory == "resident":
                runner = turn = None
                peak = resident_peak(partial(train_twice, name, workload, data, settings))
            connection.send(peak)


def predictions(runner: Runner, workload: Workload, data: Data) -> Any:
    """Return a function that makes all predictions of a turn and returns the seconds that took."""
    size = workload.predict or 1
    starts = [number * size % (len(data.x) - size + 1) for number in range(workload.predictions)]
    batches = [data.x[start : start + size] for start in starts]

    def predict() -> None:
        for batch in batches:
            runner.predict(batch)

    return timed(predict)


def score(runner: Runner, data: Data) -> dict[str, Any]:
    """Return the accuracy on the test data, and whether all that was predicted is finite."""
    starts = range(0, len(data.x_test), TEST_BATCH)
    p = np.concatenate([runner.predict(data.x_test[start : start + TEST_BATCH]) for start in starts])
    if p.shape[:-1] != data.labels_test.shape:
        raise ValueError(f"predict returned the shape {p.shape} for labels of shape {data.labels_test.shape}")
    classes = p.argmax(axis=-1) if p.shape[-1] > 1 else p[..., 0] > 0.5
    inside = bool(np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1.0001)
    return {"accuracy": float(np.mean(classes == data.labels_test)), "finite": inside}


def train_twice(name: str, workload: Workload, data: Data, settings: Settings) -> None:
    """Make a system ready from the start and train two epochs."""
    runner = SYSTEMS[name].prepare(workload, data, settings)
    runner.train_epoch()
    runner.train_epoch()


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

    def ask(self, command: str, workload: str = "") -> Any:
        """Tell the child what to do, with the name of the workload to prepare, and wait for its answer."""
        with suppress(ConnectionError):  # it has died since its last answer: recv says so
            self.connection.send((command, workload))
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise WorkerError(f"its process ended with exit code {self.process.exitcode}") from None

    def end(self) -> None:
        """End the child."""
        self.process.terminate()
        self.process.join()
