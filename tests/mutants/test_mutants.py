"""The line checker finds planted bugs, names their lines, says what is the matter, and is silent where all is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.layers.row import Row
from tests.mutants.__main__ import counted_kinds
from tests.mutants.measure import Outcome, check, false_alarms, one_row_each, seconds_of_one_layer
from tests.mutants.mutant import Mutant, NoSuchLineError
from tests.mutants.table import MUTANTS
from tinynn.check import gradients
from tinynn.check.diagnosis import KINDS
from tinynn.layers import Dense, Layer, Linear
from tinynn.losses import Loss

every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=str)

# What the checker does not get right, and why. Whoever mends one takes it out here.
WRONG_LINE: dict[str, str] = {
    "LSTM, the cell is not passed back": (
        "dc_old is the number 0 where there is no mask: the planted line makes no array; the next that does is named"
    ),
}
NO_DIAGNOSIS: dict[str, str] = {
    "BinaryFocalCrossentropy(logits), the weight taken for a constant": (
        "the way left out goes through m, and the logits reach m by the same lines as they reach c: no line's part"
    ),
    "Mish, the sigmoid of the wrong value": "the wrong value stands in one of two terms",
    "RotaryEmbedding, sine and cosine mixed up": "two factors are exchanged in two terms",
    "Huber, not clipped": "what is due is cut at delta, a number of the layer's that is no value of forward",
}

# The kinds of mistake that must occur, by the names of their diagnoses.
LISTED = {
    "N times": {"factor N"}, "1/N times": {"factor 1/N"}, "a constant factor": {"factor"}, "sign": {"sign"},
    "transposed": {"transposed"}, "a forgotten sum": {"missing sum"}, "a forgotten mask": {"missing mask"},
    "the wrong side": {"wrong side"}, "softmax's diagonal": {"softmax diagonal"}, "a missing term": {"missing term"},
    "a stale value": {"stale value"}, "the wrong variable": {"wrong variable"}, "off by one step": {"wrong step"},
    "not written": {"not written"}, "modified in place": {"written in place"}, "dtype lost": {"dtype lost"},
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {mutant.name: check(mutant) for mutant in MUTANTS}


def test_the_library_of_mutants_is_large_and_covers_every_kind() -> None:
    assert len(MUTANTS) >= 64
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    counts = counted_kinds()
    assert [what for what, kinds in LISTED.items() if sum(counts[kind] for kind in kinds) < 2] == []
    assert set(counts) <= {*KINDS, "written in place", "dtype lost"}
    assert sum(bool(mutant.why) for mutant in MUTANTS) >= len(MUTANTS) / 4


@every_mutant
def test_the_planted_line_makes_a_gradient_wrong(mutant: Mutant) -> None:
    subject, arguments = mutant.right(), mutant.arguments()
    assert is_right(mutant, subject, arguments)
    mutant.plant(subject)
    assert not is_right(mutant, subject, arguments)


def is_right(mutant: Mutant, subject: Layer | Loss, arguments: tuple[Any, ...]) -> bool:
    """Whether all gradients are right, by the other checker, which knows nothing of lines; and float32 stays."""
    if mutant.kinds == ("dtype lost",):
        assert isinstance(subject, Layer)
        subject(arguments[0].astype("float32"), mutant.training)
        return bool(subject.backward(np.ones((len(arguments[0]), *subject.output_shape), "float32")).dtype == "float32")
    if isinstance(subject, Layer):
        for parameter in subject.parameters:
            parameter.grad[...] = np.nan  # what is not written must not be right by chance
        return gradients(subject, arguments[0], training=mutant.training).ok
    targets, predictions = arguments
    return gradients(Linear(), predictions, targets, subject).ok


def test_every_mutant_is_found(outcomes: dict[str, Outcome]) -> None:
    assert [outcome.miss for outcome in outcomes.values() if not outcome.found] == []


def test_the_planted_line_is_named_and_no_other(outcomes: dict[str, Outcome]) -> None:
    missed = {name: outcome.miss for name, outcome in outcomes.items() if not outcome.named}
    assert missed.keys() == WRONG_LINE.keys(), "\n".join(missed.values())
    assert len(missed) <= 0.02 * len(outcomes)


def test_it_is_said_what_is_the_matter(outcomes: dict[str, Outcome]) -> None:
    missed = {name: outcome.miss for name, outcome in outcomes.items() if not outcome.diagnosed}
    assert missed.keys() == NO_DIAGNOSIS.keys(), "\n".join(missed.values())
    assert len(missed) <= 0.15 * len(outcomes)


def test_no_diagnosis_is_wrong(outcomes: dict[str, Outcome]) -> None:
    """Where the right diagnosis is missed, nothing else is said: a wrong one is worse than none."""
    for outcome in outcomes.values():
        if not outcome.diagnosed:
            assert all("(no diagnosis)" in said for said in outcome.said), outcome.miss


def test_no_false_alarm_at_one_random_shape() -> None:
    assert false_alarms(1) == []


@pytest.mark.slow
def test_no_false_alarm_at_twenty_random_shapes() -> None:
    assert false_alarms(20) == []


@pytest.mark.parametrize("row", one_row_each(), ids=str)
def test_one_layer_takes_less_than_a_second(row: Row) -> None:
    assert seconds_of_one_layer(row) < 1


def test_a_mutant_whose_line_is_gone_fails_loudly() -> None:
    gone = Mutant("gone", lambda: Dense(2), (3, 4), Dense.backward, "no such line", "x", ("sign",))
    with pytest.raises(NoSuchLineError, match=r"'no such line' stands 0 times in Dense\.backward, not once"):
        gone.wrong()
    twice = Mutant("twice", lambda: Dense(2), (3, 4), Dense.backward, "dz2", "dz3", ("sign",))
    with pytest.raises(NoSuchLineError, match=r"'dz2' stands \d times"):
        twice.wrong()


def test_planting_leaves_the_class_as_it_is() -> None:
    before = Dense.backward
    MUTANTS[0].wrong()
    assert Dense.backward is before
    assert gradients(Dense(2), np.ones((3, 4))).ok


def test_the_command_prints_the_table() -> None:
    root = Path(__file__).parents[2]
    help_ = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--help"],
        cwd=root, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert "--shapes" in help_.stdout
