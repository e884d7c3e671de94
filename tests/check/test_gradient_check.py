"""The gradient check itself: it must find what is wrong, and only that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Input, Layer, Sequential, Softmax, Tanh
from tinynn.check import GradientReport, gradients

x = np.random.default_rng(0).normal(size=(5, 3))


def rows(report: GradientReport) -> dict[str, bool]:
    return {row.name: row.ok for row in report.rows}


class WrongBias(Dense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        dx = super().backward(dy, need_dx)
        self.db[...] /= len(dy)  # a mean where a sum was due
        return dx


class WrongInput(Tanh):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        y = self.take_cache()
        return dy * (1 - y)


class NoGradient(Dense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy @ self.W.T


class WritesIntoX(Tanh):
    def forward(self, x: Any, training: bool = False) -> Any:
        x += 1e-3
        return super().forward(x, training)


class WritesIntoDy(Tanh):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        dy *= 1 - self.take_cache() ** 2
        return dy


class Absolute(Layer):
    """Its forward loses the imaginary part: no complex step."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = np.sign(x.real)
        return np.abs(x)

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy * self.take_cache()


class RealOnly(Absolute):
    """Its forward cannot be given complex numbers at all."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = np.sign(x)
        return np.fabs(x)


class SoftmaxThatIgnoresItsJacobian(Softmax):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy * 0 * self.take_cache()


def test_a_wrong_parameter_gradient_is_named_alone() -> None:
    assert rows(gradients(WrongBias(2), x)) == {"dx": True, "dW": True, "db": False}


def test_a_wrong_dx_is_named_alone() -> None:
    report = gradients(Sequential([Dense(2), WrongInput(), Dense(2)]), x)
    assert rows(report) == {
        "dx": False,
        "dense.dW": False,
        "dense.db": False,
        "dense_1.dW": True,
        "dense_1.db": True,
    }
    assert not report.ok
    assert report.error > 0.01


def test_a_gradient_that_is_not_written_is_said() -> None:
    report = gradients(NoGradient(2), x)
    assert rows(report) == {"dx": True, "dW": False, "db": False}
    assert "not written" in str(report)
    assert report.error != report.error  # NaN is the worst of all errors


def test_writing_into_x_or_dy_is_said() -> None:
    assert gradients(WritesIntoX(), x.copy()).faults == ("forward wrote into x",)
    assert gradients(WritesIntoDy(), x).faults == ("backward wrote into dy",)


def test_random_upstream_gradient_sees_what_ones_would_not() -> None:
    assert not gradients(SoftmaxThatIgnoresItsJacobian(), x).ok


@pytest.mark.parametrize("layer", [Absolute(), RealOnly()])
def test_layers_that_are_not_analytic_get_central_differences(layer: Layer) -> None:
    report = gradients(layer, x)
    assert report.ok
    assert [row.method for row in report.rows] == ["central differences"]
    assert report.error < 1e-8


class SmallAbsolute(Absolute):
    """Its derivative is so small that a careless comparison takes it for none."""

    right = True

    def forward(self, x: Any, training: bool = False) -> Any:
        return 1e-6 * super().forward(x, training)

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return 1e-6 * super().backward(dy) if self.right else 0 * super().backward(dy)


def test_small_derivatives_are_no_excuse() -> None:
    report = gradients(SmallAbsolute(), x)
    assert report.rows[0].method == "central differences"
    near = Sequential([Dense(2), Absolute()], dtype="float64", seed=0)
    targets = near(x) + 1e-7
    report = gradients(near, x, targets, "mse")
    assert report.ok, report
    assert {row.method for row in report.rows} == {"central differences"}


def test_the_whole_model_with_its_loss() -> None:
    model = Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(2, activation="softmax")], seed=0)
    labels = np.arange(5) % 2
    for loss in ("sparse_categorical_crossentropy", tinynn.SparseCategoricalCrossentropy()):
        report = gradients(model, x, labels, loss)
        assert report.ok, report
        assert report.error < 1e-12
    model.compile("adam", "sparse_categorical_crossentropy")
    assert gradients(model, x, labels).ok
    with pytest.raises(ValueError, match="targets need a loss"):
        gradients(Dense(2), x, labels)
    with pytest.raises(ValueError, match="a loss needs targets"):
        gradients(Dense(2), x, loss="mse")


def test_the_layers_own_weights_are_left_alone() -> None:
    model = Sequential([Input((3,)), Dense(2)], seed=0)
    model.build()
    W, weights, grads = model.layers[0].W, model.get_weights(), model.arena.grads.copy()
    gradients(model, x)
    assert model.layers[0].W is W
    assert W.dtype == np.float32
    np.testing.assert_array_equal(model.arena.grads, grads)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_large_arrays_are_sampled_and_it_says_so() -> None:
    report = gradients(Dense(50), np.ones((2, 40)), max_entries=30)
    assert report.ok
    assert "30 of 2,000" in str(report)


def test_the_report_prints_as_a_table() -> None:
    text = str(gradients(WrongBias(2), x))
    lines = text.splitlines()
    assert lines[0] == "WrongBias: NOT RIGHT"
    assert lines[1].split() == ["gradient", "shape", "checked", "by", "error"]
    assert lines[-1].startswith("db ")
    assert lines[-1].endswith("WRONG")
