"""What is known about a wrong gradient, and how arrays are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tinynn.check.report import SourceLine

TOLERANCE = 1e-6  # of the largest entry; central differences are good to 1e-9, and mistakes are larger
ENOUGH = 3  # entries, for an identity not to be chance


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
    writes : tuple of arrays
        What the gradient's array held after each of several writes into it, the first one's zeros first.
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
    writes: tuple[Any, ...] = ()


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
    for shape in shapes:
        for axes in range(2, len(shape)):
            size = math.prod(shape[:axes])
            if size not in {0, *seen}:
                seen.add(size)
                yield size, f"the number of rows of {shape}, its first {axes} axes together"
    for name, array in e.gradients.items():
        count, rest = divmod(np.size(array), max(e.true.size, 1))
        if not rest and count not in {0, *seen}:
            seen.add(count)
            yield count, f"the number of entries of {name} for each of {e.name}"


def fitting(value: Any, shape: tuple[int, ...]) -> Any:
    """Return a value broadcast to a shape, None if it cannot be."""
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        return None


def is_constant(value: Any) -> bool:
    """Whether all entries are the same: then a factor says nothing about which value it is."""
    return bool(np.ptp(value) <= TOLERANCE * np.abs(value).max(initial=0))


def base_name(name: str) -> str:
    """Return a value's name without the line of an earlier one."""
    return name.partition(" (")[0]
