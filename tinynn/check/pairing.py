"""Pair every value of a gradient in backward with the value in forward that it is the gradient by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tinynn.check.names import bases, numbered, parts_of, units_for, versions_for
from tinynn.check.rewrite_passes import plain_name
from tinynn.check.trace import Trace, Unit, Version


class Pairing:
    """Which value is meant, by name and by counting from the end; see `tinynn.check.names`.

    Backward runs twice before anything is judged, to count how many values each gradient gets.

    Parameters
    ----------
    trace : Trace
    leaves : dict
        The parameters by their short names: name to shape.
    results : collection of str
        The functions, without their class, whose result is the gradient by forward's input.
    partners : function
        Returns, for a function, the forward functions it may undo, the likeliest first.
    last_input : bool
        Whether that input is forward's last parameter (a loss: the predictions) and not its first.
    by_name : bool
        Whether a returned name says what it is the gradient by; else it is that input's, whatever it is called.
    """

    def __init__(
        self,
        trace: Trace,
        leaves: dict[str, tuple[int, ...]],
        results: Collection[str],
        partners: Callable[[str], list[str]],
        last_input: bool = False,
        by_name: bool = False,
    ) -> None:
        self.trace, self.leaves, self.results, self.partners = trace, leaves, results, partners
        self.last_input, self.by_name = last_input, by_name
        self.counts: dict[tuple[Any, ...], int] = {}  # of this run, by function, name and shape
        self.totals: dict[tuple[Any, ...], int] = {}  # of a whole run
        self.available: dict[tuple[Any, ...], int] = {}  # how many values forward has for them
        self.renewals: set[tuple[str, str]] = set()  # what a line reads and writes anew: dz = dz * mask
        self.deferred: set[tuple[str, str]] = set()  # of those, what does not count as read there

    def start(self, counting: bool, counted: bool) -> None:
        """Begin a run; `counted` if the one before only counted."""
        if counting:
            self.totals = {}
            for (function, name, shape), count in self.counts.items():
                if (function, name) in self.renewals and count > self.available[function, name, shape]:
                    self.deferred.add((function, name))
        elif counted:
            self.totals = self.counts
        self.counts = {}

    def input_of(self, function: str) -> Version | None:
        """Return the input that a function's result is the gradient by; None if it is a helper, or takes none."""
        if function.rpartition(".")[2] not in self.results:
            return None
        for partner in self.partners(function):
            given = [
                versions[0]
                for (owner, _), versions in self.trace.versions.items()
                if owner == partner and versions[0].events[0].kind == "parameter"
            ]
            if given:
                return given[-1 if self.last_input else 0]
        return None

    def versions(self, function: str, name: str) -> list[Version]:
        """Return the versions of a name in the forward function that a function undoes."""
        return versions_for(self.trace, self.partners(function), name)

    def unit_for(self, function: str, name: str, shape: tuple[int, ...], result: bool) -> tuple[Unit | None, bool, str]:
        """Return what a gradient is by, whether it is a part of one, and why it is not known, if so."""
        given = self.input_of(function) if result else None
        if given is not None and not (
            self.by_name and any(self.versions(function, b) or b in self.leaves for b in bases(name))
        ):
            return Unit(given.name, given.shape, "version", given), False, ""
        short = plain_name(name)
        known = False
        for base in bases(short):
            versions = [] if short != name and base in self.leaves else self.versions(function, base)
            known = known or bool(versions) or base in self.leaves
            units = units_for(versions, base, shape)
            exact = bool(units) and units[0].shape == shape
            if base in self.leaves and not exact and np.prod(self.leaves[base]) == np.prod(shape):
                return Unit(base, self.leaves[base], "leaf", leaf=base), False, ""
            if units:
                return self.nth(function, name, shape, units), False, ""
            if base in self.leaves:
                return Unit(base, self.leaves[base], "leaf", leaf=base), False, ""
        for base in bases(short):
            for candidate in parts_of(base) if not known else []:
                versions = self.versions(function, candidate)
                units = units_for(versions, candidate, shape)
                if units and units[0].shape == shape:
                    unit = self.next_of(function, name.replace(base, candidate), shape, units)
                    return unit, True, "" if unit is not None else "more values than forward has"
        if known:
            base = bases(short)[0]
            versions = self.versions(function, base)
            whole = [Unit(numbered(base, i, len(versions)), v.shape, "version", v) for i, v in enumerate(versions)]
            return (
                self.nth(function, name, shape, whole),
                False,
                f"{name} has the shape {shape}, {base} has {versions[-1].shape}",
            )
        return None, False, f"forward has no {' or '.join(bases(short)) or name}"

    def nth(self, function: str, name: str, shape: tuple[int, ...], units: list[Unit]) -> Unit | None:
        """Return the unit that this value of the gradient is by, counted from the end."""
        place = (function, name, shape)
        count = self.counts[place] = self.counts.get(place, 0) + 1
        self.available[place] = len(units)
        surplus = max(0, self.totals.get(place, 0) - len(units))
        index = len(units) - (count - surplus)
        return units[index] if 0 <= index < len(units) else None

    def next_of(self, function: str, name: str, shape: tuple[int, ...], units: list[Unit]) -> Unit | None:
        """Return the unit that the next value of ``dh`` will be by: what ``dh_next``, read now, is a part of."""
        place = (function, name, shape)
        surplus = max(0, self.totals.get(place, 0) - len(units))
        index = len(units) - 1 - (self.counts.get(place, 0) - surplus)
        return units[index] if 0 <= index < len(units) else None

    def has_list(self, function: str, name: str) -> bool:
        """Whether forward has a list by that name."""
        return any(self.versions(function, f"{base}[0]") for base in bases(name))

    def unit_in_list(self, function: str, name: str, i: int, count: int, shape: tuple[int, ...]) -> Unit | None:
        """Return what a gradient in a list is by: what stands there in forward's list, or in its array, or the i-th."""
        for base in bases(name):
            members = [v for v in self.versions(function, f"{base}[{i}]") if v.shape == shape]
            if members:
                return Unit(f"{base}[{i}]", shape, "version", members[-1])
            versions = self.versions(function, base)
            whole = [v for v in versions if v.shape == (count, *shape)]
            if whole:
                return Unit(f"{base}[{i}]", shape, "part", whole[-1], key=i)
            same = [v for v in versions if v.shape == shape]
            if len(same) == count:
                return Unit(f"{base}, value {i + 1} of {count}", shape, "version", same[i])
        return None
