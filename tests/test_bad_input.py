"""Mistakes that people make: each gets a message that says what was given, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Flatten, Input, Sequential, ShapeError

x = np.random.default_rng(0).normal(size=(12, 4))
classes = np.arange(12) % 3
rows = np.eye(3)[classes]


def model(loss: str = "sparse_categorical_crossentropy") -> Sequential:
    network = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(3, activation="softmax")], seed=0)
    network.compile("adam", loss, metrics=["accuracy"])
    return network


def with_value(value: float) -> np.ndarray:
    wrong = x.copy()
    wrong[3, 2] = value
    return wrong


MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "wrong input width",
        lambda: model().fit(x[:, :3], classes),
        ShapeError,
        r"fit: x: dense \(Dense\) expected an input of shape \(batch, 4\), got \(12, 3\).* from the model's input",
    ),
    (
        "images where rows are wanted",
        lambda: model().predict(np.zeros((5, 2, 2))),
        ShapeError,
        r"expected an input of shape \(batch, 4\), got \(5, 2, 2\)\. Reshape it with x\.reshape\(len\(x\), 4\)",
    ),
    (
        "a batch of another rank",
        lambda: model().fit(np.zeros((12, 4, 7)), classes),
        ShapeError,
        r"got \(12, 4, 7\)\. The input must have 2 axes, this one has 3",
    ),
    (
        "one sample without its batch axis",
        lambda: model().predict(x[0]),
        ShapeError,
        r"got \(4,\)\. That is one sample; make it a batch of one with x\[None\]",
    ),
    (
        "a layer that does not fit the one before",
        lambda: Sequential([Input(()), Dense(3)]).build(),
        ShapeError,
        r"dense \(Dense\) expected an input of shape \(batch, \.\.\., inputs\), got \(batch,\)\. It comes from",
    ),
    ("labels out of range", lambda: model().fit(x, classes + 1), ValueError, "y: .*from 0 to 2.*got 3.*4 outputs"),
    ("negative labels", lambda: model().fit(x, classes - 1), ValueError, "from 0 to 2.*got -1. Mend the labels"),
    ("float labels", lambda: model().fit(x, classes * 1.0), ValueError, r"got float64.*y\.astype\(int\)"),
    (
        "class numbers where one-hot is wanted",
        lambda: model("categorical_crossentropy").fit(x, classes),
        ValueError,
        r"expected one-hot targets of shape \(12, 3\), got \(12,\).*sparse_categorical_crossentropy",
    ),
    (
        "one-hot where class numbers are wanted",
        lambda: model().fit(x, rows),
        ValueError,
        r"expected class numbers of shape \(12,\), got \(12, 3\), which looks one-hot.*'categorical_crossentropy'",
    ),
    (
        "(n,) against (n, 1)",
        lambda: regression().fit(x, x[:, 0]),
        ValueError,
        r"shape \(12, 1\), got \(12,\)\. Shapes are never broadcast: use y\[:, None\]",
    ),
    ("lengths that differ", lambda: model().fit(x, classes[:7]), ValueError, "x has 12 samples and y has 7"),
    ("no data", lambda: model().fit(x[:0], classes[:0]), ValueError, r"x is empty: its shape is \(0, 4\)"),
    ("NaN", lambda: model().fit(with_value(np.nan), classes), ValueError, r"1 NaN or infinite .*x\[\(3, 2\)\] = nan"),
    ("infinity", lambda: model().predict(with_value(-np.inf)), ValueError, r"x\[\(3, 2\)\] = -inf.*nan_to_num"),
    ("NaN in targets", lambda: regression().fit(x, with_value(np.nan)[:, 2:3]), ValueError, "y holds 1 NaN"),
    ("text", lambda: model().fit(x.astype(str), classes), ValueError, "x must hold numbers, got dtype <U"),
    ("no array", lambda: model().fit("mnist", classes), TypeError, "fit: x: expected a NumPy or CuPy array, got .*str"),
    ("batch_size 0", lambda: model().fit(x, classes, batch_size=0), ValueError, "batch_size must be a whole .* got 0"),
    ("batch_size 1.5", lambda: model().fit(x, classes, batch_size=1.5), ValueError, "batch_size .* got 1.5"),
    (
        "epochs 0",
        lambda: model().fit(x, classes, epochs=0),
        ValueError,
        "epochs must be a whole number from 1 up, got 0",
    ),
    ("verbose 7", lambda: model().fit(x, classes, verbose=7), ValueError, "verbose must be 'auto', 0, 1 or 2, got 7"),
    (
        "fit before compile",
        lambda: Sequential([Dense(3)]).fit(x, classes),
        RuntimeError,
        r"Sequential: fit needs to know how to train: call compile\(",
    ),
    (
        "evaluate before compile",
        lambda: Sequential([Input((4,)), Dense(3)]).evaluate(x, classes),
        RuntimeError,
        r"evaluate needs to know how to train: call compile\(",
    ),
    (
        "predict before build",
        lambda: Sequential([Dense(3)]).predict(x),
        RuntimeError,
        r"has no weights yet, and predict needs them: start the model with Input\(shape\)",
    ),
    (
        "summary before build",
        lambda: Sequential([Dense(3)]).summary(),
        RuntimeError,
        "has no weights yet, and summary needs them",
    ),
    ("unknown optimizer", lambda: model().compile("adamm", "mse"), ValueError, "'adamm'. Did you mean 'adam'"),
    ("unknown loss", lambda: model().compile("adam", "mes"), ValueError, "unknown loss 'mes'. Did you mean 'mse'"),
    ("no loss", lambda: model().compile("adam"), ValueError, "compile needs a loss, such as"),
    ("unknown activation", lambda: Dense(3, "rleu"), ValueError, "activation 'rleu'. Did you mean 'relu'"),
    (
        "unknown metric",
        lambda: model().compile("adam", "mse", metrics=["acuracy"]),
        ValueError,
        "unknown metric 'acuracy'. Did you mean 'accuracy'",
    ),
    (
        "metrics as text",
        lambda: model().compile("adam", "mse", metrics="accuracy"),
        TypeError,
        r"a list, such as metrics=\['acc",
    ),
    ("unknown device", lambda: Sequential(device="gpu"), ValueError, "unknown device 'gpu' asked for; choose one of"),
    ("units 0", lambda: Dense(0), ValueError, "Dense: units must be a whole number from 1 up, got 0"),
    ("units 2.0", lambda: Dense(2.0), ValueError, "units must be a whole number from 1 up, got 2.0"),
    ("input shape 0", lambda: Input((0, 3)), ValueError, r"Input: shape: expected .* got \(0, 3\)"),
    ("input shape None", lambda: Input((None, 3)), ValueError, r"got \(None, 3\)\. The batch axis is left out"),
    (
        "validation_split 1",
        lambda: model().fit(x, classes, validation_split=1.0),
        ValueError,
        "between 0 and 1, got 1.0",
    ),
    (
        "validation_split small",
        lambda: model().fit(x, classes, validation_split=0.01),
        ValueError,
        "12 to train on and 0",
    ),
    (
        "both validations",
        lambda: model().fit(x, classes, validation_split=0.5, validation_data=(x, classes)),
        ValueError,
        "give validation_split or validation_data, not both",
    ),
    (
        "validation_data of one",
        lambda: model().fit(x, classes, validation_data=x),
        ValueError,
        r"validation_data must be a tuple \(x, y\), got ndarray",
    ),
    (
        "wrong validation_data",
        lambda: model().fit(x, classes, validation_data=(x, rows)),
        ValueError,
        "fit: validation_data: y: .*looks one-hot",
    ),
    (
        "callback class",
        lambda: model().fit(x, classes, callbacks=[tinynn.Callback]),
        TypeError,
        r"callbacks must be instances of tinynn.callbacks.Callback, got <class .* Make one .*: Callback\(\.\.\.\)",
    ),
    (
        "callback function",
        lambda: model().fit(x, classes, callbacks=[print]),
        TypeError,
        r"got <built-in function print>\. A function goes into one: LambdaCallback\(",
    ),
    ("to_categorical float", lambda: tinynn.to_categorical([0.5]), ValueError, "whole class numbers, got float64"),
    ("to_categorical range", lambda: tinynn.to_categorical([0, 3], 3), ValueError, "from 0 to 2, got 3"),
    ("to_categorical empty", lambda: tinynn.to_categorical(np.array([], int)), ValueError, "the array is empty"),
]


def regression() -> Sequential:
    network = Sequential([Input((4,)), Dense(1)], seed=0)
    network.compile("sgd", "mse")
    return network


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


@pytest.mark.parametrize(
    "wrong", [(x[:, :3], classes), (x, classes + 1), (x[:5], classes), (with_value(np.nan), classes)]
)
def test_nothing_is_lost_by_a_mistake(wrong: tuple[np.ndarray, np.ndarray]) -> None:
    network = model()
    network.fit(x, classes, verbose=0)
    before, steps = network.get_weights(), network.optimizer.iterations
    with pytest.raises(ValueError, match="fit"):
        network.fit(*wrong, verbose=0)
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert network.optimizer.iterations == steps
    network.fit(x, classes, verbose=0)


def test_large_finite_numbers_are_no_infinity() -> None:
    big = np.full((2, 2), 3e38, dtype=np.float32)  # their sum is infinite, they are not
    checked = tinynn.data.check_array(big, "fit", "x")
    assert checked is big


def test_a_shape_error_names_the_layer_before() -> None:
    class NeedsImages(tinynn.Layer):
        def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            self.need_axes(input_shape, 3, "(batch, height, width, channels)")
            return input_shape

    with pytest.raises(
        ShapeError,
        match=r"needs_images \(NeedsImages\) expected an input of shape \(batch, height, .*\), "
        r"got \(batch, 4\)\. It comes from flatten \(Flatten\)",
    ):
        Sequential([Input((2, 2)), Flatten(), NeedsImages()]).build()
