"""Hints: for every line of the solution the chain rule first, then the shapes, then the line.

They are made from the library's own lines, their comments and the docstring's formulas, so they cannot go stale.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinynn.check.from_file import UsageError, find, loss_inputs, parse_shape
from tinynn.check.line_check import lines
from tinynn.check.names import bases, parts_of
from tinynn.check.report import OK, WRONG, CheckedLine
from tinynn.exercises.blank import body_of, code_of, comment_of, functions, gradient_names, names_in
from tinynn.exercises.catalogue import Exercise, Piece, Trial
from tinynn.exercises.coach import NOT_CHECKED, RIGHT, Outcome, check, read
from tinynn.exercises.files import source_of
from tinynn.exercises.speak import listed
from tinynn.exercises.ways import left_of, named_in, uses_value, ways
from tinynn.losses.base import Loss


@dataclass(frozen=True)
class Target:
    """One line of the solution.

    Attributes
    ----------
    method : str
    name : str
        What the line makes: ``"dW"``.
    code, comment : str
    formulas : tuple of str
        What the docstring says of it.
    """

    method: str
    name: str
    code: str
    comment: str
    formulas: tuple[str, ...]


@dataclass(frozen=True)
class Hint:
    """One step.

    Attributes
    ----------
    method : str
    name : str
        What the line makes that it helps with.
    what : str
        ``"chain rule"``, ``"shapes"``, ``"formula"`` or ``"line"``.
    texts : tuple of str
    """

    method: str
    name: str
    what: str
    texts: tuple[str, ...]


def targets(exercise: Exercise) -> list[Target]:
    """Return the lines of the solution, in order."""
    found: list[Target] = []
    for piece in exercise.pieces:
        source = source_of(piece)
        text = source.splitlines()
        for method in piece.blank:
            function = functions(source)[f"{piece.name}.{method}"]
            for node in sorted(statements(function), key=lambda node: node.lineno):
                names = made_by(node, method)
                known = {(target.method, target.name) for target in found}
                names = [name for name in names if (f"{piece.name}.{method}", name) not in known] or names[:1]
                if not names:
                    continue
                code = " ".join(code_of(line) for line in text[node.lineno - 1 : node.end_lineno])
                comment = comment_of(text[node.lineno - 1])
                formulas = tuple(f for name in names for f in formulas_for(piece, name))
                found.append(Target(f"{piece.name}.{method}", names[0], code, comment, formulas))
    names = [target.name for target in found]
    return [
        target
        for place, target in enumerate(found)
        if target.name not in names[place + 1 :] or not re.search(r"= xp\.(zeros|empty)\w*\(", target.code)
    ]


def statements(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return the statements that have no others inside."""
    inside = (node for statement in body_of(function) for node in ast.walk(statement))
    return [node for node in inside if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr)]


def made_by(node: ast.stmt, method: str) -> list[str]:
    """Return what a statement of the solution makes: gradients; in an optimizer whatever it assigns."""
    if method != "update":
        return gradient_names(node)
    return made_names(node)


def made_names(node: ast.stmt) -> list[str]:
    """Return the names that a statement gives values to."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [name for target in targets for name in names_in(target)]


def formulas_for(piece: Piece, name: str) -> list[str]:
    """Return what the docstring says of a gradient: ``["dW = x^T da"]``.

    Examples
    --------
    >>> formulas_for(Piece("tinynn.layers.dense:Dense"), "dW")
    ['dW = x^T da']
    """
    doc = inspect.getdoc(piece.kind) or ""
    found = re.search(r"^(?:Backward|Update|Logits z)\s+(.*?)(?:\n\s*\n|\n\w+ {2,}|\Z)", doc, re.DOTALL | re.MULTILINE)
    if found is None:
        return []
    clauses = [clause.strip() for clause in re.split(r",\s|\n|\s{3,}|:\s", found[1])]
    plain = [clause for clause in clauses if re.match(rf"{re.escape(name)}\s*\+?=", clause)]
    return plain or [clause for clause in clauses if re.match(rf"{re.escape(name)}_i\s*=", clause)]


def all_hints(exercise: Exercise) -> list[Hint]:
    """Return every hint, in the order in which they are given."""
    if exercise.is_optimizer:
        return [hint for target in targets(exercise) for hint in optimizer_hints(target)]
    known = reference_lines(exercise)
    return [hint for target in targets(exercise) for hint in gradient_hints(target, known)]


def optimizer_hints(target: Target) -> list[Hint]:
    """Return the two hints for a line of an optimizer."""
    formula = "; ".join(target.formulas)
    first = [f"{target.name}: {target.comment}."] if target.comment else [f"Next comes {target.name}."]
    if formula:
        first.append(f"In the mathematics of the docstring:  {formula}")
    return [
        Hint(target.method, target.name, "formula", tuple(first)),
        Hint(target.method, target.name, "line", ("The line, as the library writes it:", f"    {target.code}")),
    ]


def gradient_hints(target: Target, known: list[CheckedLine]) -> list[Hint]:
    """Return the three hints for a gradient: the chain rule, the shapes, the line."""
    own = [line for line in known if line.line.function == target.method]
    shapes = {line.name: line.shape for line in own}
    undone = next((line.undoes for line in own if line.name == target.name and line.undoes), ())
    name, base = target.name, bases(target.name)[0]
    # The chain rule.
    rule = []
    if undone:
        named = named_in(target.comment, ways(undone, name))
        through = named or ways(undone, name)
        rule.append(f"{name} is the gradient of the loss by {base}. Forward uses {base} here:")
        rule += [f"    {line.text}" for line in through]
        if len(through) > 1:
            rule.append(
                f"So {base} has {len(through)} ways to the loss, and {name} is the sum of what comes back on each."
            )
        if named or not target.comment:
            lefts = [left_of(line.text) for line in through]
            each = (
                listed([f"d{left}" for left in dict.fromkeys(lefts)]) if all(lefts) else "the gradient by the left side"
            )
            each += ", each" if len(through) > 1 else ""
            rule.append(f"The chain rule: {each} times the derivative of the right side by {base}.")
    if target.comment:
        rule.append(f"{'In short' if undone else f'{name} comes next'}: undo  {target.comment}")
    if not rule:
        rule.append(f"{name} comes next.")
    # The shapes.
    sizes = []
    if shapes.get(name):
        sizes.append(f"{name} has the shape of {base}: {shapes[name]} in the check.")
    used = [word for word in re.findall(r"[A-Za-z_]\w*", target.code.partition("=")[2]) if word != name]
    having = {w: shapes[f"d{w}"] for w in used if f"d{w}" in shapes} | {w: shapes[w] for w in used if w in shapes}
    having.pop(base, None)
    if having:
        sizes.append("It is made from:  " + ", ".join(f"{word} {shape}" for word, shape in having.items()))
    if target.formulas:
        sizes.append(f"In the mathematics of the docstring:  {'; '.join(dict.fromkeys(target.formulas))}")
    if not sizes:
        sizes.append(f"{name} has the shape of {base}.")
    line = ("The line, as the library writes it:", f"    {target.code}")
    steps = ("chain rule", tuple(rule)), ("shapes", tuple(sizes)), ("line", line)
    return [Hint(target.method, name, what, texts) for what, texts in steps]


def reference_lines(exercise: Exercise) -> list[CheckedLine]:
    """Return what the line checker sees in the library's own source: the lines undone, and shapes."""
    found: list[CheckedLine] = []
    for trial in exercise.trials:
        found += run_reference(exercise, trial)
    return found


def run_reference(exercise: Exercise, trial: Trial) -> list[CheckedLine]:
    """Return the checked lines of a right layer."""
    kind = trial.make.partition("(")[0]
    piece = next(piece for piece in exercise.pieces if piece.name == kind)
    subject = find(sys.modules[piece.kind.__module__], trial.make)
    sizes, rng = parse_shape(trial.input, "input"), np.random.default_rng(0)
    if isinstance(subject, Loss):
        return list(lines(subject, *loss_inputs(subject, sizes, rng)).lines)
    return list(lines(subject, rng.standard_normal(sizes), training=trial.training).lines)


def next_hint(hints: list[Hint], outcome: Outcome | None, source: str) -> int:
    """Return the number, from 1, of the first hint for what is not right yet."""
    if outcome is None:
        return 1
    known = {(line.line.function, line.name): line.verdict for line in outcome.lines}
    stuck = [text.partition(" ")[0] for kind, text in outcome.faults if kind == "not written"]
    at = re.search(r"\bline (\d+)", outcome.problem)
    if at is not None:  # it stops there
        stuck = made_at(source, int(at[1]))
    for place, hint in enumerate(hints):
        if hint.name in stuck or (not stuck and known.get((hint.method, hint.name), WRONG) == WRONG):
            return place + 1
    return 1


def made_at(source: str, number: int) -> list[str]:
    """Return the gradients that the statement at a line makes."""
    try:
        found = [node for function in functions(source).values() for node in statements(function)]
    except SyntaxError:
        return []
    return [name for node in found if node.lineno <= number <= (node.end_lineno or 0) for name in gradient_names(node)]


def made_hints(exercise: Exercise, source: str, names: list[str]) -> list[Hint]:
    """Return a hint for every gradient of a teacher's exercise: the chain rule alone; the line is the teacher's."""
    method = exercise.blanks[0]
    text = source.splitlines()
    owner = method.rpartition(".")[0]
    found = []
    for name in names:
        base = bases(name)[0]
        using = [
            code_of(text[node.lineno - 1])
            for place, function in functions(source).items()
            if place.rpartition(".")[0] == owner and place != method and not place.endswith("__init__")
            for node in statements(function)
            if not isinstance(node, ast.Expr) and "cache" not in made_names(node)
            if any(uses_value(ast.unparse(getattr(node, "value", None) or node), b) for b in [base, *parts_of(base)])
        ]
        rule = [f"{name} is the gradient of the loss by {base}, or a part of it, and has its shape."]
        if using:
            rule += ["It is used here:", *(f"    {line}" for line in using)]
            rule.append("On each way: the gradient by the left side, times the derivative of the right side by it.")
        found.append(Hint(method, name, "chain rule", tuple(rule)))
    return found


def hint_rows(
    exercise: Exercise,
    path: Path,
    number: int | None,
    given: dict[str, str] | None = None,
    names: list[str] | None = None,
) -> list[tuple[str, str]]:
    """Return the text of a hint.

    Parameters
    ----------
    exercise : Exercise
    path : Path
        The student's file; it is run to see how far it has come, unless a number is given.
    number : int, optional
        From 1; by default the first hint for the first line that is not right yet.
    given, names
        In an exercise that a teacher made, see `make.Task`.
    """
    outcome = check(exercise, path, given) if path.is_file() and (number is None or exercise.bug is not None) else None
    if outcome is not None and outcome.state == RIGHT:
        return [("All is right already: there is nothing to hint at.", "bold green")]
    left = [said for said, numbers in outcome.edges if numbers] if outcome is not None else []
    if left and number is None:
        rows = [(f"{exercise.name}  every line is right", "bold"), *((f"  What is left: {said}.", "") for said in left)]
        return [*rows, ("  Do it by hand there: what does >, what does >= let through? Which one comes first?", "")]
    if exercise.bug is not None:
        hints = bug_hints(exercise, path, outcome)
    elif names is not None:
        hints = made_hints(exercise, read(exercise, path), names)
    else:
        hints = all_hints(exercise)
    if number is not None and not 1 <= number <= len(hints):
        raise UsageError(f"{exercise.name} has the hints 1 to {len(hints)}, got {number}")
    first = 1 if exercise.bug is not None or not path.is_file() else next_hint(hints, outcome, read(exercise, path))
    chosen = number or first
    hint = hints[chosen - 1]
    about = f"{hint.name}, the {hint.what}" if hint.name else hint.what
    rows = [(f"{exercise.name}  hint {chosen} of {len(hints)}  {hint.method}: {about}", "bold")]
    if outcome is not None and outcome.state == NOT_CHECKED and number is None:
        rows.append((f"  (Your file cannot be checked yet: {outcome.problem})", "yellow"))
    rows += [(f"  {text}", "cyan" if text.startswith("    ") else "") for text in hint.texts]
    if chosen < len(hints):
        rows.append((f"  Not enough?  tinynn exercise hint {exercise.name} {chosen + 1}", "dim"))
    return rows


def bug_hints(exercise: Exercise, path: Path, outcome: Outcome | None) -> list[Hint]:
    """Return the hints for a bug: what is right, which gradient is the first wrong one, the line."""
    assert exercise.bug is not None
    if outcome is None:
        raise UsageError(f"there is no file {path}. Begin with: tinynn exercise start {exercise.name}")
    method = exercise.bug.method
    wrong = next((line for line in outcome.lines if line.verdict == WRONG), None)
    fine = list(dict.fromkeys(line.name for line in outcome.lines if line.verdict == OK))
    first = [f"These are right, when what they are made from is: {', '.join(fine)}."] if fine else []
    first.append("Read backward line by line, each against the forward line in its comment.")
    if wrong is None:
        return [Hint(method, "", "where to look", tuple(first))]
    undone = [f"    line {line.number}  {line.text}" for line in ways(wrong.undoes, wrong.name)]
    second = [f"The gradient that is wrong is {wrong.name}. It should undo:", *undone]
    third = [f"It is line {wrong.line.number}  {wrong.line.text}"]
    if wrong.diagnosis is not None:
        third.append(f"{wrong.name}: {wrong.diagnosis.text}")
    parts = ("where to look", first), ("which gradient", second), ("which line", third)
    return [Hint(method, "", what, tuple(texts)) for what, texts in parts]
