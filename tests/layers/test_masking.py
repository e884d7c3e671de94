"""Masks: made by Masking, kept by recurrent layers, counted by the average; and the states that go in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.test_recurrent import RANDOM, every_kind, made
from tinynn import Dense, Input, Sequential, ShapeError
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.initializers import RandomNormal
from tinynn.layers.base import Layer
from tinynn.layers.bidirectional import Bidirectional
from tinynn.layers.global_pooling import GlobalAveragePooling1D
from tinynn.layers.gru import GRU
from tinynn.layers.lstm import LSTM
from tinynn.layers.masking import Masking
from tinynn.layers.recurrent import SimpleRNN

# Six samples of six steps: whole, padded on the right, on the left, with a hole, fully padded, one step.
MASK = np.array(
    [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0], [0] * 6, [0, 0, 0, 1, 0, 0]],
    dtype=bool,
)
KINDS: dict[str, Callable[..., Any]] = {
    "SimpleRNN": SimpleRNN,
    "LSTM": LSTM,
    "GRU": GRU,
    "GRU before": lambda *a, **k: GRU(*a, reset_after=False, **k),
}


# Masking -------------------------------------------------------------------------------------------------------


def test_masking_by_hand() -> None:
    masking = Masking(mask_value=-1)
    x = np.array([[[1.0, -1.0], [-1.0, -1.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(masking(x), [[[1, -1], [0, 0], [0, 0]]])
    np.testing.assert_array_equal(masking.compute_mask(x), [[True, False, True]])
    np.testing.assert_array_equal(masking.backward(np.full((1, 3, 2), 7.0)), [[[7, 7], [0, 0], [7, 7]]])
    _, mask = masking.forward_with_mask(x, mask=np.zeros((1, 3), dtype=bool))
    np.testing.assert_array_equal(mask, [[True, False, True]])


def test_masking_on_any_device(device: Device) -> None:
    x = np.random.default_rng(0).normal(size=(6, 6, 2)).astype("float32") * MASK[..., None]
    y, mask = Masking().forward_with_mask(to_device(x, device))
    np.testing.assert_array_equal(to_host(y), x)
    np.testing.assert_array_equal(to_host(mask), MASK)


# What a masked step does ---------------------------------------------------------------------------------------


@every_kind
def test_a_masked_step_returns_the_state_before_it(kind: Any, rng: np.random.Generator) -> None:
    y = made(kind, return_sequences=True).forward(rng.normal(size=(6, 6, 2)), mask=MASK)
    before = np.zeros((6, 3))
    for t in range(6):
        kept = ~MASK[:, t]
        np.testing.assert_array_equal(y[kept, t], before[kept])
        assert (y[MASK[:, t], t] != before[MASK[:, t]]).all()
        before = y[:, t]


@every_kind
@pytest.mark.parametrize("backwards", [False, True])
def test_padding_is_as_if_it_were_not_there(kind: Any, backwards: bool, rng: np.random.Generator) -> None:
    """The masked batch, sample by sample, against the steps that count alone; what padding holds does not matter."""
    x, dy = rng.normal(size=(6, 6, 2)), rng.normal(size=(6, 3))
    layer = made(kind, go_backwards=backwards)
    y = layer.forward(np.where(MASK[..., None], x, 1e6), mask=MASK)
    dx = layer.backward(dy)
    grads = [np.zeros_like(parameter.grad) for parameter in layer.parameters]
    for sample in range(6):
        short = x[sample : sample + 1, MASK[sample]]
        if short.shape[1] == 0:
            assert (y[sample] == 0).all()
            continue
        alone = made(kind, steps=short.shape[1], go_backwards=backwards)
        np.testing.assert_allclose(alone(short)[0], y[sample], rtol=1e-12)
        np.testing.assert_allclose(
            alone.backward(dy[sample : sample + 1])[0], dx[sample, MASK[sample]], rtol=1e-10, atol=1e-15
        )
        for total, parameter in zip(grads, alone.parameters, strict=True):
            total += parameter.grad
    assert (dx[~MASK] == 0).all()
    for total, parameter in zip(grads, layer.parameters, strict=True):
        np.testing.assert_allclose(parameter.grad, total, rtol=1e-10, atol=1e-14)


@every_kind
def test_a_mask_of_ones_changes_nothing(kind: Any, rng: np.random.Generator) -> None:
    layer = made(kind, return_sequences=True)
    x, dy = rng.normal(size=(2, 6, 2)), rng.normal(size=(2, 6, 3))
    y, dx = layer(x), layer.backward(dy)
    np.testing.assert_array_equal(layer.forward(x, mask=np.ones((2, 6), dtype=bool)), y)
    np.testing.assert_array_equal(layer.backward(dy), dx)


def test_the_mask_goes_on_with_return_sequences_only() -> None:
    x = np.zeros((6, 6, 2))
    for kind in (*KINDS.values(), lambda *a, **k: Bidirectional(LSTM(*a, **k))):
        for sequences in (False, True):
            layer = kind(3, return_sequences=sequences)
            layer(x)
            _, mask = layer.forward_with_mask(x, mask=MASK)
            assert mask is (MASK if sequences else None)


def test_bidirectional_returns_zero_at_masked_steps(rng: np.random.Generator) -> None:
    both = Bidirectional(LSTM(3, return_sequences=True))
    x = rng.normal(size=(6, 6, 2))
    both(x)
    y = both.forward(x, mask=MASK)
    np.testing.assert_array_equal(y == 0, np.repeat(~MASK[..., None], 6, axis=2))


@every_kind
def test_masks_on_any_device(kind: Any, device: Device, rng: np.random.Generator) -> None:
    layer, there = kind(3, return_sequences=True), kind(3, return_sequences=True)
    x, dy = rng.normal(size=(6, 6, 2)).astype("float32"), rng.normal(size=(6, 6, 3)).astype("float32")
    start = rng.normal(size=(6, 3)).astype("float32")
    layer(x)
    there(to_device(x, device))
    there.set_weights(layer.get_weights())
    states = [start] * len(layer.states)
    y = layer.forward(x, mask=MASK, initial_state=states)
    dx = layer.backward(dy)
    for plain in (False, True):
        there.plain = plain
        y_there = there.forward(
            to_device(x, device), mask=to_device(MASK, device), initial_state=[to_device(s, device) for s in states]
        )
        np.testing.assert_allclose(to_host(y_there), y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(to_host(there.backward(to_device(dy, device))), dx, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(to_host(there.dinitial_state[0]), layer.dinitial_state[0], rtol=1e-4, atol=1e-5)
        assert to_host(there.dinitial_state[0]).dtype == y_there.dtype == "float32"


def test_average_of_the_steps_that_count_by_hand() -> None:
    pool = GlobalAveragePooling1D()
    x = np.array([[[1.0], [5.0], [99.0]], [[7.0], [8.0], [9.0]], [[7.0], [8.0], [9.0]]])
    mask = np.array([[True, True, False], [False, False, False], [False, False, True]])
    pool(x)
    np.testing.assert_array_equal(pool.forward(x, mask=mask), [[3], [0], [9]])
    dx = pool.backward(np.array([[10.0], [10.0], [10.0]]))
    np.testing.assert_array_equal(dx[..., 0], [[5, 5, 0], [0, 0, 0], [0, 0, 10]])


# Gradients -----------------------------------------------------------------------------------------------------


class Whole(Layer):
    """A layer with a mask and its first states as weights; all outputs in one row a sample."""

    def __init__(self, inner: Any, mask: np.ndarray | None, states: int, units: int = 3) -> None:
        super().__init__()
        self.inner, self.mask, self.count, self.units = inner, mask, states, units

    def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.inner.dtype = self.dtype
        self.inner.build_for(input_shape)
        for i in range(self.count):
            self.add_weight(f"s{i}", (6, self.units), RandomNormal(stddev=1.0))
        return input_shape

    def forward(self, x: Any, training: bool = False) -> Any:
        start = [getattr(self, f"s{i}") for i in range(self.count)]
        x = x.astype(np.result_type(x, *start))
        options = {"initial_state": start} if self.count else {}
        out = self.inner.forward(x, training, mask=self.mask, **options)
        outs = out if isinstance(out, list) else [out]
        self.shapes = [y.shape for y in outs]
        self.cache = ()
        return np.concatenate([y.reshape(6, -1) for y in outs], axis=1)

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        ends = np.cumsum([np.prod(shape[1:]) for shape in self.shapes])[:-1]
        dys = [part.reshape(shape) for part, shape in zip(np.split(dy, ends, axis=1), self.shapes, strict=True)]
        dx = self.inner.backward(dys if len(dys) > 1 else dys[0], need_dx)
        for i in range(self.count):
            setattr(self, f"ds{i}", self.inner.dinitial_state[i])
        return dx


@pytest.mark.parametrize("plain", [False, True])
@every_kind
@given(seed=st.integers(0, 2**16), data=st.data())
def test_gradients_with_masks_and_states(kind: Any, plain: bool, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng([seed, 1])
    T = data.draw(st.integers(1, 5))
    mask = rng.random((6, T)) < data.draw(st.sampled_from([0.3, 0.7]))
    inner = kind(
        3,
        return_sequences=data.draw(st.booleans()),
        return_state=data.draw(st.booleans()),
        go_backwards=data.draw(st.booleans()),
        recurrent_dropout=0.3,
        **RANDOM,
    )
    inner.plain = plain
    whole = Whole(inner, mask if data.draw(st.booleans()) else None, len(inner.states))
    report = gradients(whole, rng.normal(size=(6, T, 2)), seed=seed, training=True)
    assert report.ok, report
    assert all(row.method == "complex step" for row in report.rows)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_gradients_of_bidirectional(merge: str, sequences: bool, state: bool, rng: np.random.Generator) -> None:
    both = Bidirectional(LSTM(3, return_sequences=sequences, return_state=state, **RANDOM), merge)
    report = gradients(Whole(both, MASK, 4), rng.normal(size=(6, 6, 2)))
    assert report.ok, report
    assert len(report.rows) == 1 + 4 + 6


@pytest.mark.parametrize("keepdims", [False, True])
def test_gradients_of_the_average(keepdims: bool, rng: np.random.Generator) -> None:
    pool = Whole(GlobalAveragePooling1D(keepdims=keepdims), MASK, 0)
    assert gradients(pool, rng.normal(size=(6, 6, 2))).error < 1e-12


# States --------------------------------------------------------------------------------------------------------


@every_kind
def test_a_sequence_in_two_halves(kind: Any, rng: np.random.Generator) -> None:
    """The states of the first half are the second half's first states; so are the gradients, the other way."""
    x, dy = rng.normal(size=(2, 6, 2)), rng.normal(size=(2, 6, 3))
    whole = made(kind, return_sequences=True)
    y = whole(x)
    dx = whole.backward(dy)
    assert whole.dinitial_state is None
    first, second = (made(kind, steps=3, return_sequences=True, return_state=True) for _ in range(2))
    y_first, *states = first.forward(x[:, :3])
    y_second, *_ = second.forward(x[:, 3:], initial_state=states)
    np.testing.assert_allclose(np.concatenate([y_first, y_second], axis=1), y, rtol=1e-13)
    dx_second = second.backward([dy[:, 3:]] + [None] * len(states))
    dx_first = first.backward([dy[:, :3], *second.dinitial_state])
    np.testing.assert_allclose(np.concatenate([dx_first, dx_second], axis=1), dx, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(first.dU + second.dU, whole.dU, rtol=1e-12)


@every_kind
def test_states_alone_can_be_used(kind: Any, rng: np.random.Generator) -> None:
    x, dh = rng.normal(size=(2, 6, 2)), rng.normal(size=(2, 3))
    layer, last = made(kind, return_sequences=True, return_state=True), made(kind)
    _, h, *_ = layer(x)
    np.testing.assert_array_equal(h, last(x))
    before = dh.copy()
    dx = layer.backward([None, dh] + [None] * (len(layer.states) - 1))
    np.testing.assert_allclose(dx, last.backward(dh), rtol=1e-13)
    np.testing.assert_array_equal(dh, before)


@every_kind
def test_truncation_leaves_the_first_piece_its_initial_state(kind: Any, rng: np.random.Generator) -> None:
    x, start = rng.normal(size=(2, 6, 2)), rng.normal(size=(2, 3))
    for plain in (False, True):
        layer, short = made(kind, truncate=4, return_sequences=True), made(kind, steps=4, return_sequences=True)
        layer.plain = plain
        y = layer.forward(x, initial_state=[start] * len(layer.states))
        dy = rng.normal(size=y.shape)
        layer.backward(dy)
        short.forward(x[:, :4], initial_state=[start] * len(layer.states))
        short.backward(dy[:, :4])
        np.testing.assert_allclose(layer.dinitial_state, short.dinitial_state, rtol=1e-12)


# In a model ----------------------------------------------------------------------------------------------------


def padded(rng: np.random.Generator, n: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of 3 to 8 steps, padded to 8 with 0, and whether the last true step is positive."""
    x = rng.normal(size=(n, 8, 1))
    lengths = rng.integers(3, 9, size=n)
    y = (x[np.arange(n), lengths - 1, 0] > 0).astype(int)
    x[np.arange(8) >= lengths[:, None]] = 0.0
    return x, y


def test_a_model_with_masking_learns_what_the_last_true_step_was(rng: np.random.Generator) -> None:
    x, y = padded(rng)
    model = Sequential([Input((8, 1)), Masking(), LSTM(8), Dense(2, activation="softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=60, batch_size=16, verbose=0)
    assert history.history["accuracy"][-1] > 0.95
    report = gradients(model, x[:4])
    # Not dx: at padding x is mask_value exactly, and the smallest change takes the step in.
    assert all(row.ok for row in report.rows if row.name != "dx"), report


REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "a mask turned round",
        lambda: made(LSTM).forward(np.zeros((2, 6, 2)), mask=np.ones((6, 2), dtype=bool)),
        ShapeError,
        r"LSTM expected a mask of shape \(batch, steps\), here \(2, 6\), got \(6, 2\)\. .*give mask\.T",
    ),
    (
        "a mask of one sample",
        lambda: made(GRU).forward(np.zeros((2, 6, 2)), mask=np.ones(6, dtype=bool)),
        ShapeError,
        r"GRU expected a mask .*got \(6,\)\. Give one row for every sample",
    ),
    (
        "a mask of features",
        lambda: made(SimpleRNN).forward(np.zeros((2, 6, 2)), mask=np.ones((2, 6, 2), dtype=bool)),
        ShapeError,
        r"SimpleRNN expected a mask .*got \(2, 6, 2\)\. .*mask\.any\(axis=-1\)",
    ),
    (
        "a mask of numbers",
        lambda: made(LSTM, name="mine").forward(np.zeros((2, 6, 2)), mask=np.ones((2, 6))),
        ValueError,
        r"mine \(LSTM\) expected a mask of bool, True where a step counts, got float64\. Write mask != 0",
    ),
    (
        "a list",
        lambda: GlobalAveragePooling1D().forward(np.zeros((1, 2, 2)), mask=[[True, False]]),
        ValueError,
        "GlobalAveragePooling1D expected a mask that is an array as x is, ndarray, got list",
    ),
    (
        "one state of two",
        lambda: made(LSTM).forward(np.zeros((2, 6, 2)), initial_state=[np.zeros((2, 3))]),
        ShapeError,
        r"LSTM expected initial_state=\[h, c\], each of shape \(batch, units\), here \(2, 3\), got 1 of the shapes",
    ),
    (
        "a state of another batch",
        lambda: made(GRU).forward(np.zeros((2, 6, 2)), initial_state=np.zeros((1, 3))),
        ShapeError,
        r"GRU expected initial_state=\[h\], .* got 1 of the shapes \(1, 3\)",
    ),
    (
        "one gradient of three",
        lambda: [layer.backward(layer(np.zeros((2, 6, 2)))[0]) for layer in [made(LSTM, return_state=True)]],
        ValueError,
        r"LSTM: with return_state=True backward expected the list \[dy, dh, dc\], got array",
    ),
    (
        "two gradients of three",
        lambda: [layer.backward(layer(np.zeros((2, 6, 2)))[:2]) for layer in [made(LSTM, return_state=True)]],
        ValueError,
        r"expected the list \[dy, dh, dc\], got 2 of them\. None stands for",
    ),
    (
        "states in a model",
        lambda: Sequential([Input((6, 2)), LSTM(3, return_state=True), Dense(1)])(np.zeros((2, 6, 2))),
        ValueError,
        r"lstm \(LSTM\): with return_state=True it returns the list \[y, h, c\], and a model hands one array.*Leave",
    ),
    (
        "states of both in a model",
        lambda: Sequential([Input((6, 2)), Bidirectional(GRU(3, return_state=True))])(np.zeros((2, 6, 2))),
        ValueError,
        r"bidirectional \(Bidirectional\): with return_state=True it returns the list \[y, h, h\]",
    ),
    (
        "states of one alone",
        lambda: Bidirectional(GRU(3, return_state=True), backward_layer=GRU(3, go_backwards=True)),
        ValueError,
        "layer has return_state=True, backward_layer False. Both must have the same",
    ),
    (
        "half of the states",
        lambda: Bidirectional(LSTM(3)).forward(np.zeros((2, 6, 2)), initial_state=[np.zeros((2, 3))] * 2),
        ValueError,
        "Bidirectional expected initial_state as a list of 4 arrays, .* got 2",
    ),
    (
        "half of the gradients",
        lambda: Bidirectional(LSTM(3, return_state=True)).backward([np.zeros((2, 6))] * 3),
        ValueError,
        "Bidirectional: with return_state=True backward expected a list of 5 gradients, .* got 3 of them",
    ),
    ("a mask_value that is none", lambda: Masking("0"), ValueError, "Masking: mask_value must be a number .*got '0'"),
    (
        "rows",
        lambda: Masking()(np.zeros((2, 3))),
        ShapeError,
        r"Masking expected an input of shape \(batch, steps, features\), got \(batch, 3\)",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()
