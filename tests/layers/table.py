"""The table of all layers. A new layer is one class and one row; every test in this folder runs over the table."""

from tests.layers import rows_core

TABLE = [*rows_core.ROWS]
