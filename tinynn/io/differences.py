"""What differs between two things that were written down as plain data; see `tinynn.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT = object()  # stands where a setting was not given


def shown(plain: Any) -> str:
    """Return plain data as one would write what they stand for.

    Examples
    --------
    >>> shown({"class": "layers.Dense", "config": {"units": 2, "name": "last"}})
    "Dense(units=2, name='last')"
    """
    match plain:
        case {"class": str(name), "config": dict(config)}:
            return f"{name.rpartition('.')[2]}({', '.join(f'{key}={shown(config[key])}' for key in config)})"
        case {"dict": list(pairs)}:
            return f"{{{', '.join(f'{key!r}: {shown(entry)}' for key, entry in pairs)}}}"
        case [*entries]:
            return f"[{', '.join(map(shown, entries))}]"
        case {"float": str(number)}:
            return number
    return "the default" if plain is DEFAULT else repr(plain)


def differences(there: Any, here: Any, where: str) -> list[str]:
    """Return what differs between two that were written down, a line for each thing.

    Parameters
    ----------
    there, here : object
        As `to_plain` returns them.
    where : str
        What they are, for the lines.

    Examples
    --------
    >>> from tinynn.config import to_plain
    >>> from tinynn.optimizers import SGD, Adam
    >>> differences(to_plain(SGD(0.1), ""), to_plain(SGD(0.1, momentum=0.9), ""), "optimizer")
    ['optimizer (SGD): momentum: the default there and 0.9 here']
    >>> differences(to_plain([SGD(0.1)], ""), to_plain([Adam(), 5], ""), "all")
    ['all: 1 there and 2 here', 'all[0]: SGD(learning_rate=0.1) there and Adam() here']
    """
    match there, here:
        case {"class": name, "config": dict(first)}, {"class": other, "config": dict(second)} if name == other:
            return of_entries(first, second, f"{where} ({name.rpartition('.')[2]})")
        case {"dict": list(first)}, {"dict": list(second)}:
            return of_entries(dict(first), dict(second), where)
        case [*first], [*second]:
            lines = [] if len(first) == len(second) else [f"{where}: {len(first)} there and {len(second)} here"]
            for i, (one, two) in enumerate(zip(first, second, strict=False)):
                lines += differences(one, two, f"{where}[{i}]")
            return lines
    if there == here:
        return []
    return [f"{where}: {shown(there):.80} there and {shown(here):.80} here"]


def of_entries(there: Mapping[str, Any], here: Mapping[str, Any], where: str) -> list[str]:
    """Return what differs between two dictionaries of plain data; what one has not is a setting with its default."""
    keys = {**there, **here}
    return [
        line for key in keys for line in differences(there.get(key, DEFAULT), here.get(key, DEFAULT), f"{where}: {key}")
    ]
