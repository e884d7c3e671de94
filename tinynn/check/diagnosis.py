"""What is probably the matter with a wrong gradient: each function looks for one kind of mistake.

Each takes the evidence and returns a diagnosis, or None. It never guesses: it says something only where an identity
holds in every entry, such as ``found == -true``, and in enough entries for it not to be chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tinynn.check.diagnosis_products import one_of_many, overwritten, wrong_product
from tinynn.check.diagnosis_values import missing_factor, softmax_diagonal, wrong_derivative
from tinynn.check.evidence import ENOUGH, TOLERANCE, Evidence, same, show, sizes
from tinynn.check.report import Diagnosis

KINDS = (
    "not written", "shape", "missing sum", "transposed", "factor N", "factor 1/N", "factor", "sign", "wrong step",
    "softmax diagonal", "missing term", "doubled term", "missing mask", "wrong side", "missing factor",
    "factor too much", "stale value", "wrong variable", "wrong derivative", "wrong axis", "one sample", "wrong order",
)  # fmt: skip


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


# The looks, in their order -------------------------------------------------------------------------------------------


def not_written(e: Evidence) -> Diagnosis | None:
    """Look for a gradient that nobody wrote, or not all of it: NaN from before, or all zeros."""
    if np.isnan(e.found).all() and e.found.size:
        return Diagnosis("not written", "it is never written")
    blank = np.isnan(e.found)
    if blank.any() and e.found.shape == e.true.shape and same(e.found[~blank], e.true[~blank]):
        return Diagnosis(
            "not written", f"{int(blank.sum())} of {blank.size} entries are never written; the rest is right"
        )
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


def wrong_order(e: Evidence) -> Diagnosis | None:
    """Look for parts side by side, such as gates, that stand in another order."""
    for axis in range(e.true.ndim):
        size = e.true.shape[axis]
        for count in (2, 3, 4):
            if size % count or size == count or e.true.size < 2 * ENOUGH:
                continue
            found, true = np.split(e.found, count, axis), np.split(e.true, count, axis)
            for order in itertools.permutations(range(count)):
                if order != tuple(range(count)) and all(same(found[i], true[j]) for i, j in enumerate(order)):
                    shown = ", ".join(str(j + 1) for j in order)
                    return Diagnosis("wrong order", f"its {count} parts along axis {axis} stand in the order {shown}")
    return None


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
        times = 1 + float(((e.found - e.true) * extra).sum() / (extra * extra).sum())
        if not same(e.found - e.true, (times - 1) * extra):
            continue
        lines = " and ".join(f"line {line.number}  {line.text}" for line, _ in inside)
        if abs(times + 1) < TOLERANCE:
            return Diagnosis("sign", f"what comes back through {lines} is taken with the wrong sign")
        kind = "doubled term" if abs(times - 2) < TOLERANCE else "factor"
        for number, what in sizes(e):
            if abs(times - number) < TOLERANCE * number or abs(times * number - 1) < TOLERANCE:
                power = "N" if times > 1 else "1/N"
                text = f"what comes back through {lines} is taken {show(times)} times, {number} being {what}"
                return Diagnosis(f"factor {power}", text)
        return Diagnosis(kind, f"what comes back through {lines} is taken {show(times)} times")
    return None


def wrong_step_of_a_term(e: Evidence) -> Diagnosis | None:
    """Look for a term that another step's gradient was taken for."""
    if e.true.size < ENOUGH:
        return None
    for line, part in e.paths.items():
        taken = e.found - e.true + part
        for name, g in e.gradients.items():
            if np.ndim(g) != e.found.ndim + 1:
                continue
            for axis in range(np.ndim(g)):
                if np.delete(np.shape(g), axis).tolist() != list(e.found.shape):
                    continue
                for step in np.moveaxis(g, axis, 0):
                    if same(taken, step) and not same(part, step):
                        way = f"line {line.number}  {line.text}"
                        text = f"for what comes back through {way}  it takes {name} of another step"
                        return Diagnosis("wrong step", text)
    return None


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
    ratio = (e.found / e.true).ravel()
    low, high = ratio.min(), ratio.max()
    two = np.isclose(ratio, low, rtol=TOLERANCE) | np.isclose(ratio, high, rtol=TOLERANCE)
    if two.all() and low > 0 and high / low > 1 + 1e-3 and abs(low * high - 1) < TOLERANCE:
        text = (
            f"{show(high)} times the truth on one side of the kink and {show(low)} times on the other: they are swapped"
        )
        return Diagnosis("wrong side", text)
    if found_off.any() and not off.all() and equal[~found_off].all() and (~found_off).any():
        return Diagnosis(
            "missing mask",
            f"right but for {int((found_off & ~off).sum())} of {off.size} places that are 0: masked too much",
        )
    return None


LOOKS: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    not_written,
    missing_sum,
    constant_factor,
    transposed,
    wrong_order,
    wrong_step,
    softmax_diagonal,
    missing_term,
    wrong_step_of_a_term,
    missing_mask,
    missing_factor,
    wrong_derivative,
    wrong_product,
    one_of_many,
    overwritten,
    wrong_shape,
)
OF_OTHER_SHAPE = (not_written, missing_sum, transposed, wrong_product, wrong_shape)  # the others compare entries
