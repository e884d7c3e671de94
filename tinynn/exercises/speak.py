"""What a student reads about his file: short, exact, and with the next thing to try."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinynn.check.report import CONSEQUENCE, OK, UNCHECKED, WRONG, CheckedLine
from tinynn.exercises.advice import advice
from tinynn.exercises.catalogue import EXERCISES, Exercise
from tinynn.exercises.coach import BLANK, NOT_CHECKED, RIGHT, Outcome
from tinynn.exercises.ways import ways

Rows = list[tuple[str, str]]  # lines of text, each with its style
FAULTS = {
    "written in place": "Make a new array: who gave you that one may still need it.",
    "dtype lost": "Use Python's numbers; a NumPy number turns float32 into float64.",
}


def rows_for(exercise: Exercise, path: Path, outcome: Outcome) -> Rows:
    """Return what the student reads after a check."""
    rows: Rows = [(f"{exercise.name}  {path.name}", "bold")]
    if outcome.state == NOT_CHECKED:
        return rows + trouble_rows(outcome)
    if outcome.state == BLANK:
        return rows + blank_rows(exercise, outcome)
    if outcome.changed:
        return rows + changed_rows(exercise, outcome)
    if exercise.bug is None:
        rows += [row for line in one_a_line(outcome.lines) for row in line_rows(line)]
    else:
        rows += result_rows(outcome)
    for kind, text in outcome.faults:
        rows += [(f"  not right  {text}", "bold red"), (f"             Try: {FAULTS.get(kind, advice(kind))}", "")]
    for said, numbers in outcome.edges:
        rows.append((f"  not right  {said}", "bold red") if numbers else (f"  right      {said}", "green"))
        rows += [(f"             {number}", "yellow") for number in numbers]
        if numbers:
            rows.append(("             There is no derivative there; this is the convention, here as in Keras.", ""))
    for method in outcome.blanks:
        rows.append((f"  to write   the rest of {method}, in the place of the TODO", "yellow"))
    return rows + last_words(exercise, outcome)


def changed_rows(exercise: Exercise, outcome: Outcome) -> Rows:
    """Return what is not to be changed."""
    verb = "are" if len(outcome.changed) > 1 else "is"
    return [
        (f"  {listed(outcome.changed)} {verb} no longer what you were given.", "bold red"),
        (f"  Only {listed(exercise.blanks)} is yours to change: the rest is what it is checked against.", ""),
        ("  Put it back. (If you did not touch it, tinynn is newer than your file: begin with a fresh copy.)", ""),
        (f"  A fresh copy:  tinynn exercise start {exercise.name} --to fresh", ""),
    ]


def listed(names: Sequence[str]) -> str:
    """Return names as a person lists them.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def trouble_rows(outcome: Outcome) -> Rows:
    """Return why the file cannot be checked, and what that usually means."""
    rows = [(f"  It cannot be checked yet: {outcome.problem}", "bold red")]
    shapes = re.search(r"(\w+) has the shape \(([\d, ]*)\), got \(([\d, ]*)\)", outcome.problem)
    if shapes is not None:
        due, got = ([int(size) for size in re.findall(r"\d+", text)] for text in (shapes[2], shapes[3]))
        kind = "transposed" if got == due[::-1] else "missing sum" if math.prod(got) > math.prod(due) else "shape"
        rows.append((f"  Try: {advice(kind)}", ""))
    elif any(word in outcome.problem for word in ("shape", "dimension", "broadcast", "align")):
        rows.append(("  Try: print the shapes just before that line; two of them do not go together.", ""))
    elif "without a forward before it" in outcome.problem:
        rows.append(("  Try: take the cache once, at the head of backward, with self.take_cache().", ""))
    elif "NameError" in outcome.problem or "UnboundLocalError" in outcome.problem:
        rows.append(
            ("  Try: backward knows what it is given, what forward cached, and self; all else it has to make.", "")
        )
    return rows


def blank_rows(exercise: Exercise, outcome: Outcome) -> Rows:
    """Return how to begin."""
    names = listed(outcome.blanks)
    verb = "are" if len(outcome.blanks) > 1 else "is"
    rows: Rows = [(f"  {names} {verb} still blank: write where the TODO stands.", "yellow")]
    if exercise.is_optimizer:
        rows.append(("  The formula stands in the docstring; write it down line by line.", ""))
    else:
        rows += [
            (
                "  Begin with the last line of forward: its gradient is given. Each line brings you one further back.",
                "",
            ),
            (
                "  Check as soon as there is a line: what is there is checked, though the TODO still stands below it.",
                "",
            ),
        ]
    return [*rows, (f"  Where to begin:  tinynn exercise hint {exercise.name}", "")]


def one_a_line(lines: list[CheckedLine]) -> list[CheckedLine]:
    """Return one of the names that a line makes, the one there is most to say of: ``du, dh = np.split(dv, 2)``."""
    weight = {UNCHECKED: 0, OK: 1, CONSEQUENCE: 2, WRONG: 3}
    found: dict[int, CheckedLine] = {}
    for line in lines:
        other = found.get(line.line.number)
        if other is None or weight[line.verdict] > weight[other.verdict]:
            found[line.line.number] = line
    return list(found.values())


def line_rows(line: CheckedLine) -> Rows:
    """Return what there is to say of a line."""
    where = f"line {line.line.number}  {line.line.text}"
    if line.verdict == OK:
        return [(f"  right      {where}", "green")]
    if line.verdict == CONSEQUENCE:
        return [(f"  waits      {where}", "yellow")]
    if line.verdict == UNCHECKED:
        return [(f"  unchecked  {where}", "dim"), (f"             {line.reason}", "dim")]
    rows = [(f"  not right  {where}", "bold red")]
    for i, undone in enumerate(ways(line.undoes, line.name)):
        rows.append(
            (f"             {'it undoes' if i == 0 else '      and'} line {undone.number}  {undone.text}", "cyan")
        )
    said = line.diagnosis.text if line.diagnosis else line.reason
    rows.append((f"             {line.name}: {said or 'wrong, and no usual mistake fits'}", "yellow"))
    rows.append((f"             Try: {advice(line.diagnosis.kind if line.diagnosis else '')}", ""))
    return rows


def result_rows(outcome: Outcome) -> Rows:
    """Return which results of backward are wrong, without the line: that is to be found."""
    bad = [name for name, fine in outcome.results if not fine]
    good = [name for name, fine in outcome.results if fine]
    rows: Rows = [(f"  comes out wrong   {', '.join(bad)}", "bold red")] if bad else []
    return rows + ([(f"  comes out right   {', '.join(good)}", "green")] if good else [])


def last_words(exercise: Exercise, outcome: Outcome) -> Rows:
    """Return how far the student has come, and what is next."""
    if outcome.state == RIGHT:
        said = "You found it: every line is right." if exercise.bug is not None else "All is right. Well done."
        return [(f"  {said}", "bold green"), *next_exercise(exercise)]
    further = (f"  A step further:  tinynn exercise hint {exercise.name}", "")
    if exercise.bug is not None:
        said = "One line is wrong. What is wrong was made after it; what is right was made by right lines."
        return [(f"  {said}", "bold"), further]
    lines = one_a_line(outcome.lines)
    right, wrong, waiting = ([line for line in lines if line.verdict == v] for v in (OK, WRONG, CONSEQUENCE))
    said = f"{len(right)} right, {len(wrong)} to mend"
    if not wrong:
        said = "What is there is right" if outcome.blanks else "Every line is right; what is left stands above"
    if waiting and exercise.is_optimizer:
        said += f", {len(waiting)} waiting for it"
    elif waiting:
        need = "they need" if len(waiting) > 1 else "it needs"
        said += f", {len(waiting)} waiting: checked with the right numbers put in, so {need} no change"
    return [(f"  {said}.", "bold"), further]


def next_exercise(exercise: Exercise) -> Rows:
    """Return where to go on."""
    names = [other.name for other in EXERCISES]
    if exercise.name not in names[:-1]:
        return []
    following = EXERCISES[names.index(exercise.name) + 1]
    return [(f"  Next:  tinynn exercise start {following.name}    {following.title}", "")]


def as_dict(exercise: Exercise, path: Path, outcome: Outcome) -> dict[str, Any]:
    """Return the outcome for machines: a teacher who checks many files."""
    lines = [
        {
            "name": line.name,
            "line": line.line.number,
            "text": line.line.text,
            "verdict": line.verdict,
            "diagnosis": line.diagnosis.kind if line.diagnosis else None,
        }
        for line in outcome.lines
    ]
    return {
        "exercise": exercise.name,
        "file": str(path),
        "state": outcome.state,
        "problem": outcome.problem,
        "blanks": outcome.blanks,
        "changed": outcome.changed,
        "faults": [text for _, text in outcome.faults],
        "conventions": [said for said, numbers in outcome.edges if numbers],
        "lines": lines,
    }
