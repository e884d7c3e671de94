"""Losses: values, gradients, stability, and the targets they refuse."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import losses
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.layers import Linear, Sigmoid, Softmax
from tinynn.losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def one_hot(k: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[k]


Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def classes(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return r.integers(c, size=n)


def rows(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return one_hot(r.integers(c, size=n), c)


def distributions(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return softmax(r.normal(size=(n, c)))


def yes_no(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return r.integers(2, size=(n, c)).astype(float)


def between(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return r.uniform(size=(n, c))


def signs(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return 2 * r.integers(2, size=(n, c)) - 1


def numbers(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return r.normal(size=(n, c))


def counts(r: np.random.Generator, n: int, c: int) -> np.ndarray:
    return r.poisson(2, size=(n, c))


CCE, SCCE, BCE, Focal = (
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
)

# name -> loss, targets drawn from a generator for (batch, outputs), and what the predictions are:
# p probabilities, q positive numbers that do not sum to 1, z any numbers
CASES: dict[str, tuple[losses.Loss, Draw, str]] = {
    "CCE(p)": (CCE(), rows, "q"),
    "CCE(z)": (CCE(from_logits=True), distributions, "z"),
    "CCE(p, smooth)": (CCE(label_smoothing=0.1), rows, "q"),
    "CCE(z, smooth)": (CCE(from_logits=True, label_smoothing=0.3), rows, "z"),
    "SCCE(p)": (SCCE(), classes, "q"),
    "SCCE(z)": (SCCE(from_logits=True), classes, "z"),
    "BCE(p)": (BCE(), yes_no, "p"),
    "BCE(z)": (BCE(from_logits=True), between, "z"),
    "BCE(p, smooth)": (BCE(label_smoothing=0.1), yes_no, "p"),
    "BCE(z, smooth)": (BCE(from_logits=True, label_smoothing=0.3), yes_no, "z"),
    "Focal(p)": (Focal(), yes_no, "p"),
    "Focal(z)": (Focal(from_logits=True), yes_no, "z"),
    "Focal(p, balanced)": (Focal(apply_class_balancing=True, alpha=0.3, gamma=0.5), yes_no, "p"),
    "Focal(z, balanced)": (Focal(apply_class_balancing=True, gamma=1.5, from_logits=True), between, "z"),
    "Focal(p, smooth)": (Focal(label_smoothing=0.1), yes_no, "p"),
    "Focal(z, smooth)": (Focal(from_logits=True, label_smoothing=0.1), yes_no, "z"),
    "Focal(z, gamma=0)": (Focal(gamma=0, from_logits=True), yes_no, "z"),
    "MSE": (MeanSquaredError(), numbers, "z"),
    "MAE": (MeanAbsoluteError(), numbers, "z"),
    "Huber": (Huber(), numbers, "z"),
    "Huber(0.3)": (Huber(0.3), numbers, "z"),
    "LogCosh": (LogCosh(), numbers, "z"),
    "Poisson": (Poisson(), counts, "p"),
    "KL": (KLDivergence(), distributions, "p"),
    "KL(one-hot)": (KLDivergence(), rows, "p"),
    "Cosine": (CosineSimilarity(), numbers, "z"),
    "Cosine(axis=0)": (CosineSimilarity(axis=0), numbers, "z"),
    "Hinge": (Hinge(), signs, "z"),
    "Hinge(0, 1)": (Hinge(), yes_no, "z"),
    "SquaredHinge": (SquaredHinge(), signs, "z"),
    "SquaredHinge(0, 1)": (SquaredHinge(), yes_no, "z"),
    "CategoricalHinge": (CategoricalHinge(), rows, "z"),
}
every_loss = pytest.mark.parametrize("name", CASES)


def draw(name: str, seed: int, batch: int, outputs: int) -> tuple[losses.Loss, np.ndarray, np.ndarray]:
    loss, targets, kind = CASES[name]
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(batch, outputs)) + 0.1
    p = 0.02 + 0.9 * softmax(z)
    fresh = copy.deepcopy(loss)  # lest one test finds what another left in it
    return fresh, targets(rng, batch, outputs), {"p": p, "q": 1.3 * p, "z": z}[kind]


def test_every_loss_has_a_case() -> None:
    in_a_file_of_its_own = {losses.CTC}
    assert {type(loss) for loss, _, _ in CASES.values()} | in_a_file_of_its_own == set(losses.LOSSES.values())


@every_loss
@given(seed=st.integers(0, 2**16), batch=st.integers(1, 5), outputs=st.integers(1, 6))
def test_gradient_is_right(name: str, seed: int, batch: int, outputs: int) -> None:
    loss, y, pred = draw(name, seed, batch, outputs)
    report = gradients(Linear(), pred, y, loss)
    assert report.ok, report
    assert report.error < 1e-12


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays(name: str, dtype: str) -> None:
    loss, y, pred = draw(name, 0, 4, 3)
    L = loss.forward(y, pred.astype(dtype))
    assert L.dtype == dtype
    assert loss.backward().dtype == dtype


@every_loss
def test_device_computes_what_the_cpu_computes(name: str, device: Device) -> None:
    loss, y, pred = draw(name, 1, 4, 3)
    here = loss.forward(y, pred), loss.backward()
    there = loss.forward(to_device(y, device), to_device(pred, device)), loss.backward()
    np.testing.assert_allclose(to_host(there[0]), here[0], rtol=1e-12)
    np.testing.assert_allclose(to_host(there[1]), here[1], rtol=1e-12)


@every_loss
def test_one_backward_for_each_forward(name: str) -> None:
    loss, y, pred = draw(name, 0, 2, 3)
    with pytest.raises(RuntimeError, match="backward was called without a forward before it"):
        loss.backward()
    loss(y, pred)
    loss.backward()
    with pytest.raises(RuntimeError, match="without a forward"):
        loss.backward()


def test_values_by_hand() -> None:
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = -(np.log(0.75) + np.log(0.5)) / 2
    assert CategoricalCrossentropy()(np.array([[0, 1], [1, 0]]), p) == pytest.approx(expected)
    assert SparseCategoricalCrossentropy()(np.array([1, 0]), p) == pytest.approx(expected)
    bce = -(np.log(0.75) + np.log(0.75) + np.log(0.5) + np.log(0.5)) / 4
    assert BinaryCrossentropy()(np.array([[0, 1], [1, 0]]), p) == pytest.approx(bce)
    assert MeanSquaredError()(np.array([[0.0, 1.0]]), np.array([[2.0, 4.0]])) == pytest.approx((4 + 9) / 2)


@pytest.mark.parametrize(
    ("loss", "y", "pred", "expected"),
    [
        (MeanAbsoluteError(), [[0.0, 1.0]], [[2.0, -4.0]], (2 + 5) / 2),
        (Huber(), [[0.0, 1.0]], [[0.5, -4.0]], (0.125 + (5 - 0.5)) / 2),
        (Huber(2.0), [[0.0, 1.0]], [[0.5, -4.0]], (0.125 + (2 * 5 - 2)) / 2),
        (LogCosh(), [[0.0, 1.0]], [[0.5, -4.0]], (math.log(math.cosh(0.5)) + math.log(math.cosh(5))) / 2),
        (Poisson(), [[2.0, 0.0]], [[0.5, 3.0]], (0.5 - 2 * math.log(0.5 + 1e-7) + 3) / 2),
        (
            KLDivergence(),
            [[0.25, 0.75], [1.0, 0.0]],
            [[0.5, 0.5], [0.5, 0.5]],
            (0.25 * math.log(0.5) + 0.75 * math.log(1.5) + math.log(2) + 1e-7 * math.log(2e-7)) / 2,
        ),
        (CosineSimilarity(), [[0.0, 2.0], [1.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]], -(0.8 + 0) / 2),
        (CosineSimilarity(axis=0), [[0.0, 2.0], [1.0, 0.0]], [[3.0, 4.0], [0.0, 3.0]], -(0 + 0.8) / 2),
        (CosineSimilarity(), [[1.0, 1.0]], [[0.0, 0.0]], 0.0),
        (Hinge(), [[1, -1, -1]], [[0.5, -2.0, 2.0]], (0.5 + 0 + 3) / 3),
        (Hinge(), [[1, 0, 0]], [[0.5, -2.0, 2.0]], (0.5 + 0 + 3) / 3),
        (SquaredHinge(), [[1, 0, 0]], [[0.5, -2.0, 2.0]], (0.25 + 0 + 9) / 3),
        (CategoricalHinge(), [[0, 1, 0], [1, 0, 0]], [[0.5, 1.0, 0.75], [3.0, 1.0, 2.0]], (0.75 + 0) / 2),
        (CategoricalHinge(), [[0, 1]], [[-5.0, -1.0]], 2.0),  # the right class has to lead 0 as well
        (
            BinaryFocalCrossentropy(),
            [[1, 0]],
            [[0.8, 0.3]],
            -(0.2**2 * math.log(0.8) + 0.3**2 * math.log(0.7)) / 2,
        ),
        (
            BinaryFocalCrossentropy(True, 0.25, 1.0),
            [[1, 0]],
            [[0.8, 0.3]],
            -(0.25 * 0.2 * math.log(0.8) + 0.75 * 0.3 * math.log(0.7)) / 2,
        ),
        (
            CategoricalCrossentropy(label_smoothing=0.3),
            [[0, 1, 0]],
            [[0.2, 0.7, 0.1]],
            -(0.1 * math.log(0.2) + 0.8 * math.log(0.7) + 0.1 * math.log(0.1)),
        ),
        (BinaryCrossentropy(label_smoothing=0.2), [[1]], [[0.8]], -(0.9 * math.log(0.8) + 0.1 * math.log(0.2))),
    ],
    ids=lambda value: value.name if isinstance(value, losses.Loss) else "",
)
def test_values_of_one_line_each(loss: losses.Loss, y: list, pred: list, expected: float) -> None:
    assert loss(y, pred) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_gradients_at_the_kinks() -> None:
    """Where a side must be chosen: no error, no pull; a margin just reached, no pull; of equals, the first."""
    one = np.ones((1, 1))
    for loss, y in ((MeanAbsoluteError(), one), (Hinge(), one), (Huber(0.0), one)):
        loss(y, one)
        assert loss.backward() == 0
    loss = CategoricalHinge()
    loss(np.array([[1, 0, 0]]), np.array([[1.0, 2.0, 2.0]]))
    np.testing.assert_array_equal(loss.backward(), [[-1, 1, 0]])


def test_log_cosh_and_huber_keep_outliers_finite() -> None:
    for loss in (LogCosh(), Huber()):
        assert loss(np.zeros((1, 1), "float32"), np.full((1, 1), 1e30, "float32")) == pytest.approx(1e30)
        assert loss.backward() == 1


def test_focal_loss_without_focus_is_cross_entropy(rng: np.random.Generator) -> None:
    y, z = yes_no(rng, 5, 3), rng.normal(size=(5, 3))
    for from_logits, pred in ((True, z), (False, 1 / (1 + np.exp(-z)))):
        plain, focal = BinaryCrossentropy(from_logits), BinaryFocalCrossentropy(gamma=0, from_logits=from_logits)
        assert focal(y, pred) == pytest.approx(plain(y, pred), rel=1e-15)
        np.testing.assert_allclose(focal.backward(), plain.backward(), rtol=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_of_logits_of_any_size_is_finite(gamma: float) -> None:
    loss = BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    z = np.array([[1e4, -1e4, 200.0, -200.0, 0.0]], dtype="float32")
    for y in (np.ones((1, 5)), np.zeros((1, 5))):
        assert np.isfinite(loss(y, z))
        gradient = loss.backward()
        assert np.isfinite(gradient).all()
        mistakes = (z < 0) == (y > 0.5)
        assert (np.sign(gradient[mistakes]) == np.sign(z[mistakes])).sum() >= 2


def test_focal_loss_takes_the_logits_of_a_sigmoid() -> None:
    assert BinaryFocalCrossentropy().can_take_logits_of(Sigmoid())
    assert not BinaryFocalCrossentropy().can_take_logits_of(Softmax())
    twin = BinaryFocalCrossentropy(gamma=3.0).on_logits()
    assert isinstance(twin, BinaryFocalCrossentropy)
    assert (twin.gamma, twin.from_logits) == (3.0, True)


@pytest.mark.parametrize("loss", [CategoricalCrossentropy, SparseCategoricalCrossentropy])
def test_logits_and_probabilities_agree(loss: type[losses.LogitLoss], rng: np.random.Generator) -> None:
    z = rng.normal(size=(5, 4))
    k = rng.integers(4, size=5)
    y = k if loss is SparseCategoricalCrossentropy else one_hot(k, 4)
    assert loss(from_logits=True)(y, z) == pytest.approx(loss()(y, softmax(z)), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_sure_mistakes_give_finite_losses_and_gradients(dtype: str, from_logits: bool) -> None:
    pred = np.array([[1e4, -1e4], [-1e4, 1e4]] if from_logits else [[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    for loss, y in (
        (CategoricalCrossentropy(from_logits), np.array([[0.0, 1.0], [1.0, 0.0]])),
        (SparseCategoricalCrossentropy(from_logits), np.array([1, 0])),
        (BinaryCrossentropy(from_logits), np.array([[0.0, 1.0], [1.0, 0.0]])),
        (BinaryFocalCrossentropy(from_logits=from_logits), np.array([[0.0, 1.0], [1.0, 0.0]])),
    ):
        assert np.isfinite(loss(y, pred))
        gradient = loss.backward()
        assert np.isfinite(gradient).all()
        assert (gradient[[0, 1], [1, 0]] < 0).all()  # it pushes the right class up


def test_a_sure_hit_has_a_small_loss_not_none() -> None:
    assert BinaryCrossentropy(from_logits=True)(np.ones((1, 1)), np.full((1, 1), 40.0)) == pytest.approx(np.exp(-40))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_probabilities_are_divided_by_their_sum(scale: float, rng: np.random.Generator) -> None:
    p, k = softmax(rng.normal(size=(5, 4))), rng.integers(4, size=5)
    for loss, y in ((CategoricalCrossentropy(), one_hot(k, 4)), (SparseCategoricalCrossentropy(), k)):
        assert loss(y, scale * p) == pytest.approx(loss(y, p), rel=1e-12)


def test_sequences_are_averaged_over_every_step(rng: np.random.Generator) -> None:
    z = rng.normal(size=(2, 3, 4))
    k = rng.integers(4, size=(2, 3))
    flat = SparseCategoricalCrossentropy(from_logits=True)(k.ravel(), z.reshape(6, 4))
    loss = SparseCategoricalCrossentropy(from_logits=True)
    assert loss(k, z) == pytest.approx(flat)
    assert loss.backward().shape == z.shape
    assert CategoricalCrossentropy(from_logits=True)(one_hot(k, 4), z) == pytest.approx(flat)


WRONG_TARGETS = [
    (
        CategoricalCrossentropy(),
        np.array([1, 0]),
        (2, 3),
        r"expected one-hot targets of shape \(2, 3\), got \(2,\).*sparse_categorical_crossentropy.*to_categorical",
    ),
    (CategoricalCrossentropy(), np.eye(4)[:2], (2, 3), r"predictions' shape \(2, 3\), got \(2, 4\).*3 outputs"),
    (CategoricalCrossentropy(), np.array([[2, 0, 0], [1, 0, 0]]), (2, 3), "between 0 and 1 that sum to 1"),
    (CategoricalCrossentropy(), np.array([[1, 1, 0], [1, 0, 0]]), (2, 3), "sum to 1.*binary_crossentropy"),
    (SparseCategoricalCrossentropy(), np.eye(3)[:2], (2, 3), r"looks one-hot.*categorical_crossentropy.*argmax"),
    (SparseCategoricalCrossentropy(), np.array([0, 3]), (2, 3), "from 0 to 2.*got 3. Give the last layer 4 outputs"),
    (SparseCategoricalCrossentropy(), np.array([0, -1]), (2, 3), "from 0 to 2.*got -1. Mend the labels"),
    (SparseCategoricalCrossentropy(), np.array([0.0, 1.0]), (2, 3), r"whole class numbers, got float64.*astype\(int\)"),
    (SparseCategoricalCrossentropy(), np.array([[0], [1]]), (2, 3), r"got \(2, 1\).*never broadcast.*reshape"),
    (BinaryCrossentropy(), np.array([0, 1]), (2, 1), r"shape \(2, 1\), got \(2,\).*never broadcast.*y\[:, None\]"),
    (BinaryCrossentropy(), np.array([[0], [2]]), (2, 1), "between 0 and 1, got values from 0 to 2"),
    (KLDivergence(), np.array([1, 0]), (2, 3), r"KLDivergence expected one-hot.*to_categorical"),
    (KLDivergence(), np.array([[0.5, 0.6]]), (1, 2), "between 0 and 1 that sum to 1"),
    (BinaryFocalCrossentropy(), np.array([[2.0]]), (1, 1), "BinaryFocalCrossentropy expected targets between 0 and 1"),
    (Poisson(), np.array([[-1]]), (1, 1), "Poisson expected counts from 0 up as targets, got -1"),
    (Hinge(), np.array([[2, 1]]), (1, 2), "Hinge expected targets of -1 and 1, or of 0 and 1, got values from 1 to 2"),
    (SquaredHinge(), np.array([[-1, 0, 1]]), (1, 3), "got values from -1 to 1.*categorical_hinge"),
    (CategoricalHinge(), np.array([1, 0]), (2, 3), "CategoricalHinge expected one-hot targets"),
    (Huber(), np.array([1.0, 2.0]), (2, 1), "Huber expected targets of the predictions' shape"),
    (MeanSquaredError(), np.array([1.0, 2.0]), (2, 1), r"never broadcast: use y\[:, None\]"),
    (MeanSquaredError(), np.array([[1.0], [2.0]]), (2,), r"never broadcast: use y\[:, 0\]"),
]


@pytest.mark.parametrize(("loss", "y", "shape", "message"), WRONG_TARGETS)
def test_wrong_targets_are_refused(loss: losses.Loss, y: np.ndarray, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(y, np.full(shape, 0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(-1), "Huber: delta must be a number from 0 up, got -1"),
        (lambda: CosineSimilarity(axis=1.5), "CosineSimilarity: axis must be a whole number, got 1.5"),
        (lambda: CategoricalCrossentropy(label_smoothing=2), "label_smoothing must be a number from 0 to 1, got 2"),
        (lambda: BinaryCrossentropy(label_smoothing=-1), "label_smoothing must be a number from 0 to 1, got -1"),
        (lambda: BinaryFocalCrossentropy(alpha=2), "BinaryFocalCrossentropy: alpha must be a number from 0 to 1"),
        (lambda: BinaryFocalCrossentropy(gamma=-1), "BinaryFocalCrossentropy: gamma must be a number from 0 up"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_name_has_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'crossentropy'.*Did you mean '.*crossentropy'"):
        losses.get("crossentropy")
    with pytest.raises(TypeError, match="loss: expected a name or an instance"):
        losses.get(3)
    with pytest.raises(TypeError, match=r"loss: .* got builtin.* A function of your own becomes a subclass of Loss\."):
        losses.get(abs)
