"""Which gradient belongs to which value: by its name, and by its place counted from the end.

``dz`` is the gradient by ``z``; so are ``d_z``, ``dL_dz``, ``grad_z`` and ``z_grad``. ``dx_f``, where forward has no
``x_f``, is a part of the gradient by ``x``: what comes back through some of the lines that use x.

Backward meets the values of a name in the opposite order: where forward gave ``h`` the values h_1, ..., h_T, the first
``dh`` that is whole is the gradient by h_T, the next by h_(T-1), and so on. This is decided by counting alone, never by
what fits, so that a gradient of the wrong step is found to be wrong. A loop's start value (``h = zeros``), whose
gradient nobody needs, is the one left over. Where ``dx`` gets more values than ``x`` has, only the last are dx.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tinynn.check.trace import Trace, Unit, Version

PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"d_?(?P<name>.+)",
        r"d(?:L|l|J|E|loss|Loss|cost)_?d_?(?P<name>.+)",
        r"(?:grad|delta|g)_(?P<name>.+)",
        r"(?P<name>.+)_(?:grad|bar|delta)",
    )
)
NO_GRADIENTS = {"dtype", "device", "dims", "dim", "done", "data", "d", "dilation", "depth", "delta", "dist", "default"}
PARTNERS = ((r"(.*)_backward", r"\1_forward"), (r"(.*)_backward", r"\1"), (r"(.*)_back", r"\1"),
            (r"backward_(.*)", r"forward_\1"), (r"backward_(.*)", r"\1"), (r"(.*)backward(.*)", r"\1forward\2"),
            (r"(.*)backprop(.*)", r"\1forward\2"), (r"gradient", "call"), (r"(.*)grad", r"\1"))  # fmt: skip


def bases(gradient: str) -> list[str]:
    """Return the names whose gradient a name may be, the plainest first.

    Examples
    --------
    >>> bases("dz"), bases("dL_dW"), bases("x_grad"), bases("dtype"), bases("z")
    (['z'], ['L_dW', 'W'], ['x'], [], [])
    """
    if gradient in NO_GRADIENTS:
        return []
    return [found["name"] for pattern in PATTERNS if (found := pattern.fullmatch(gradient))]


def parts_of(base: str) -> list[str]:
    """Return the names that ``d`` + base may be a part of the gradient of: ``x_f``, ``x1`` and ``xnext`` of ``x``.

    Examples
    --------
    >>> parts_of("x_f"), parts_of("h_next"), parts_of("cnext"), parts_of("x2"), parts_of("z")
    (['x'], ['h'], ['c'], ['x'], [])
    """
    found: list[str] = []
    for cut in re.finditer(r"_", base):
        if cut.start():
            found.insert(0, base[: cut.start()])
    for pattern in (r"(.+?)\d+", r"(.+?)_?(?:next|prev|out|in|new|t|total|sum|part)", r"(?:next|prev)_(.+)"):
        match = re.fullmatch(pattern, base)
        if match and match[1] not in found:
            found.append(match[1])
    return found


def partners(function: str, known: Iterable[str], shared: Mapping[str, int] | None = None) -> list[str]:
    """Return the forward functions a backward function undoes, the likeliest first, then the others.

    Where no name fits, the function goes first that shares the most names: has a z where backward has a dz.

    Examples
    --------
    >>> partners("LSTM.run_backward", ["LSTM.run", "Recurrent.forward"])
    ['LSTM.run', 'Recurrent.forward']
    """
    known, shared = list(known), shared or {}
    owner, _, short = function.rpartition(".")
    wanted = [re.sub(pattern, put, short) for pattern, put in PARTNERS if re.fullmatch(pattern, short)]
    rank = {name: i for i, name in reversed(list(enumerate(wanted)))}

    def place(name: str) -> tuple[int, int, bool, bool]:
        """Order by the name's fit, by the names shared, by the class."""
        other_owner, _, other = name.rpartition(".")
        return rank.get(other, len(wanted)), -shared.get(name, 0), other != "forward", other_owner != owner

    return sorted(known, key=place)


def versions_for(trace: Trace, candidates: Iterable[str], base: str) -> list[Version]:
    """Return the versions of a name in the first of some forward functions that has it, in order."""
    for candidate in candidates:
        found = trace.versions.get((candidate, base))
        if found:
            return found
    return []


def units_for(versions: Sequence[Version], base: str, shape: tuple[int, ...]) -> list[Unit]:
    """Return what a gradient of this shape can be by: whole versions, or what was written into parts of one.

    Shapes of the same size stand in for each other (``(C,)`` for ``(1, C)``) where none is the same.
    """
    size = 1
    for n in shape:
        size *= n

    def same_size(other: tuple[int, ...]) -> bool:
        """Whether it has as many numbers."""
        count = 1
        for n in other:
            count *= n
        return count == size

    for fits in (lambda other: other == shape, same_size):
        if fits is same_size and versions and shape == (len(versions), *versions[-1].shape):
            return [Unit(f"{base}, all {len(versions)} values", shape, "stack", versions[-1], stack=tuple(versions))]
        whole = [version for version in versions if fits(version.shape)]
        if whole:
            return [Unit(numbered(base, i, len(whole)), v.shape, "version", v) for i, v in enumerate(whole)]
        slots = [
            (version, event)
            for version in versions
            for event in version.events
            if event.key is not None and fits(event.part_shape)
        ]
        if slots:
            count = len(slots)
            return [Unit(numbered(base, i, count), e.part_shape, "slot", v, e, e.key) for i, (v, e) in enumerate(slots)]
    return []


def numbered(base: str, index: int, count: int) -> str:
    """Return what a value is called.

    Examples
    --------
    >>> numbered("z", 0, 1), numbered("h", 1, 3)
    ('z', 'h, value 2 of 3')
    """
    return base if count == 1 else f"{base}, value {index + 1} of {count}"
