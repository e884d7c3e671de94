"""Run the line checker over the planted bugs and count."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from hypothesis import Phase, given, settings

from tests.layers.row import Row
from tests.layers.table import TABLE
from tests.mutants.mutant import Mutant
from tests.test_losses import CASES, softmax
from tinynn.check import LinesReport, lines


@dataclass
class Outcome:
    """What the checker said about one mutant.

    Attributes
    ----------
    found : bool
        Whether anything was called wrong.
    named : bool
        Whether the planted line was, and no other.
    diagnosed : bool
        Whether it was said what is the matter with it.
    said : list of str
        The lines named, and the kinds of their diagnoses.
    seconds : float
    """

    mutant: Mutant
    found: bool
    named: bool
    diagnosed: bool
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0
    report: LinesReport | None = None

    @property
    def miss(self) -> str:
        """What went wrong, for people; "" where nothing did."""
        if self.named and self.diagnosed:
            return ""
        what = "not found" if not self.found else "another line named" if not self.named else "diagnosis"
        return f"{what}: {self.mutant.name}; due {' or '.join(self.mutant.kinds)}, said {'; '.join(self.said) or '-'}"


def check(mutant: Mutant) -> Outcome:
    """Check one mutant and compare with what was planted."""
    subject, number = mutant.wrong()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dtypes, say: the mutants' own
        report = lines(subject, *mutant.arguments(), **({} if mutant.targets else {"training": mutant.training}))
    seconds = time.process_time() - start
    blamed: set[int] = set()
    kinds: set[str] = set()
    said = []
    for part in report.subjects:
        for line in part.wrong:
            kind = "no diagnosis" if line.diagnosis is None else line.diagnosis.kind
            blamed.add(line.line.number)
            kinds.add(kind)
            said.append(f"line {line.line.number}  {line.line.text} ({kind})")
        for fault in part.faults:
            if fault.line is not None:
                blamed.add(fault.line.number)
            kinds.add(fault.kind)
            said.append(f"fault {fault} ({fault.kind})")
    diagnosed = bool(kinds) and kinds <= set(mutant.kinds)
    return Outcome(mutant, not report.ok, blamed == {number}, diagnosed, said, seconds, report)


def false_alarms(shapes: int) -> list[str]:
    """Check every right layer of the table, and every loss, at random shapes; return what was called wrong."""
    rng = np.random.default_rng(0)
    alarms = []
    for row in TABLE:
        for shape in drawn_shapes(row, shapes):
            seed, batch = int(rng.integers(2**16)), int(rng.integers(1, 5))
            report = lines(row.make(), row.sample((batch, *shape), seed), training=row.training, seed=seed)
            if not report.ok:
                alarms.append(f"{row.name}, input {(batch, *shape)}, seed {seed}\n{report}")
    for name, (loss, draw, kind) in CASES.items():
        for _ in range(shapes):
            seed, batch, columns = int(rng.integers(2**16)), int(rng.integers(1, 5)), int(rng.integers(2, 6))
            mine = np.random.default_rng(seed)
            targets, z = draw(mine, batch, columns), mine.normal(size=(batch, columns))
            report = lines(loss, targets, {"z": z, "p": softmax(z), "q": np.exp(z)}[kind], seed=seed)
            if not report.ok:
                alarms.append(f"{name}, predictions {z.shape}, seed {seed}\n{report}")
    return alarms


def drawn_shapes(row: Row, count: int) -> list[tuple[int, ...]]:
    """Return shapes of a sample, drawn by the row's strategy, always the same ones."""
    shapes: list[tuple[int, ...]] = []

    @settings(max_examples=count, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(row.shape)
    def draw(shape: tuple[int, ...]) -> None:
        shapes.append(shape)

    draw()
    return [shapes[i % len(shapes)] for i in range(count)]


def one_row_each() -> list[Row]:
    """Return one row of the table for every layer."""
    rows: dict[type, Row] = {}
    for row in TABLE:
        rows.setdefault(type(row.make()), row)
    return list(rows.values())


def seconds_of_one_layer(row: Row) -> float:
    """Return the processor time that the check of one right layer takes, at the table's size; the better of two."""
    x = row.sample((2, *row.example), 0)
    taken = []
    for _ in range(2):
        start = time.process_time()
        lines(row.make(), x, training=row.training)
        taken.append(time.process_time() - start)
        if taken[-1] < 0.5:
            break
    return min(taken)
