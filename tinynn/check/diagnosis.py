"""What is probably the matter with a wrong gradient: each function looks for one kind of mistake.

Each takes the evidence and returns a diagnosis, or None. It never guesses: it says something only where an identity
holds in every entry, such as ``found == -true``, and in enough entries for it not to be chance.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tinynn.check.report import Diagnosis, SourceLine

TOLERANCE = 1e-6  # of the largest entry; central differences are good to 1e-9, and mistakes are larger
ENOUGH = 3  # entries, for an identity not to be chance

KINDS = (
    "not written", "shape", "missing sum", "transposed", "factor N", "factor 1/N", "factor", "sign", "wrong step",
    "softmax diagonal", "missing term", "doubled term", "missing mask", "wrong side", "missing factor",
    "factor too much", "stale value", "wrong variable", "wrong derivative",
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What is known about a wrong gradient.

    Attributes
    ----------
    name : str
        ``"dz"``.
    text : str
        The wrong line.
    undoes : tuple of str
        The forward lines that use z.
    found, true : array
    values : dict
        What forward's names held, parameters included. A name's earlier values are called ``"z (line 12)"``.
    gradients : dict
        Backward's gradients in scope: dy, and what was made before.
    paths : dict
        The parts of the true gradient, by the forward line that each comes back through.
    others : dict
        The true gradients by the same name's neighbours: ``"the step before"``, ``"the step after"``.
    batch : int
        The number of samples.
    """

    name: str
    text: str
    undoes: tuple[str, ...]
    found: Any
    true: Any
    values: dict[str, Any] = field(default_factory=dict)
    gradients: dict[str, Any] = field(default_factory=dict)
    paths: dict[SourceLine, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    batch: int = 0


def diagnose(evidence: Evidence) -> Diagnosis | None:
    """Return the first diagnosis that fits, None if none does."""
    with np.errstate(all="ignore"):
        for look in LOOKS:
            if evidence.found.shape != evidence.true.shape and look not in OF_OTHER_SHAPE:
                continue
            found = look(evidence)
            if found is not None:
                return found
    return None


def same(a: Any, b: Any) -> bool:
    """Whether two arrays agree in shape and, up to rounding, in every entry."""
    if np.shape(a) != np.shape(b):
        return False
    size = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
    return bool(size > 0 and np.isfinite(size) and np.abs(a - b).max() <= TOLERANCE * size)


def show(number: float) -> str:
    """Return a number as a person would write it.

    Examples
    --------
    >>> show(0.5), show(-2.0), show(1 / 3), show(0.81649658)
    ('1/2', '-2', '1/3', '0.8165')
    """
    simple = Fraction(number).limit_denominator(100)
    return str(simple) if abs(float(simple) - number) < 1e-7 * abs(number) else f"{number:.4g}"


# The looks, in their order -------------------------------------------------------------------------------------------


def not_written(e: Evidence) -> Diagnosis | None:
    """Look for a gradient that nobody wrote: NaN from before, or all zeros."""
    if np.isnan(e.found).all() and e.found.size:
        return Diagnosis("not written", "it is never written")
    if e.found.size and not e.found.any():
        return Diagnosis("not written", "it is all zeros, as if it were never written")
    return None


def missing_sum(e: Evidence) -> Diagnosis | None:
    """Look for a sum over an axis that was forgotten: the found array has more axes, or longer ones."""
    if e.found.shape == e.true.shape or e.found.size <= e.true.size:
        return None
    axes = range(e.found.ndim)
    for chosen in range(1, 2**e.found.ndim):
        over = tuple(axis for axis in axes if chosen >> axis & 1)
        total = e.found.sum(axis=over)
        if total.size == e.true.size and same(total.reshape(e.true.shape), e.true):
            where = "the batch" if over == (0,) else f"axis {', '.join(map(str, over))}"
            return Diagnosis("missing sum", f"a sum over {where} is missing: its sum is the truth")
    return None


def transposed(e: Evidence) -> Diagnosis | None:
    """Look for axes in another order."""
    if e.found.ndim < 2 or e.found.size < ENOUGH:
        return None
    for order in orders(e.found.ndim):
        if order != tuple(range(e.found.ndim)) and same(e.found.transpose(order), e.true):
            return Diagnosis("transposed", "it is the transpose of the truth")
    return None


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yield the orders of some axes, at most four."""
    if count <= 4:
        yield from itertools.permutations(range(count))


def wrong_shape(e: Evidence) -> Diagnosis | None:
    """Look at the shapes: nothing more can be said where they differ."""
    if e.found.shape == e.true.shape:
        return None
    return Diagnosis("shape", f"it has the shape {e.found.shape} where {e.true.shape} is due")


def constant_factor(e: Evidence) -> Diagnosis | None:
    """Look for a factor that is the same in every entry: a sign, the batch size or another axis, or its inverse."""
    if np.count_nonzero(np.abs(e.true) > TOLERANCE * np.abs(e.true).max()) < 2:
        return None
    if e.found.shape != e.true.shape:
        return None
    ratio = float((e.found * e.true).sum() / (e.true * e.true).sum())
    if ratio == 0 or not same(e.found, ratio * e.true):
        return None
    if abs(ratio + 1) < TOLERANCE:
        return Diagnosis("sign", "the sign is wrong: it is minus the truth")
    sign = "minus " if ratio < 0 else ""
    for number, what in sizes(e):
        if abs(abs(ratio) - number) < TOLERANCE * number:
            text = f"exactly {sign}{number} times the truth, {number} being {what}: a sum where a mean is due, or twice"
            return Diagnosis("factor N", text)
        if abs(abs(ratio) - 1 / number) < TOLERANCE / number:
            text = f"exactly {sign}1/{number} of the truth, {number} being {what}: a mean where a sum is due"
            return Diagnosis("factor 1/N", text)
    return Diagnosis("factor", f"every entry is {show(ratio)} times the truth")


def sizes(e: Evidence) -> Iterator[tuple[int, str]]:
    """Yield the numbers by which a mean divides: the batch, other axes, all entries; 2 may be a plain factor."""
    seen = {1, 2} if e.batch != 2 else {1}
    shapes = [np.shape(array) for array in (e.true, *e.gradients.values(), *e.values.values())]
    if e.batch not in seen:
        yield e.batch, "the batch size"
        seen.add(e.batch)
    for shape in shapes:
        for axis, size in enumerate(shape):
            if size not in seen:
                seen.add(size)
                yield size, f"the size of axis {axis} of {shape}"
    for shape in shapes:
        size = math.prod(shape)
        if size not in seen:
            seen.add(size)
            yield size, f"the number of entries of {shape}"


def wrong_step(e: Evidence) -> Diagnosis | None:
    """Look for the gradient of another step in time, or one shifted along an axis."""
    if e.true.size < ENOUGH:
        return None
    for step, other in e.others.items():
        if same(e.found, other) and not same(e.true, other):
            return Diagnosis("wrong step", f"it is the gradient of {step}: off by one in time")
    for axis in range(e.true.ndim):
        if e.true.shape[axis] < 3:
            continue
        later, earlier = (
            np.take(e.found, range(1, e.true.shape[axis]), axis),
            np.take(e.true, range(e.true.shape[axis] - 1), axis),
        )
        if same(later, earlier):
            return Diagnosis("wrong step", f"it is the truth shifted by one along axis {axis}")
        later, earlier = (
            np.take(e.true, range(1, e.true.shape[axis]), axis),
            np.take(e.found, range(e.true.shape[axis] - 1), axis),
        )
        if same(later, earlier):
            return Diagnosis("wrong step", f"it is the truth shifted by one along axis {axis}")
        if same(np.flip(e.found, axis), e.true):
            return Diagnosis("wrong step", f"it is the truth in the opposite order along axis {axis}")
    return None


def softmax_diagonal(e: Evidence) -> Diagnosis | None:
    """Look for softmax's derivative without what passes between the outputs: dy y (1 - y)."""
    for name, y in e.values.items():
        if np.shape(y) != e.found.shape or e.found.size < ENOUGH:
            continue
        for axis in range(y.ndim):
            if not np.allclose(y.sum(axis=axis), 1):
                continue
            for gradient, dy in e.gradients.items():
                if np.shape(dy) == e.found.shape and same(e.found, dy * y * (1 - y)):
                    text = (
                        f"it is {gradient} * {name} * (1 - {name}), the diagonal of softmax's Jacobian only; each "
                        f"output depends on all inputs: {name} * ({gradient} - sum({gradient} * {name}))"
                    )
                    return Diagnosis("softmax diagonal", text)
    return None


def missing_term(e: Evidence) -> Diagnosis | None:
    """Look for the sum of some ways back without the others: the residual, a gate, the mean, the variance."""
    ways = list(e.paths.items())[:6]
    if len(ways) < 2 or e.true.size < ENOUGH:
        return None
    for chosen in range(1, 2 ** len(ways) - 1):
        inside = [way for i, way in enumerate(ways) if chosen >> i & 1]
        outside = [way for i, way in enumerate(ways) if not chosen >> i & 1]
        if same(e.found, sum(part for _, part in inside)):
            lines = " and ".join(f"line {line.number}  {line.text}" for line, _ in outside)
            return Diagnosis("missing term", f"a term is missing: what comes back through {lines}")
    for chosen in range(1, 2 ** len(ways) - 1):
        inside = [way for i, way in enumerate(ways) if chosen >> i & 1]
        extra = sum(part for _, part in inside)
        for times, word in ((1, "twice"), (-2, "with the wrong sign")):
            if same(e.found - e.true, times * extra):
                lines = " and ".join(f"line {line.number}  {line.text}" for line, _ in inside)
                kind = "doubled term" if times == 1 else "sign"
                return Diagnosis(kind, f"what comes back through {lines} is taken {word}")
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
            return Diagnosis("missing factor", f"the factor {name} is missing")
        if same(e.true * fits, e.found):
            return Diagnosis("factor too much", f"the factor {name} is one too many")
        if same(e.found * fits * fits, e.true) or same(e.found, e.true * fits * fits):
            way = "divided" if same(e.found * fits * fits, e.true) else "multiplied"
            return Diagnosis("factor", f"it is {way} by {name} where the opposite is due")
    return None


def fitting(value: Any, shape: tuple[int, ...]) -> Any:
    """Return a value broadcast to a shape, None if it cannot be."""
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        return None


def is_constant(value: Any) -> bool:
    """Whether all entries are the same: then a factor says nothing about which value it is."""
    return bool(np.ptp(value) <= TOLERANCE * np.abs(value).max(initial=0))


def missing_mask(e: Evidence) -> Diagnosis | None:
    """Look for entries that are passed on where they should be 0, or the other way round."""
    if e.found.size < ENOUGH:
        return None
    size = max(np.abs(e.true).max(), np.abs(e.found).max())
    off, found_off = np.abs(e.true) <= TOLERANCE * size, np.abs(e.found) <= TOLERANCE * size
    equal = np.abs(e.found - e.true) <= TOLERANCE * size
    count = f"{int(off.sum())} of {off.size}"
    if off.any() and (~off).any() and equal[~off].all():
        return Diagnosis(
            "missing mask",
            f"right but where the truth is 0, in {count} places: the mask (of a kink, or dropout) is missing",
        )
    if found_off.any() and (found_off == ~off).all():
        return Diagnosis("wrong side", "0 where the truth is not, and the other way round: the wrong side of the kink")
    if found_off.any() and not off.all() and equal[~found_off].all() and (~found_off).any():
        return Diagnosis(
            "missing mask",
            f"right but for {int((found_off & ~off).sum())} of {off.size} places that are 0: masked too much",
        )
    return None


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
        wrong, right = form.format(v=name), form_due.format(v=name_due)
        if form == form_due:
            stale = base_name(name) == base_name(name_due)
            kind = "stale value" if stale else "wrong variable"
            return Diagnosis(kind, f"{gradient} times {wrong} where {right} is due")
        return Diagnosis("wrong derivative", f"{ratio_text(e)}{wrong} where the derivative{of(e)} is {right}")
    return None


def ratio_text(e: Evidence) -> str:
    """Return what to say about the ratio to the truth."""
    return "ratio to the true gradient varies: "


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
            yield form, name, function(v)


def base_name(name: str) -> str:
    """Return a value's name without the line of an earlier one."""
    return name.partition(" (")[0]


def wrong_product(e: Evidence) -> Diagnosis | None:
    """Look for a matrix product with another value, or with one not transposed."""
    if e.found.size < ENOUGH or e.found.ndim != 2:
        return None
    for gradient, g in e.gradients.items():
        if np.ndim(g) != 2:
            continue
        made: list[tuple[str, str]] = []
        due: list[tuple[str, str]] = []
        for name, v in e.values.items():
            if np.ndim(v) != 2:
                continue
            for form, a, b in (
                ("{v}.T @ {g}", v.T, g), ("{g} @ {v}.T", g, v.T), ("{g} @ {v}", g, v), ("{v} @ {g}", v, g),
                ("{g}.T @ {v}", g.T, v),
            ):  # fmt: skip
                if a.shape[1] != b.shape[0]:
                    continue
                product = a @ b
                if same(product, e.found):
                    made.append((form, name))
                if same(product, e.true):
                    due.append((form, name))
        if made and due:
            (form, name), (form_due, name_due) = min(
                ((m, d) for m in made for d in due), key=lambda p: (p[0][1] != p[1][1], p[0][0] != p[1][0])
            )
            text = f"{form.format(v=name, g=gradient)} where {form_due.format(v=name_due, g=gradient)} is due"
            if name == name_due:
                return Diagnosis("transposed", text)
            stale = base_name(name) == base_name(name_due)
            return Diagnosis("stale value" if stale else "wrong variable", text)
    return None


LOOKS: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    not_written,
    missing_sum,
    constant_factor,
    transposed,
    wrong_step,
    softmax_diagonal,
    missing_term,
    wrong_derivative,
    wrong_product,
    missing_factor,
    missing_mask,
    wrong_shape,
)
OF_OTHER_SHAPE = (not_written, missing_sum, transposed, wrong_product, wrong_shape)  # the others compare entries
