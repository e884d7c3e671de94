"""Rows: the activations that rows_core has not, in several settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row, Shape, shapes
from tinynn.layers import activations, rectifiers, smooth


def by_name(name: str) -> Callable[[Any], Any]:
    """Return what makes Keras's layer of an activation that is only a name there."""
    return lambda k: k.layers.Activation(name)


def call(name: str, **options: Any) -> Callable[[Any], Any]:
    """Return what makes Keras's layer of an activation function called with options."""
    return lambda k: k.layers.Activation(lambda x: getattr(k.activations, name)(x, **options))


def even(place: int) -> st.SearchStrategy[Shape]:
    """Draw shapes whose size at `place` is even."""

    def doubled(shape: Shape) -> Shape:
        sizes = list(shape)
        sizes[place] *= 2
        return tuple(sizes)

    return shapes(2 if place == 0 else 1, size=3).map(doubled)


ROWS = [
    Row("ReLU(max_value=1)", lambda: rectifiers.ReLU(1.0), shapes(), lambda k: k.layers.ReLU(1.0), kinks=(0.0, 1.0)),
    Row(
        "ReLU(negative_slope=0.2)",
        lambda: rectifiers.ReLU(negative_slope=0.2),
        shapes(),
        lambda k: k.layers.ReLU(negative_slope=0.2),
        kinks=(0.0,),
    ),
    Row(
        "ReLU(threshold=0.5)",
        lambda: rectifiers.ReLU(threshold=0.5),
        shapes(),
        lambda k: k.layers.ReLU(threshold=0.5),
        kinks=(0.5,),
    ),
    Row(
        "ReLU(1.2, 0.3, 0.4)",
        lambda: rectifiers.ReLU(1.2, 0.3, 0.4),
        shapes(),
        lambda k: k.layers.ReLU(1.2, 0.3, 0.4),
        kinks=(0.4, 1.2),
    ),
    Row(
        "ReLU(0.3, 0.1, 0.8)",  # the threshold above the largest value
        lambda: rectifiers.ReLU(0.3, 0.1, 0.8),
        shapes(),
        lambda k: k.layers.ReLU(0.3, 0.1, 0.8),
        kinks=(0.3, 0.8),
    ),
    Row("ReLU6", rectifiers.ReLU6, shapes(), by_name("relu6"), kinks=(0.0, 6.0)),
    Row("LeakyReLU", rectifiers.LeakyReLU, shapes(), lambda k: k.layers.LeakyReLU(), kinks=(0.0,)),
    Row("LeakyReLU(2)", lambda: rectifiers.LeakyReLU(2), shapes(), lambda k: k.layers.LeakyReLU(2), kinks=(0.0,)),
    Row(
        "PReLU",
        lambda: rectifiers.PReLU(alpha_initializer="normal"),
        shapes(),
        lambda k: k.layers.PReLU(),
        kinks=(0.0,),
        example=(3, 4),
    ),
    Row(
        "PReLU(shared_axes=1)",
        lambda: rectifiers.PReLU("normal", shared_axes=1),
        shapes(),
        lambda k: k.layers.PReLU(shared_axes=1),
        kinks=(0.0,),
        example=(3, 4),
        parity_shapes=((4,), (3, 5), (2, 3, 4)),
    ),
    Row(
        "PReLU(shared_axes=[1, 2])",
        lambda: rectifiers.PReLU("normal", shared_axes=[1, 2]),
        shapes(2),
        lambda k: k.layers.PReLU(shared_axes=[1, 2]),
        kinks=(0.0,),
        example=(3, 4),
        parity_shapes=((3, 5), (2, 3, 4)),
    ),
    Row("ELU", rectifiers.ELU, shapes(), lambda k: k.layers.ELU(), kinks=(0.0,)),
    Row("ELU(0.3)", lambda: rectifiers.ELU(0.3), shapes(), lambda k: k.layers.ELU(0.3), kinks=(0.0,)),
    Row("SELU", rectifiers.SELU, shapes(), by_name("selu"), kinks=(0.0,)),
    Row("CELU", rectifiers.CELU, shapes(), by_name("celu"), kinks=(0.0,)),
    Row("CELU(0.3)", lambda: rectifiers.CELU(0.3), shapes(), call("celu", alpha=0.3), kinks=(0.0,)),
    Row("HardSigmoid", rectifiers.HardSigmoid, shapes(), by_name("hard_sigmoid"), kinks=(-3.0, 3.0)),
    Row("HardSwish", rectifiers.HardSwish, shapes(), by_name("hard_silu"), kinks=(-3.0, 3.0)),
    Row("HardTanh", rectifiers.HardTanh, shapes(), by_name("hard_tanh"), kinks=(-1.0, 1.0)),
    Row("GELU", smooth.GELU, shapes(), by_name("gelu")),
    Row("GELU(approximate)", lambda: smooth.GELU(True), shapes(), call("gelu", approximate=True)),
    Row("SiLU", smooth.SiLU, shapes(), by_name("silu")),
    Row("Mish", smooth.Mish, shapes(), by_name("mish")),
    Row("Softplus", smooth.Softplus, shapes(), by_name("softplus")),
    Row("Softsign", smooth.Softsign, shapes(), by_name("softsign")),
    Row("LogSigmoid", smooth.LogSigmoid, shapes(), by_name("log_sigmoid")),
    Row("Exponential", smooth.Exponential, shapes(), by_name("exponential")),
    Row("GLU", smooth.GLU, even(-1), by_name("glu"), parity_shapes=((4,), (3, 2), (2, 3, 6))),
    Row(
        "GLU(axis=1)",
        lambda: smooth.GLU(axis=1),
        even(0),
        call("glu", axis=1),
        example=(4, 3),
        parity_shapes=((4, 3), (2, 1), (6, 2, 3)),
    ),
    Row("LogSoftmax", activations.LogSoftmax, shapes(), by_name("log_softmax")),
    # One axis: with more, a bias in front shifts all numbers along axis 1 and its gradient is 0 by cancellation, which
    # is 1e-15, not exact. test_activations.py checks dx with more axes.
    Row("LogSoftmax(axis=1)", lambda: activations.LogSoftmax(axis=1), shapes(1, 1), call("log_softmax", axis=1)),
    Row("Activation(gelu)", lambda: activations.Activation("gelu"), shapes(), by_name("gelu")),
    Row(
        "Activation(glu)",
        lambda: activations.Activation("glu"),
        even(-1),
        by_name("glu"),
        parity_shapes=((4,), (3, 2)),
    ),
    Row("Activation(leaky_relu)", lambda: activations.Activation("leaky_relu"), shapes(), by_name("leaky_relu")),
]
