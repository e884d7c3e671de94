"""Recurrent layers: values by hand, what truncation cuts, dropout's masks, both directions, every bad argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.layers.rows_recurrent import LAYERS, RANDOM
from tinynn import Dense, Input, Sequential, ShapeError
from tinynn.check import gradients
from tinynn.kernels.draws import Draws
from tinynn.kernels.steps import STEP_ACTIVATIONS
from tinynn.layers.bidirectional import Bidirectional
from tinynn.layers.gru import GRU
from tinynn.layers.lstm import LSTM
from tinynn.layers.recurrent import Recurrent, SimpleRNN

every_kind = pytest.mark.parametrize(
    "kind", [SimpleRNN, LSTM, GRU, lambda *a, **k: GRU(*a, reset_after=False, **k)], ids=["rnn", "lstm", "gru", "gru0"]
)


def made(kind: Any, steps: int = 6, features: int = 2, units: int = 3, **options: Any) -> Any:
    """Return a layer with random weights in float64."""
    layer = kind(units, **(RANDOM | {"bias_initializer": "glorot_uniform"} | options))
    layer.dtype, layer.rng = "float64", np.random.default_rng(1)
    layer.build_for((steps, features))
    return layer


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


# Values by hand: the formulas of the books, one step and one gate at a time ------------------------------------


def rnn_by_hand(x: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray) -> np.ndarray:
    h = np.zeros(len(U))
    for step in x:
        h = np.tanh(step @ W + h @ U + b)
    return h


def lstm_by_hand(x: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray) -> np.ndarray:
    (Wi, Wf, Wc, Wo), (Ui, Uf, Uc, Uo) = np.split(W, 4, axis=1), np.split(U, 4, axis=1)
    bi, bf, bc, bo = np.split(b, 4)
    h = c = np.zeros(len(U))
    for step in x:
        i = sigmoid(step @ Wi + h @ Ui + bi)
        f = sigmoid(step @ Wf + h @ Uf + bf)
        g = np.tanh(step @ Wc + h @ Uc + bc)
        o = sigmoid(step @ Wo + h @ Uo + bo)
        c = f * c + i * g
        h = o * np.tanh(c)
    return h


def gru_by_hand(x: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray) -> np.ndarray:
    (Wz, Wr, Wh), (Uz, Ur, Uh) = np.split(W, 3, axis=1), np.split(U, 3, axis=1)
    after = b.ndim == 2
    (bz, br, bh), (cz, cr, ch) = np.split(b.reshape(-1, len(U) * 3)[0], 3), np.split(b[1] if after else 0 * b, 3)
    h = np.zeros(len(U))
    for step in x:
        z = sigmoid(step @ Wz + bz + h @ Uz + cz)
        r = sigmoid(step @ Wr + br + h @ Ur + cr)
        g = np.tanh(step @ Wh + bh + (r * (h @ Uh + ch) if after else (r * h) @ Uh))
        h = z * h + (1 - z) * g
    return h


@pytest.mark.parametrize(
    ("kind", "by_hand", "options"),
    [
        (SimpleRNN, rnn_by_hand, {}),
        (LSTM, lstm_by_hand, {}),
        (GRU, gru_by_hand, {}),
        (GRU, gru_by_hand, {"reset_after": False}),
    ],
)
def test_values_by_hand(kind: Any, by_hand: Any, options: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 6, 2))
    layer = made(kind, **options)
    expected = [by_hand(sample, *layer.get_weights()) for sample in x]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)
    turned = made(kind, go_backwards=True, **options)
    np.testing.assert_allclose(turned(x[:, ::-1]), expected, rtol=1e-12)


def test_values_of_one_step_with_numbers() -> None:
    """W, U = 1 and b = 0: the first step's gates all see the same number."""
    x = np.array([[[1.0]]])
    s, t = sigmoid(1.0), np.tanh(1.0)
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    assert SimpleRNN(1, **ones)(x)[0, 0] == pytest.approx(t)
    assert LSTM(1, **ones)(x)[0, 0] == pytest.approx(s * np.tanh(s * t))
    assert GRU(1, **ones)(x)[0, 0] == pytest.approx((1 - s) * t)


@every_kind
def test_the_last_step_is_the_last_of_the_sequence(kind: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 6, 2))
    last, all_steps = made(kind), made(kind, return_sequences=True)
    y = all_steps(x)
    np.testing.assert_array_equal(last(x), y[:, -1])
    dy = np.zeros_like(y)
    dy[:, -1] = rng.normal(size=(4, 3))
    np.testing.assert_allclose(all_steps.backward(dy), last.backward(dy[:, -1]), rtol=1e-13, atol=1e-15)


@every_kind
def test_later_steps_do_not_reach_earlier_ones(kind: Any, rng: np.random.Generator) -> None:
    layer = made(kind, return_sequences=True)
    x = rng.normal(size=(2, 6, 2))
    y = layer(x)
    dy = np.zeros_like(y)
    dy[:, 2] = 1.0
    dx = layer.backward(dy)
    assert (dx[:, 3:] == 0).all()
    assert (dx[:, :3] != 0).all()


def test_initial_weights() -> None:
    layer = made(LSTM, units=4, bias_initializer="zeros")
    np.testing.assert_array_equal(layer.b, [0] * 4 + [1] * 4 + [0] * 8)
    np.testing.assert_array_equal(made(LSTM, bias_initializer="zeros", unit_forget_bias=False).b, np.zeros(12))
    U = made(GRU, recurrent_initializer="orthogonal").U
    np.testing.assert_allclose(U @ U.T, np.eye(3), atol=1e-12)
    assert made(GRU).b.shape == (2, 9)
    assert made(GRU, reset_after=False).b.shape == (9,)


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stable_at_extremes(kind: Any, dtype: str) -> None:
    layer = kind(3, return_sequences=True)
    layer.dtype = dtype
    x = np.array([[[-1e4], [1e4], [0.0], [1e4]]], dtype=dtype)
    y = layer(x)
    assert np.isfinite(y).all()
    assert np.isfinite(layer.backward(np.ones_like(y))).all()
    assert np.isfinite(layer.dU).all()


@pytest.mark.parametrize("name", STEP_ACTIVATIONS)
def test_activations_of_a_step(name: str, rng: np.random.Generator) -> None:
    """The same as the activation layers, in place or not; relu's slope at the kink is 0."""
    from tinynn.layers import activations

    step, layer = STEP_ACTIVATIONS[name], activations.get(name)
    z, dy = rng.normal(size=(2, 5, 7))
    z[0, 0] = 0.0
    y, dz = layer(z), layer.backward(dy)
    for out in (np.empty_like(z), z.copy()):
        np.testing.assert_allclose(step.forward(z if out is not z else out, out), y, rtol=1e-14)
    buffer, gradient = z.copy(), dy.copy()
    np.testing.assert_allclose(step.forward(buffer, buffer), y, rtol=1e-14)
    np.testing.assert_allclose(step.backward(dy, y, np.empty_like(y)), dz, rtol=1e-13)
    np.testing.assert_allclose(step.backward(gradient, y, gradient), dz, rtol=1e-13)


# Truncated backpropagation through time ------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("truncate", [1, 2, 4, 5])
def test_truncation_takes_the_state_of_a_piece_as_a_constant(
    kind: Any, truncate: int, rng: np.random.Generator
) -> None:
    """A step's gradient is the one it gets by the outputs of its own piece, and by no others."""
    T = 6
    layer, whole = made(kind, truncate=truncate, return_sequences=True), made(kind, return_sequences=True)
    x, dy = rng.normal(size=(2, T, 2)), rng.normal(size=(2, T, 3))
    np.testing.assert_array_equal(layer(x), whole(x))
    dx = layer.backward(dy)
    expected = np.zeros_like(dx)
    for start in range(0, T, truncate):
        piece = slice(start, min(start + truncate, T))
        own = np.zeros_like(dy)
        own[:, piece] = dy[:, piece]
        whole(x)
        expected[:, piece] = whole.backward(own)[:, piece]
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-15)


def test_truncation_to_one_step_by_hand(rng: np.random.Generator) -> None:
    """With pieces of one step every state is a constant: da = dy tanh', and dU still sees h_(t-1)."""
    layer = made(SimpleRNN, truncate=1, return_sequences=True)
    x = rng.normal(size=(2, 6, 2))
    y = layer(x)
    dy = rng.normal(size=y.shape)
    layer.backward(dy)
    da = dy * (1 - y * y)
    np.testing.assert_allclose(layer.db, da.sum(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(layer.dW, np.einsum("bti,bth->ih", x, da), rtol=1e-12)
    np.testing.assert_allclose(layer.dU, np.einsum("bti,bth->ih", y[:, :-1], da[:, 1:]), rtol=1e-12)


@every_kind
def test_truncation_without_sequences_reaches_the_last_piece_alone(kind: Any, rng: np.random.Generator) -> None:
    layer = made(kind, truncate=4)
    y = layer(rng.normal(size=(2, 6, 2)))
    dx = layer.backward(np.ones_like(y))
    assert (dx[:, :4] == 0).all()
    assert (dx[:, 4:] != 0).all()


@every_kind
def test_truncation_longer_than_the_sequence_changes_nothing(kind: Any, rng: np.random.Generator) -> None:
    assert gradients(made(kind, truncate=7), rng.normal(size=(2, 6, 2))).error < 1e-12


# Dropout -------------------------------------------------------------------------------------------------------


@every_kind
def test_dropout_acts_in_training_only(kind: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 6, 2))
    plain, dropped = made(kind), made(kind, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_array_equal(dropped(x), plain(x))
    assert not np.allclose(dropped(x, training=True), plain(x))
    assert not np.allclose(dropped(x, training=True), dropped(x, training=True))


@every_kind
def test_one_mask_of_the_input_for_all_steps(kind: Any, rng: np.random.Generator) -> None:
    layer = made(kind, features=8, dropout=0.5)
    x = rng.normal(size=(4, 6, 8))
    y = layer(x, training=True)
    dx = layer.backward(np.ones_like(y))
    missing = dx == 0
    assert (missing == missing[:, :1]).all()  # the same features at every step of a sequence
    assert 0 < missing[:, 0].sum() < 32
    mask = np.where(missing, 0, 2.0)  # what stays is doubled
    np.testing.assert_allclose(made(kind, features=8)(x * mask), y, rtol=1e-12)


@every_kind
def test_a_recurrent_mask_works_on_what_meets_u(kind: Any, rng: np.random.Generator) -> None:
    """(h n) U is h (n U): the mask is the same as one on the rows of U, and the state itself stays whole."""
    layer, plain = made(kind, recurrent_dropout=0.5), made(kind)
    x = rng.normal(size=(1, 6, 2))
    layer.rng = np.random.default_rng(4)
    y = layer(x, training=True)
    n = Draws(np.random.default_rng(4).integers(2**64, size=2, dtype=np.uint64)).kept((3,), 0.5, 2.0, x)
    assert set(n) == {0.0, 2.0}
    plain.U[...] *= n[:, None]
    np.testing.assert_allclose(y, plain(x), rtol=1e-12)
    dy = rng.normal(size=y.shape)
    np.testing.assert_allclose(layer.backward(dy), plain.backward(dy), rtol=1e-12)
    np.testing.assert_allclose(layer.dU, plain.dU * n[:, None], rtol=1e-12, atol=1e-15)


# Both directions -----------------------------------------------------------------------------------------------


def test_bidirectional_by_hand(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 6, 2))
    for sequences in (False, True):
        both = Bidirectional(GRU(3, return_sequences=sequences, **RANDOM))
        both.dtype = "float64"
        y = both(x)
        there, back = made(GRU, return_sequences=sequences), made(GRU, return_sequences=sequences)
        there.set_weights(both.get_weights()[:3])
        back.set_weights(both.get_weights()[3:])
        np.testing.assert_allclose(y[..., :3], there(x), rtol=1e-12)
        returned = back(x[:, ::-1])
        np.testing.assert_allclose(y[..., 3:], returned[:, ::-1] if sequences else returned, rtol=1e-12)


def test_bidirectional_makes_a_second_layer_with_its_own_weights() -> None:
    layer = LSTM(3, dropout=0.1, truncate=4, name="reader")
    both = Bidirectional(layer)
    back = both.backward_layer
    assert both.forward_layer is layer
    assert (back.units, back.dropout, back.truncate, back.go_backwards) == (3, 0.1, 4, True)
    both.build_for((5, 2))
    assert not np.array_equal(layer.W, back.W)
    names = [name for name, _ in both.named_parameters()]
    assert names == [f"{way}_reader.{short}" for way in ("forward", "backward") for short in ("W", "U", "b")]


def test_bidirectional_layers_have_masks_of_their_own(rng: np.random.Generator) -> None:
    both = Bidirectional(SimpleRNN(3, dropout=0.5))
    x = np.ones((1, 1, 64))
    both(x)
    both.backward_layer.set_weights(both.forward_layer.get_weights())
    np.testing.assert_array_equal(*np.split(both(x), 2, axis=1))
    u, v = np.split(both(x, training=True), 2, axis=1)
    assert not np.allclose(u, v)


def test_stacked_layers_learn_which_end_of_a_sequence_is_marked() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=256)
    x = rng.normal(size=(256, 8, 2), scale=0.1)
    x[np.arange(256), np.where(y == 1, 0, 7), 0] += 2.0
    model = Sequential(
        [
            Input((8, 2)),
            Bidirectional(GRU(6, return_sequences=True)),
            LSTM(8, dropout=0.1, recurrent_dropout=0.1),
            Dense(2, activation="softmax"),
        ],
        seed=0,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=25, batch_size=32, verbose=0)
    assert history.history["accuracy"][-1] > 0.95


# Mistakes ------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("units 0", lambda: LSTM(0), ValueError, "LSTM: units must be a whole number from 1 up, got 0"),
    ("truncate 0", lambda: GRU(3, truncate=0), ValueError, "GRU: truncate must be a whole number from 1 up, got 0"),
    ("dropout 1", lambda: GRU(3, dropout=1), ValueError, "GRU: dropout must be a number from 0 to below 1, got 1"),
    (
        "recurrent_dropout -1",
        lambda: SimpleRNN(3, recurrent_dropout=-1, name="mine"),
        ValueError,
        r"mine \(SimpleRNN\): recurrent_dropout must be a number from 0 to below 1, got -1",
    ),
    (
        "unknown activation",
        lambda: SimpleRNN(3, activation="thanh"),
        ValueError,
        "unknown SimpleRNN: activation 'thanh'. Did you mean 'tanh'.* names are: linear, relu, sigmoid, tanh",
    ),
    (
        "unknown recurrent_activation",
        lambda: LSTM(3, recurrent_activation="sigmod"),
        ValueError,
        "LSTM: recurrent_activation 'sigmod'. Did you mean 'sigmoid'",
    ),
    (
        "an activation layer",
        lambda: GRU(3, activation=Dense(3)),
        ValueError,
        "GRU: activation must be a name, got <Dense>: an activation layer keeps one cache.*names are",
    ),
    (
        "rows in place of sequences",
        lambda: LSTM(3)(np.zeros((2, 4))),
        ShapeError,
        r"LSTM expected an input of shape \(batch, steps, features\), got \(batch, 4\)\..*return_sequences=True",
    ),
    ("images", lambda: GRU(3)(np.zeros((2, 4, 4, 1))), ShapeError, r"got \(batch, 4, 4, 1\).*reshape the input"),
    (
        "stacked without return_sequences",
        lambda: Sequential([Input((5, 2)), LSTM(3), LSTM(3)]).build(),
        ShapeError,
        r"lstm_1 \(LSTM\) expected .* got \(batch, 3\)\. After a recurrent layer, give that one return_sequences=True"
        r".* It comes from lstm \(LSTM\)",
    ),
    (
        "a sequence of length 0",
        lambda: LSTM(3)(np.zeros((2, 0, 4))),
        ShapeError,
        r"LSTM expected sequences of at least one step, got \(batch, 0, 4\).*Take empty sequences out, or pad",
    ),
    (
        "another length",
        lambda: [layer(np.zeros((2, n, 4))) for layer in [GRU(3)] for n in (5, 6)],
        ShapeError,
        r"GRU expected an input of shape \(batch, 5, 4\), got \(2, 6, 4\)",
    ),
    (
        "unknown merge_mode",
        lambda: Bidirectional(LSTM(3), merge_mode="max"),
        ValueError,
        "Bidirectional: merge_mode must be one of concat, sum, mul, ave, got 'max'",
    ),
    ("no layer", lambda: Bidirectional("lstm"), TypeError, r"expected a recurrent layer \(SimpleRNN.*got 'lstm'"),
    ("a Dense", lambda: Bidirectional(Dense(3)), TypeError, r"expected a recurrent layer .* got <Dense>"),
    ("a Dense back", lambda: Bidirectional(LSTM(3), backward_layer=Dense(3)), TypeError, "got <Dense>"),
    (
        "a class",
        lambda: Bidirectional(LSTM),
        TypeError,
        "expected a recurrent layer .* got <class 'tinynn.layers.lstm.LSTM'>",
    ),
    (
        "one layer twice",
        lambda: [Bidirectional(layer, backward_layer=layer) for layer in [LSTM(3)]],
        ValueError,
        "layer and backward_layer are one layer, LSTM.*make a second layer",
    ),
    (
        "the same direction",
        lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3)),
        ValueError,
        "both have go_backwards=False. One of them must read the other way",
    ),
    (
        "sequences and states",
        lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, return_sequences=True)),
        ValueError,
        "layer has return_sequences=False, backward_layer True. Both must have the same",
    ),
    (
        "units that differ",
        lambda: Bidirectional(LSTM(3), "sum", GRU(4, go_backwards=True)),
        ValueError,
        "merge_mode 'sum' needs as many units in both layers, got 3 and 4. Use 'concat'",
    ),
    (
        "a layer with weights",
        lambda: Bidirectional(made(LSTM)),
        ValueError,
        "LSTM has weights already, and its copy would start with the same ones",
    ),
]


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def test_a_recurrent_layer_of_ones_own_must_have_a_loop() -> None:
    class Half(SimpleRNN):
        run = Recurrent.run

    with pytest.raises(TypeError, match=r"Half needs a method run\(self, a, n, mask, start\)"):
        Half(3)(np.zeros((1, 2, 3)))


def test_every_kind_is_a_row() -> None:
    assert set(LAYERS.values()) == {SimpleRNN, LSTM, GRU}
