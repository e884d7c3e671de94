"""The table of all layers. A new layer is one class and one row here; every test in this folder runs over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tinynn import layers
from tinynn.layers import Layer

Shape = tuple[int, ...]


def shapes(least: int = 1, most: int = 3, size: int = 5) -> st.SearchStrategy[Shape]:
    """Draw shapes of one sample."""
    return st.lists(st.integers(1, size), min_size=least, max_size=most).map(tuple)


@dataclass(frozen=True)
class Row:
    """One layer in one setting.

    Attributes
    ----------
    name : str
        The test's id.
    make : function
        Makes the layer.
    shape : strategy
        Shapes of one sample it takes.
    kinks : tuple of float
        Inputs at which the derivative jumps; gradient checks stay away from them.
    keras : function
        Makes the same layer in Keras, given the module.
    """

    name: str
    make: Callable[[], Layer]
    shape: st.SearchStrategy[Shape]
    keras: Callable[[Any], Any]
    kinks: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.name


TABLE = [
    Row("Activation", lambda: layers.Activation("tanh"), shapes(), lambda k: k.layers.Activation("tanh")),
    Row("Linear", layers.Linear, shapes(), lambda k: k.layers.Activation("linear")),
    Row("ReLU", layers.ReLU, shapes(), lambda k: k.layers.ReLU(), kinks=(0.0,)),
    Row("Sigmoid", layers.Sigmoid, shapes(), lambda k: k.layers.Activation("sigmoid")),
    Row("Softmax", layers.Softmax, shapes(), lambda k: k.layers.Softmax()),
    Row("Softmax(axis=1)", lambda: layers.Softmax(axis=1), shapes(), lambda k: k.layers.Softmax(axis=1)),
    Row("Tanh", layers.Tanh, shapes(), lambda k: k.layers.Activation("tanh")),
    Row("Dense", lambda: layers.Dense(3), shapes(), lambda k: k.layers.Dense(3)),
    Row(
        "Dense(use_bias=False)",
        lambda: layers.Dense(1, use_bias=False),
        shapes(),
        lambda k: k.layers.Dense(1, use_bias=False),
    ),
    Row(
        "Dense(tanh)",
        lambda: layers.Dense(4, activation="tanh", bias_initializer="normal"),
        shapes(),
        lambda k: k.layers.Dense(4, activation="tanh"),
    ),
    Row(
        "Dense(softmax)",
        lambda: layers.Dense(4, activation="softmax", bias_initializer="normal"),
        shapes(),
        lambda k: k.layers.Dense(4, activation="softmax"),
    ),
    Row("Flatten", layers.Flatten, shapes(), lambda k: k.layers.Flatten()),
]
