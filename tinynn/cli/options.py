"""What the commands' options share: a parser that speaks in one line, types, and options that several commands have."""

from __future__ import annotations

import argparse
import difflib
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tinynn.backend import DEVICE_NAMES

EXIT_CODES = """\
exit codes:
  0    done
  1    it ran, and the answer is no: train, the loss became NaN or infinite;
       check, a gradient is wrong; info, the device cannot be had
  2    a mistake in the command line, or a file that cannot be used; standard
       error has one line that says what
  130  ended by Ctrl-C"""


class Parser(argparse.ArgumentParser):
    """argparse's parser, with mistakes in one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is not known here, where the name of the command is: argparse's own message has it not."""
        found, others = super().parse_known_args(args, namespace)
        if others:
            name = others[0].partition("=")[0]
            if not name.startswith("-"):
                self.error(f"there is one argument too many: {name!r:.60}")
            nearest = difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=0.7)
            self.error(f"there is no option {name:.60}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        return found, others

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with 2."""
        print(f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def add_command(commands: Any, name: str, help: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command with the exit codes in its help; what stands in `epilog` keeps its lines."""
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"{epilog}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return added


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        choices=DEVICE_NAMES,
        help="where to compute (default: what TINYNN_DEVICE says, else a GPU if there is one that works)",
    )


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Add ``--limit``."""
    parser.add_argument(
        "--limit",
        type=whole(1),
        metavar="N",
        help="take only N samples of each part, drawn at random, the same ones every time: for a quick try",
    )


def whole(low: int) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `low` up.

    Examples
    --------
    >>> whole(1)("0")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected a whole number from 1 up, got '0'
    """

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= low):
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} up, got {text!r:.60}")
        return int(text)

    return read


def number_between(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return a type for argparse: a number above `low` and below `high`.

    Examples
    --------
    >>> number_between(0, 1)("1.5")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected a number between 0 and 1, got '1.5'
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value < high:
            wanted = f"above {low}" if high == math.inf else f"between {low} and {high}"
            raise argparse.ArgumentTypeError(f"expected a number {wanted}, got {text!r:.60}")
        return value

    return read
