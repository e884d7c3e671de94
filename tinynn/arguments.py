"""What users give: names, counts, shapes. Each is returned checked, or the error says what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Shape = tuple[int, ...]


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
    raise ValueError(f"unknown {kind} {name!r}.{guess(name, table)} The names are: {', '.join(sorted(table))}.")


def guess(name: str, names: Iterable[str], least: float = 0.5) -> str:
    """Return which of the names was meant, as a sentence to follow another; nothing where none is `least` like it.

    Examples
    --------
    >>> guess("acc", ["loss", "accuracy"])
    " Did you mean 'accuracy'?"
    """
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=least)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


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
        + (f" A function of your own becomes a subclass of {base.__name__}." if callable(given) else "")
    )


def check_count(value: Any, who: str, low: int = 1) -> int:
    """Return `value` if it is a whole number from `low` up.

    Examples
    --------
    >>> check_count(0, "fit: epochs")
    Traceback (most recent call last):
    ...
    ValueError: fit: epochs must be a whole number from 1 up, got 0.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < low:
        raise ValueError(f"{who} must be a whole number from {low} up, got {value!r}.")
    return int(value)


def check_number(value: Any, who: str, low: float, high: float = np.inf, below: bool = False) -> float:
    """Return `value` if it is a number from `low` to `high`, or below `high`.

    Examples
    --------
    >>> check_number(2, "Adam: beta_1", 0, 1, below=True)
    Traceback (most recent call last):
    ...
    ValueError: Adam: beta_1 must be a number from 0 to below 1, got 2.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not low <= value <= high or (below and value == high) or value == np.inf:
        end = "up" if high == np.inf else f"to {'below ' if below else ''}{high}"
        raise ValueError(f"{who} must be a number from {low} {end}, got {value!r}.")
    return float(value)


def check_shape(shape: Any, who: str) -> Shape:
    """Return the shape of one sample as a tuple, or say what is wrong with it.

    Examples
    --------
    >>> check_shape([28, 28], "Input: shape")
    (28, 28)
    """
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, tuple | list) or not all(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1 for size in sizes
    ):
        raise ValueError(
            f"{who}: expected the shape of one sample as a tuple of whole numbers from 1 up, such as (784,), "
            f"got {shape!r}. The batch axis is left out."
        )
    return tuple(int(size) for size in sizes)
