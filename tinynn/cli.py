"""The command line: ``tinynn ...``, and ``python -m tinynn ...``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from tinynn import __version__, backend


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those the program was started with.
    """
    parser = argparse.ArgumentParser(
        prog="tinynn", description="Neural networks with hand-written, proven backward passes."
    )
    parser.add_argument("--version", action="version", version=f"tinynn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="print versions, the BLAS in use, the device and why")
    info.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    return show_info(options.json)


def show_info(as_json: bool) -> int:
    """Print what tinynn computes with; 1 if the device asked for cannot be had."""
    rows = backend.describe()
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for name, value in rows.items():
            table.add_row(name, Text(value))  # Text: '.[cuda12]' is no markup
        Console().print(table, highlight=False)
    return 1 if rows["device"].startswith("none") else 0
