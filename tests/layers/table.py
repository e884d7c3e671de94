"""The table of all layers. A new layer is one class and one row; every test in this folder runs over the table."""

from tests.layers import (
    rows_activations,
    rows_attention,
    rows_combine,
    rows_convolution,
    rows_core,
    rows_masking,
    rows_normalization,
    rows_pooling,
    rows_recurrent,
    rows_regularization,
    rows_shape,
)

TABLE = [
    *rows_core.ROWS,
    *rows_activations.ROWS,
    *rows_convolution.ROWS,
    *rows_pooling.ROWS,
    *rows_recurrent.ROWS,
    *rows_masking.ROWS,
    *rows_normalization.ROWS,
    *rows_regularization.ROWS,
    *rows_shape.ROWS,
    *rows_combine.ROWS,
    *rows_attention.ROWS,
]
