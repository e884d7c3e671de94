"""Rows: dense, the first activations, flatten."""

from __future__ import annotations

from tests.layers.row import Row, shapes
from tinynn import layers

ROWS = [
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
