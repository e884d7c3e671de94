"""``tinynn info``: what tinynn computes with."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tinynn import kernels


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    info = commands.add_parser("info", help="print versions, the BLAS in use, the device and why")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what tinynn computes with; 1 if the device asked for cannot be had."""
    rows = kernels.describe()
    if options.json:
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
