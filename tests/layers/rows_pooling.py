"""Rows: pooling of windows, of everything, and to a given size."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.layers.row import Row, Shape
from tests.layers.rows_convolution import images
from tinynn.layers import global_pooling, pooling


def row(kind: Any, shape: st.SearchStrategy, example: Shape, parity: tuple[Shape, ...], **options: Any) -> Row:
    """Return the row of a layer whose arguments Keras takes as they are."""
    shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return Row(
        f"{kind.__name__}({shown})",
        lambda: kind(**options),
        shape,
        lambda k: getattr(k.layers, kind.__name__)(**options),
        example=example,
        parity_shapes=parity,
    )


ROWS = []
for rank, maximum, average in (
    (1, pooling.MaxPooling1D, pooling.AveragePooling1D),
    (2, pooling.MaxPooling2D, pooling.AveragePooling2D),
    (3, pooling.MaxPooling3D, pooling.AveragePooling3D),
):
    most = 4 if rank == 3 else 8
    small, large = (3, 4, 5)[:rank], (7, 5, 6)[:rank]
    for kind in (maximum, average):
        ROWS += [
            row(kind, images(rank, least=2, most=most), (*small, 2), ((*small, 1), (*large, 3)), pool_size=2),
            row(
                kind, images(rank, most=most), (*small, 2), ((1,) * rank + (1,), (*small, 1), (*large, 3)),
                pool_size=3, strides=2, padding="same",
            ),
            row(kind, images(rank, least=3, most=most), (*small, 2), ((*small, 1), (*large, 3)),
                pool_size=3, strides=1),
            row(kind, images(rank, most=most), (*small, 2), ((*small, 1), (*large, 3)),
                pool_size=2, strides=3, padding="same"),
        ]  # fmt: skip
for kind in (pooling.MaxPooling2D, pooling.AveragePooling2D):
    ROWS.append(row(kind, images(2, least=3), (5, 4, 2), ((3, 3, 1), (6, 7, 2)), pool_size=(1, 3), strides=(2, 1)))
for rank, maximum, average in (
    (1, global_pooling.GlobalMaxPooling1D, global_pooling.GlobalAveragePooling1D),
    (2, global_pooling.GlobalMaxPooling2D, global_pooling.GlobalAveragePooling2D),
):
    for kind in (maximum, average):
        for keepdims in (False, True):
            example = (*(4, 3)[:rank], 2)
            ROWS.append(row(kind, images(rank), example, (example, (1,) * rank + (3,)), keepdims=keepdims))
for size in (1, 3, (2, 5)):
    shapes: tuple[Shape, ...] = ((6, 5, 2), (3, 5, 1), (7, 7, 3))
    ROWS.append(row(global_pooling.AdaptiveAveragePooling2D, images(2), (6, 5, 2), shapes, output_size=size))
