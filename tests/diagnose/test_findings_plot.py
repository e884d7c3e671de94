"""The picture of an examination shows the report's numbers, and wrong input is told what to do."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.diagnose.patients import HEALTHY, SICK, mlp, table
from tests.test_plots import assert_texts_apart, is_png
from tinynn import plots
from tinynn.diagnose.report import DoctorReport
from tinynn.layers import Dense


@cache
def report_on(name: str) -> DoctorReport:
    make = HEALTHY[name] if name in HEALTHY else SICK[name][1]
    return tinynn.doctor(*make(), verbose=0)


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_draws_the_trials_and_the_layers() -> None:
    report = report_on("mse")
    rates, batch, gradients, steps = plots.examination(report).axes
    assert report.range_test is not None
    assert report.overfit is not None
    assert tuple(rates.lines[0].get_ydata()) == report.range_test.losses
    assert tuple(batch.lines[0].get_ydata()) == report.overfit.losses
    assert list(gradients.lines[0].get_xdata()) == [fact.gradient for fact in report.layers]
    assert list(steps.lines[0].get_xdata()) == [fact.update for fact in report.layers]
    assert [label.get_text() for label in steps.get_yticklabels()] == ["dense", "dense_1"]
    assert [label.split()[0] for label in labels(rates)] == ["the", "suggested", "diverges"]


@pytest.mark.parametrize("name", ["transformer", "twenty layers of sigmoids", "relu with a bias of -20", "xor"])
def test_texts_do_not_overlap(name: str) -> None:
    assert_texts_apart(plots.examination(report_on(name)))


def test_a_step_of_0_is_shown() -> None:
    steps = plots.examination(report_on("relu with a bias of -20")).axes[3]
    assert [text.get_text() for text in steps.texts] == ["0", "0"]


def test_says_so_where_one_answer_is_right() -> None:
    x = table()[0]
    model = mlp_of_two()
    report = tinynn.doctor(model, x, np.zeros(len(x), dtype=int), verbose=0)
    assert report.overfit is None
    assert [text.get_text() for text in plots.examination(report).axes[1].texts] == [
        "one answer is right for all samples"
    ]


def mlp_of_two() -> tinynn.Sequential:
    model = tinynn.Sequential([Dense(8, "relu"), Dense(2, "softmax")], seed=0, device="cpu")
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_writes_a_png(tmp_path: Path) -> None:
    report_on("mse").plot(tmp_path / "doctor.png")
    assert is_png(tmp_path / "doctor.png")


def test_says_what_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"expected the report that doctor returns, got Sequential.*tinynn\.doctor"):
        plots.examination(mlp())
    model = mlp_of_two()
    model.build((8,))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    report = tinynn.doctor(model, table()[0], np.arange(500) % 2, verbose=0)
    with pytest.raises(ValueError, match="the loss was not finite, so there is nothing to draw"):
        report.plot()
