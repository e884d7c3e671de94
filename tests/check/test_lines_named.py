"""Which line is named where it is not plain: nothing stored, written into without an assignment, names used twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.check import lines
from tinynn.initializers import get as initializer
from tinynn.layers import Layer

x = np.random.default_rng(1).normal(size=(4, 3))


class Scaled(Layer):
    """y = g h, h = tanh(x) + x."""

    def build(self, input_shape: Any) -> Any:
        self.add_weight("g", input_shape, initializer("normal"))
        return input_shape

    def forward(self, x: Any, training: bool = False) -> Any:
        t = np.tanh(x)
        h = t + x
        y = h * self.g
        self.cache = x, t, h
        return y


class KeepsItToItself(Scaled):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        _, t, h = self.take_cache()
        dg = (dy * h).sum(axis=0)  # never stored
        dh = dy * self.g
        dx = dh * (1 - t * t) + dh
        return dx


class WritesIntoItsInput(Scaled):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, t, h = self.take_cache()
        self.dg[...] = (dy * h).sum(axis=0)
        x *= 2  # not its own
        dh = dy * self.g
        dx = dh * (1 - t * t) + dh
        return dx


class UsesANameTwice(Scaled):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        _, t, h = self.take_cache()
        self.dg[...] = (dy * h).sum(axis=0)
        dh = -dy * self.g  # the sign
        return self.rest(dh, t)

    def rest(self, dh: Any, t: Any) -> Any:
        dt = dh
        dh = dt * 1.5  # by no h
        dx = dh / 1.5 * (1 - t * t) + dh / 1.5
        return dx


def test_a_gradient_that_is_computed_and_not_stored() -> None:
    report = lines(KeepsItToItself(), x)
    [fault] = report.subjects[0].faults
    assert fault.kind == "not written"
    assert fault.line is not None
    assert fault.line.text == "dg = (dy * h).sum(axis=0)"
    assert "dg is computed and not stored in self.dg" in str(report)


def test_an_input_that_is_written_into_without_a_gradient() -> None:
    [fault] = lines(WritesIntoItsInput(), x).subjects[0].faults
    assert (fault.kind, fault.line and fault.line.text) == ("written in place", "x *= 2")


def test_one_line_that_explains_all_is_preferred_to_several() -> None:
    [wrong] = lines(UsesANameTwice(), x).wrong
    assert wrong.line.text == "dh = -dy * self.g"
    assert wrong.diagnosis is not None
    assert wrong.diagnosis.kind == "sign"
