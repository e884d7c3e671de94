"""A user's mistake: one line on standard error, and exit status 2; never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Mistake(Exception):
    """What the user gave cannot be used; the message says why and what to do.

    Parameters
    ----------
    message : str
        One sentence or two; it is printed in one line.
    picture : str, default ""
        Lines that are printed under it as they are, such as a caret under the place at fault.
    """

    def __init__(self, message: str, picture: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.picture = picture


@contextmanager
def told(*kinds: type[Exception], before: str = "", without: str = "") -> Iterator[None]:
    """Turn errors of these kinds, which the library raises for what users give, into mistakes.

    Everything else is a bug and keeps its traceback; a reader who has gone (`| head`) is neither.

    Parameters
    ----------
    *kinds : type of Exception
    before : str, default ""
        Put before the message: which option is meant.
    without : str, default ""
        Left out where the message begins with it: the name of a function that the user did not call.

    Examples
    --------
    >>> with told(ValueError, before="--loss: "):
    ...     raise ValueError("unknown loss 'sme'")
    Traceback (most recent call last):
    ...
    tinynn.cli.mistakes.Mistake: --loss: unknown loss 'sme'
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except kinds as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and error.filename is not None:  # the system's own words: give them the name
            what = f"{error.filename}: {what}"
        raise Mistake(before + what.removeprefix(without)) from error
