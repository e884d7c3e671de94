"""Write a file whole or not at all: a kill at any moment leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from typing import Any


def path_of(path: Any, who: str) -> str:
    """Return a path as a str, or say what was given instead.

    Examples
    --------
    >>> path_of(5, "save_weights")
    Traceback (most recent call last):
    ...
    TypeError: save_weights: path must be the name of a file, a str or a pathlib.Path, got int (5).
    """
    if not isinstance(path, str | os.PathLike) or not path:
        raise TypeError(
            f"{who}: path must be the name of a file, a str or a pathlib.Path, "
            f"got {type(path).__name__} ({path!r:.60})."
        )
    return os.fsdecode(path)


def write_atomically(path: Any, parts: Iterable[Any], who: str) -> None:
    """Write a file by way of a temporary one in the same folder.

    The temporary file is brought to the disk (fsync) before it takes the name `path` (rename), and the folder after
    it: so the name always means a whole file, after a power failure too. Who may read the old file may read the new.
    A process that is killed may leave the temporary file behind, called ``.NAME.XXXX.tmp``; every other failure
    removes it.

    Parameters
    ----------
    path : str or path-like
        A link is followed: what it points to is replaced.
    parts : iterable of bytes-like
        The contents, in order.
    who : str
        Who writes, for the messages.

    Raises
    ------
    OSError
        With the system's error number, and a message that says what to do. `path` is as it was then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "note.txt")
    ...     write_atomically(path, [b"one ", b"two"], "note")
    ...     with open(path) as file:
    ...         print(file.read(), os.listdir(folder))
    one two ['note.txt']
    """
    path = path_of(path, who)
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, f"{who}: {path} is a folder; give the name of a file in it")
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, f"{who}: {path} is a device or a pipe, which the file would replace; give a file")
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"{who}: there is no folder {folder} to write {name} into; make it first")
    # Of the name only so much that the whole stays below the 255 bytes most file systems allow.
    temporary = os.path.join(folder, f".{name[:50]}.{secrets.token_hex(4)}.tmp")
    made = False
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(temporary, flags, 0o666)
        made = True
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            if os.name == "posix":
                with contextlib.suppress(OSError):  # there is no old file, or the disk knows no permissions
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if made:
            remove(temporary)
        if isinstance(error, OSError):
            raise explained(error, path, who) from error
        raise
    sync_folder(folder)


def remove(path: str) -> None:
    """Remove a file; it is no second error if that fails too."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def sync_folder(folder: str) -> None:
    """Bring a folder's list of names to the disk, where the system can (not on Windows, not on every network disk)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(handle)


ADVICE = {
    errno.ENOSPC: "The disk is full: free some space, or write to another disk.",
    errno.EDQUOT: "Your share of the disk (quota) is full: free some space, or write to another disk.",
    errno.EFBIG: "The file is larger than the system allows.",
    errno.EACCES: "You may not write into this folder: write to another one, or change its permissions.",
    errno.EPERM: "You may not write into this folder: write to another one, or change its permissions.",
    errno.EROFS: "The disk can only be read: write to another one.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def explained(error: OSError, path: str, who: str) -> OSError:
    """Return the same kind of error, with a message that says what happened to `path` and what to do."""
    advice = ADVICE.get(error.errno or 0, "")
    what = f"{who}: could not write {path} ({error.strerror or error}). Nothing there was changed. {advice}".rstrip()
    return OSError(error.errno or errno.EIO, what)
