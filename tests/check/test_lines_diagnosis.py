"""Every diagnosis: it is made where it fits, and none where nothing does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynn.check.diagnosis import KINDS, diagnose
from tinynn.check.evidence import Evidence
from tinynn.check.report import Diagnosis, SourceLine

r = np.random.default_rng(0)
B, F, H = 4, 5, 3
x, W, z, dy = r.normal(size=(B, F)), r.normal(size=(F, H)), r.normal(size=(B, H)), r.normal(size=(B, H))
y = np.tanh(z)
square = r.normal(size=(H, H))


def look(found: Any, true: Any, **more: Any) -> Diagnosis | None:
    values = {"x": x, "W": W, "z": z, "y": y, "U": square}
    known: dict[str, Any] = {"values": values, "gradients": {"dy": dy}, "batch": B} | more
    return diagnose(Evidence("dz", "dz = ...", ("y = np.tanh(z)",), np.array(found), np.array(true), **known))


def kind_and_text(found: Any, true: Any, **more: Any) -> tuple[str, str]:
    diagnosis = look(found, true, **more)
    assert diagnosis is not None
    assert diagnosis.kind in KINDS
    return diagnosis.kind, diagnosis.text


def softmax(z: Any) -> Any:
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


true = r.normal(size=(B, H))


def test_nothing_is_said_without_evidence() -> None:
    assert look(r.normal(size=(B, H)), true) is None
    assert look(true + r.normal(size=(B, H)) * 1e-3, true) is None
    assert look([0.3], [0.7]) is None  # of one number everything is a multiple


def test_factors() -> None:
    assert kind_and_text(true * B, true) == (
        "factor N",
        "exactly 4 times the truth, 4 being the batch size: a sum where a mean is due, or twice",
    )
    assert kind_and_text(true / B, true)[0] == "factor 1/N"
    assert kind_and_text(true / H, true) == (
        "factor 1/N",
        "exactly 1/3 of the truth, 3 being the size of axis 1 of (4, 3): a mean where a sum is due",
    )
    assert kind_and_text(-true / B, true)[1].startswith("exactly minus 1/4 of the truth")
    assert kind_and_text(2 * true, true) == ("factor", "every entry is 2 times the truth")
    assert kind_and_text(0.7 * true, true)[1] == "every entry is 7/10 times the truth"
    assert kind_and_text(-true, true) == ("sign", "the sign is wrong: it is minus the truth")


def test_shapes() -> None:
    assert kind_and_text(true, true.sum(axis=0)) == (
        "missing sum",
        "a sum over the batch is missing: its sum is the truth",
    )
    assert kind_and_text(true, true.sum(axis=1, keepdims=True))[1].startswith("a sum over axis 1")
    assert kind_and_text(true.T, true)[0] == "transposed"
    assert kind_and_text(square.T, square)[0] == "transposed"
    assert kind_and_text(true, r.normal(size=H)) == ("shape", "it has the shape (4, 3) where (3,) is due")


def test_not_written() -> None:
    assert kind_and_text(np.full((B, H), np.nan), true)[0] == "not written"
    assert kind_and_text(np.zeros((B, H)), true)[0] == "not written"


def test_time() -> None:
    other = r.normal(size=(B, H))
    assert kind_and_text(other, true, others={"the step after": other}) == (
        "wrong step",
        "it is the gradient of the step after: off by one in time",
    )
    series = r.normal(size=(B, 6, 2))
    assert kind_and_text(np.roll(series, 1, axis=1), series)[1] == "it is the truth shifted by one along axis 1"
    assert kind_and_text(series[:, ::-1], series)[1] == "it is the truth in the opposite order along axis 1"


def test_softmax_without_what_passes_between_the_outputs() -> None:
    p = softmax(z)
    right = p * (dy - (dy * p).sum(axis=-1, keepdims=True))
    kind, text = kind_and_text(dy * p * (1 - p), right, values={"p": p})
    assert kind == "softmax diagonal"
    assert "p * (dy - sum(dy * p))" in text
    assert kind_and_text(dy * p, right, values={"p": p}) == (
        "missing term",
        "softmax's sum is missing: p * (dy - sum(dy * p))",
    )


def test_ways_back() -> None:
    a, b, c = r.normal(size=(3, B, H))
    ways = {
        SourceLine("f", n, text): part for n, text, part in ((7, "y = f + x", a), (8, "m = x.mean()", b), (9, "w", c))
    }
    assert kind_and_text(a + c, a + b + c, paths=ways) == (
        "missing term",
        "a term is missing: what comes back through line 8  m = x.mean()",
    )
    assert kind_and_text(a + 2 * b + c, a + b + c, paths=ways)[0] == "doubled term"
    assert kind_and_text(a - b + c, a + b + c, paths=ways) == (
        "sign",
        "what comes back through line 8  m = x.mean() is taken with the wrong sign",
    )
    assert kind_and_text(a + b / B + c, a + b + c, paths=ways) == (
        "factor 1/N",
        "what comes back through line 8  m = x.mean() is taken 1/4 times, 4 being the batch size",
    )
    assert look(a + 0.9 * b, a + b + c, paths=ways) is None
    steps = np.stack([c, r.normal(size=(B, H))], axis=1)
    kind, text = kind_and_text(a + b + steps[:, 1], a + b + c, paths=ways, gradients={"dy": steps})
    assert (kind, text) == ("wrong step", "for what comes back through line 9  w  it takes dy of another step")


def test_masks() -> None:
    mask = (z > 0).astype(float)
    assert kind_and_text(dy, dy * mask, values={})[0] == "missing mask"
    assert kind_and_text(dy * (1 - mask), dy * mask, values={})[0] == "wrong side"
    slope = np.where(z > 0, 1, 0.3)
    assert kind_and_text(dy * (1.3 - slope), dy * slope, values={})[0] == "wrong side"
    less = mask.copy()
    less[tuple(np.argwhere(mask)[0])] = 0
    assert "masked too much" in kind_and_text(dy * less, dy * mask, values={})[1]


def test_derivatives_of_values() -> None:
    assert kind_and_text(dy * (1 - y), dy * (1 - y * y)) == (
        "wrong derivative",
        "ratio to the true gradient varies: 1 - y where the derivative of tanh is 1 - y**2",
    )
    assert kind_and_text(dy * (1 - z * z), dy * (1 - y * y)) == (
        "wrong variable",
        "dy times 1 - z**2 where 1 - y**2 is due",
    )
    assert kind_and_text(dy * z, dy * y)[0] == "wrong variable"
    stale = {"z": z, "z (line 12)": z + 1}
    assert kind_and_text(dy * (z + 1), dy * z, values=stale) == ("stale value", "dy times z (line 12) where z is due")
    assert kind_and_text(dy, dy * y) == ("missing factor", "the factor y is missing")


def test_products() -> None:
    assert kind_and_text(z.T @ dy, y.T @ dy)[0] == "wrong variable"
    dz = dy * (1 - y * y)
    assert kind_and_text(x.T @ dy, x.T @ dz, gradients={"dy": dy, "dz": dz}) == (
        "wrong variable",
        "x.T @ dy where x.T @ dz is due",
    )
    assert kind_and_text(dy @ square, dy @ square.T) == ("transposed", "dy @ U where dy @ U.T is due")


def test_factors_that_are_values() -> None:
    gamma = r.normal(size=H)
    assert kind_and_text(true, true * gamma, values={"gamma": gamma}, gradients={}) == (
        "missing factor",
        "the factor gamma is missing",
    )
    assert kind_and_text(true * gamma, true, values={"gamma": gamma}, gradients={})[0] == "factor too much"
    assert "divided by gamma" in kind_and_text(true / gamma, true * gamma, values={"gamma": gamma}, gradients={})[1]


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_diagnosis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for shape in ((2, 2), (3,), (4, 3), (2, 3, 4)):
        assert look(rng.normal(size=shape), rng.normal(size=shape)) is None


def test_the_order_of_parts() -> None:
    wide = r.normal(size=(B, 8))
    parts = np.split(wide, 4, axis=1)
    assert kind_and_text(np.concatenate([parts[0], parts[1], parts[3], parts[2]], axis=1), wide) == (
        "wrong order",
        "its 4 parts along axis 1 stand in the order 1, 2, 4, 3",
    )


def test_a_part_that_is_never_written() -> None:
    half = true.copy()
    half[1] = np.nan
    assert kind_and_text(half, true) == ("not written", "3 of 12 entries are never written; the rest is right")
    half[0] += 1
    assert look(half, true) is None


def test_softmax_summed_over_the_wrong_axis() -> None:
    p = softmax(z)
    right = p * (dy - (dy * p).sum(axis=-1, keepdims=True))
    assert kind_and_text(p * (dy - (dy * p).sum(axis=0, keepdims=True)), right, values={"p": p}) == (
        "wrong axis",
        "softmax's sum goes over axis 0; axis 1 is due",
    )


def test_the_local_derivative_only() -> None:
    assert kind_and_text(1 - y * y, dy * (1 - y * y)) == (
        "missing factor",
        "the factor dy is missing: this is the local derivative only",
    )


def test_the_derivative_of_the_sigmoid_once_more() -> None:
    p = 1 / (1 + np.exp(-z))
    t = (z > 0.3).astype(float)
    slope = p * (1 - p)
    assert kind_and_text((p - t) * slope, p - t, values={"p": p}) == (
        "factor too much",
        "the factor p * (1 - p) is one too many",
    )
    assert kind_and_text(true, true * (1 - p), values={"p": p})[1] == "the factor 1 - p is missing"


def test_a_value_of_zeros_is_no_reason() -> None:
    kind, text = kind_and_text(dy, dy * (1 - y * y), values={"y": y, "y (line 3)": np.zeros_like(y)})
    assert (kind, text) == ("missing factor", "the factor 1 - y**2 is missing")


def test_sums_of_products() -> None:
    xhat, xc = r.normal(size=(2, B, H))
    values = {"xhat": xhat, "xc": xc}
    assert kind_and_text((dy * xc).sum(axis=0), (dy * xhat).sum(axis=0), values=values) == (
        "wrong variable",
        "sum(dy * xc) where sum(dy * xhat) is due",
    )
    assert kind_and_text((dy * dy).sum(axis=0), (dy * xhat).sum(axis=0), values=values)[1] == (
        "sum(dy * dy) where sum(dy * xhat) is due"
    )


def test_stacks_of_matrices() -> None:
    m, do = r.normal(size=(2, B, 3, 3))
    kind, text = kind_and_text(m @ do, m.swapaxes(1, 2) @ do, values={"m": m}, gradients={"do": do})
    assert kind == "transposed"
    assert text.endswith("is due")


def test_products_over_all_steps() -> None:
    h, before, da = r.normal(size=(3, 6, B, H))

    def product(states: Any) -> Any:
        return states.reshape(-1, H).T @ da.reshape(-1, H)

    values = {"all values of h": h, "all values of hn": before}
    kind, text = kind_and_text(product(h), product(before), values=values, gradients={"da": da})
    assert kind == "wrong variable"
    assert "all values of hn" in text
    last = before[-1].T @ da[-1]
    kind, text = kind_and_text(last, product(before), values=values, gradients={"da": da})
    assert (kind, text) == ("missing sum", "it is the share of the last only; a sum over axis 0 of da is due")


def test_one_sample_for_all() -> None:
    assert kind_and_text(np.broadcast_to(true[0], true.shape), true) == (
        "one sample",
        "all along axis 0 have what number 0 should have",
    )
    assert kind_and_text(dy[0], dy.sum(axis=0), values={})[0] == "missing sum"


def test_later_writes_overwrite_earlier_ones() -> None:
    first, second = np.zeros(6), np.zeros(6)
    first[:4], second[2:] = r.normal(size=(2, 4))
    after = np.where(second != 0, second, first)
    writes = (np.zeros(6), first, after)
    kind, text = kind_and_text(after, first + second, values={}, gradients={}, writes=writes)
    assert (kind, text) == (
        "missing term",
        "later writes overwrite earlier ones where both should be added: = where += is due",
    )
    rows, ids = r.normal(size=(5, H)), np.array([0, 1, 1, 2, 0])
    once, added = np.zeros((B, H)), np.zeros((B, H))
    once[ids] += rows
    np.add.at(added, ids, rows)
    kind, text = kind_and_text(once, added, values={}, gradients={"rows": rows})
    assert kind == "missing term"
    assert "np.add.at" in text


def test_the_size_of_a_mean() -> None:
    windows = r.normal(size=(2, 3, 5, H))
    total = windows.sum(axis=(0, 1, 2))
    assert kind_and_text(total / 30, total, values={}, gradients={"dz": windows}) == (
        "factor 1/N",
        "exactly 1/30 of the truth, 30 being the number of rows of (2, 3, 5, 3), its first 3 axes together: a mean "
        "where a sum is due",
    )
