"""summary(profile=True): FLOPs against counts by hand, memory against what is kept, and a model that stays as it is."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import layers
from tinynn.diagnose.costs import LayerProfile, kept_bytes, profile, profile_table
from tinynn.diagnose.counts import flops
from tinynn.layers import GRU, LSTM, Conv2D, Dense, DepthwiseConv2D, Dropout, Embedding, Input, MultiHeadAttention


def built(layer: tinynn.Layer, *shape: int) -> tinynn.Layer:
    layer.build_for(shape)
    return layer


BY_HAND = [
    # 2 I O, the bias, the ReLU
    ("Dense", Dense(10, "relu"), (784,), 2 * 784 * 10 + 10 + 10),
    ("Dense on steps", Dense(10, use_bias=False), (5, 7), 5 * (2 * 7 * 10)),
    # 26 x 26 windows of 3 x 3 x 3 numbers, 8 filters
    ("Conv2D", Conv2D(8, 3), (28, 28, 3), 26 * 26 * 8 * (2 * 27 + 1)),
    ("Conv2D in groups", Conv2D(8, 3, groups=2), (28, 28, 4), 26 * 26 * 8 * (2 * 18 + 1)),
    ("Conv2D, strides and same", Conv2D(8, 3, 2, "same", activation="tanh"), (28, 28, 1), 14 * 14 * 8 * (18 + 1 + 1)),
    # 6 channels of which each gives 2; a window sees one channel
    ("DepthwiseConv2D", DepthwiseConv2D(3, depth_multiplier=2), (10, 10, 6), 8 * 8 * 12 * (2 * 9 + 1)),
    ("SeparableConv2D", layers.SeparableConv2D(5, 3), (10, 10, 6), 8 * 8 * (6 * 18 + 5 * (2 * 6 + 1))),
    # 4 x 4 numbers of 3 channels, each times 2 x 2 x 5 numbers; 8 x 8 x 5 biases
    ("Conv2DTranspose", layers.Conv2DTranspose(5, 2, 2), (4, 4, 3), 16 * 3 * 2 * 20 + 8 * 8 * 5),
    # 7 steps of 4 gates: 5 x 6 and 6 x 6 products; 4 biases, 4 sums, 4 activations, c (3), tanh(c), h: 17 each unit
    ("LSTM", LSTM(6), (7, 5), 7 * (4 * (2 * 5 * 6 + 2 * 6 * 6) + 17 * 6)),
    ("LSTM without bias", LSTM(6, use_bias=False), (7, 5), 7 * (4 * (2 * 5 * 6 + 2 * 6 * 6) + 13 * 6)),
    # 3 products of each kind; 6 biases; 2 sums, 2 gates, r k + a (2), the candidate, h - g, z d, g + ... (3)
    ("GRU", GRU(6), (7, 5), 7 * (3 * (2 * 5 * 6 + 2 * 6 * 6) + 16 * 6)),
    ("GRU, reset before", GRU(6, reset_after=False), (7, 5), 7 * (3 * (2 * 5 * 6 + 2 * 6 * 6) + 13 * 6)),
    ("SimpleRNN", layers.SimpleRNN(6), (7, 5), 7 * (2 * 5 * 6 + 2 * 6 * 6 + 3 * 6)),
    ("Bidirectional", layers.Bidirectional(layers.SimpleRNN(6), "sum"), (7, 5), 2 * 7 * (132 + 18) + 6),
    # q, k, v (8 -> 2 x 4), q k^T, scaled q, softmax of 2 x 5 x 5, p v, out (8 -> 8); four biases of 8
    (
        "MultiHeadAttention",
        MultiHeadAttention(2, 4),
        (5, 8),
        4 * 5 * 2 * 8 * 8 + 4 * 5 * 8 + 2 * (2 * 5 * 5 * 4) + 5 * 8 + 50 + 2 * (2 * 5 * 5 * 4),
    ),
    (
        "attention with one key head for two",
        MultiHeadAttention(2, 4, num_key_value_heads=1, use_bias=False),
        (5, 8),
        2 * 5 * (8 * 8 + 8 * 4 + 8 * 4 + 8 * 8) + 400 + 40 + 50 + 400,
    ),
    ("Residual", layers.Residual(Dense(8)), (8,), 2 * 64 + 8 + 8),
    ("TimeDistributed", layers.TimeDistributed(Dense(3)), (4, 8), 4 * (2 * 8 * 3 + 3)),
    ("MaxPooling2D", layers.MaxPooling2D(2), (8, 8, 3), 4 * 4 * 3 * 4),
    ("Sequential", tinynn.Sequential([Dense(3), layers.ReLU()]), (2,), 2 * 2 * 3 + 3 + 3),
    ("Embedding", Embedding(100, 8), (5,), 0),
    ("Dropout", Dropout(0.5), (5,), 0),
]


@pytest.mark.parametrize(("layer", "shape", "expected"), [row[1:] for row in BY_HAND], ids=[row[0] for row in BY_HAND])
def test_flops_are_those_counted_by_hand(layer: tinynn.Layer, shape: tuple[int, ...], expected: int) -> None:
    assert flops(built(layer, *shape)) == expected


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_of_the_library_has_a_count(row: Row) -> None:
    count = flops(built(row.make(), *row.example))
    assert count is not None
    assert count >= 0


class MyDense(Dense):
    def forward(self, x: Any, training: bool = False) -> Any:
        return super().forward(x + 1, training)


def test_a_layer_of_ones_own_has_no_count_until_it_says_one() -> None:
    layer = built(MyDense(3), 2)
    assert flops(layer) is None
    assert flops(built(layers.Residual([MyDense(2)]), 2)) is None
    assert flops(built(type("Named", (MyDense,), {"flops": lambda self: 7})(3), 2)) == 7


def test_kept_memory_counts_an_array_once_and_no_weights() -> None:
    model = tinynn.Sequential([Input((10,)), Dense(20, "relu"), layers.Reshape((4, 5)), Dense(3)], seed=0)
    first, reshape, last = profile(model, batch_size=8)
    assert first.kept == 8 * (10 + 20) * 4  # x and the ReLU's y
    assert (reshape.kept, last.kept) == (0, 0)  # what the last one keeps is a view of that y


def test_kept_memory_does_not_count_weights_that_a_cache_names() -> None:
    class Scale(tinynn.Layer):
        def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            self.add_weight("g", input_shape, tinynn.Ones())
            return input_shape

        def forward(self, x: Any, training: bool = False) -> Any:
            self.cache = (x, self.g)
            return x * self.g

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            x, g = self.take_cache()
            self.dg = (dy * x).sum(axis=0)
            return dy * g

    [scale] = profile(tinynn.Sequential([Input((10,)), Scale()], seed=0), batch_size=8)
    assert scale.kept == 8 * 10 * 4


def test_kept_memory_grows_with_the_batch_and_dtype() -> None:
    model = tinynn.Sequential([Input((10,)), Dense(20, "tanh"), Dense(3)], seed=0, dtype="float64")
    assert [row.kept for row in profile(model, batch_size=16)] == [16 * 30 * 8, 0]


def test_what_a_kernel_keeps_is_found_inside_objects() -> None:
    layer = LSTM(6)
    layer(np.ones((4, 7, 5), dtype="float32"), training=True)
    assert kept_bytes(layer, set()) > 4 * 7 * (5 + 4 * 6) * 4  # the inputs and the gates of every step


def test_kept_counts_tokens_and_layers_inside_layers() -> None:
    model = tinynn.Sequential(
        [Input((6,)), Embedding(11, 4), layers.Residual([Dense(4, "relu")]), layers.Flatten(), Dense(2)], seed=0
    )
    rows = profile(model, batch_size=5)
    assert rows[0].kept == 5 * 6 * 8
    assert rows[1].kept == 5 * 6 * 4 * 4 * 2
    assert rows[2].kept == 0


def everything_in(model: tinynn.Sequential) -> bytes:
    """Return all that a model is, bit for bit."""
    states = [layer.rng.bit_generator.state for layer in model.walk() if layer.rng is not None]
    caches = [layer.cache for layer in model.walk()]
    optimizer = model.optimizer
    assert optimizer is not None
    assert model.arena is not None
    slots = {name: slot.tobytes() for name, slot in optimizer.slots.items()}
    arena = [model.arena.values.tobytes(), model.arena.grads.tobytes(), model.arena.state.tobytes()]
    return pickle.dumps((states, caches, slots, arena, optimizer.iterations, model.stop_training, sorted(vars(model))))


def test_the_model_stays_as_it_is_bit_for_bit(capsys: pytest.CaptureFixture[str]) -> None:
    model = tinynn.Sequential(
        [Input((10,)), Dense(8, "relu"), layers.BatchNormalization(), Dropout(0.5), Dense(2, "softmax")], seed=0
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(20, 10)), rng.integers(2, size=20), verbose=0)
    before = everything_in(model)
    model.summary(profile=True)
    assert everything_in(model) == before
    assert "dropout" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80])
def test_the_table_fits_a_terminal_of_80_columns(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    model = tinynn.Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(32, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Residual([Conv2D(32, 3, padding="same")]),
            tinynn.Sequential([layers.GlobalAveragePooling2D(), MyDense(10)]),
        ]
    )
    model.summary(profile=True, batch_size=2)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    [conv] = [line for line in lines if line.strip().startswith("conv2d ")]
    assert "26x26x32" in conv
    assert "432.6 k" in conv  # 26 26 32 (2 9 + 1 + 1)
    inner = lines[-5]
    assert inner.strip().startswith("sequential ")
    assert " ? " in inner
    assert any(line.strip().startswith("batch_normalization ") for line in lines)


def test_the_first_layers_without_weights_have_no_time_backward() -> None:
    model = tinynn.Sequential([Input((4, 4)), layers.Flatten(), Dense(2)], seed=0)
    flatten, dense = profile(model, batch_size=2)
    assert flatten.backward == 0 < dense.backward
    assert profile_table([flatten]).columns[4]._cells == ["-"]


def test_layers_report_times() -> None:
    [row] = profile(tinynn.Sequential([Input((4,)), Dense(2)], seed=0))
    assert isinstance(row, LayerProfile)
    assert row.forward > 0
    assert row.label == "dense"


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="summary: batch_size must be"):
        tinynn.Sequential([Input((4,)), Dense(2)]).summary(profile=True, batch_size=0)
    with pytest.raises(RuntimeError, match="has no weights yet, and summary needs them"):
        tinynn.Sequential([Dense(2)]).summary(profile=True)


def test_on_every_device(device: Any) -> None:
    model = tinynn.Sequential([Input((4,)), Dense(2, "relu"), Dropout(0.5), Dense(1)], seed=0, device=device)
    rows = profile(model, batch_size=3)
    assert [row.flops for row in rows] == [2 * 4 * 2 + 2 + 2, 0, 2 * 2 + 1]
    assert all(row.forward > 0 for row in rows)
