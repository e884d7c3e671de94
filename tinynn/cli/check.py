"""``tinynn check FILE.py:NAME``: a backward pass, line by line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    check = commands.add_parser(
        "check",
        help="check a backward pass line by line and name the wrong line",
        description="Check a hand-written backward pass line by line. The file is run: it is your own code.",
        epilog="Ends with 0 if all is right, 1 if a gradient is wrong, 2 if it cannot be checked.",
    )
    check.add_argument(
        "where",
        metavar="FILE.py:NAME",
        help="a layer, loss, or forward function in a file; a class may have arguments, 'my_layer.py:MyDense(3)'",
    )
    check.add_argument("--input", required=True, metavar="4,5", help="the input's shape, the batch axis first")
    check.add_argument(
        "--arg", action="append", default=[], metavar="W=5,3", help="random numbers for a forward function's argument"
    )
    check.add_argument("--training", action="store_true", help="call forward with training=True")
    check.add_argument("--seed", type=int, default=0, help="of all random numbers (default 0)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what the line checker finds; 1 if a gradient is wrong, 2 if it cannot be checked."""
    from tinynn.check.from_file import check_file

    try:
        report = check_file(options.where, options.input, options.arg, options.training, options.seed)
    except ValueError as error:
        message = " ".join(str(error).split())
        print(
            json.dumps({"ok": False, "error": message}) if options.json else f"tinynn check: {message}", file=sys.stderr
        )
        return 2
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        from rich.console import Console

        Console().print(report, highlight=False, soft_wrap=True)
    return 0 if report.ok else 1
