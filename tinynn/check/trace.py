"""Trace of a forward pass: which values each name held, and the derivative of the outcome by any of them.

A *version* is one value of one name: ``z = ...`` makes one, in a loop each time round. Writing into the array
(``z += b``, ``h[t + 1] = ...``, ``out=z``) goes on with the same version, unless it replaces the whole of it.

The truth about a gradient is found by running forward again with i h added to the value at the place where it was last
written, each entry where that entry was last written: the complex step, or +h and -h for central differences.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

COMPLEX_H, CENTRAL_H = 1e-20, 1e-6
MOST_ENTRIES = 5000  # of an array whose true gradient is computed whole: every entry takes a run of forward


class NotAnalytic(Exception):
    """Forward cannot carry complex numbers at some place."""


@dataclass
class Event:
    """One moment at which a name got a value, or a part of one."""

    number: int
    line: int
    kind: str
    in_place: bool
    key: Any = None
    owner: str = ""
    part_shape: tuple[int, ...] = ()


@dataclass
class Version:
    """One value of a name: its events, where it is used, and a copy of it."""

    function: str
    name: str
    shape: tuple[int, ...]
    events: list[Event] = field(default_factory=list)
    uses: list[tuple[int, int, str]] = field(default_factory=list)  # number, line, function
    value: Any = None
    alias_of: Version | None = None
    index: int = 0

    @property
    def line(self) -> int:
        """The line that wrote it last."""
        return self.events[-1].line

    def injections(self, direction: Any) -> dict[int, Any]:
        """Return what to add at which event, so that every entry is changed after it was written for the last time."""
        if len(self.events) == 1:
            return {self.events[0].number: (direction, self.events[0].in_place)}
        last = np.full(self.shape, -1)
        for event in self.events:
            last[... if event.key is None else event.key] = event.number
        found = {}
        for event in self.events:
            mine = last == event.number
            if mine.any():
                found[event.number] = (np.where(mine, direction, 0.0), event.in_place, event.owner)
        return found


@dataclass
class Frame:
    """One call of a function that is traced."""

    function: str
    held: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    pending: dict[str, Any] = field(default_factory=dict)
    renewing: set[str] = field(default_factory=set)


def is_array(value: Any) -> bool:
    """Whether a value is an array (or NumPy number) of real or complex numbers."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fc"


class Trace:
    """The forward hooks: they record versions, or change a value where they are told to.

    Attributes
    ----------
    versions : dict
        By function and name, in the order they came.
    """

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], list[Version]] = {}
        self.recording = False
        self.plan: dict[int, Any] = {}
        self.use_plan: dict[int, Any] = {}
        self.step: complex = 0
        self.events = self.uses = 0
        self.by_object: dict[int, tuple[Any, Version]] = {}

    @contextmanager
    def run(
        self,
        plan: dict[int, Any] | None = None,
        use_plan: dict[int, Any] | None = None,
        step: complex = 0,
        record: bool = False,
    ) -> Iterator[None]:
        """Count anew, and record or change values meanwhile."""
        self.plan, self.use_plan, self.step, self.recording = plan or {}, use_plan or {}, step, record
        self.events = self.uses = 0
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                yield
        except (TypeError, np.exceptions.ComplexWarning) as error:
            if isinstance(step, complex) and step:
                raise NotAnalytic(str(error)) from None
            raise
        finally:
            self.plan, self.use_plan, self.recording = {}, {}, False
            self.by_object = {}

    # The hooks -------------------------------------------------------------------------------------------------------

    def enter(self, function: str) -> Frame:
        """A call begins."""
        return Frame(function)

    def bind(self, frame: Frame, line: int, name: str, value: Any, kind: str) -> Any:
        """A name has got a value; return what it is to hold."""
        if isinstance(value, list | tuple) and value and all(map(is_array, value)):
            bound = [self.bind(frame, line, f"{name}[{i}]", member, kind) for i, member in enumerate(value)]
            same = all(new is old for new, old in zip(bound, value, strict=True))
            return value if same else type(value)(bound)
        if not is_array(value):
            return value
        number = self.events
        self.events += 1
        if self.recording:
            self.record(frame, Event(number, line, kind, False), name, value)
        change = self.plan.get(number)
        value = value if change is None else self.changed(frame, name, value, *change)
        if not self.recording:
            frame.held[name] = (value, None)
        return value

    def fill(self, frame: Frame, line: int, name: str, value: Any, kind: str, key: Any) -> None:
        """A part of an array has got values."""
        if not is_array(value):
            return
        number = self.events
        self.events += 1
        if self.recording:
            event = Event(number, line, kind, True, key, part_shape=np.shape(value[key]))
            self.record(frame, event, name, value)
        change = self.plan.get(number)
        if change is not None:
            self.changed(frame, name, value, *change)

    def use(self, frame: Frame, line: int, name: str, value: Any) -> Any:
        """A name is read."""
        if not is_array(value):
            return value
        number = self.uses
        self.uses += 1
        if self.recording:
            held = frame.held.get(name)
            version = held[1] if held is not None else None
            while version is not None:  # what uses another name of an array uses the array
                version.uses.append((number, line, frame.function))
                version = version.alias_of
        change = self.use_plan.get(number)
        return value if change is None else value + self.step * change

    def changed(self, frame: Frame, name: str, value: Any, direction: Any, in_place: bool, owner: str = "") -> Any:
        """Return a value with the step added to it; or add it to the larger array that the value is a view into."""
        if owner:
            self.changed(frame, owner, frame.held[owner][0], direction, True)
            return value
        if not in_place or not isinstance(value, np.ndarray):
            return value + self.step * direction
        if isinstance(self.step, complex) and value.dtype.kind != "c":
            raise NotAnalytic("an array of real numbers is made within forward")
        value += self.step * direction
        return value

    def record(self, frame: Frame, event: Event, name: str, value: Any) -> None:
        """Note an event: it goes on with the version the name held, or begins a new one."""
        before = frame.held.get(name)
        same = before is not None and before[0] is value and isinstance(value, np.ndarray)
        event.in_place = event.in_place or (same and event.kind != "parameter")
        if before is not None and same and event.kind != "assign":
            version = before[1]
        else:
            version = Version(frame.function, name, np.shape(value))
            versions = self.versions.setdefault((frame.function, name), [])
            version.index = len(versions)
            versions.append(version)
            known = self.by_object.get(id(value))
            if known is None or same:
                self.by_object[id(value)] = (value, version)
            elif event.kind != "parameter":
                older: Version | None = known[1]
                version.alias_of = older
                while older is not None:  # z = y is no use of y of its own
                    older.uses = [use for use in older.uses if use[1:] != (event.line, frame.function)]
                    older = older.alias_of
        version.events.append(event)
        version.value = np.array(value)
        frame.held[name] = (value, version)
        if event.in_place and event.kind != "parameter":
            root = root_of(value)
            for other, (array, owner) in frame.held.items():  # z2 is a view into z: z is written as well
                if other != name and root_of(array) is root and array.size >= value.size and owner is not version:
                    owner.events.append(Event(event.number, event.line, event.kind, True, None, other))
                    owner.value = np.array(array)


def root_of(array: Any) -> Any:
    """Return the array that owns the memory."""
    while isinstance(array, np.ndarray) and isinstance(array.base, np.ndarray):
        array = array.base
    return array


@dataclass(frozen=True)
class Unit:
    """What a gradient is taken by: a version, a part of one, or a parameter.

    Attributes
    ----------
    label : str
        For people: ``"z"``, ``"h, value 3 of 5"``.
    shape : tuple of int
    kind : str
        ``"version"``, ``"slot"`` (what one event wrote into a part), ``"part"`` (of a whole version), ``"leaf"``.
    """

    label: str
    shape: tuple[int, ...]
    kind: str
    version: Version | None = None
    event: Event | None = None
    key: Any = None
    leaf: str = ""
    stack: tuple[Version, ...] = ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells units apart."""
        number = self.version.events[0].number if self.version else -1
        return self.kind, number, self.event.number if self.event else -1, repr(self.key), self.leaf

    def embedded(self, direction: Any) -> Any:
        """Return the direction as one of the whole version."""
        assert self.version is not None
        whole = np.zeros(self.version.shape)
        whole[self.event.key if self.event is not None else self.key] = direction
        return whole

    def injections(self, direction: Any) -> dict[int, Any]:
        """Return what to add at which event."""
        assert self.version is not None
        if self.kind == "version":
            return self.version.injections(direction)
        if self.kind == "stack":
            found = {}
            for version, part in zip(self.stack, direction, strict=True):
                found.update(version.injections(part))
            return found
        if self.kind == "slot":
            assert self.event is not None
            return {self.event.number: (self.embedded(direction), True)}
        return self.version.injections(self.embedded(direction))


class Truths:
    """The true gradients, computed where they are asked for.

    Parameters
    ----------
    trace : Trace
        After the run that records.
    objective : function
        Runs forward; its arguments are whether to compute in complex numbers, and what to add to which parameter.
    seed : int
        Of the random directions.
    """

    def __init__(self, trace: Trace, objective: Callable[[bool, dict[str, Any]], Any], seed: int) -> None:
        self.trace = trace
        self.objective = objective
        self.rng = np.random.default_rng([seed, 7])
        self.directions: dict[tuple[Any, ...], list[Any]] = {}
        self.cache: dict[tuple[Any, ...], Any] = {}
        self.methods: dict[tuple[Any, ...], str] = {}
        self.analytic = True
        self.size = 1.0

    def derivative(self, unit: Unit | None, direction: Any, central: bool, uses: dict[int, Any] | None = None) -> float:
        """Return the derivative of the objective along a direction."""
        steps = (CENTRAL_H, -CENTRAL_H) if central else (1j * COMPLEX_H,)
        found = []
        for step in steps:
            plan = unit.injections(direction) if unit is not None and unit.kind != "leaf" else {}
            leaves = {unit.leaf: step * direction} if unit is not None and unit.kind == "leaf" else {}
            with self.trace.run(plan, uses, step):
                found.append(self.objective(not central, leaves))
        if central:
            return float((found[0] - found[1]) / (2 * CENTRAL_H))
        return float(np.imag(found[0]) / COMPLEX_H)

    def along(self, unit: Unit) -> list[Any]:
        """Return the random directions a unit is looked at along."""
        if unit.identity not in self.directions:
            self.directions[unit.identity] = [self.rng.standard_normal(unit.shape) for _ in range(2)]
        return self.directions[unit.identity]

    def projected(self, unit: Unit, central: bool) -> Any:
        """Return the true gradient's components along the unit's directions; None where it cannot be had."""
        place = (*unit.identity, central)
        if place not in self.cache:
            try:
                self.cache[place] = np.array([self.derivative(unit, v, central) for v in self.along(unit)])
            except NotAnalytic:
                self.cache[place] = None
        return self.cache[place]

    def method(self, unit: Unit) -> str:
        """Return how the unit's gradient is found: the complex step, if it agrees with central differences."""
        if unit.identity not in self.methods:
            exact, differences = self.projected(unit, False), self.projected(unit, True)
            rounding = 1e-8 * self.size
            agree = exact is not None and bool(
                np.abs(exact - differences).max()
                <= 1e-4 * max(np.abs(exact).max(), np.abs(differences).max()) + rounding
            )
            self.methods[unit.identity] = "complex step" if agree else "central differences"
        return self.methods[unit.identity]

    def is_small(self, unit: Unit) -> bool:
        """Whether every entry of the true gradient can be had."""
        return bool(np.prod(unit.shape) <= MOST_ENTRIES)

    def block(self, unit: Unit, most: int = 300) -> tuple[Any, Any]:
        """Return the true gradient in a block of entries, and where that is; for arrays that are too large."""
        sizes = list(unit.shape)
        while np.prod(sizes) > most:
            largest = int(np.argmax(sizes))
            sizes[largest] = (sizes[largest] + 1) // 2
        key = tuple(slice(size) for size in sizes)
        central = self.method(unit) != "complex step"
        true = np.empty(sizes)
        for i in np.ndindex(*sizes):
            direction = np.zeros(unit.shape)
            direction[i] = 1.0
            true[i] = self.derivative(unit, direction, central)
        return true, key

    def whole(self, unit: Unit) -> Any:
        """Return the true gradient, every entry."""
        place = (*unit.identity, "whole")
        if place not in self.cache:
            central = self.method(unit) != "complex step"
            true = np.empty(unit.shape)
            for i in np.ndindex(*unit.shape):
                direction = np.zeros(unit.shape)
                direction[i] = 1.0
                true[i] = self.derivative(unit, direction, central)
            self.cache[place] = true
        return self.cache[place]

    def paths(self, unit: Unit) -> dict[tuple[str, int], Any]:
        """Return, for every forward line that uses a version, the part of its gradient that comes back through it.

        Each part is given by its components along the unit's directions.
        """
        if unit.version is None or unit.kind not in ("version", "slot"):
            return {}
        place = (*unit.identity, "paths")
        if place not in self.cache:
            central = self.method(unit) != "complex step"
            numbers: dict[tuple[str, int], list[int]] = {}
            for number, line, function in unit.version.uses:
                numbers.setdefault((function, line), []).append(number)
            parts = {}
            for where, sites in numbers.items():
                along = self.along(unit)
                if unit.kind == "slot":
                    along = [unit.embedded(direction) for direction in along]
                part = np.array([self.derivative(None, None, central, dict.fromkeys(sites, v)) for v in along])
                if np.abs(part).max() > 1e-300:
                    parts[where] = part
            self.cache[place] = parts
        return self.cache[place]

    def path(self, unit: Unit, where: tuple[str, int]) -> Any:
        """Return the part of the gradient that comes back through one line, every entry."""
        place = (*unit.identity, "path", where)
        if place not in self.cache:
            assert unit.version is not None
            central = self.method(unit) != "complex step"
            sites = [number for number, line, function in unit.version.uses if (function, line) == where]
            true = np.empty(unit.shape)
            for i in np.ndindex(*unit.shape):
                direction = np.zeros(unit.shape)
                direction[i] = 1.0
                whole = unit.embedded(direction) if unit.kind == "slot" else direction
                true[i] = self.derivative(None, None, central, dict.fromkeys(sites, whole))
            self.cache[place] = true
        return self.cache[place]
