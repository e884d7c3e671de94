"""The order of things: who is prepared when, whose turn it is, and what came of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.systems import SYSTEMS, Settings
from benchmarks.workers import Worker, WorkerError
from benchmarks.workloads import Workload, find_workload

# Thread pools (OpenBLAS, OpenMP, Eigen) let their threads spin for up to a fifth of a second after the last product,
# waiting for the next one. The spinning threads of the system before would take the processors from this one.
PAUSE = 0.25

# Only after so many epochs, those of the default rounds and the one before them, is an accuracy judged.
ENOUGH_EPOCHS = 6


@dataclass
class Result:
    """What came of one system in one workload.

    Attributes
    ----------
    status : str
        ``"ok"``, ``"wrong"`` (it learned too little), ``"failed"``, ``"not installed"`` or ``"left out"``.
    why : str
        What went wrong, or why it was not measured.
    seconds : list of float
        One turn each, in the order of the rounds.
    to_products, to_tinynn : dict of float or None
        Median, min and max of the ratios of the rounds.
    accuracy : float or None
        The part of the test data that is classified rightly after all epochs; None for the bare products.
    memory : dict of int or None
        The peak of memory in bytes, and what it may be.
    """

    status: str = "ok"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    to_products: dict[str, float] | None = None
    to_tinynn: dict[str, float] | None = None
    accuracy: float | None = None
    memory: dict[str, int] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    how: str = ""
    blas: str = ""

    @property
    def measured(self) -> bool:
        """Whether there are times."""
        return self.status in ("ok", "wrong")


class Suite:
    """The processes of all systems, and the workloads they go through one after another.

    Parameters
    ----------
    names : list of str
        The systems.
    rounds : int
    settings : Settings
    tell : function
        Takes a line of progress, and the style of what went wrong.
    """

    def __init__(self, names: list[str], rounds: int, settings: Settings, tell: Callable[..., Any]) -> None:
        self.names, self.rounds, self.settings, self.tell = names, rounds, settings, tell
        self.workers: dict[str, Worker] = {}
        self.missing = {name: SYSTEMS[name].missing(settings) for name in names}

    def measure(self, name: str) -> dict[str, Result]:
        """Run all systems on a workload, round after round, and return what came of each."""
        workload = find_workload(name, self.settings.quick)
        results = {system: self.first_look(system, workload) for system in self.names}
        for system in self.able(results):
            self.prepare(system, workload, results[system])
        pause = 0.0 if self.settings.quick else PAUSE
        for number in range(self.rounds):
            first = number % len(self.names)  # each round begins with another, so that none always follows the same
            for system in self.names[first:] + self.names[:first]:
                if results[system].status == "ok":
                    time.sleep(pause)
                    seconds = self.ask(system, results[system], "turn", f"in round {number + 1}")
                    if seconds is not None:
                        results[system].seconds.append(seconds)
        for system in self.able(results):
            self.judge(system, workload, results[system])
        for result in results.values():
            result.to_products = ratios(result, results.get("products"))
            result.to_tinynn = ratios(result, results.get("tinynn"))
        return results

    def first_look(self, system: str, workload: Workload) -> Result:
        """Return a result that is empty, or says why there will be none."""
        if why := SYSTEMS[system].leaves_out(workload, self.settings.device):
            return Result("left out", why)
        if why := self.missing[system]:
            return Result("not installed", why)
        return Result()

    def able(self, results: dict[str, Result]) -> list[str]:
        """Return the systems that are still taking part."""
        return [system for system in self.names if results[system].status == "ok"]

    def prepare(self, system: str, workload: Workload, result: Result) -> None:
        """Make a system ready, one after another, so that no one warms up beside another."""
        self.tell(f"{workload.name}: preparing {system}")
        if system not in self.workers:
            self.workers[system] = Worker(system, self.settings)
        ready = self.ask(system, result, "prepare", "while it was prepared", workload.name)
        if ready is not None:
            result.versions, result.how, result.blas = ready["versions"], ready["how"], ready["blas"]

    def ask(self, system: str, result: Result, command: str, when: str, workload: str = "") -> Any:
        """Ask a system's process; if it died note so, and let the others go on. The next workload starts a new one."""
        try:
            return self.workers[system].ask(command, workload)
        except WorkerError as error:
            del self.workers[system]
            result.status, result.why = "failed", f"{error} {when}"
            self.tell(f"{system} failed: {error} {when}; going on without it.", style="red")
            return None

    def judge(self, system: str, workload: Workload, result: Result) -> None:
        """Mark a system that learned too little, and measure memory where that is asked for."""
        scores = self.ask(system, result, "score", "while it was tested")
        if scores is not None:
            result.accuracy = scores["accuracy"]
            epochs = workload.warm_up + (self.rounds if workload.predict is None else 0)
            judged = workload.least is not None and (epochs >= ENOUGH_EPOCHS or workload.predict is not None)
            if not scores["finite"]:
                result.status, result.why = "wrong", "it predicts what is no probability: NaN, infinite or out of 0..1"
            elif judged and result.accuracy < workload.least:
                result.status, result.why = "wrong", f"{result.accuracy:.2%} right is less than {workload.least:.0%}"
        if workload.memory and system in self.workers:
            result.memory = self.ask(system, result, "memory", "while its memory was measured")

    def end(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.end()


def ratios(result: Result, yardstick: Result | None) -> dict[str, float] | None:
    """Return median, min and max of the ratios of two systems, turn by turn of the same round."""
    if yardstick is None or not yardstick.measured or not result.measured:
        return None
    each = [mine / other for mine, other in zip(result.seconds, yardstick.seconds, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}
