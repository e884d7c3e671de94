"""The line checker on layers and losses: it names the wrong line and tells causes from consequences."""

from __future__ import annotations

import json
import linecache
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.check import line_subjects
from tests.check.line_subjects import (
    Absolute,
    AllInReturn,
    BadLoss,
    BiasForgotten,
    Mine,
    MyDense,
    Normal,
    NotSummed,
    OtherNames,
    OtherNamesAndWrong,
    PartByPart,
    Recurrence,
    StepTooFar,
    TwoWrong,
    Views,
    WithoutMean,
    WrongDerivative,
    WrongInLoop,
    WrongPart,
    WrongView,
)
from tinynn.backend import Device
from tinynn.check import LinesReport, lines
from tinynn.layers import Dense, Input, Layer, Residual, Tanh
from tinynn.losses import MeanSquaredError

x = np.random.default_rng(1).normal(size=(4, 5))


def wrong_texts(report: LinesReport) -> list[str]:
    return [line.line.text for line in report.wrong]


def verdicts(report: LinesReport) -> dict[str, str]:
    return {line.name: line.verdict for line in report.lines}


def source(cls: type, number: int) -> str:
    return linecache.getline(line_subjects.__file__, number)


@pytest.mark.parametrize("cls", [MyDense, Recurrence, Normal, Absolute, OtherNames, Views])
def test_right_layers_are_right(cls: type) -> None:
    given = x.reshape(2, 5, 2) if cls is Recurrence else x
    report = lines(cls(), given)
    assert report.ok, str(report)
    assert not report.wrong


@pytest.mark.parametrize(
    "cls",
    [
        WrongDerivative,
        TwoWrong,
        AllInReturn,
        PartByPart,
        WrongInLoop,
        StepTooFar,
        WithoutMean,
        WrongPart,
        Mine,
        OtherNamesAndWrong,
        WrongView,
    ],
)
def test_the_wrong_lines_are_named_and_no_others(cls: type) -> None:
    given = np.random.default_rng(2).normal(size=(2, 5, 2)) if issubclass(cls, Recurrence) else x
    report = lines(cls(), given)
    assert not report.ok
    marked = [line.line.number for line in report.wrong]
    assert marked, str(report)
    assert all("# wrong" in source(cls, number) for number in marked), str(report)
    assert len(marked) == (2 if cls is TwoWrong else 1)


def test_the_report_reads_as_promised() -> None:
    text = str(lines(WrongDerivative(), x))
    assert "WrongDerivative" in text
    assert "forward   z, y" in text
    assert "dz = dy * (1 - y)    WRONG   relative error" in text
    assert "y = np.tanh(z)" in text
    assert "shape (4, 3) as it should be; ratio to the true gradient varies: " in text
    assert "1 - y where the derivative of tanh is 1 - y**2" in text
    assert "dW, db, dx are wrong only because dz is    (checked with the true dz put in)" in text


def test_causes_and_consequences() -> None:
    found = verdicts(lines(WrongDerivative(), x))
    assert found == {"dz": "WRONG", "dW": "consequence", "db": "consequence", "dx": "consequence"}
    report = lines(TwoWrong(), x)
    assert verdicts(report) == {"dz": "WRONG", "dW": "consequence", "db": "WRONG", "dx": "consequence"}


def test_a_gradient_that_is_not_written_is_said_to_be() -> None:
    report = lines(BiasForgotten(), x)
    assert not report.ok
    assert [(fault.kind, str(fault)) for fault in report.subjects[0].faults] == [("not written", "db is not written")]


def test_a_forgotten_sum_is_found_by_its_shape() -> None:
    report = lines(NotSummed(), x)
    assert not report.ok
    assert set(verdicts(report).values()) >= {"WRONG"}


def test_the_part_that_is_wrong_is_told_from_the_sum() -> None:
    report = lines(WrongPart(), x)
    assert [line.name for line in report.wrong] == ["dc_s"]
    diagnosis = report.wrong[0].diagnosis
    assert diagnosis is not None
    assert "1/2" in diagnosis.text
    assert verdicts(report)["dc_y"] == "ok"


def test_what_is_written_through_views_is_checked() -> None:
    assert verdicts(lines(Views(), x)) == dict.fromkeys(["dz", "dz2", "dW", "ds", "dx"], "ok")


def test_a_missing_way_back_is_named() -> None:
    diagnosis = lines(WithoutMean(), x).wrong[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.kind == "missing term"
    assert "m = x.mean(axis=-1, keepdims=True)" in diagnosis.text


def test_a_right_layer_with_other_meanings_of_names_is_right_and_its_lines_are_listed() -> None:
    report = lines(OtherNames(), x)
    assert report.ok
    unchecked = [line for line in report.lines if line.verdict == "unchecked"]
    assert [line.name for line in unchecked] == ["dz", "da"]
    assert "no result is wrong for it" in unchecked[0].reason
    assert unchecked[1].reason == "forward has no a"


def test_where_forward_is_not_analytic_differences_are_taken_and_it_is_said() -> None:
    report = lines(Absolute(), x)
    methods = {line.name: line.method for line in report.lines}
    assert methods == {"da": "complex step", "dx": "central differences"}
    assert "dx: by central differences, for forward is not analytic there" in str(report)


def test_losses() -> None:
    t, y = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert lines(MeanSquaredError(), t, y).ok
    report = lines(BadLoss(), t, y)
    assert wrong_texts(report) == ["de = e * dv"]
    diagnosis = report.wrong[0].diagnosis
    assert diagnosis is not None
    assert "1/2" in diagnosis.text
    with pytest.raises(ValueError, match="needs targets and predictions"):
        lines(BadLoss(), t)


def test_all_layers_of_a_model_are_checked_and_the_inner_one_is_blamed() -> None:
    class BadTanh(Tanh):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            y = self.take_cache()
            dx = dy * (1 - y)
            return dx

    model = tinynn.Sequential([Input((5,)), Dense(4, activation="tanh"), Residual([Dense(4), BadTanh()])], seed=0)
    report = lines(model, x)
    assert [subject.subject.split()[-1] for subject in report.subjects if not subject.ok] == ["(BadTanh)"]
    assert wrong_texts(report) == ["dx = dy * (1 - y)"]
    assert "1 of " in str(report)
    assert lines(tinynn.Sequential([Input((5,)), Dense(2, activation="softmax")]), x).ok


def test_the_layer_itself_is_left_alone() -> None:
    layer = Dense(3)
    layer(x)
    before = [parameter.value.copy() for parameter in layer.parameters], type(layer)
    lines(layer, x)
    assert type(layer) is before[1]
    assert layer.W.dtype == np.float32
    for parameter, value in zip(layer.parameters, before[0], strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    assert np.isfinite(layer.dW).all()


def test_a_model_on_a_device_is_checked_on_the_host(device: Device) -> None:
    model = tinynn.Sequential([Input((5,)), Dense(3, activation="tanh")], device=device, seed=0)
    assert lines(model, x).ok


def test_super_is_followed_into_the_base_class() -> None:
    class WrongBias(Dense):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            dx = super().backward(dy, need_dx)
            self.db[...] /= len(dy)
            return dx

    report = lines(WrongBias(3), x)
    assert [line.line.text for line in report.lines if line.verdict == "unchecked"] == []
    assert wrong_texts(report) == ["self.db[...] /= len(dy)"]
    diagnosis = report.wrong[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.kind == "factor 1/N"


def test_large_arrays_are_checked_too() -> None:
    class WrongMean(Dense):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            dx = super().backward(dy, need_dx)
            self.dW[...] /= len(dy)
            return dx

    report = lines(WrongMean(64, activation="tanh"), np.random.default_rng(0).normal(size=(16, 100)))
    assert wrong_texts(report) == ["self.dW[...] /= len(dy)"]
    assert "1/16 of the truth" in str(report)
    assert "give a smaller input" in str(report)
    assert not report.subjects[-1].faults


def test_inputs_that_are_written_into_are_told_with_the_line() -> None:
    class WritesIntoDy(Tanh):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            y = self.take_cache()
            dy *= 1 - y * y
            dx = dy
            return dx

    report = lines(WritesIntoDy(), x)
    assert not report.ok
    [fault] = report.subjects[0].faults
    assert (fault.kind, fault.text) == ("written in place", "backward writes into dy")
    assert fault.line is not None
    assert fault.line.text == "dy *= 1 - y * y"

    class WritesIntoX(Tanh):
        def forward(self, x: Any, training: bool = False) -> Any:
            x *= 0.5
            y = np.tanh(x)
            self.cache = y
            return y

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            y = self.take_cache()
            dx = 0.5 * dy * (1 - y * y)
            return dx

    assert "forward writes into x" in map(str, lines(WritesIntoX(), x).subjects[0].faults)


def test_a_lost_dtype_is_told_with_the_line() -> None:
    class Doubles(Tanh):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            y = self.take_cache()
            dx = dy * (1 - y * y) * np.float64(1.0)
            return dx

    report = lines(Doubles(), x)
    [fault] = report.subjects[0].faults
    assert fault.kind == "dtype lost"
    assert fault.line is not None
    assert fault.line.text == "dx = dy * (1 - y * y) * np.float64(1.0)"


def test_random_layers_are_checked_with_a_fixed_seed_and_it_is_said() -> None:
    report = lines(tinynn.layers.Dropout(0.5), x, training=True)
    assert report.ok
    assert "forward is random; its seed was fixed, to 0" in str(report)

    class Restless(Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            y = x * np.random.default_rng().normal(size=x.shape)
            self.cache = ()
            return y

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            return dy

    with pytest.raises(ValueError, match="Restless: forward is random and gives something else each time"):
        lines(Restless(), x)


def test_the_report_goes_to_notebooks_and_machines() -> None:
    report = lines(WrongDerivative(), x)
    assert "<pre" in report._repr_html_()
    assert "dz = dy * (1 - y)" in report._repr_html_()
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is False
    wrong = [line for line in data["subjects"][0]["lines"] if line["verdict"] == "WRONG"]
    assert wrong[0]["name"] == "dz"
    assert wrong[0]["diagnosis"]["kind"] == "wrong derivative"
    assert wrong[0]["undoes"][0]["text"] == "y = np.tanh(z)"


def test_what_is_typed_at_a_prompt_cannot_be_read() -> None:
    space: dict[str, Any] = {"Tanh": Tanh}
    exec("class Typed(Tanh):\n    def backward(self, dy, need_dx=True):\n        return dy\n", space)
    with pytest.raises(ValueError, match=r"the source of Typed\.backward cannot be read"):
        lines(space["Typed"](), x)
