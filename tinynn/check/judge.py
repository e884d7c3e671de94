"""Judge the gradients of a backward pass, line by line, while it runs.

A gradient is judged when a line reads it: until then it may be a part of a sum (``dz = a`` and then ``dz += b``). If it
is wrong, and the run is told so, the true gradient is put in its place, so that the lines after it are judged by what
they do themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinynn.check.gradient_check import TOLERANCE
from tinynn.check.names import bases
from tinynn.check.pairing import Pairing
from tinynn.check.rewrite_passes import plain_name
from tinynn.check.trace import Frame, Truths, Unit, is_array, root_of

Key = tuple[str, int, str]  # function, line, name


@dataclass
class Pending:
    """A gradient that was written and not judged yet: by which lines, and what it held after each."""

    value: Any
    writes: list[tuple[int, str, Any]] = field(default_factory=list)
    functions: dict[int, str] = field(default_factory=dict)


@dataclass
class Judgement:
    """What was found about one value of a gradient.

    Attributes
    ----------
    key : (function, line, name)
        The line to blame, if any.
    name : str
    lines : tuple of int
        All lines that made it.
    unit : Unit or None
        What it is the gradient by; None if that is not known.
    error : float
    verdict : str
        ``"ok"``, ``"WRONG"`` or ``"unchecked"``.
    """

    key: Key
    name: str
    lines: tuple[int, ...]
    unit: Unit | None
    shape: tuple[int, ...]
    verdict: str
    error: float = 0.0
    reason: str = ""
    found: Any = None
    part: bool = False
    true: Any = None
    functions: dict[int, str] = field(default_factory=dict)
    scope: dict[str, Any] = field(default_factory=dict)
    history: tuple[Any, ...] = ()  # what it held after each of several writes


class Judge:
    """The backward hooks.

    Parameters
    ----------
    pairing : Pairing
    truths : Truths
    """

    def __init__(self, pairing: Pairing, truths: Truths) -> None:
        self.pairing, self.truths = pairing, truths
        self.counting = True
        self.replace: Callable[[Judgement], bool] = lambda judgement: False
        self.summed: Callable[[str, int], list[str]] = lambda function, line: []
        self.text: Callable[[str, int], str] = lambda function, line: ""
        self.floor = 1e-3  # what errors are relative to, at least
        self.keep_shapes = False  # whether a value of a wrong shape is left in its place
        self.positions: list[str] = []  # the names of the results, where backward returns a tuple
        self.buffers: set[tuple[str, str]] = set()  # gradients that are filled through views of them
        self.inputs: dict[str, tuple[Any, Any]] = {}  # what backward must not write into, with copies
        self.faults: dict[str, tuple[str, int]] = {}  # which of them it wrote into, and where
        # Of this run:
        self.judgements: list[Judgement] = []
        self.seen: set[Key] = set()
        self.late: dict[str, Pending] = {}
        self.dtypes: dict[Key, Any] = {}

    def start(self, counting: bool, replace: Callable[[Judgement], bool]) -> None:
        """Begin a run: one that only counts how many values each gradient gets, or one that judges."""
        self.pairing.start(counting, self.counting)
        self.counting, self.replace = counting, replace
        self.judgements, self.seen, self.late, self.dtypes = [], set(), {}, {}

    # The hooks -------------------------------------------------------------------------------------------------------

    def enter(self, function: str) -> Frame:
        """A call begins."""
        return Frame(function)

    def given(self, frame: Frame, name: str, value: Any) -> None:
        """A function is given a gradient that it will write anew: the value it comes with counts."""
        if is_array(value):
            self.pairing.unit_for(frame.function, name, value.shape, False)
            frame.held[name] = (value, None)

    def wrote(self, frame: Frame, line: int, name: str, value: Any, kind: str, key: Any = None) -> None:
        """A gradient, or a part of one, has been written."""
        self.look_at_inputs(frame, line)
        if not is_array(value):
            frame.pending.pop(name, None)
            if isinstance(value, int | float) and kind == "assign":  # dh = 0: a sum begins
                frame.pending[name] = Pending(np.zeros(()), [(line, kind, np.zeros(()))], {line: frame.function})
            if isinstance(value, list):
                self.wrote_list(frame, line, name, value, kind, key)
            return
        if kind == "out":  # db = dy.sum(axis=0, out=self.db[1]): a row of self.db
            for local, part in list(frame.pending.items()):
                if (
                    root_of(part.value) is root_of(value)
                    and part.value.size < value.size
                    and part.writes[-1][0] == line
                ):
                    del frame.pending[local]
                    self.seen.discard((frame.function, line, local))
                    break
            else:
                return
            kind = "fill"
        elif kind == "loop":  # dseen in ``for dseen in views(dx_padded)``: no line of its own
            frame.held[name] = (value, None)
            frame.pending.pop(name, None)
            return
        if kind == "assign" and name not in frame.pending and frame.held.get(name, (None, None))[0] is value:
            return  # the same array by the same name
        owner = self.owner_of(frame, name, value) if kind != "assign" else None
        if owner is not None:
            self.buffers.add((frame.function, owner))
            whole = frame.pending.setdefault(owner, Pending(frame.held[owner][0]))
            whole.writes.append((line, kind, np.array(whole.value)))
            whole.functions[line] = frame.function
            self.seen.add((frame.function, line, owner))
            return
        self.seen.add((frame.function, line, name))
        self.dtypes[(frame.function, line, name)] = value.dtype
        pending = frame.pending.get(name)
        if kind == "assign" and name in frame.renewing and pending is not None:
            kind = "add"  # dh = dh + dy[t]: what it held before is a part of it
        frame.renewing.discard(name)
        if kind == "assign" or pending is None:
            pending = frame.pending[name] = Pending(value)
        pending.value = value
        pending.writes.append((line, kind, np.array(value)))
        pending.functions[line] = frame.function
        frame.held[name] = (value, None)

    def wrote_list(self, frame: Frame, line: int, name: str, value: list[Any], kind: str, key: Any) -> None:
        """A list of gradients has been written, or one place of it: they are judged at once."""
        if kind == "append":
            places = [len(value) - 1]
        elif kind == "fill" and isinstance(key, int):
            places = [key % len(value)]
        elif kind == "assign" and value and all(map(is_array, value)):
            places = list(range(len(value)))
        else:
            return
        for i in places:
            if not is_array(value[i]):
                continue
            if (
                kind == "assign"
                and all(member is value[0] for member in value)
                and not self.pairing.has_list(frame.function, name)
            ):
                continue  # da = [dh] * T: places to be filled
            self.seen.add((frame.function, line, name))
            if self.counting:
                continue
            unit = self.pairing.unit_in_list(frame.function, name, i, len(value), value[i].shape)
            pending = Pending(value[i], [(line, "assign", np.array(value[i]))])
            value[i] = self.compare(frame, name, value[i], pending, unit, False, "a list, and forward has none like it")

    def owner_of(self, frame: Frame, name: str, value: Any) -> str | None:
        """Return the name of the larger array that a value is a view into, if it is one that is written here."""
        root = root_of(value)
        for other, (array, _) in frame.held.items():
            if other != name and root_of(array) is root and array.size > value.size:
                return other
        return None

    def judge(self, frame: Frame, line: int, name: str, value: Any, returned: bool, renewed: bool) -> Any:
        """A gradient is read: judge it, if it was written since; return what it is to be.

        `renewed`: the line that reads it writes it anew, ``dz = dz * mask``. That counts as a reading, unless forward
        has too few values for it: ``dh = (dh + dy[t]) * m``.
        """
        self.look_at_inputs(frame, line)
        pending = frame.pending.get(name)
        if pending is None or not is_array(value):
            return value
        if (frame.function, name) in self.buffers and is_blank(pending):
            return value  # memory that views are taken of
        if renewed:
            self.pairing.renewals.add((frame.function, name))
            if (frame.function, name) in self.pairing.deferred:
                frame.renewing.add(name)
                return value
        del frame.pending[name]
        unit, part, reason = self.pairing.unit_for(frame.function, name, value.shape, returned)
        return self.compare(frame, name, value, pending, unit, part, reason)

    def judge_part(self, frame: Frame, line: int, name: str, value: Any, key: Any) -> Any:
        """A part of a gradient is read."""
        pending = frame.pending.get(name)
        if pending is None or not is_array(value):
            return value
        if all(kind in ("assign", "add", "change") for _, kind, _ in pending.writes) and not is_blank(pending):
            return self.judge(frame, line, name, value, False, False)
        if self.counting:
            return value
        for base in bases(name):
            whole = [v for v in self.pairing.versions(frame.function, base) if v.shape == value.shape]
            if whole:
                part = np.asarray(value[key])
                unit = Unit(f"{base}, a part", part.shape, "part", whole[-1], key=key)
                last = pending.writes[-1]
                mine = Pending(part, [last])
                right = self.compare(frame, name, part, mine, unit, False, "")
                if right is not part:
                    value[key] = right
                break
        return value

    def leave(self, frame: Frame) -> None:
        """A call ends: judge what nobody has read."""
        last = frame.function.rpartition(".")[2] in self.pairing.results
        for name, pending in [*frame.pending.items(), *(self.late.items() if last else ())]:
            frame.pending.pop(name, None)
            if np.ndim(pending.value) == 0 and not pending.value:
                continue
            if name in self.late and not last:
                self.late[name].writes += pending.writes
                self.late[name].functions |= pending.functions
                continue
            if name.startswith("self.") and np.isnan(pending.value).any() and not last:
                self.late[name] = pending  # another function writes the rest
                continue
            unit, part, reason = self.pairing.unit_for(frame.function, name, pending.value.shape, False)
            right = self.compare(frame, name, pending.value, pending, unit, part, reason)
            if right is not pending.value and pending.value.shape == right.shape:
                pending.value[...] = right

    def returned(self, frame: Frame, line: int, text: str, value: Any) -> Any:
        """Backward returns a value: judge it, if it is a formula and not a name that was judged."""
        given = self.pairing.input_of(frame.function)
        if given is None or not is_array(value) or (text.isidentifier() and bases(text)):
            return value
        name = text if text.isidentifier() else f"d{given.name}"
        unit, _, reason = self.pairing.unit_for(frame.function, name, value.shape, True)
        self.seen.add((frame.function, line, name))
        pending = Pending(value, [(line, "assign", np.array(value))])
        return self.compare(frame, name, value, pending, unit, False, reason)

    def finish(self) -> None:
        """Backward has ended."""
        self.look_at_inputs(Frame(""), 0)

    def result(self, frame: Frame, line: int, label: Any, count: int, value: Any) -> Any:
        """Backward returns a formula among others: in a tuple, at a place; in a dictionary, by a key."""
        if not is_array(value) or frame.function.rpartition(".")[2] not in self.pairing.results or not self.positions:
            return value
        if isinstance(label, int):
            if count != len(self.positions):
                return value
            name = self.positions[label]
        else:
            name = plain_name(f"grads['{label}']")
        unit, _, reason = self.pairing.unit_for(frame.function, name, value.shape, False)
        self.seen.add((frame.function, line, name))
        pending = Pending(value, [(line, "assign", np.array(value))])
        return self.compare(frame, name, value, pending, unit, False, reason)

    # What they do ----------------------------------------------------------------------------------------------------

    def compare(
        self, frame: Frame, name: str, value: Any, pending: Pending, unit: Unit | None, part: bool, reason: str
    ) -> Any:
        """Judge a value; return the true one where it is to be replaced."""
        if self.counting:
            return value
        lines = tuple(dict.fromkeys(line for line, _, _ in pending.writes))
        key = (pending.functions.get(lines[-1], frame.function), lines[-1], name)
        judgement = Judgement(key, name, lines, unit, value.shape, "unchecked", reason=reason, part=part)
        judgement.found, judgement.functions = np.array(value), pending.functions
        judgement.history = tuple(after for _, _, after in pending.writes) if len(pending.writes) > 2 else ()
        judgement.scope = {n: np.array(a) for n, (a, _) in frame.held.items() if is_array(a)}
        self.judgements.append(judgement)
        if unit is None:
            judgement.reason = reason or "it gets more values than there are in forward; only the last are its own"
            return value
        if np.size(value) != np.prod(unit.shape):
            return self.misshapen(value, pending, unit, judgement)
        found = np.array(value, dtype=float).reshape(unit.shape)
        judgement.found = found
        along = self.truths.along(unit)
        components = np.array([(found * direction).sum() for direction in along])
        if part:
            if self.is_sum_of_paths(unit, components):
                judgement.verdict = "ok"
            else:
                judgement.reason = f"no part of the gradient by {unit.label} that comes back through whole lines"
            return value
        judgement.error, right = self.error(unit, found, components)
        judgement.verdict = "ok" if right else "WRONG"
        if right:
            return value
        if not self.truths.is_small(unit):  # the true one is not put in
            blamed = pending.writes[-1][0]
            judgement.key = (pending.functions.get(blamed, frame.function), blamed, name)
            return value
        blamed = self.blamed(unit, pending, found)
        judgement.key = (pending.functions.get(blamed, frame.function), blamed, name)
        self.blame_part(judgement, pending, unit, found)
        if not self.replace(judgement):
            return value
        true = self.truths.whole(unit).reshape(value.shape).astype(value.dtype)
        written_into = pending.writes[-1][1] != "assign"
        if written_into and value.flags.writeable and isinstance(value, np.ndarray):
            value[...] = true
            return value
        return true

    def starts_at_zero(self, pending: Pending, line: int) -> bool:
        """Whether a line only makes the zeros that a sum begins with."""
        text = self.text(pending.functions.get(line, ""), line)
        return any(word in text for word in ("zeros", "empty", "full")) or bool(re.search(r"=\s*\[?0", text))

    def fits(self, unit: Unit, terms: list[Any]) -> bool:
        """Whether the terms of a line add up to what comes back through some of the lines that use a value."""
        total = sum(terms).reshape(unit.shape)
        return self.is_sum_of_paths(
            unit, np.array([(total * direction).sum() for direction in self.truths.along(unit)])
        )

    def blame_part(self, judgement: Judgement, pending: Pending, unit: Unit, found: Any) -> None:
        """Where ``dx = dx_f + dx_s`` is wrong and one of the two is no part of dx as it should be, blame that one."""
        function, line, _ = judgement.key
        summed = self.summed(function, line)
        latest = {j.key[2]: j for j in self.judgements if j.key[0] == function and j.part and j.unit is not None}
        odd = [latest[name] for name in summed if name in latest and latest[name].verdict == "unchecked"]
        if len(summed) < 2 or len(odd) != 1 or np.shape(odd[0].found) != unit.shape:
            return
        judgement.key, judgement.found = odd[0].key, odd[0].found
        judgement.true = odd[0].found - (found - self.truths.whole(unit))
        judgement.lines = (*judgement.lines, odd[0].key[1])
        judgement.functions = {**judgement.functions, **odd[0].functions}
        judgement.error = float(np.abs(judgement.found - judgement.true).max()) / max(
            float(np.abs(judgement.true).max()), self.floor
        )

    def misshapen(self, value: Any, pending: Pending, unit: Unit, judgement: Judgement) -> Any:
        """Judge a value of another size than what it is the gradient by."""
        judgement.verdict, judgement.error = "WRONG", float("nan")
        judgement.reason = f"{unit.label} has the shape {unit.shape}"
        line = pending.writes[-1][0]
        judgement.key = (pending.functions.get(line, judgement.key[0]), line, judgement.key[2])
        mend = self.replace(judgement) and not self.keep_shapes and self.truths.is_small(unit)
        return self.truths.whole(unit) if mend else value

    def error(self, unit: Unit, found: Any, components: Any) -> tuple[float, bool]:
        """Return the relative error, and whether it is as small as the method's rounding."""
        if not np.isfinite(found).all():
            return float("nan"), False
        true = self.truths.projected(unit, False) if self.truths.analytic else None
        largest = np.abs(found).max(initial=0.0)
        if true is not None:
            scale = max(self.floor, float(largest))
            error = float(np.abs(components - true).max()) / scale
            if error <= TOLERANCE["complex step"]:
                return error, True
        method = self.truths.method(unit)
        true = self.truths.projected(unit, method != "complex step")
        scale = max(self.floor, float(largest))
        error = float(np.abs(components - true).max()) / scale
        return error, error <= TOLERANCE[method]

    def is_sum_of_paths(self, unit: Unit, components: Any) -> bool:
        """Whether a value is what comes back through some of the lines that use the unit's name."""
        paths = list(self.truths.paths(unit).values())[:8]
        size = max([self.floor, np.abs(components).max(), *(np.abs(path).max() for path in paths)])
        for chosen in range(2 ** len(paths)):
            total = sum((path for i, path in enumerate(paths) if chosen >> i & 1), np.zeros(2))
            if np.abs(total - components).max() <= 1e-9 * size:
                return True
        return False

    def blamed(self, unit: Unit, pending: Pending, found: Any) -> int:
        """Return which of the lines that made a wrong value is to blame: by entries, then by terms that fit no path."""
        before = np.zeros(np.shape(pending.value))
        terms: list[tuple[int, Any]] = []
        for line, kind, after in pending.writes:
            term = after if kind == "assign" else after - before
            before = after
            if np.any(np.nan_to_num(term)) or np.isnan(term).any():
                terms.append((line, term))
        lines = list(dict.fromkeys(line for line, _ in terms))
        empty = [line for line, _, _ in pending.writes if line not in lines and not self.starts_at_zero(pending, line)]
        if len(lines) == 1 and empty and self.fits(unit, [term for _, term in terms]):
            return empty[-1]  # the other line is right, so what is missing is missing here
        if len(lines) <= 1:
            return lines[0] if lines else pending.writes[-1][0]
        if any("fill" in kind for _, kind, _ in pending.writes):
            wrong = np.abs(found - self.truths.whole(unit)).reshape(before.shape)
            wrong = ~(wrong <= 1e-6 * max(float(np.abs(self.truths.whole(unit)).max()), self.floor))
            touched = [line for line in lines if any(np.any(term[wrong]) for at, term in terms if at == line)]
            if len(touched) == 1:
                return touched[0]
            lines = touched or lines
        unfit = []
        for line in lines:
            if not self.fits(unit, [term for at, term in terms if at == line]):
                unfit.append(line)
        if not unfit:
            return self.nearest(unit, {line: sum(term for at, term in terms if at == line) for line in lines})
        return unfit[-1] if len(unfit) == 1 else (unfit or lines)[-1]

    def nearest(self, unit: Unit, terms: dict[int, Any]) -> int:
        """Return which line lacks a way back, where each is right in itself: the one that undoes what ran next to it.

        Backward goes through forward's lines in the opposite order, so a line's terms come from uses close together.
        """
        uses = unit.version.uses if unit.version is not None else []
        order = {(function, line): number for number, line, function in uses}
        paths = {where: part for where, part in self.truths.paths(unit).items() if where in order}
        covered: dict[int, list[tuple[str, int]]] = {}
        for line, term in terms.items():
            total = np.array([(np.reshape(term, unit.shape) * v).sum() for v in self.truths.along(unit)])
            places = list(paths)[:8]
            for chosen in range(2 ** len(places)):
                inside = [where for i, where in enumerate(places) if chosen >> i & 1]
                part = sum((paths[where] for where in inside), np.zeros(2))
                if np.abs(part - total).max() <= 1e-9 * max(self.floor, float(np.abs(total).max())):
                    covered[line] = inside
                    break
        last = list(terms)[-1]
        missing = [where for where in paths if not any(where in inside for inside in covered.values())]
        distances = {
            line: min(abs(order[where] - order[other]) for where in missing for other in inside)
            for line, inside in covered.items()
            if inside and missing
        }
        return min(distances, key=lambda line: distances[line]) if distances else last

    def look(self, frame: Frame, line: int) -> None:
        """A line has run that may have written into anything."""
        self.look_at_inputs(frame, line)

    def look_at_inputs(self, frame: Frame, line: int) -> None:
        """See whether backward has written into what it was given."""
        for name, (array, copy) in self.inputs.items():
            if name not in self.faults and not np.array_equal(array, copy, equal_nan=True):
                self.faults[name] = (frame.function, line)


def is_blank(pending: Pending) -> bool:
    """Whether nothing but zeros, or memory not written yet, was put in."""
    return len(pending.writes) == 1 and not np.nan_to_num(pending.writes[0][2]).any()
