"""The command line: ``tinynn ...``, and ``python -m tinynn ...``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from tinynn import __version__, kernels
from tinynn.exercises import command as exercise


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
    exercise.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell shows for it
    return status


def run(options: argparse.Namespace) -> int:
    """Run the command that was given."""
    if options.command == "check":
        return check_lines(options)
    if options.command == "exercise":
        return exercise.run(options)
    return show_info(options.json)


def check_lines(options: argparse.Namespace) -> int:
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


def show_info(as_json: bool) -> int:
    """Print what tinynn computes with; 1 if the device asked for cannot be had."""
    rows = kernels.describe()
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
