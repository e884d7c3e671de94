"""Extras: libraries that only some parts of tinynn need, imported when these are used."""

from __future__ import annotations

import importlib


def need(who: str, library: str, extra: str, module: str | None = None) -> None:
    """Raise ImportError if a library is missing.

    Parameters
    ----------
    who : str
        What needs it, for the message.
    library : str
        Its name, as people know it.
    extra : str
        The extra of tinynn that brings it.
    module : str, optional
        What is imported, where that has another name.

    Raises
    ------
    ImportError
        The message says what to install.

    Examples
    --------
    >>> need("this example", "NumPy", "none", "numpy")
    >>> need("this example", "nothing_at_all", "none")
    Traceback (most recent call last):
    ...
    ImportError: this example needs nothing_at_all, which could not be imported: install tinynn from its ...
    """
    try:
        importlib.import_module(library if module is None else module)
    except ImportError as error:
        raise ImportError(advice(who, library, extra)) from error


def advice(who: str, library: str, extra: str) -> str:
    """Return what is missing, and what to install."""
    return (
        f"{who} needs {library}, which could not be imported: install tinynn from its checkout with the extra "
        f"'{extra}' (pip install '.[{extra}]')."
    )
