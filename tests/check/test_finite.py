"""The first NaN or infinity: the line that made it, and a model that can still be used."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Input, Layer, Sequential
from tinynn.check import watch
from tinynn.check.finite_check import FiniteReport, NotFiniteError, finite
from tinynn.losses import Loss, MeanSquaredError

rng = np.random.default_rng(0)
x = rng.normal(size=(8, 4))
y = rng.normal(size=(8, 2))
HERE = Path(__file__).name


class Exponential(Layer):
    """Softmax as it is first written: exp overflows."""

    def forward(self, x: Any, training: bool = False) -> Any:
        e = np.exp(x)
        y = e / e.sum(axis=-1, keepdims=True)
        self.cache = y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        y = self.take_cache()
        dx = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
        return dx


class Normalize(Layer):
    """Normalization without an epsilon: 0 / 0 where all features are equal."""

    def forward(self, x: Any, training: bool = False) -> Any:
        d = x - x.mean(axis=-1, keepdims=True)
        s = np.sqrt((d * d).mean(axis=-1, keepdims=True))
        y = d / s
        self.cache = y, s
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        y, s = self.take_cache()
        dx = (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True)) / s
        return dx


class Root(Layer):
    """Right in forward; in backward 1 / 0."""

    def forward(self, x: Any, training: bool = False) -> Any:
        y = np.sqrt(x * x)
        self.cache = x, y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dq = dy / (2 * y)
        dx = dq * 2 * x
        return dx


class Planted(Layer):
    """A NaN in one place, after some calls."""

    calls = 0

    def forward(self, x: Any, training: bool = False) -> Any:
        self.calls += 1
        y = x.copy()
        if self.calls > 3:
            y[1, 0] = np.nan
        self.cache = ()
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return dy


class LogLoss(Loss):
    """-log y_pred without care for 0."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        v = -y_true * np.log(y_pred)
        self.cache = y_true, y_pred
        return v

    def gradient(self, dv: Any) -> Any:
        y_true, y_pred = self.take_cache()
        return -dv * y_true / y_pred


class Harmless(Layer):
    """Infinities that are thrown away before anybody sees them."""

    def forward(self, x: Any, training: bool = False) -> Any:
        r = 1 / (x * 0)
        y = np.where(np.isfinite(r), r, x)
        self.cache = ()
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return dy


def line_of(thing: Any, text: str) -> int:
    """Return the number of the line of a class or function that begins with a text."""
    lines, first = inspect.getsourcelines(thing)
    return next(first + i for i, line in enumerate(lines) if line.strip().startswith(text))


def model_of(*layers: Layer, loss: Any = "mse", optimizer: Any = "sgd", seed: int = 0, **options: Any) -> Sequential:
    model = Sequential([*layers], seed=seed, **options)
    model.compile(optimizer, loss)
    return model


def error_of(model: Sequential, x: Any, y: Any, **options: Any) -> FiniteReport:
    """Return the report of the error that fit raises, and look that the model is as usable as before."""
    with pytest.raises(NotFiniteError) as caught:
        model.fit(x, y, verbose=0, check_finite=True, **options)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert "The weights are those before this step" in str(caught.value)
    assert str(caught.value.report) in str(caught.value)
    assert sys.gettrace() is None or "pydev" in repr(sys.gettrace())
    return caught.value.report


def test_overflow_of_exp_in_forward() -> None:
    model = model_of(Dense(3), Exponential(), Dense(2))
    report = error_of(model, x * 1000, y, batch_size=8)
    assert (report.layer, report.phase, report.array) == ("exponential (Exponential)", "forward", "e")
    assert (report.line, report.text) == (line_of(Exponential, "e ="), "e = np.exp(x)")
    assert report.file.endswith(HERE)
    assert report.where == "epoch 1, batch 1"
    assert "of 24 numbers, the first at [" in report.numbers
    assert report.reads[0].startswith("x from -")
    assert "exp overflows above 89 in float32" in report.advice


def test_the_batch_is_named_and_training_goes_on_after() -> None:
    model = model_of(Dense(3), Exponential(), Dense(2))
    large = np.concatenate([x, x, x * 1e4])
    report = error_of(model, large, np.concatenate([y, y, y]), batch_size=8, shuffle=False)
    assert report.where == "epoch 1, batch 3"
    weights = model.get_weights()
    other = model_of(Dense(3), Exponential(), Dense(2))
    other.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    other.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    for mine, theirs in zip(weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)  # the two good steps, and nothing of the third
    history = model.fit(x, y, verbose=0, check_finite=True)
    assert np.isfinite(history.history["loss"]).all()


def test_zero_over_zero_without_an_epsilon() -> None:
    report = error_of(model_of(Normalize(), Dense(2)), np.ones((8, 4)), y)
    assert (report.layer, report.phase, report.text) == ("normalize (Normalize)", "forward", "y = d / s")
    assert report.reads == ("d from 0 to 0", "s from 0 to 0")
    assert "add a small epsilon" in report.advice


def test_zero_over_zero_in_the_librarys_own_normalization() -> None:
    report = finite(tinynn.layers.LayerNormalization(epsilon=0.0), np.ones((4, 3)))
    assert not report.ok
    assert (report.layer, report.phase, report.array) == ("LayerNormalization", "forward", "inv")
    assert Path(report.file).name == "normalization.py"
    assert "add a small epsilon" in report.advice


def test_an_infinity_that_forward_hides_is_told_too() -> None:
    """The variance overflows, 1 / sqrt(inf) is 0, forward is finite, and backward divides 0 by 0."""
    report = finite(tinynn.layers.LayerNormalization(), x.astype("float32") * np.float32(1e25))
    assert (report.phase, report.array) == ("backward", "dinv")
    assert "made var inf" in report.earlier
    assert f"  after  {report.earlier}" in str(report)


def test_log_of_zero_in_a_loss() -> None:
    model = model_of(Dense(2, activation="relu", kernel_initializer="zeros"), loss=LogLoss())
    report = error_of(model, x, np.ones((8, 2)))
    assert (report.layer, report.phase, report.array) == ("the loss LogLoss", "forward", "v")
    assert report.line == line_of(LogLoss, "v =")
    assert "log of 0 is -inf" in report.advice


def test_root_at_zero_in_backward_only() -> None:
    model = model_of(Input((4,)), Dense(3, kernel_initializer="zeros"), Root(), Dense(2))
    report = error_of(model, x, y)
    assert (report.layer, report.phase, report.array) == ("root (Root)", "backward", "dq")
    assert report.line == line_of(Root, "dq =")
    assert "the derivative of sqrt is infinite at 0" in report.advice


def test_a_huge_rate_blows_up_in_the_update() -> None:
    model = model_of(Dense(2), optimizer=tinynn.SGD(1e38))
    report = error_of(model, x * 1000, y * 1000)
    assert (report.layer, report.phase, report.array) == ("the optimizer SGD", "update", "step")
    assert "of dense (Dense) = " in report.numbers
    assert report.reads[0].startswith("dw from ")
    assert "smaller learning rate" in report.advice
    assert model.optimizer is not None
    assert model.optimizer.iterations == 0
    model.optimizer.learning_rate = 1e-9
    model.fit(x, y, verbose=0, check_finite=True)


def test_the_optimizers_memory_that_overflows_is_found_though_weights_are_finite() -> None:
    model = model_of(Dense(2), optimizer="adam")
    report = error_of(model, x * 1e9, y * 1e12)
    assert report.phase == "update"
    assert report.array in ("V", "v")
    assert report.layer == "the optimizer Adam"
    assert [read.split()[0] for read in report.reads] == ["dw"]


def test_nan_planted_in_a_layer_of_ones_own() -> None:
    report = error_of(model_of(Dense(3), Planted(), Dense(2)), x, y, batch_size=4, epochs=5, shuffle=False)
    assert (report.layer, report.array, report.text) == ("planted (Planted)", "y", "y[1, 0] = np.nan")
    assert report.line == line_of(Planted, "y[1, 0] =")
    assert report.where == "epoch 2, batch 1"  # the first call was build's


@pytest.mark.parametrize(("kind", "size"), [(tinynn.SimpleRNN, -3e38), (tinynn.LSTM, 3e38), (tinynn.GRU, -3e38)])
def test_recurrent_layers(kind: Any, size: float) -> None:
    """The first step's x W is infinite, which tanh would forgive; the second's h U is infinite with the other sign."""
    steps = np.abs(rng.normal(size=(3, 5, 2))) + 1
    model = model_of(Input((5, 2)), kind(3), Dense(1))
    assert finite(model, steps, np.zeros((3, 1))).ok
    model.build()
    weights = {parameter.name: parameter.value for parameter in model.layers[0].parameters}
    weights["W"][...], weights["U"][...] = size, -3e38
    report = error_of(model, steps, np.zeros((3, 1)))
    assert report.layer.startswith(model.layers[0].label)
    assert report.phase == "forward"
    assert "W" in report.text
    assert any("3e+38" in read for read in report.reads)


def test_attention_and_nested_containers() -> None:
    attention = tinynn.layers.MultiHeadAttention(2, 3)
    inner = Sequential([tinynn.layers.Residual(Sequential([tinynn.layers.Residual(attention)])), Dense(2)])
    model = model_of(Input((5, 4)), inner)
    steps = rng.normal(size=(2, 5, 4))
    assert finite(model, steps, np.zeros((2, 5, 2))).ok
    report = error_of(model, steps * 1e30, np.zeros((2, 5, 2)))
    assert "MultiHeadAttention" in report.layer
    assert report.layer.count("Residual") == 2
    assert Path(report.file).name == "attention.py"


def test_infinities_on_purpose_are_nobodys_fault() -> None:
    images = np.abs(rng.normal(size=(2, 5, 5, 1)))
    layers = [tinynn.MaxPooling2D(2, padding="same"), Harmless(), tinynn.Flatten(), Planted(), Dense(2)]
    model = model_of(*layers)
    assert finite(model, images, np.zeros((2, 2))).ok
    report = error_of(model, images, np.zeros((2, 2)), epochs=9)
    assert report.layer == "planted (Planted)"
    assert finite(tinynn.MaxPooling2D(2, padding="same"), images).ok


class Masked(Layer):
    """Attention's softmax, where nobody may be looked at: -inf is on purpose, -inf - -inf is not."""

    def forward(self, x: Any, training: bool = False) -> Any:
        s = np.where(x > 0, x, -np.inf)
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        self.cache = y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        y = self.take_cache()
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def test_a_line_that_says_inf_is_not_to_blame_for_the_nan_after_it() -> None:
    assert finite(Masked(), np.array([[1.0, -1.0], [-1.0, 1.0]])).ok
    report = finite(Masked(), np.array([[1.0, -1.0], [-1.0, -1.0]]))
    assert report.array == "e"
    assert report.numbers == "2 of 4 numbers, the first at [1, 0] = nan"


def test_what_stands_after_out_is_not_read() -> None:
    statements = ast.parse("V += xp.multiply(dw, self.W, out=self.rows(scratch))\nz = z - m\ny = f(x)").body
    assert [watch.names_read(statement) for statement in statements] == [["V", "dw", "self.W"], ["z", "m"], ["f", "x"]]


def helper(z: Any) -> Any:
    return 1 / z


class UsesAHelper(Layer):
    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = ()
        return np.stack([helper(row) for row in x])

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy


class FillsAnEmptyArray(Layer):
    """What the memory held before is NaN here; it is overwritten, row by row, the last row wrongly."""

    def forward(self, x: Any, training: bool = False) -> Any:
        np.full_like(x, np.nan)  # freed at once, so that the next array gets this memory
        y = np.empty_like(x)
        rows = y.reshape(len(y), -1)
        for i in range(len(x)):
            rows[i] = x[i] / (len(x) - 1 - i)
        self.cache = ()
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return dy


def test_what_an_empty_array_held_before_is_no_find() -> None:
    report = finite(FillsAnEmptyArray(), rng.normal(size=(3, 1000)))
    assert (report.array, report.text) == ("rows", "rows[i] = x[i] / (len(x) - 1 - i)")
    assert report.numbers.startswith("1000 of 1000")


def test_a_helper_function_is_named_itself() -> None:
    report = finite(UsesAHelper(), np.zeros((2, 3)))
    assert (report.layer, report.text, report.array) == ("UsesAHelper", "return 1 / z", "what is returned")
    assert report.line == line_of(helper, "return")


def test_without_source_the_line_is_a_number() -> None:
    space: dict[str, Any] = {"Layer": Layer, "np": np}
    text = """
class Typed(Layer):
    def forward(self, x, training=False):
        z = x * 0
        y = z / z
        return y
    def backward(self, dy, need_dx=True):
        return dy
"""
    exec(text, space)
    report = finite(space["Typed"](), np.ones((2, 3)))
    assert (report.line, report.text, report.array) == (5, "", "y")


def test_random_layers_are_repeated_with_the_same_numbers() -> None:
    model = model_of(Dense(4), tinynn.Dropout(0.5), Root(), Dense(2))
    assert error_of(model, np.abs(x) + 1, y).text == "dq = dy / (2 * y)"


def test_a_model_as_it_should_be() -> None:
    model = model_of(Dense(8, activation="tanh"), Dense(2, activation="softmax"), loss="mse", optimizer="adam")
    twin = model_of(Dense(8, activation="tanh"), Dense(2, activation="softmax"), loss="mse", optimizer="adam")
    model.fit(x, y, epochs=3, batch_size=4, verbose=0, check_finite=True)
    twin.fit(x, y, epochs=3, batch_size=4, verbose=0)
    for mine, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    before = model.get_weights()
    report = finite(model, x, y, steps=2)
    assert report.ok
    assert str(report) == "sequential (Sequential): all numbers are finite (2 steps)" or "all numbers are" in str(
        report
    )
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)  # it works on a copy


def test_steps_until_a_rate_blows_up() -> None:
    model = model_of(Dense(2), optimizer=tinynn.SGD(1e5))
    report = finite(model, x, y, steps=50)
    assert not report.ok
    assert report.where.startswith("step ")
    assert report.where != "step 1"


def test_weights_that_are_spoilt_before() -> None:
    model = model_of(Input((4,)), Dense(2))
    model.build()
    model.layers[0].W[1, 1] = np.nan
    report = finite(model, x, y)
    assert (report.line, report.array, report.layer) == (0, "dense.W", "dense (Dense)")
    assert report.numbers == "1 of 8 numbers, the first at [1, 1] = nan"
    assert "the weights before this step" in str(report)
    with pytest.raises(NotFiniteError, match="the weights before epoch 1, batch 1"):
        model.fit(x, y, verbose=0, check_finite=True)


def test_one_layer_and_a_model_without_targets() -> None:
    assert finite(tinynn.Dense(2), x).ok
    assert finite(Sequential([Dense(2), tinynn.Softmax()]), x).ok
    assert finite(Root(), np.zeros((2, 2))).phase == "backward"


class UsesMemoryAgain(Layer):
    """What is reported is what was there when the line ran."""

    def forward(self, x: Any, training: bool = False) -> Any:
        z = x * 1
        e = np.exp(z)
        y = e - e
        z[...] = 7
        e[...] = 7
        self.cache = ()
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return dy


def test_numbers_are_those_of_the_moment() -> None:
    report = finite(UsesMemoryAgain(), np.array([[1.0, 2000.0]]))
    assert (report.array, report.numbers) == ("e", "1 of 2 numbers, the first at [0, 1] = inf")
    assert report.reads == ("z from 1 to 2000",)


def test_on_every_device(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    is_watched = watch.is_watched  # the pretended device's arrays are Python code, which is a library's
    pretended = ("guard.py", "capturing.py")
    monkeypatch.setattr(watch, "is_watched", lambda c: not c.co_filename.endswith(pretended) and is_watched(c))
    model = Sequential([Input((4,)), tinynn.LayerNormalization(epsilon=0.0), Dense(2)], seed=0, device=device)
    model.compile("adam", "mse")
    assert finite(model, x, y).ok
    model.fit(x, y, verbose=0, check_finite=True, batch_size=4)
    before = model.get_weights()
    report = error_of(model, np.ones((8, 4)), y, batch_size=4)
    assert (report.array, report.phase) == ("inv", "forward")
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


class Uncopyable(Planted):
    def __init__(self) -> None:
        super().__init__()
        self.log = (i for i in range(3))


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"Uncopyable: check.finite works on a copy .* cannot be copied \(.*generator"):
        finite(Uncopyable(), x)
    with pytest.raises(TypeError, match=r"Sequential: check_finite works on a copy of the model"):
        model_of(Uncopyable(), Dense(2)).fit(x, y, verbose=0, check_finite=True)
    with pytest.raises(TypeError, match=r"Root: check.finite: a layer alone has no loss to take y"):
        finite(Root(), x, y)
    no_model: Any = [1]
    with pytest.raises(TypeError, match=r"check.finite: expected a model or a layer, got list"):
        finite(no_model, x)
    with pytest.raises(ValueError, match=r"check.finite: steps"):
        finite(model_of(Dense(2)), x, y, steps=0)
    with pytest.raises(RuntimeError, match=r"check.finite needs to know how to train"):
        finite(Sequential([Dense(2)]), x, y)
    with pytest.raises(ValueError, match="NaN"):
        finite(model_of(Dense(2)), x * np.nan, y)


def test_the_text() -> None:
    report = finite(model_of(Dense(3), Root(), Dense(2)), x * 0, y)
    lines = str(report).splitlines()
    assert lines[0].endswith("the first NaN or infinity arose at this step")
    assert lines[1].startswith("  in     root (Root), backward  ")
    assert lines[2] == f"  line   {line_of(Root, 'dq =')}  dq = dy / (2 * y)"
    assert lines[3].startswith("  array  dq: 24 of 24 numbers, the first at [0, 0] = ")
    assert lines[4].startswith("  from   dy from ")
    assert lines[5] == "         y from 0 to 0"
    assert lines[6].startswith("  try    a number that is divided by is 0")
    assert "<pre" in report._repr_html_()
    assert "dq" in report._repr_html_()
    assert report.__rich__().plain == str(report) == repr(report)


def test_without_it_nothing_is_copied_or_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any) -> None:
        raise AssertionError("copied")

    monkeypatch.setattr("tinynn.check.finite_check.train_step", no)
    model = model_of(Dense(2), loss=MeanSquaredError())
    model.fit(x, y, verbose=0)
