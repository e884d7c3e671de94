"""Diagnoses of products and sums: another array in them, one not transposed, one sample or step only, overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.check.evidence import ENOUGH, Evidence, base_name, fitting, same
from tinynn.check.report import Diagnosis

Made = tuple[str, str, str]  # the form of a product, the value's name, the gradient's


def wrong_product(e: Evidence) -> Diagnosis | None:
    """Look for a product with another array than is due, or with one not transposed."""
    if e.found.size < ENOUGH:
        return None
    made: list[Made] = []
    due: list[Made] = []
    for what, product in products(e):
        if as_found(product, e.found):
            made.append(what)
        if as_found(product, e.true):
            due.append(what)
    if not made or not due:
        return None
    # The likeliest: the same in all but one, and in that the value before the form.
    (form, name, g_made), (form_due, name_due, g_due) = min(
        ((m, d) for m in made for d in due), key=lambda p: sum(a != b for a, b in zip(*p, strict=True))
    )
    stale = name != name_due and base_name(name) == base_name(name_due)
    if not stale:
        name, name_due = base_name(name), base_name(name_due)
    text = f"{form.format(v=name, g=g_made)} where {form_due.format(v=name_due, g=g_due)} is due"
    if (name, g_made) == (name_due, g_due):
        return Diagnosis("transposed", text)
    return Diagnosis("stale value" if stale else "wrong variable", text)


def products(e: Evidence) -> Iterator[tuple[Made, Any]]:
    """Yield what the values and gradients give when multiplied, and summed, to the shape of the one that is wrong."""
    shape = np.shape(e.found) if np.shape(e.found) == np.shape(e.true) else None
    factors = {**e.values, **{n: g for n, g in e.gradients.items() if n not in e.values}}
    for gradient, g in e.gradients.items():
        for name, v in factors.items():
            if np.ndim(g) < 1 or np.ndim(v) < 1:
                continue
            for axes in {2, e.found.ndim} if e.found.ndim >= 2 else ():
                for form, a, b in pairs(v, g, axes):
                    if a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2]:
                        yield (form, name, gradient), a @ b
            if shape is not None and np.ndim(g) > len(shape):
                fits = fitting(v, np.shape(g))
                if fits is not None and np.shape(g)[np.ndim(g) - len(shape) :] == shape:
                    front = tuple(range(np.ndim(g) - len(shape)))
                    yield ("sum({g} * {v})", name, gradient), (g * fits).sum(axis=front)


def as_found(product: Any, array: Any) -> bool:
    """Whether a product has an array's numbers: a parameter of more axes is made as a matrix."""
    return same(product, array) or (np.ndim(array) > 2 and same(np.ravel(product), np.ravel(array)))


def pairs(v: Any, g: Any, axes: int) -> Iterator[tuple[str, Any, Any]]:
    """Yield the pairs of matrices, or stacks of them, that a value and a gradient can be multiplied as."""
    if axes == 2:
        v, g = rows(v), rows(g)
    if np.ndim(v) != axes or np.ndim(g) != axes:
        return
    vT, gT = np.swapaxes(v, -1, -2), np.swapaxes(g, -1, -2)
    yield "{v}.T @ {g}", vT, g
    yield "{g} @ {v}.T", g, vT
    yield "{g} @ {v}", g, v
    yield "{v} @ {g}", v, g
    yield "{g}.T @ {v}", gT, v


def rows(array: Any) -> Any:
    """Return an array of more than two axes as a matrix: all but the last one are one."""
    return array.reshape(-1, array.shape[-1]) if array.ndim > 2 else array


def one_of_many(e: Evidence) -> Diagnosis | None:
    """Look for what one sample gives, or one step, where the sum over all is due or each should have its own."""
    if e.true.size < ENOUGH or e.true.shape != e.found.shape:
        return None
    count = len(e.true)
    for i in (0, count - 1):
        if count > 1 and e.true[i].size >= ENOUGH and same(e.found, np.broadcast_to(e.true[i], e.true.shape)):
            return Diagnosis("one sample", f"all along axis 0 have what number {i} should have")
    for gradient, g in e.gradients.items():
        for what, part, whole in shares(e, gradient, g):
            if same(whole, e.true) and same(part, e.found):
                return Diagnosis(
                    "missing sum", f"it is the share of {what} only; a sum over axis 0 of {gradient} is due"
                )
    return None


def shares(e: Evidence, gradient: str, g: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what the first and the last along axis 0 of a gradient give, and what all together give."""
    if np.ndim(g) < 2 or len(g) < 2:
        return
    places = {0: "the first", len(g) - 1: "the last"}
    if e.true.ndim == 1 and np.shape(g)[-1] == len(e.true):
        for i, place in places.items():
            yield place, g[i].reshape(-1, len(e.true)).sum(axis=0), rows(g).sum(axis=0)
    if e.true.ndim == 2 and np.ndim(g) >= 3:
        for v in e.values.values():
            if np.ndim(v) >= 3 and len(v) == len(g) and (v.shape[-1], g.shape[-1]) == e.true.shape:
                if rows(v).shape[0] != rows(g).shape[0]:
                    continue
                for i, place in places.items():
                    yield place, rows(v[i]).T @ rows(g[i]), rows(v).T @ rows(g)


def overwritten(e: Evidence) -> Diagnosis | None:
    """Look for a sum of which later terms overwrite earlier ones: ``=`` where ``+=`` is due."""
    text = "later writes overwrite earlier ones where both should be added: = where += is due"
    total = np.zeros(e.true.size)
    for before, after in zip(e.writes, e.writes[1:], strict=False):
        if np.size(after) != e.true.size:
            return None
        total += np.where(after != before, after, 0).ravel()
    if len(e.writes) > 2 and same(total.reshape(e.true.shape), e.true):
        return Diagnosis("missing term", text)
    if e.true.ndim != 2 or e.true.size < ENOUGH:
        return None
    size = np.abs(e.true).max(initial=0)
    odd = [i for i in range(len(e.true)) if np.abs(e.found[i] - e.true[i]).max() > 1e-6 * size]
    for gradient, g in e.gradients.items():
        if np.ndim(g) < 2 or np.shape(g)[-1] != e.true.shape[1] or not odd or e.true.shape[1] < 2:
            continue
        known = rows(g)
        if len(known) > len(e.true) and all(any(same(row, e.found[i]) for row in known) for i in odd):
            text = f"each row is one row of {gradient}; those that go to one place must be added (np.add.at)"
            return Diagnosis("missing term", text)
    return None
