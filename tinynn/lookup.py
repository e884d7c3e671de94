"""Find a class by its public name, or say which name was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any


def find(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """Return the entry of `table` called `name`.

    Parameters
    ----------
    kind : str
        What is looked for, for the message: ``"optimizer"``.
    name : str
        The name the user gave.
    table : mapping of str
        All names.

    Raises
    ------
    ValueError
        If there is none; the message has the nearest name and the whole list.

    Examples
    --------
    >>> find("optimizer", "adm", {"adam": 1, "sgd": 2})
    Traceback (most recent call last):
    ...
    ValueError: unknown optimizer 'adm'. Did you mean 'adam'? The names are: adam, sgd.
    """
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name.lower(), table, n=1, cutoff=0.5)
    guess = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {kind} {name!r}.{guess} The names are: {', '.join(sorted(table))}.")


def resolve(kind: str, given: Any, base: type, table: Mapping[str, Any]) -> Any:
    """Return an instance of `base` for what a user may give: an instance, a class, or a name.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else.
    """
    if isinstance(given, base):
        return given
    if isinstance(given, str):
        return find(kind, given, table)()
    if isinstance(given, type) and issubclass(given, base):
        return given()
    raise TypeError(
        f"{kind}: expected a name or an instance of tinynn's {base.__name__}, "
        f"got {type(given).__name__} ({given!r:.60})."
    )
