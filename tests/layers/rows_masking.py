"""Rows: masking. The inputs here are random, so nothing is masked; test_masking has the padded batches."""

from __future__ import annotations

from tests.layers.row import Row, shapes
from tinynn.layers.masking import Masking

ROWS = [
    Row(
        f"Masking({value})",
        lambda value=value: Masking(mask_value=value),
        shapes(least=2),
        lambda k, value=value: k.layers.Masking(mask_value=value),
        example=(4, 3),
        parity_shapes=((5, 1), (5, 3), (2, 3, 4)),
    )
    for value in (0.0, -1.0)
]
