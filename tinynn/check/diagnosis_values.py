"""Diagnoses that need forward's values: another derivative, another variable, a factor too few or too many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynn.check.evidence import ENOUGH, Evidence, base_name, fitting, is_constant, same
from tinynn.check.report import Diagnosis

# What an elementwise derivative may be, as a function of one of forward's values.
FORMS: dict[str, Callable[[Any], Any]] = {
    "{v}": lambda v: v,
    "1 - {v}**2": lambda v: 1 - v * v,
    "{v} * (1 - {v})": lambda v: v * (1 - v),
    "1 - {v}": lambda v: 1 - v,
    "1 + {v}": lambda v: 1 + v,
    "{v}**2": lambda v: v * v,
    "2 * {v}": lambda v: 2 * v,
    "3 * {v}**2": lambda v: 3 * v * v,
    "1 + {v}**2": lambda v: 1 + v * v,
    "1 / {v}": lambda v: 1 / v,
    "1 / {v}**2": lambda v: 1 / (v * v),
    "-1 / {v}**2": lambda v: -1 / (v * v),
    "-{v}**2": lambda v: -v * v,
    "-{v}": lambda v: -v,
    "exp({v})": np.exp,
    "1 - exp({v})": lambda v: 1 - np.exp(v),
    "1 - exp(-{v})": lambda v: 1 - np.exp(-v),
    "log({v})": np.log,
    "cos({v})": np.cos,
    "sin({v})": np.sin,
    "tanh({v})": np.tanh,
    "1 - tanh({v})**2": lambda v: 1 - np.tanh(v) ** 2,
    "sigmoid({v})": lambda v: 1 / (1 + np.exp(-v)),
    "sigmoid({v}) * (1 - sigmoid({v}))": lambda v: np.exp(-v) / (1 + np.exp(-v)) ** 2,
    "({v} > 0)": lambda v: (v > 0).astype(float),
    "({v} < 0)": lambda v: (v < 0).astype(float),
    "sqrt({v})": np.sqrt,
    "1 / (2 * {v})": lambda v: 0.5 / v,
    "1": lambda v: np.ones(np.shape(v)),
}


def softmax_diagonal(e: Evidence) -> Diagnosis | None:
    """Look for softmax's derivative without what passes between the outputs: dy y (1 - y)."""
    for name, y in e.values.items():
        if np.shape(y) != e.found.shape or e.found.size < ENOUGH:
            continue
        for axis in range(y.ndim):
            if not np.allclose(y.sum(axis=axis), 1):
                continue
            for gradient, dy in e.gradients.items():
                if np.shape(dy) != e.found.shape:
                    continue
                whole = f"{base_name(name)} * ({gradient} - sum({gradient} * {base_name(name)}))"
                if same(e.found, dy * y) and same(e.true, y * (dy - (dy * y).sum(axis=axis, keepdims=True))):
                    return Diagnosis("missing term", f"softmax's sum is missing: {whole}")
                if same(e.found, dy * y * (1 - y)):
                    p = base_name(name)
                    text = (
                        f"it is {gradient} * {p} * (1 - {p}), the diagonal of softmax's Jacobian only; each output "
                        f"depends on all inputs: {whole}"
                    )
                    return Diagnosis("softmax diagonal", text)
                for other in range(y.ndim):
                    if other != axis and same(e.found, y * (dy - (dy * y).sum(axis=other, keepdims=True))):
                        return Diagnosis("wrong axis", f"softmax's sum goes over axis {other}; axis {axis} is due")
    return None


def missing_factor(e: Evidence) -> Diagnosis | None:
    """Look for a factor that one of forward's values is: gamma, the mask, a gate; or one that is too much."""
    if e.found.size < ENOUGH:
        return None
    for name, value in e.values.items():
        fits = fitting(value, e.found.shape)
        if fits is None or is_constant(fits):
            continue
        if same(e.found * fits, e.true):
            return Diagnosis("missing factor", f"the factor {base_name(name)} is missing")
        if same(e.true * fits, e.found):
            return Diagnosis("factor too much", f"the factor {base_name(name)} is one too many")
        if same(e.found * fits * fits, e.true) or same(e.found, e.true * fits * fits):
            way = "divided" if same(e.found * fits * fits, e.true) else "multiplied"
            return Diagnosis("factor", f"it is {way} by {base_name(name)} where the opposite is due")
        for form in ("{v} * (1 - {v})", "1 - {v}"):
            slope, said = FORMS[form](fits), form.format(v=base_name(name))
            if same(e.found * slope, e.true):
                return Diagnosis("missing factor", f"the factor {said} is missing")
            if same(e.true * slope, e.found):
                return Diagnosis("factor too much", f"the factor {said} is one too many")
    for name, g in e.gradients.items():
        if np.shape(g) == e.found.shape and not is_constant(g) and same(e.found * g, e.true):
            return Diagnosis("missing factor", f"the factor {name} is missing: this is the local derivative only")
    return None


def wrong_derivative(e: Evidence) -> Diagnosis | None:
    """Look for another function of a value than the derivative, or the function of another value."""
    if e.found.size < ENOUGH:
        return None
    for gradient, dy in e.gradients.items():
        g = fitting(dy, e.found.shape)
        if g is None:
            continue
        due = [(form, name) for form, name, array in factors(e) if same(array * g, e.true)]
        if not due:
            continue
        made = [(form, name) for form, name, array in factors(e) if same(array * g, e.found)]
        pairs = [(m, d) for m in made for d in due]
        if not pairs:
            continue
        # The likeliest: the same form of another value, then another form of the same value.
        (form, name), (form_due, name_due) = min(
            pairs, key=lambda p: (p[0][0] != p[1][0], p[0][1] != p[1][1], len(p[0][0]) + len(p[1][0]))
        )
        if base_name(name) != base_name(name_due):  # the values of one step: which one goes without saying
            name, name_due = base_name(name), base_name(name_due)
        wrong, right = form.format(v=name), form_due.format(v=name_due)
        if form == "1":
            return Diagnosis("missing factor", f"the factor {base_name(right)} is missing")
        if form_due == "1":
            return Diagnosis("factor too much", f"the factor {base_name(wrong)} is one too many")
        if form == form_due:
            stale = base_name(name) == base_name(name_due)
            kind = "stale value" if stale else "wrong variable"
            return Diagnosis(kind, f"{gradient} times {wrong} where {right} is due")
        text = f"ratio to the true gradient varies: {wrong} where the derivative{of(e)} is {right}"
        return Diagnosis("wrong derivative", text)
    return None


def of(e: Evidence) -> str:
    """Return " of tanh", if the forward line applies one function by name."""
    called = {match for text in e.undoes for match in re.findall(r"\b(?:np|xp|numpy|math)\.(\w+)\(", text)}
    return f" of {called.pop()}" if len(called) == 1 else ""


def factors(e: Evidence) -> Iterator[tuple[str, str, Any]]:
    """Yield the forms of all values that fit the gradient's shape."""
    for name, value in e.values.items():
        v = fitting(value, e.found.shape)
        if v is None or np.size(value) < 2:
            continue
        for form, function in FORMS.items():
            array = function(v)
            if form == "1" or not is_constant(array):  # 1 - v**2 of a v that is 0 is nothing but 1
                yield form, name, array
