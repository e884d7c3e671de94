"""What the line checker found, and how it prints: in a terminal, in a notebook, as JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OK, WRONG, CONSEQUENCE, UNCHECKED = "ok", "WRONG", "consequence", "unchecked"


@dataclass(frozen=True)
class Diagnosis:
    """What is probably the matter with a gradient.

    Attributes
    ----------
    kind : str
        One of `tinynn.check.diagnosis.KINDS`.
    text : str
        For people.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class SourceLine:
    """A line of the source."""

    function: str
    number: int
    text: str


@dataclass(frozen=True)
class CheckedLine:
    """One line of a backward pass that makes a gradient.

    Attributes
    ----------
    name : str
        The gradient: ``"dz"``.
    line : SourceLine
    undoes : tuple of SourceLine
        The forward lines that use what it is the gradient by.
    shape : tuple of int
    verdict : str
        ``"ok"``, ``"WRONG"``, ``"consequence"`` (wrong only because another line is) or ``"unchecked"``.
    error : float
        The relative error; of the worst, if the line ran several times.
    method : str
        Where the truth is from: ``"complex step"`` or ``"central differences"``.
    by : str
        What it is the gradient by: ``"z"``, ``"h, value 3 of 5"``.
    reason : str
        Why it was not checked, or why it is wrong though no number of it is.
    diagnosis : Diagnosis or None
    """

    name: str
    line: SourceLine
    undoes: tuple[SourceLine, ...] = ()
    shape: tuple[int, ...] = ()
    verdict: str = OK
    error: float = 0.0
    method: str = "complex step"
    by: str = ""
    reason: str = ""
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Fault:
    """Something that is wrong, and is no line's gradient.

    Attributes
    ----------
    kind : str
        ``"not written"``, ``"shape"`` or ``"wrong"`` (of a result that no checked line is to blame for), ``"written in
        place"`` (an input), ``"dtype lost"``.
    text : str
        For people.
    line : SourceLine or None
        Where, if that is known.
    """

    kind: str
    text: str
    line: SourceLine | None = None

    def __str__(self) -> str:
        where = f": line {self.line.number}  {self.line.text}" if self.line is not None else ""
        return self.text + where


@dataclass(frozen=True)
class SubjectReport:
    """What was found about one layer, loss or pair of functions.

    Attributes
    ----------
    subject, file : str
    forward : tuple of str
        The names forward gives values to.
    lines : tuple of CheckedLine
    faults : tuple of Fault
        What is wrong and is no line's gradient: a result that no line was found for, an input written into.
    notes : tuple of str
        What the reader should know: a fixed seed, central differences.
    """

    subject: str
    file: str
    forward: tuple[str, ...]
    lines: tuple[CheckedLine, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.wrong

    @property
    def wrong(self) -> tuple[CheckedLine, ...]:
        """The lines that are wrong themselves."""
        return self.having(WRONG)

    def having(self, verdict: str) -> tuple[CheckedLine, ...]:
        """Return the lines of a verdict."""
        return tuple(line for line in self.lines if line.verdict == verdict)


@dataclass(frozen=True, repr=False)
class LinesReport:
    """What `lines` found; prints as text, and shows in notebooks.

    Attributes
    ----------
    subjects : tuple of SubjectReport
        The subject itself and every layer inside it, inner ones first.
    """

    subjects: tuple[SubjectReport, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(subject.ok for subject in self.subjects)

    @property
    def wrong(self) -> tuple[CheckedLine, ...]:
        """The lines that are wrong themselves, of all subjects."""
        return tuple(line for subject in self.subjects for line in subject.wrong)

    @property
    def lines(self) -> tuple[CheckedLine, ...]:
        """All lines of all subjects."""
        return tuple(line for subject in self.subjects for line in subject.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, strings and numbers: what ``--json`` prints."""
        subjects = []
        for subject in self.subjects:
            found = {"ok": subject.ok, **asdict(subject)}
            for line in found["lines"]:
                line["error"] = None if not math.isfinite(line["error"]) else line["error"]
            subjects.append(found)
        return {"ok": self.ok, "subjects": subjects}

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the lines of text, each with its style."""
        for subject in self.subjects:
            yield from subject_rows(subject)
        if len(self.subjects) > 1:
            bad = sum(not subject.ok for subject in self.subjects)
            yield (f"{bad} of {len(self.subjects)} layers have wrong lines" if bad else "every layer is right"), "bold"

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self.rows())

    __repr__ = __str__  # what a notebook keeps beside the HTML

    def __rich__(self) -> Any:
        from rich.text import Text

        text = Text()
        for i, (row, style) in enumerate(self.rows()):
            text.append("\n" * (i > 0) + row, style=style)
        return text

    def _repr_html_(self) -> str:
        colors = {"bold red": "color:#c00;font-weight:bold", "bold": "font-weight:bold", "dim": "color:#777"}
        colors |= {"green": "color:#080", "yellow": "color:#a60", "cyan": "color:#057"}
        rows = (f'<span style="{colors.get(style, "")}">{html.escape(text)}</span>' for text, style in self.rows())
        return f'<pre style="line-height:1.35;font-family:monospace">{"<br>".join(rows)}</pre>'


def short_path(file: str) -> str:
    """Return a path from the working directory on, if it lies there; of a notebook's cell, that it is one."""
    if "ipykernel" in file or file.startswith("<ipython"):
        return "this notebook"
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def subject_rows(subject: SubjectReport) -> Iterator[tuple[str, str]]:
    """Yield the lines of text about one subject, each with its style."""
    yield f"{subject.subject}  {short_path(subject.file)}", "bold"
    right = unique(line.name for line in subject.having(OK))
    if subject.forward:
        yield f"  forward   {', '.join(subject.forward)}", ""
    if subject.ok:
        yield f"  backward  {', '.join(right) or 'nothing to check'}{' ' * 4}{'ok' if right else ''}".rstrip(), "green"
    elif right:
        yield f"  backward  {', '.join(right)}    ok", "green"
    for wrong in subject.wrong:
        error = "" if not math.isfinite(wrong.error) else f"   relative error {wrong.error:.1e}"
        yield f"  backward  line {wrong.line.number}  {wrong.line.text}    WRONG{error}", "bold red"
        for i, undone in enumerate(wrong.undoes):
            yield f"            {'undoes' if i == 0 else '      '}   line {undone.number}  {undone.text}", "cyan"
        shape = f"shape {wrong.shape}" if wrong.shape else ""
        if shape and not wrong.reason and math.isfinite(wrong.error):
            shape += " as it should be"
        if wrong.diagnosis is not None:
            said = wrong.diagnosis.text
        else:
            said = "" if wrong.reason else "no usual mistake fits: compare the two lines by hand"
        yield f"            {'; '.join(filter(None, (shape, wrong.reason, said)))}", "yellow"
    late = unique(line.name for line in subject.having(CONSEQUENCE))
    if late:
        because = ", ".join(unique(line.name for line in subject.wrong)) or "a layer inside"
        verb = "are" if len(late) > 1 else "is"
        is_are = "are" if "," in because else "is"
        yield (
            (
                f"  after it  {', '.join(late)} {verb} wrong only because {because} {is_are}    "
                f"(checked with the true {because} put in)"
                if subject.wrong
                else f"  after it  {', '.join(late)} {verb} wrong only because {because} is"
            ),
            "yellow",
        )
    for fault in subject.faults:
        yield f"  also      {fault}", "bold red"
    for line in subject.having(UNCHECKED):
        yield f"  unchecked line {line.line.number}  {line.line.text}    {line.reason}", "dim"
    for note in subject.notes:
        yield f"  note      {note}", "dim"


def unique(names: Iterator[str]) -> list[str]:
    """Return names without repetitions."""
    return list(dict.fromkeys(names))
