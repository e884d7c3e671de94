"""Rows: normalization.

Gammas and betas are drawn, so that a forgotten one is seen. Gammas are small or epsilons large, so that dx is small:
a bias before a normalization has the gradient 0, a sum over dx in which only rounding is left, and the check compares
what is below 1e-3 absolutely. The defaults are compared with a plain reference in test_normalization.py.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row, Shape, shapes
from tinynn.layers import normalization as layers

DRAWN: dict[str, Any] = {"beta_initializer": "normal", "gamma_initializer": "normal"}


def divisible(by: int, axis: int, axes: tuple[int, ...] = (1, 2, 3)) -> st.SearchStrategy[Shape]:
    """Draw shapes of one sample whose size along one axis is a multiple."""

    def fit(shape: Shape) -> Shape:
        sizes = list(shape)
        sizes[axis] *= by
        return tuple(sizes)

    return shapes(min(axes), max(axes), size=3).map(fit)


def batch(training: bool, **options: Any) -> dict[str, Any]:
    """Return what the rows of BatchNormalization share."""
    drawn = {**DRAWN, "moving_mean_initializer": "normal"}
    return {
        "make": lambda: layers.BatchNormalization(**{**drawn, **options}),
        "keras": lambda k: k.layers.BatchNormalization(**options),
        "training": training,
        "one_by_one": not training,
    }


IMAGES: dict[str, Any] = {"parity_shapes": ((4,), (3, 5), (3, 4, 2)), "shape": shapes()}
FEW: dict[str, Any] = {"parity_shapes": ((4,), (3, 1)), "shape": shapes()}

ROWS = [
    Row("BatchNormalization", **batch(False), **IMAGES),
    Row("BatchNormalization(training)", **batch(True, epsilon=0.1), **IMAGES),
    Row("BatchNormalization(plain, training)", **batch(True, center=False, scale=False, epsilon=100.0), **FEW),
    Row("BatchNormalization(scale=False)", **batch(False, scale=False), **FEW),
    Row("BatchNormalization(center=False, training)", **batch(True, center=False, momentum=0.5, epsilon=0.1), **FEW),
    Row("BatchNormalization(axis=1, training)", **batch(True, axis=1, epsilon=0.1), **IMAGES),
    Row(
        "LayerNormalization",
        lambda: layers.LayerNormalization(epsilon=0.1, **DRAWN),
        keras=lambda k: k.layers.LayerNormalization(epsilon=0.1),
        **IMAGES,
    ),
    Row(
        "LayerNormalization(axis=(2, 1))",
        lambda: layers.LayerNormalization((2, 1), 0.1, **DRAWN),
        shapes(2, 3),
        lambda k: k.layers.LayerNormalization((2, 1), 0.1),
        example=(3, 4),
        parity_shapes=((3, 5), (3, 1, 2)),
    ),
    Row(
        "LayerNormalization(plain)",
        lambda: layers.LayerNormalization(epsilon=100.0, center=False, scale=False),
        keras=lambda k: k.layers.LayerNormalization(epsilon=100.0, center=False, scale=False),
        **FEW,
    ),
    Row(
        "GroupNormalization",
        lambda: layers.GroupNormalization(2, epsilon=0.1, **DRAWN),
        divisible(2, -1),
        lambda k: k.layers.GroupNormalization(2, epsilon=0.1),
        parity_shapes=((6,), (3, 4), (3, 5, 6)),
    ),
    Row(
        "GroupNormalization(axis=1)",
        lambda: layers.GroupNormalization(3, 1, 0.1, **DRAWN),
        divisible(3, 0),
        lambda k: k.layers.GroupNormalization(3, 1, 0.1),
        example=(6, 2),
        parity_shapes=((6,), (6, 3, 2)),
    ),
    Row(
        "GroupNormalization(every channel)",
        lambda: layers.GroupNormalization(-1, epsilon=100.0, scale=False, **DRAWN),
        keras=lambda k: k.layers.GroupNormalization(-1, epsilon=100.0, scale=False),
        **FEW,
    ),
    Row(
        "GroupNormalization(one group)",
        lambda: layers.GroupNormalization(1, center=False, epsilon=0.1, **DRAWN),
        keras=lambda k: k.layers.GroupNormalization(1, center=False, epsilon=0.1),
        **FEW,
    ),
    Row(
        "RMSNormalization",
        lambda: layers.RMSNormalization(epsilon=0.1),
        keras=lambda k: k.layers.RMSNormalization(epsilon=0.1),
        **IMAGES,
    ),
    Row(
        "RMSNormalization(axis=(1, 2))",
        lambda: layers.RMSNormalization(axis=(1, 2)),
        divisible(2, 0, (2,)),  # of a single number there is no gradient but rounding
        lambda k: k.layers.RMSNormalization(axis=(1, 2)),
        example=(3, 4),
        parity_shapes=((3, 5),),
    ),
    # A single feature gives +-1 and no gradient: test_normalization.py, here it would be the check.s own rounding.
    Row(
        "UnitNormalization",
        layers.UnitNormalization,
        divisible(2, -1),
        lambda k: k.layers.UnitNormalization(),
        parity_shapes=((4,), (3, 5), (3, 4, 2)),
    ),
    Row(
        "UnitNormalization(axis=(1, 2))",
        lambda: layers.UnitNormalization(axis=(1, 2)),
        divisible(2, 0, (2, 3)),
        lambda k: k.layers.UnitNormalization(axis=(1, 2)),
        example=(3, 4),
        parity_shapes=((3, 5), (3, 1, 2)),
    ),
]
