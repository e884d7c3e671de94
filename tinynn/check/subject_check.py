"""Check one layer, loss or pair of functions: run backward as often as it takes to tell causes from consequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynn.check.diagnosis import diagnose
from tinynn.check.evidence import Evidence, same
from tinynn.check.gradient_check import ABSOLUTE_FLOOR, RELATIVE_FLOOR
from tinynn.check.judge import Judge, Judgement, Key
from tinynn.check.pairing import Pairing
from tinynn.check.report import (
    CONSEQUENCE,
    OK,
    UNCHECKED,
    WRONG,
    CheckedLine,
    Diagnosis,
    Fault,
    SourceLine,
    SubjectReport,
)
from tinynn.check.subjects import LayerSubject, LossSubject, Subject
from tinynn.check.trace import Truths, Unit, is_array


class RandomForward(ValueError):
    """Forward gives something else each time, whatever is done about its random numbers."""


def likeliest(line: CheckedLine, others: list[CheckedLine]) -> CheckedLine:
    """Return a line with the diagnosis that fits most of the times it ran: the first step may have nothing to show."""
    wrong = [other for other in others if other.verdict == WRONG and other.diagnosis is not None]
    kinds = Counter(other.diagnosis.kind for other in wrong if other.diagnosis is not None)
    if line.verdict != WRONG or not kinds:
        return line
    kind = kinds.most_common(1)[0][0]
    if line.diagnosis is not None and line.diagnosis.kind == kind:
        return line
    return next(other for other in wrong if other.diagnosis is not None and other.diagnosis.kind == kind)


def check_subject(subject: Subject, seed: int, wrong_inside: Iterable[str] = ()) -> SubjectReport:
    """Check one subject's lines."""
    return Check(subject, seed, list(wrong_inside)).report()


class Check:
    """The check of one subject: its runs, and what they showed."""

    def __init__(self, subject: Subject, seed: int, wrong_inside: list[str]) -> None:
        self.subject, self.seed, self.wrong_inside = subject, seed, wrong_inside
        self.mending = False
        self.final: list[Judgement] = []  # of the run that the report is about
        self.too_large: set[Key] = set()  # lines whose true gradient is too large to be put in
        trace = subject.trace
        with trace.run(record=True):
            L = subject.objective(False, {})
        with trace.run():
            again = subject.objective(False, {})
        if again != L and not (np.isnan(L) and np.isnan(again)):
            raise RandomForward(
                f"{subject.label}: forward is random and gives something else each time, {L:.6g} and then {again:.6g}. "
                "Draw from self.random (a layer) or np.random, whose seed the checker sets."
            )
        if not np.isfinite(L):
            raise ValueError(f"{subject.label}: forward gives {L} for this input; check with another one.")
        self.truths = Truths(trace, subject.objective, seed)
        self.truths.size = max(1.0, abs(float(L)), float(np.abs(subject.dy).max(initial=0.0)))
        self.pairing = Pairing(
            trace, subject.leaves, subject.results, subject.partners, subject.last_input, subject.by_name
        )
        self.judge = Judge(self.pairing, self.truths)
        subject.judge = self.judge
        functions = subject.functions
        self.judge.text = subject.text
        self.judge.summed = lambda name, line: functions[name].summed(line) if name in functions else []
        self.units = subject.result_units()
        self.truths.analytic = self.is_analytic()
        self.judge.floor = max(ABSOLUTE_FLOOR, RELATIVE_FLOOR * self.largest(float(L)))

    def is_analytic(self) -> bool:
        """Whether forward as a whole carries complex numbers, judged by one random direction for each of its inputs."""
        return all(self.truths.method(unit) == "complex step" for unit in self.units.values())

    def largest(self, L: float) -> float:
        """Return the size of the numbers that flow through the passes."""
        sizes = [abs(L), float(np.abs(self.subject.dy).max(initial=0.0))]
        for unit in self.units.values():
            components = self.truths.projected(unit, not self.truths.analytic)
            sizes.append(float(np.abs(components).max()) / max(1.0, np.sqrt(np.prod(unit.shape))))
        return max(sizes)

    def run(self, replace: Any) -> dict[str, Fault]:
        """Run backward with some lines mended; return what is wrong with each result that is not right."""
        self.judge.start(False, replace)
        try:
            return self.faults_of(self.subject.backward())
        except Exception:
            if not self.judge.judgements or self.judge.keep_shapes or not self.mending:
                raise
            self.judge.keep_shapes = True  # what comes after counts on the wrong shape
            return self.run(replace)

    def faults_of(self, finals: dict[str, Any]) -> dict[str, Fault]:
        """Return what is wrong with results."""
        faults: dict[str, Fault] = {}
        for name, found in finals.items():
            unit = self.units.get(name)
            if unit is None:
                continue
            if found is None:
                faults[name] = Fault("not written", f"{name} is None")
            elif np.shape(found) != unit.shape:
                text = f"{name} has the shape {np.shape(found)}, {unit.label} has {unit.shape}"
                faults[name] = Fault("shape", text)
            elif np.isnan(found).all() and np.size(found):
                faults[name] = Fault("not written", f"{name} is not written")
            else:
                along = self.truths.along(unit)
                components = np.array([(np.asarray(found, dtype=float) * v).sum() for v in along])
                error, right = self.judge.error(unit, np.asarray(found, dtype=float), components)
                if not right:
                    faults[name] = Fault("wrong", f"{name} is wrong, relative error {error:.1e}")
        return faults

    def report(self) -> SubjectReport:
        """Run backward as often as it takes and put together what came out."""
        judge, subject = self.judge, self.subject
        for _ in range(2):  # the second time it is known which arrays are only memory for others
            judge.start(True, lambda judgement: False)
            subject.backward()
        unmended = self.run(lambda judgement: False)
        as_it_is = judge.judgements
        remaining, judgements = unmended, as_it_is
        roots: set[Key] = set()
        if unmended:
            self.mending = True
            remaining = self.run(lambda judgement: True)
            judgements = judge.judgements
            wrong = [judgement for judgement in judgements if judgement.verdict == WRONG]
            self.too_large = {j.key for j in wrong if j.unit is not None and not self.truths.is_small(j.unit)}
            roots = self.needed(dict.fromkeys(judgement.key for judgement in wrong), remaining)
            self.run(lambda judgement: judgement.key in roots)
            judgements = judge.judgements
        faults = self.input_faults() + self.dtype_faults()
        if not isinstance(subject, LayerSubject | LossSubject):
            faults = self.input_faults()  # a student's functions compute in float64
        if unmended and (not roots or remaining):
            named = {f"d{j.unit.label}" for j in judgements if j.key in self.too_large and j.unit is not None}
            faults += [fault for name, fault in (remaining or unmended).items() if name not in named]
        self.final = judgements
        checked = self.lines_of(judgements, as_it_is, roots, bool(unmended))
        if self.wrong_inside:
            checked = [self.blame_inner(line) for line in checked]
            if not any(line.verdict == WRONG for line in checked):
                faults = [fault for fault in faults if fault.kind in ("written in place", "dtype lost")]
        faults = [self.kept_local(fault, judgements) for fault in faults]
        return SubjectReport(
            subject.label, subject.file, self.forward_names(), tuple(checked), tuple(faults), tuple(self.notes(checked))
        )

    def kept_local(self, fault: Fault, judgements: list[Judgement]) -> Fault:
        """Where dW is not written, but a line computes it and keeps it to itself, say which."""
        name = fault.text.partition(" ")[0]
        if fault.kind != "not written" or fault.line is not None or name not in self.units:
            return fault
        for judgement in judgements:
            if judgement.name == name and judgement.unit == self.units[name] and judgement.verdict == OK:
                function, number, _ = judgement.key
                text = f"{name} is computed and not stored in self.{name}"
                return Fault("not written", text, SourceLine(function, number, self.subject.text(function, number)))
        return fault

    def needed(self, roots: dict[Key, None], with_all: dict[str, Fault]) -> set[Key]:
        """Return the lines that must be mended: without any one of them a result stays wrong that need not.

        One alone is looked for first, from the beginning of backward: what comes after it may be wrong because of it.
        """

        def suffice(keys: set[Key]) -> bool:
            """Whether mending these makes right what mending all makes right."""
            return set(self.run(lambda judgement: judgement.key in keys)) <= set(with_all)

        if len(roots) == 1 and not with_all:
            return set(roots)
        if not self.too_large:
            for key in roots:
                if suffice({key}):
                    return set() if with_all and suffice(set()) else {key}
        kept = dict(roots)
        for key in [key for key in roots if key not in self.too_large]:
            if suffice({other for other in kept if other != key}):
                del kept[key]
        return set(kept)

    # Putting together ------------------------------------------------------------------------------------------------

    def lines_of(
        self, judgements: list[Judgement], as_it_is: list[Judgement], roots: set[Key], wrong: bool
    ) -> list[CheckedLine]:
        """Return one entry for every line and name."""
        worst: dict[Key, CheckedLine] = {}
        said: dict[Key, list[CheckedLine]] = {}
        rank = {OK: 1, UNCHECKED: 0, CONSEQUENCE: 2, WRONG: 3}

        def add(key: Key, line: CheckedLine) -> None:
            """Keep the worse of two findings about one line; what was checked once counts as checked."""
            known = worst.get(key)
            said.setdefault(key, []).append(line)
            if known is None or (rank[line.verdict], line.error) > (rank[known.verdict], known.error):
                worst[key] = line

        for judgement in judgements:
            for number in judgement.lines:
                key = (judgement.functions.get(number, judgement.key[0]), number, judgement.name)
                if judgement.key[1] == number:
                    key = judgement.key
                if key == judgement.key and judgement.key in roots and judgement.verdict == WRONG:
                    reason = "too large for the true one to be put in; give a smaller input" * (key in self.too_large)
                    add(key, self.line(judgement, key, WRONG, reason))
                elif judgement.verdict == WRONG and judgement.key in roots:
                    add(key, self.line(judgement, key, OK))
                elif judgement.verdict == WRONG:
                    reason = "is not the gradient its name says, but no result is wrong for it"
                    add(key, self.line(judgement, key, UNCHECKED, reason))
                else:
                    add(key, self.line(judgement, key, judgement.verdict, judgement.reason))
        unhelped = {judgement.key for judgement in judgements if judgement.verdict == WRONG}
        for judgement in as_it_is if wrong and roots else []:
            if judgement.verdict == WRONG and judgement.key not in roots | unhelped:
                key = judgement.key
                known = worst.get(key)
                if known is not None and known.verdict == OK:
                    add(key, self.line(judgement, key, CONSEQUENCE))
        for key in self.judge.seen - set(worst):
            line = SourceLine(key[0], key[1], self.subject.text(key[0], key[1]))
            worst[key] = CheckedLine(key[2], line, verdict=UNCHECKED, reason="no array of numbers, or never read")
        worst = {key: likeliest(line, said.get(key, [])) for key, line in worst.items()}
        order = list(self.subject.functions)
        return [worst[key] for key in sorted(worst, key=lambda k: (order.index(k[0]) if k[0] in order else 0, k[1]))]

    def line(self, judgement: Judgement, key: Key, verdict: str, reason: str = "") -> CheckedLine:
        """Return the entry for a judgement."""
        unit = judgement.unit
        if verdict == WRONG:
            key = self.kept_part(judgement) or key
        undoes = self.undone_by(unit, verdict == WRONG)
        diagnosis = None
        if verdict == WRONG and unit is not None:
            diagnosis = self.diagnosis(judgement, unit)
        error = judgement.error
        small = unit is not None and self.truths.is_small(unit)
        if verdict == WRONG and unit is not None and small and np.shape(judgement.found) == unit.shape:
            true = self.truths.whole(unit) if judgement.true is None else judgement.true
            scale = max(float(np.abs(true).max(initial=0)), float(np.abs(judgement.found).max(initial=0)), 1e-300)
            error = float(np.abs(judgement.found - true).max(initial=0)) / scale
        return CheckedLine(
            key[2].removeprefix("self."),
            SourceLine(key[0], key[1], self.subject.text(key[0], key[1])),
            undoes,
            judgement.shape,
            verdict,
            error,
            self.truths.methods.get(unit.identity, "complex step") if unit is not None else "",
            unit.label if unit is not None else "",
            reason,
            diagnosis,
        )

    def kept_part(self, judgement: Judgement) -> Key | None:
        """Where a part of a parameter's gradient is never written, return the line that computes it and keeps it."""
        unit, found = judgement.unit, judgement.found
        if unit is None or unit.kind != "leaf" or not self.truths.is_small(unit) or np.shape(found) != unit.shape:
            return None
        blank = np.isnan(found)
        missing = self.truths.whole(unit)[blank]
        for other in self.final if blank.any() and not blank.all() else []:
            local = other.name == judgement.name.removeprefix("self.") and other.key != judgement.key
            if local and np.size(other.found) == missing.size and same(np.ravel(other.found), missing):
                return other.key
        return None

    def undone_by(self, unit: Unit | None, exactly: bool) -> tuple[SourceLine, ...]:
        """Return the forward lines that use what a gradient is by."""
        if unit is None:
            return ()
        if unit.kind == "leaf":
            return tuple(self.subject.lines_with(unit.leaf))
        if exactly:
            places: Any = self.truths.paths(unit)
        else:
            places = dict.fromkeys((f, n) for _, n, f in (unit.version.uses if unit.version else ()))
        found = [SourceLine(f, n, self.subject.text(f, n)) for f, n in sorted(places, key=lambda place: place[1])]
        return tuple(line for line in found if "cache" not in line.text)

    def diagnosis(self, judgement: Judgement, unit: Unit) -> Diagnosis | None:
        """Return what is probably the matter."""
        if not self.truths.is_small(unit):
            if np.shape(judgement.found) != unit.shape:
                return None
            true, key = self.truths.block(unit)
            name = judgement.key[2].removeprefix("self.")
            return diagnose(Evidence(name, "", (), judgement.found[key], true, batch=self.subject.batch))
        text = self.subject.text(judgement.key[0], judgement.key[1])
        paths = self.ways_back(unit) if np.prod(unit.shape) <= 400 else {}
        others = {}
        if unit.version is not None and np.prod(unit.shape) <= 400:
            for name, other in self.other_units(unit):
                others[name] = other
        values = self.values_for(judgement)
        gradients = {n: a for n, a in judgement.scope.items() if n != judgement.key[2]}
        gradients |= {n: a for n, a in self.subject.given().items() if n not in gradients}
        if judgement.true is not None:  # a part: the ways back are not its own
            paths, others = {}, {}
        return diagnose(
            Evidence(
                name=judgement.key[2].removeprefix("self."),
                text=text,
                undoes=tuple(line.text for line in self.undone_by(unit, True)),
                found=judgement.found,
                true=self.truths.whole(unit) if judgement.true is None else judgement.true,
                values=values,
                gradients=gradients,
                paths=paths,
                others=others,
                batch=self.subject.batch,
                writes=judgement.history if judgement.true is None else (),
            )
        )

    def ways_back(self, unit: Unit) -> dict[SourceLine, Any]:
        """Return the parts of a gradient by the line they come back through.

        Where there is one way only and what it leads to has the same gradient (``z = x - x.max()``), the ways of that.
        """
        places: Any = self.truths.paths(unit)
        found = {SourceLine(f, n, self.subject.text(f, n)): self.truths.path(unit, (f, n)) for f, n in places}
        if len(found) != 1 or unit.version is None or unit.kind != "version":
            return found
        began = unit.version.events[0].number
        later = [v for versions in self.subject.trace.versions.values() if len(versions) == 1 for v in versions]
        for version in later:
            if version.shape != unit.shape or version.events[0].number <= began or version.alias_of is unit.version:
                continue
            twin = Unit(version.name, version.shape, "version", version)
            places = self.truths.paths(twin)
            if len(places) > 1 and same(self.truths.whole(twin), self.truths.whole(unit)):
                return {SourceLine(f, n, self.subject.text(f, n)): self.truths.path(twin, (f, n)) for f, n in places}
        return found

    def values_for(self, judgement: Judgement) -> dict[str, Any]:
        """Return what forward's names held: of those with several values the one that goes with the gradient first.

        It is the value of the same step: the one whose place among the name's values is that of the judged one.
        """
        unit = judgement.unit
        step = None
        if unit is not None and unit.version is not None:
            step = unit.version.events[0].number
        values: dict[str, Any] = {n: v for n, v in self.subject.values_now().items() if is_array(v)}
        older: dict[str, Any] = {}
        functions = self.pairing.partners(judgement.key[0])[:1]
        for (function, name), versions in self.subject.trace.versions.items():
            if functions and function not in (*functions, "forward") and name in values:
                continue
            chosen = versions[-1]
            if step is not None and len(versions) > 1:
                chosen = min(versions, key=lambda version: abs(version.events[0].number - step))
            values[name] = chosen.value
            if unit is not None and unit.kind == "leaf" and 1 < len(versions) <= 64:
                steps = [version.value for version in versions if version.shape == versions[-1].shape]
                older[f"all values of {name}"] = np.stack(steps)
            for version in versions[-8:]:
                if version is not chosen:
                    older[f"{name} (line {version.line}, value {version.index + 1} of {len(versions)})"] = version.value
        return values | older

    def other_units(self, unit: Unit) -> Iterable[tuple[str, Any]]:
        """Yield the true gradients by the same name's other values: the neighbours in time."""
        assert unit.version is not None
        for versions in self.subject.trace.versions.values():
            if unit.version not in versions:
                continue
            if unit.kind == "version":
                at = versions.index(unit.version)
                for i in (at - 1, at + 1):
                    if 0 <= i < len(versions) and versions[i].shape == unit.shape:
                        name = "the step before" if i < at else "the step after"
                        yield name, self.truths.whole(Unit(name, unit.shape, "version", versions[i]))
            elif unit.kind == "slot":
                events = [e for e in unit.version.events if e.key is not None and e.part_shape == unit.shape]
                at = next(i for i, e in enumerate(events) if e is unit.event)
                for i in (at - 1, at + 1):
                    if 0 <= i < len(events):
                        name = "the step before" if i < at else "the step after"
                        other = Unit(name, unit.shape, "slot", unit.version, events[i], events[i].key)
                        yield name, self.truths.whole(other)
            elif unit.kind == "part" and isinstance(unit.key, int):
                for i in range(min(unit.version.shape[0], 12)):
                    if i != unit.key:
                        name = f"step {i + 1} of {unit.version.shape[0]}"
                        yield name, self.truths.whole(Unit(name, unit.shape, "part", unit.version, key=i))

    def blame_inner(self, line: CheckedLine) -> CheckedLine:
        """Return a composite's line as a consequence, if it only hands on what a wrong layer inside it returned."""
        calls = any(word in line.line.text for word in ("backward(", "fork_back(", "gradient("))
        if line.verdict != WRONG or not calls:
            return line
        inside = ", ".join(self.wrong_inside)
        return CheckedLine(
            line.name, line.line, line.undoes, line.shape, CONSEQUENCE, line.error, line.method, line.by,
            f"wrong only because {inside} inside it is",
        )  # fmt: skip

    def input_faults(self) -> list[Fault]:
        """Return which arrays forward or backward was given and wrote into."""
        faults = [Fault("written in place", f"forward writes into {name}") for name in self.subject.forward_writes]
        for name, (function, number) in self.judge.faults.items():
            line = SourceLine(function, number, self.subject.text(function, number)) if number else None
            faults.append(Fault("written in place", f"backward writes into {name}", line))
        return faults

    def dtype_faults(self) -> list[Fault]:
        """Return at which line float32 becomes float64, if a result does."""
        try:
            self.judge.start(False, lambda judgement: False)
            self.judge.counting = True
            finals = self.subject.backward("float32")
        except Exception:  # what fails in float32 only is not this check's business
            return []
        finally:
            self.judge.counting = False
        lost = [name for name, value in finals.items() if getattr(value, "dtype", np.float32) == np.float64]
        if not lost:
            return []
        for (function, number, name), dtype in self.judge.dtypes.items():
            if dtype == np.float64:
                line = SourceLine(function, number, self.subject.text(function, number))
                return [Fault("dtype lost", f"{name} becomes float64 for float32 inputs", line)]
        return [Fault("dtype lost", f"{', '.join(lost)} is float64 for float32 inputs")]

    def forward_names(self) -> tuple[str, ...]:
        """Return the names that forward gives values to."""
        names = [
            name
            for (function, name), versions in self.subject.trace.versions.items()
            if function.rpartition(".")[2] in ("forward", "call", "run") and versions[0].events[0].kind != "parameter"
        ]
        return tuple(dict.fromkeys(names))

    def notes(self, checked: list[CheckedLine]) -> list[str]:
        """Return what the reader should know."""
        notes = []
        if self.subject.random:
            notes.append(f"forward is random; its seed was fixed, to {self.seed}")
        differences = [line.name for line in checked if line.method == "central differences"]
        if differences:
            names = ", ".join(dict.fromkeys(differences))
            notes.append(f"{names}: by central differences, for forward is not analytic there")
        return notes
