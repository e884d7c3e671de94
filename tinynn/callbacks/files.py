"""What the callbacks that write files share: errors that say who could not write what."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def writing(who: str, path: str) -> Iterator[None]:
    """Put the callback's name and the path into an OSError.

    Examples
    --------
    >>> with writing("CSVLogger", "log.csv"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] CSVLogger: could not write log.csv (No space left on device)
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"{who}: could not write {path} ({reason})") from error


def make_folder(folder: str, who: str) -> None:
    """Make a folder, if it is missing, and see that it can be written to.

    Raises
    ------
    OSError
        If it cannot be made or written to.
    """
    folder = folder or os.curdir
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"{who}: could not make the folder {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, f"{who}: you may not write into the folder {os.path.abspath(folder)}")
