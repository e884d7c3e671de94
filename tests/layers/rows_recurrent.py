"""Rows: recurrent layers. Weights are random and unlike each other: equal ones cannot see swapped gates."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row
from tinynn.layers.bidirectional import Bidirectional
from tinynn.layers.gru import GRU
from tinynn.layers.lstm import LSTM
from tinynn.layers.recurrent import SimpleRNN

LAYERS: dict[str, Any] = {"SimpleRNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}
SEQUENCES = st.tuples(st.integers(1, 5), st.integers(1, 4))
RANDOM = {"bias_initializer": "normal", "recurrent_initializer": "glorot_uniform"}
SHAPES = {"shape": SEQUENCES, "example": (4, 3), "parity_shapes": ((5, 3),)}


def plain(layer: Any) -> Any:
    """Return the layer with the textbook lines chosen."""
    layer.plain = True
    return layer


def row(kind: str, units: int = 3, training: bool = False, lines: bool = False, **options: Any) -> Row:
    """Return the row of one setting, with the same setting in Keras; `lines` takes the plain lines, not the kernel."""
    text = ", ".join(f"{key}={value!r}" for key, value in options.items())
    random = any(key.endswith("dropout") for key in options)
    initial = RANDOM | ({"unit_forget_bias": False} if kind == "LSTM" else {})
    make = lambda: LAYERS[kind](units, **(initial | options))  # noqa: E731
    return Row(
        f"{kind}({text}{', training' if training else ''}{', plain' if lines else ''})",
        (lambda: plain(make())) if lines else make,
        keras=None if training and random else lambda k: getattr(k.layers, kind)(units, **options),
        training=training,
        one_by_one=not (training and random),
        unlike_keras="the masks are drawn by another generator" if training and random else "",
        **SHAPES,
    )


def both_ways(kind: str, **options: Any) -> Row:
    """Return the row of one Bidirectional setting."""
    outer = {key: options.pop(key) for key in ("merge_mode",) if key in options}
    text = ", ".join(f"{key}={value!r}" for key, value in (options | outer).items())
    return Row(
        f"Bidirectional({kind}, {text})",
        lambda: Bidirectional(LAYERS[kind](3, **(RANDOM | options)), **outer),
        keras=lambda k: k.layers.Bidirectional(getattr(k.layers, kind)(3, **options), **outer),
        **SHAPES,
    )


def other_units(layers: Any, **options: Any) -> Any:
    """Return a Bidirectional whose two layers are of two kinds and sizes; `layers` is our module or Keras's."""
    return layers.Bidirectional(
        layers.GRU(2, return_sequences=True, **options),
        backward_layer=layers.SimpleRNN(3, return_sequences=True, go_backwards=True, **options),
    )


class Ours:
    """Our layers under the names that Keras has."""

    Bidirectional, GRU, SimpleRNN = Bidirectional, GRU, SimpleRNN


ROWS = [
    row("SimpleRNN"),
    row("SimpleRNN", units=1),
    row("SimpleRNN", return_sequences=True, use_bias=False, activation="sigmoid"),
    row("SimpleRNN", return_sequences=True, go_backwards=True, activation=None),
    row("SimpleRNN", return_sequences=True, activation="relu"),
    row("SimpleRNN", dropout=0.3, recurrent_dropout=0.4),
    row("SimpleRNN", training=True, dropout=0.3, recurrent_dropout=0.4),
    row("LSTM"),
    row("LSTM", units=1),
    row("LSTM", return_sequences=True),
    row("LSTM", return_sequences=True, use_bias=False, go_backwards=True),
    row("LSTM", go_backwards=True, activation="sigmoid", recurrent_activation="tanh"),
    row("LSTM", training=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.4),
    row("GRU"),
    row("GRU", units=1),
    row("GRU", return_sequences=True),
    row("GRU", return_sequences=True, use_bias=False, go_backwards=True),
    row("GRU", go_backwards=True, activation="sigmoid", recurrent_activation="tanh"),
    row("GRU", training=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.4),
    row("GRU", reset_after=False),
    row("GRU", reset_after=False, return_sequences=True, use_bias=False, go_backwards=True),
    row("GRU", reset_after=False, activation="sigmoid", recurrent_activation="tanh"),
    row("GRU", reset_after=False, training=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.4),
    row("SimpleRNN", lines=True, return_sequences=True),
    row("SimpleRNN", lines=True, training=True, dropout=0.3, recurrent_dropout=0.4),
    row("LSTM", lines=True),
    row("LSTM", lines=True, training=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.4),
    row("GRU", lines=True),
    row("GRU", lines=True, training=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.4),
    row("GRU", lines=True, reset_after=False, go_backwards=True),
    row("GRU", lines=True, training=True, reset_after=False, return_sequences=True, recurrent_dropout=0.4),
    both_ways("LSTM", return_sequences=True),
    both_ways("LSTM"),
    both_ways("GRU", return_sequences=True, merge_mode="sum"),
    both_ways("SimpleRNN", return_sequences=True, merge_mode="mul"),
    both_ways("SimpleRNN", merge_mode="mul"),
    both_ways("GRU", return_sequences=True, merge_mode="ave"),
    Row(
        "Bidirectional(GRU, go_backwards=True)",  # Keras makes both backward ones here, and then refuses
        lambda: Bidirectional(GRU(3, return_sequences=True, go_backwards=True, **RANDOM)),
        keras=lambda k: k.layers.Bidirectional(
            k.layers.GRU(3, return_sequences=True, go_backwards=True),
            backward_layer=k.layers.GRU(3, return_sequences=True),
        ),
        **SHAPES,
    ),
    Row(
        "Bidirectional(GRU, SimpleRNN)",
        lambda: other_units(Ours, **RANDOM),
        keras=lambda k: other_units(k.layers),
        **SHAPES,
    ),
]
