"""The table of planted bugs."""

from tests.mutants import rows_basic, rows_losses, rows_more, rows_sequences, rows_windows

MUTANTS = [*rows_basic.ROWS, *rows_windows.ROWS, *rows_sequences.ROWS, *rows_losses.ROWS, *rows_more.ROWS]
