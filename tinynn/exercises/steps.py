"""Check an optimizer: its steps compared with an independent formula.

The formula is not the student's recursion: m after t steps is written out as the weighted sum of all gradients so far.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.check.from_file import import_file, said
from tinynn.check.report import CONSEQUENCE, OK, WRONG, CheckedLine, Diagnosis, SourceLine
from tinynn.exercises.blank import code_of, functions, names_in
from tinynn.exercises.files import ExerciseError

STEPS = 5
Wrong = dict[str, tuple[Any, str]]  # what a usual mistake would give, and what it is


def averages(beta: float, gradients: Any) -> Any:
    """Return sum_i beta^(t - i) g_i: the running sum of all gradients so far, written out."""
    t = len(gradients)
    return sum(beta ** (t - 1 - i) * g for i, g in enumerate(gradients))


def momentum_truth(o: Any, w: Any, gradients: Any) -> tuple[dict[str, Any], dict[str, Wrong]]:
    """Return m and w after a step, and what usual mistakes make of them."""
    g, lr, mu = gradients[-1], o.learning_rate, o.momentum
    m = -lr * averages(mu, gradients)
    mistakes: dict[str, Wrong] = {
        "m": {
            "sign": (-m, "it goes uphill: the gradient is taken with the wrong sign"),
            "rate": (m / lr, "the learning rate is missing"),
            "memory": (-lr * g, "nothing of the last step goes on: momentum times self.m is missing"),
            "average": ((1 - mu) * m, "dw has the factor 1 - momentum, which is another convention; here it has none"),
            "undamped": (
                -lr * averages(1.0, gradients),
                "all of the last step goes on: self.m needs the factor momentum",
            ),
        },
        "w": {
            "sign": (w - m, "the step is subtracted, but m has its minus already"),
            "gradient": (w - lr * g, "the gradient is taken and not m: that is gradient descent without momentum"),
            "still": (w, "w is what it was: the step is not taken"),
        },
    }
    return {"m": m, "w": w + m}, mistakes


def adam_truth(o: Any, w: Any, gradients: Any) -> tuple[dict[str, Any], dict[str, Wrong]]:
    """Return m, v and w after a step, and what usual mistakes make of them."""
    t, g = len(gradients), gradients[-1]
    lr, b1, b2, eps = o.learning_rate, o.beta_1, o.beta_2, o.epsilon
    squares = [g * g for g in gradients]
    m, v = (1 - b1) * averages(b1, gradients), (1 - b2) * averages(b2, squares)
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)

    def step(m: Any, root: Any) -> Any:
        return w - lr * m / root

    root = np.sqrt(v_hat) + eps
    late = step(m / (1 - b1 ** (t + 1)), np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
    mistakes: dict[str, Wrong] = {
        "m": {
            "unscaled": (m / (1 - b1), "dw needs the factor 1 - beta_1, so that m is an average and not a sum"),
            "swapped": (b1 * averages(1 - b1, gradients), "beta_1 and 1 - beta_1 are swapped"),
            "memory": ((1 - b1) * g, "nothing of the old m goes on"),
            "other": ((1 - b2) * averages(b2, gradients), "beta_2 is used where beta_1 is due"),
            "squares": ((1 - b1) * averages(b1, squares), "dw is squared: that belongs to v"),
        },
        "v": {
            "unscaled": (v / (1 - b2), "dw^2 needs the factor 1 - beta_2, so that v is an average and not a sum"),
            "swapped": (b2 * averages(1 - b2, squares), "beta_2 and 1 - beta_2 are swapped"),
            "memory": ((1 - b2) * g * g, "nothing of the old v goes on"),
            "other": ((1 - b1) * averages(b1, squares), "beta_1 is used where beta_2 is due"),
            "plain": ((1 - b2) * averages(b2, gradients), "dw is not squared"),
            "square": (((1 - b2) ** 2) * averages(b2, gradients) ** 2, "the average is squared, not what is averaged"),
        },
        "w": {
            "sign": (2 * w - step(m_hat, root), "it goes uphill: the step must be subtracted"),
            "raw": (step(m, np.sqrt(v) + eps), "m and v are taken as they are; m_hat and v_hat are due"),
            "raw m": (step(m, root), "m is taken; m_hat is due, without the zero that it began with"),
            "raw v": (step(m_hat, np.sqrt(v) + eps), "v is taken; v_hat is due, without the zero that it began with"),
            "inside": (step(m_hat, np.sqrt(v_hat + eps)), "epsilon is inside the root; it stands beside it"),
            "no root": (step(m_hat, v_hat + eps), "the root is missing: v_hat is the mean of squares"),
            "gradient": (step(g, root), "dw is divided by its size; m_hat is due in its place"),
            "late": (late, "t is one too large: the first step has t = 1"),
            "still": (w, "w is what it was: the step is not taken"),
        },
    }
    return {"m": m, "v": v, "w": step(m_hat, root)}, mistakes


TRUTHS = {"Momentum": momentum_truth, "Adam": adam_truth}


def check_steps(kind: str, path: Path) -> list[CheckedLine]:
    """Return the lines of an optimizer's update: right, or wrong with the step where that shows.

    Parameters
    ----------
    kind : str
        ``"Adam"``.
    path : Path
        The student's file.

    Raises
    ------
    ExerciseError
        If update does not run; its cause is NotImplementedError where it is still blank.
    """
    source = path.read_text(encoding="utf-8")
    optimizer = find_optimizer(path, kind)
    rng = np.random.default_rng(7)
    w, gradients = rng.standard_normal(4), list(rng.standard_normal((STEPS, 4)))
    found: dict[str, CheckedLine] = {}
    for t in range(1, STEPS + 1):
        true, mistakes = TRUTHS[kind](optimizer, w, gradients[:t])
        result = run_update(optimizer, kind, path, w, gradients[t - 1])
        for name, right in true.items():
            mine = result if name == "w" else getattr(optimizer, name)
            if found.get(name) is None or found[name].verdict == OK:
                found[name] = judged(source, f"{kind}.update", name, t, mine, right, mistakes[name])
        wrong = [name for name, line in found.items() if line.verdict == WRONG]
        if wrong:
            if len(wrong) > 1 and "w" in wrong:  # it is made from them
                found["w"] = replace(found["w"], verdict=CONSEQUENCE)
            break
        w = true["w"]
    return list(found.values())


def find_optimizer(path: Path, kind: str) -> Any:
    """Return an optimizer of the student's."""
    made = vars(import_file(path)).get(kind)
    if not isinstance(made, type):
        raise ExerciseError(f"{path.name} has no class {kind} any more")
    return made()


def run_update(optimizer: Any, kind: str, path: Path, w: Any, dw: Any) -> Any:
    """Return what update returns for copies of w and dw."""
    mine = dw.copy()
    try:
        with np.errstate(all="ignore"):
            result = optimizer.update(w.copy(), mine)
    except Exception as error:
        raise ExerciseError(f"{kind}.update: {said(error, str(path.resolve()))}") from error
    if not np.array_equal(mine, dw):
        raise ExerciseError(f"{kind}.update writes into dw, which others may still need: make a new array")
    if result is None:
        raise ExerciseError(f"{kind}.update returns nothing: end it with  return w")
    return result


def judged(source: str, method: str, name: str, t: int, mine: Any, right: Any, mistakes: Wrong) -> CheckedLine:
    """Return the line that makes a name, and whether it is right."""
    line = line_of(source, method, name)
    if same(mine, right):
        return CheckedLine(name, line, verdict=OK)
    if np.shape(mine) != np.shape(right):
        reason = f"it has the shape {np.shape(mine)} where {np.shape(right)} is due, that of w"
        return CheckedLine(name, line, verdict=WRONG, reason=reason)
    if not np.isfinite(mine).all():
        text = f"after step {t} it is no number: is something divided by 0? t counts the steps, and the first has t = 1"
        return CheckedLine(name, line, verdict=WRONG, diagnosis=Diagnosis("step", text))
    text = next((text for value, text in mistakes.values() if same(mine, value)), "no usual mistake fits")
    where = f"after step {t} it is {np.ravel(mine)[0]:.4f} where {np.ravel(right)[0]:.4f} is due (its first number)"
    return CheckedLine(name, line, verdict=WRONG, diagnosis=Diagnosis("step", f"{text}; {where}"))


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal up to rounding."""
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12))


def line_of(source: str, method: str, name: str) -> SourceLine:
    """Return the last line of a method that gives a name its value; its head, if none does."""
    function, lines = functions(source)[method], source.splitlines()
    number = function.lineno
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(name in names_in(target) for target in targets):
                number = max(number, node.lineno)
    return SourceLine(method, number, code_of(lines[number - 1]))
