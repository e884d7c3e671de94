"""CTC: against the sum over all ways written out, at its edges, and the targets it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import Dense, Input, Sequential
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.layers import Linear
from tinynn.losses import CTC


def read(way: tuple[int, ...]) -> list[int]:
    """What a way says: repetitions once, then no blanks."""
    return [c for c, _ in itertools.groupby(way) if c]


def slowly(labels: np.ndarray, z: np.ndarray) -> float:
    """Return -log of the sum of the probabilities of all ways that read the labels."""
    q = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    wanted = [int(c) for c in labels if c]
    ways = itertools.product(range(z.shape[1]), repeat=len(z))
    return -np.log(sum(np.prod(q[np.arange(len(z)), list(way)]) for way in ways if read(way) == wanted))


def labels_that_fit(rng: np.random.Generator, B: int, T: int, C: int, N: int) -> np.ndarray:
    """Draw labels, zeros after their end, each sequence read from a way of T steps."""
    y = np.zeros((B, N), int)
    for row in y:
        labels = read(tuple(rng.integers(C, size=T)))[:N]
        row[: len(labels)] = labels
    return y


@given(seed=st.integers(0, 2**16), B=st.integers(1, 3), T=st.integers(1, 5), C=st.integers(1, 4), N=st.integers(1, 4))
def test_it_is_the_sum_over_all_ways(seed: int, B: int, T: int, C: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    y, z = labels_that_fit(rng, B, T, C, N), 2 * rng.normal(size=(B, T, C))
    expected = [slowly(*row) for row in zip(y, z, strict=True)]
    np.testing.assert_allclose(CTC(reduction="none")(y, z), expected, rtol=1e-11, atol=1e-13)


@given(seed=st.integers(0, 2**16), B=st.integers(1, 3), T=st.integers(1, 6), C=st.integers(1, 4), N=st.integers(1, 4))
def test_gradient_is_right(seed: int, B: int, T: int, C: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    y, z = labels_that_fit(rng, B, T, C, N), rng.normal(size=(B, T, C))
    for reduction in ("sum_over_batch_size", "sum"):
        report = gradients(Linear(), z, y, CTC(reduction))
        assert report.ok, report
        assert report.error < 1e-12


Y = np.array([[1, 2, 0], [1, 1, 0], [0, 0, 0]])


def test_weights_and_values() -> None:
    z, w = np.random.default_rng(0).normal(size=(3, 4, 3)), np.array([2.0, 0.0, 0.5])
    values = CTC(reduction="none")(Y, z)
    assert values.shape == (3,)
    loss = CTC()
    assert loss(Y, z, w) == pytest.approx((values * w).mean())
    weighted = loss.backward()
    for b in range(3):
        loss(Y[b : b + 1], z[b : b + 1])
        np.testing.assert_allclose(weighted[b], loss.backward()[0] * w[b] / 3, rtol=1e-12)


def test_every_step_gradient_sums_to_0() -> None:
    loss, z = CTC(), np.random.default_rng(0).normal(size=(3, 4, 3))
    loss(Y, z)
    np.testing.assert_allclose(loss.backward().sum(axis=-1), 0, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_any_size_give_finite_numbers_of_their_dtype(dtype: str) -> None:
    loss, z = CTC(), (1e4 * np.random.default_rng(0).normal(size=(3, 7, 3))).astype(dtype)
    L = loss.forward(Y, z)
    gradient = loss.backward()
    assert L.dtype == gradient.dtype == dtype
    assert np.isfinite(L)
    assert np.isfinite(gradient).all()


def test_a_long_sequence_does_not_leave_the_range_of_numbers() -> None:
    z = np.zeros((1, 3000, 5), "float32")
    loss = CTC()
    assert loss(np.array([[1, 2, 3]]), z) == pytest.approx(3000 * np.log(5) - np.log(combinations(3000)), rel=1e-5)
    assert np.isfinite(loss.backward()).all()


def combinations(T: int) -> float:
    """How many ways of T steps read three labels that differ: which run of blanks or labels ends where.

    With k of the 4 places for blanks in use, 3 + k runs share T steps: T - 1 over 2 + k cuts.
    """
    from math import comb

    return float(sum(comb(4, k) * comb(T - 1, 2 + k) for k in range(5)))


def test_device_computes_what_the_cpu_computes(device: Device) -> None:
    loss, z = CTC(), np.random.default_rng(0).normal(size=(3, 4, 3))
    here = loss.forward(Y, z), loss.backward()
    there = loss.forward(to_device(Y, device), to_device(z, device)), loss.backward()
    np.testing.assert_allclose(to_host(there[0]), here[0], rtol=1e-12)
    np.testing.assert_allclose(to_host(there[1]), here[1], rtol=1e-12, atol=1e-15)


def test_a_model_learns_to_read() -> None:
    """Each label is shown at some step of its own; nobody says at which."""
    rng = np.random.default_rng(0)
    y = 1 + np.stack([rng.permutation(3)[:2] for _ in range(60)])
    x = np.zeros((60, 7, 3))
    for sample, labels in zip(x, y, strict=True):
        sample[np.sort(rng.choice(7, 2, replace=False)), labels - 1] = 1
    model = Sequential([Input((7, 3)), Dense(4)], seed=0)
    model.compile("adam", "ctc")
    model.optimizer.learning_rate = 0.05
    history = model.fit(x, y, epochs=60, verbose=0)
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    said = [read(tuple(way)) for way in model.predict(x).argmax(axis=-1)]
    assert said == y.tolist()


@pytest.mark.parametrize(
    ("y", "shape", "message"),
    [
        ([[1, 2]], (1, 3), r"CTC expected logits of shape \(batch, steps, classes\).*got \(1, 3\) and \(1, 2\)"),
        ([1, 2], (2, 3, 3), r"class numbers of shape \(batch, most labels\), got \(2, 3, 3\) and \(2,\)"),
        ([[1, 2]], (2, 3, 3), r"got \(2, 3, 3\) and \(1, 2\)"),
        ([[1.0, 2.0]], (1, 3, 3), r"whole class numbers, got float64.*astype\(int\)"),
        ([[1, 3]], (1, 3, 3), "from 1 to 2, and 0 after the end, for the model has 3 outputs of which 0 .* got 3"),
        ([[1, -1]], (1, 3, 3), "got -1"),
        ([[1, 0, 2]], (1, 5, 3), "a label stands after a 0, which ends a sequence"),
        ([[1, 2, 1]], (1, 2, 3), "2 steps are too few .* need 3"),
        ([[1, 1, 0]], (1, 2, 3), "2 steps are too few .* need 3: one for each label, and one for a blank between two"),
    ],
)
def test_wrong_targets_are_refused(y: list, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CTC()(np.array(y), np.zeros(shape))


def test_no_labels_at_all() -> None:
    z = np.random.default_rng(0).normal(size=(2, 3, 4))
    silent = CTC(reduction="none")(np.zeros((2, 0), int), z)
    np.testing.assert_allclose(silent, CTC(reduction="none")(np.zeros((2, 3), int), z), rtol=1e-12)


@pytest.mark.parametrize("make", [lambda: CTC("all"), lambda: CTC(reduction=1)])
def test_wrong_settings(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="CTC: reduction must be one of"):
        make()
