"""Rows: combine. Keras has functions where these are layers; `keras_fork` makes a Keras layer of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row, shapes
from tinynn import layers
from tinynn.layers import Activation, Dense, Layer, Linear, Tanh


def keras_fork(k: Any, branches: list[Any], join: Any) -> Any:
    """Return a Keras layer that gives its input to every branch and joins the outputs."""

    class Fork(k.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.branches = branches

        def build(self, shape: Any) -> None:
            for branch in self.branches:
                branch.build(shape)

        def call(self, x: Any) -> Any:
            return join([branch(x) for branch in self.branches])

    return Fork()


def branches() -> list[Any]:
    """Return three branches of one output shape: a layer, and two lists."""
    return [Dense(3), [Dense(2), Tanh(), Dense(3)], [Dense(3, activation="sigmoid")]]


def keras_branches(k: Any) -> list[Any]:
    """Return the same in Keras."""
    dense = k.layers.Dense
    return [dense(3), k.Sequential([dense(2, "tanh"), dense(3)]), dense(3, "sigmoid")]


def fork(name: str, kind: Callable[[list[Any]], Layer], join: Callable[[Any], Any]) -> Row:
    """Return a row for three branches brought together."""
    return Row(name, lambda: kind(branches()), shapes(), lambda k: keras_fork(k, keras_branches(k), join(k)))


def gate() -> Layer:
    """Return x times the sigmoid of x: a branch that is x itself."""
    return layers.Multiply([Linear(), Activation("sigmoid")])


SIZES = st.tuples(st.integers(1, 3), st.just(3))

ROWS = [
    Row(
        "Residual",
        lambda: layers.Residual([Dense(2, activation="tanh"), Dense(3)]),
        SIZES,
        lambda k: keras_fork(
            k,
            [k.Sequential([k.layers.Dense(2, "tanh"), k.layers.Dense(3)]), k.layers.Identity()],
            k.layers.Add(),
        ),
        example=(2, 3),
        parity_shapes=((3,), (4, 3)),
    ),
    Row(
        "Residual(projection)",
        lambda: layers.Residual(Dense(2, activation="tanh"), projection=[Dense(1), Dense(2)]),
        shapes(),
        lambda k: keras_fork(
            k,
            [k.layers.Dense(2, "tanh"), k.Sequential([k.layers.Dense(1), k.layers.Dense(2)])],
            k.layers.Add(),
        ),
    ),
    Row(
        "Residual(inside Residual)",
        lambda: layers.Residual([Dense(3), layers.Residual(Tanh())]),
        SIZES,
        lambda k: keras_fork(
            k,
            [
                k.Sequential(
                    [
                        k.layers.Dense(3),
                        keras_fork(k, [k.layers.Activation("tanh"), k.layers.Identity()], k.layers.Add()),
                    ]
                ),
                k.layers.Identity(),
            ],
            k.layers.Add(),
        ),
        example=(2, 3),
        parity_shapes=((4, 3),),
    ),
    fork("Add", layers.Add, lambda k: k.layers.Add()),
    fork("Average", layers.Average, lambda k: k.layers.Average()),
    fork("Multiply", layers.Multiply, lambda k: k.layers.Multiply()),
    Row("Multiply(gate)", gate, shapes(), lambda k: k.layers.Activation("silu")),
    fork("Concatenate", layers.Concatenate, lambda k: k.layers.Concatenate()),
    Row(
        "Concatenate(unlike sizes)",
        lambda: layers.Concatenate([Dense(1), Dense(4), Linear()]),
        shapes(),
        lambda k: keras_fork(k, [k.layers.Dense(1), k.layers.Dense(4), k.layers.Identity()], k.layers.Concatenate()),
    ),
    Row(
        "Concatenate(axis=1)",
        lambda: layers.Concatenate([Dense(2), Dense(2)], axis=1),
        shapes(2, 3),
        lambda k: keras_fork(k, [k.layers.Dense(2), k.layers.Dense(2)], k.layers.Concatenate(axis=1)),
        example=(3, 4),
        parity_shapes=((3, 5), (3, 4, 2)),
    ),
    Row(
        "TimeDistributed",
        lambda: layers.TimeDistributed(Dense(3, activation="tanh")),
        shapes(2, 3),
        lambda k: k.layers.TimeDistributed(k.layers.Dense(3, "tanh")),
        example=(3, 4),
        parity_shapes=((3, 5), (3, 4, 2)),
    ),
    Row(
        "TimeDistributed(list)",
        lambda: layers.TimeDistributed([Dense(3), Tanh()]),
        shapes(2, 3),
        lambda k: k.layers.TimeDistributed(k.layers.Dense(3, "tanh")),
        example=(3, 4),
        parity_shapes=((3, 1),),
    ),
]
