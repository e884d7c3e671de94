"""The line checker over the library's own layers and losses: no false alarm, and hardly a named gradient unchecked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.row import Row
from tests.layers.table import TABLE
from tests.test_losses import CASES, softmax
from tinynn.check import LinesReport, lines
from tinynn.losses import CTC

# Why named gradients of the library's own layers are not paired; every other reason is a line to be rewritten.
REASONS = {
    "Recurrent.backward": "dstart is a list, or None: the states before the first step are an input of their own",
    "Branches.fork_back": "dxs is a list with a part of dx for every branch",
    "AlphaDropout.backward": "with rate 0 forward is over before there is a z",
}


EXAMPLES: dict[int, LinesReport] = {}  # two tests look at them


def check(row: Row, batch: int, shape: tuple[int, ...], seed: int) -> LinesReport:
    return lines(row.make(), row.sample((batch, *shape), seed), training=row.training, seed=seed)


def check_example(row: Row) -> LinesReport:
    if id(row) not in EXAMPLES:
        EXAMPLES[id(row)] = check(row, 2, row.example, 1)
    return EXAMPLES[id(row)]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_no_false_alarm(row: Row) -> None:
    report = check_example(row)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=str)
@given(data=st.data(), batch=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_no_false_alarm_at_random_shapes(row: Row, data: st.DataObject, batch: int, seed: int) -> None:
    report = check(row, batch, data.draw(row.shape), seed)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", [*CASES, "CTC"])
def test_losses_have_no_false_alarm(name: str) -> None:
    assert check_loss(name).ok


def check_loss(name: str) -> LinesReport:
    rng = np.random.default_rng(1)
    if name == "CTC":
        return lines(CTC(), np.array([[1, 2, 0], [3, 1, 1]]), rng.normal(size=(2, 7, 4)))
    loss, draw, kind = CASES[name]
    targets: Any = draw(rng, 4, 3)
    z = rng.normal(size=(4, 3))
    return lines(loss, targets, {"z": z, "p": softmax(z), "q": np.exp(z)}[kind])


def test_at_least_95_percent_of_the_named_gradients_are_paired() -> None:
    found: Counter[str] = Counter()
    unknown: set[str] = set()
    rows: dict[type, Row] = {}
    for row in TABLE:
        rows.setdefault(type(row.make()), row)
    for report in [*(check_example(row) for row in rows.values()), *map(check_loss, [*CASES, "CTC"])]:
        for line in report.lines:
            found[line.verdict] += 1
            if line.verdict == "unchecked" and line.line.function not in REASONS:
                unknown.add(f"{line.line.function}, line {line.line.number}  {line.line.text}: {line.reason}")
    share = found["ok"] / sum(found.values())
    assert share >= 0.95, "\n".join([f"{share:.1%} paired", *sorted(unknown)])
    assert found["WRONG"] == found["consequence"] == 0
