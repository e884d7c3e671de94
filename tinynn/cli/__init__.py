"""The command line: ``tinynn ...``, and ``python -m tinynn ...``. One file a command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from tinynn import __version__
from tinynn.cli import check, evaluate, info, predict, summary, train
from tinynn.cli.mistakes import Mistake
from tinynn.cli.options import EXIT_CODES, Parser
from tinynn.exercises import command as exercise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those the program was started with.
    """
    parser = Parser(
        prog="tinynn",
        description="Neural networks with hand-written, proven backward passes.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tinynn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (train, evaluate, predict, summary, info, check):
        command.add_to(commands)
    exercise.add_to(commands)
    commands.choices["exercise"].set_defaults(run=exercise.run)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except Mistake as mistake:
        tell(options, mistake)
        return 2
    except KeyboardInterrupt:
        print(f"tinynn {options.command}: interrupted", file=sys.stderr)
        return 130  # what a shell shows for it
    except BrokenPipeError:  # who reads has read enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell shows for it
    return status


def tell(options: argparse.Namespace, mistake: Mistake) -> None:
    """Say on standard error what the user can mend, as JSON where JSON was asked for."""
    if getattr(options, "json", False):
        print(json.dumps({"ok": False, "error": str(mistake)}), file=sys.stderr)
    else:
        print(f"tinynn {options.command}: {mistake}{mistake.picture}", file=sys.stderr)
