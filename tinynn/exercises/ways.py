"""Which forward lines a gradient comes back through: those that use the array's numbers, and not only its shape."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinynn.check.names import bases
from tinynn.check.report import SourceLine

SHAPE_ONLY = r"\b(?:NAME\.(?:shape|dtype|ndim|size)|(?:array_module|len|fused)\(NAME\)|result_type\([^()]*\))"


def left_of(text: str) -> str:
    """Return the one name that a line gives its value, "" if it is not one.

    Examples
    --------
    >>> left_of("z = x @ self.W"), left_of("u, h = np.split(x, 2)"), left_of("for part in parts(x):")
    ('z', '', '')
    """
    found = re.match(r"(\w+)(?:: [^=]+)? = ", text)
    return found[1] if found else ""


def uses_value(text: str, name: str) -> bool:
    """Whether a line uses an array's numbers.

    Examples
    --------
    >>> uses_value("z = x.reshape(len(y), -1)", "x"), uses_value("z = x.reshape(y.shape[0], -1)", "y")
    (True, False)
    """
    if re.match(r"(?:if|for|while) |self\.\w+\[", text):  # a question, or something that is kept for later
        return False
    name = re.escape(name)
    return bool(re.search(rf"\b{name}\b", re.sub(SHAPE_ONLY.replace("NAME", name), "", text)))


def ways(undoes: Sequence[SourceLine], gradient: str) -> list[SourceLine]:
    """Return the lines among those that a gradient undoes which use its numbers; all, where none is left."""
    base = bases(gradient)[0] if bases(gradient) else gradient
    return [line for line in undoes if uses_value(line.text, base)] or list(undoes)


def named_in(comment: str, lines: Sequence[SourceLine]) -> list[SourceLine]:
    """Return the lines that a comment speaks of: ``"a = z + b: b reaches every row"`` of those that make a.

    Examples
    --------
    >>> lines = [SourceLine("forward", 3, "z2 = split(z)"), SourceLine("forward", 4, "a = z + self.b")]
    >>> [line.text for line in named_in("a = z + b", lines)]
    ['a = z + self.b']
    """
    lefts = set(re.findall(r"(\w+) = ", comment))
    return [line for line in lines if left_of(line.text) in lefts]
