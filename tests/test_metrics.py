"""Metrics: counted over the whole, and the kind of accuracy that fits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.guard import GuardArray
from tinynn import metrics
from tinynn.backend import Device, to_device
from tinynn.metrics import (
    AUC,
    BinaryAccuracy,
    CategoricalAccuracy,
    F1Score,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)


def test_accuracy_takes_the_kind_that_fits() -> None:
    assert isinstance(metrics.get("accuracy", 2, (32, 1)), BinaryAccuracy)
    assert isinstance(metrics.get("accuracy", 2, (32, 10)), CategoricalAccuracy)
    assert isinstance(metrics.get("acc", 1, (32, 10)), SparseCategoricalAccuracy)
    assert metrics.get("acc", 1, (32, 10)).name == "acc"


def test_batches_of_different_sizes_count_by_their_samples(device: Device) -> None:
    metric = SparseCategoricalAccuracy()
    batches = [([0, 0, 0], [[0.9, 0.1]] * 3), ([0], [[0.1, 0.9]])]
    for y, p in batches:
        metric.update_state(to_device(np.array(y), device), to_device(np.array(p), device))
    assert metric.result() == 0.75
    metric.reset_state()
    assert metric.result() == 0.0


def test_every_step_of_a_sequence_counts() -> None:
    y, p = np.array([[0, 1, 1]]), np.array([[[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]])
    assert SparseCategoricalAccuracy()(y, p) == pytest.approx(2 / 3)
    assert CategoricalAccuracy()(np.eye(2)[y], p) == pytest.approx(2 / 3)


def test_binary_threshold() -> None:
    y, p = np.array([[1], [1], [0]]), np.array([[0.6], [0.4], [0.4]])
    assert BinaryAccuracy()(y, p) == pytest.approx(2 / 3)
    assert BinaryAccuracy(threshold=0.3)(y, p) == pytest.approx(2 / 3)


def one_hot(r: np.random.Generator, n: int) -> np.ndarray:
    return np.eye(4)[r.integers(4, size=n)]


def yes_no(r: np.random.Generator, n: int) -> np.ndarray:
    return r.integers(2, size=(n, 4)).astype(float)


def numbers(r: np.random.Generator, n: int) -> np.ndarray:
    return 1000 + r.normal(size=(n, 4))


def classes(r: np.random.Generator, n: int) -> np.ndarray:
    return r.integers(4, size=n)


def probabilities(r: np.random.Generator, n: int) -> np.ndarray:
    return r.uniform(size=(n, 4))


Y, P = np.ndarray, np.ndarray


def top(k: int, p: P, label: int) -> bool:
    return label in sorted(range(len(p)), key=lambda i: -p[i])[:k]


def precision(y: Y, p: P) -> float:
    found = [t for t, q in zip(y.flat, p.flat, strict=True) if q > 0.5]
    return sum(found) / len(found)


def recall(y: Y, p: P) -> float:
    wanted = [q > 0.5 for t, q in zip(y.flat, p.flat, strict=True) if t]
    return sum(wanted) / len(wanted)


def f1(y: Y, p: P) -> float:
    both = precision(y, p), recall(y, p)
    return 2 * both[0] * both[1] / sum(both) if sum(both) else 0.0


def f1_by_class(y: Y, p: P) -> list[float]:
    largest = np.array([[q == max(row) for q in row] for row in p])
    return [f1(y[:, i], largest[:, i].astype(float)) for i in range(p.shape[1])]


def auc(y: Y, p: P) -> float:
    """How often a target of 1 has a larger output than a target of 0; half where they are equal."""
    ones, zeros = p[y == 1], p[y == 0]
    return float(np.mean([[1.0 if a > b else 0.5 if a == b else 0.0 for b in zeros] for a in ones]))


def perplexity(y: Y, p: P) -> float:
    return float(np.prod([q.sum() / q[k] for k, q in zip(y, p, strict=True)]) ** (1 / len(y)))


def r2_by_column(y: Y, p: P) -> list[float]:
    return [1 - sum((a - b) ** 2) / sum((a - a.mean()) ** 2) for a, b in zip(y.T, p.T, strict=True)]


# name -> metric, targets, predictions, and the same once more, slowly
Draw = Callable[[np.random.Generator, int], np.ndarray]
CASES: dict[str, tuple[Callable[[], Metric], Draw, Draw, Callable[[Y, P], float]]] = {
    "Top2": (
        lambda: TopKCategoricalAccuracy(k=2),
        one_hot,
        probabilities,
        lambda y, p: np.mean([top(2, q, t.argmax()) for t, q in zip(y, p, strict=True)]),
    ),
    "SparseTop3": (
        lambda: SparseTopKCategoricalAccuracy(k=3),
        classes,
        probabilities,
        lambda y, p: np.mean([top(3, q, t) for t, q in zip(y, p, strict=True)]),
    ),
    "Precision": (Precision, yes_no, probabilities, precision),
    "Precision(0.3)": (lambda: Precision(0.3), yes_no, probabilities, lambda y, p: precision(y, p + 0.2)),
    "Precision(class 2)": (
        lambda: Precision(class_id=2),
        yes_no,
        probabilities,
        lambda y, p: precision(y[:, 2], p[:, 2]),
    ),
    "Recall": (Recall, yes_no, probabilities, recall),
    "Recall(0.3)": (lambda: Recall(0.3), yes_no, probabilities, lambda y, p: recall(y, p + 0.2)),
    "Recall(class 0)": (lambda: Recall(class_id=0), yes_no, probabilities, lambda y, p: recall(y[:, 0], p[:, 0])),
    "F1(macro)": (F1Score, one_hot, probabilities, lambda y, p: np.mean(f1_by_class(y, p))),
    "F1(weighted)": (
        lambda: F1Score("weighted"),
        one_hot,
        probabilities,
        lambda y, p: np.average(f1_by_class(y, p), weights=y.sum(axis=0)),
    ),
    "F1(micro)": (lambda: F1Score("micro", threshold=0.5), yes_no, probabilities, f1),
    "F1(0.5)": (
        lambda: F1Score(threshold=0.5),
        yes_no,
        probabilities,
        lambda y, p: np.mean([f1(y[:, i], p[:, i]) for i in range(4)]),
    ),
    "AUC": (AUC, yes_no, lambda r, n: (r.integers(199, size=(n, 4)) + 0.5) / 199, auc),  # midway between thresholds
    "AUC(11)": (
        lambda: AUC(11),
        yes_no,
        lambda r, n: (r.integers(10, size=(n, 4)) + 0.5) / 10,
        auc,
    ),
    "MSE": (
        MeanSquaredError,
        numbers,
        numbers,
        lambda y, p: sum((a - b) ** 2 for a, b in zip(y.flat, p.flat, strict=True)) / y.size,
    ),
    "MAE": (
        MeanAbsoluteError,
        numbers,
        numbers,
        lambda y, p: sum(abs(a - b) for a, b in zip(y.flat, p.flat, strict=True)) / y.size,
    ),
    "RMSE": (RootMeanSquaredError, numbers, numbers, lambda y, p: np.sqrt(np.mean((y - p) ** 2))),
    "R2": (R2Score, numbers, numbers, lambda y, p: np.mean(r2_by_column(y, p))),
    "R2(weighted)": (
        lambda: R2Score("variance_weighted_average"),
        numbers,
        numbers,
        lambda y, p: np.average(r2_by_column(y, p), weights=y.var(axis=0)),
    ),
    "Perplexity": (Perplexity, classes, probabilities, perplexity),
    "Perplexity(logits)": (
        lambda: Perplexity(from_logits=True),
        classes,
        probabilities,
        lambda y, p: perplexity(y, np.exp(p)),
    ),
    "Accuracy": (
        CategoricalAccuracy,
        one_hot,
        probabilities,
        lambda y, p: np.mean([top(1, q, t.argmax()) for t, q in zip(y, p, strict=True)]),
    ),
    "SparseAccuracy": (
        SparseCategoricalAccuracy,
        classes,
        probabilities,
        lambda y, p: np.mean([top(1, q, t) for t, q in zip(y, p, strict=True)]),
    ),
    "BinaryAccuracy": (
        BinaryAccuracy,
        yes_no,
        probabilities,
        lambda y, p: np.mean([(q > 0.5) == t for t, q in zip(y.flat, p.flat, strict=True)]),
    ),
}


def test_every_metric_has_a_case() -> None:
    assert {type(make()) for make, *_ in CASES.values()} == set(metrics.METRICS.values())


@pytest.mark.parametrize("name", CASES)
def test_the_epoch_counts_not_the_mean_of_its_batches(name: str, device: Device, rng: np.random.Generator) -> None:
    """In batches of different sizes, on every device, and without a look at the device before the result."""
    make, targets, predictions, slowly = CASES[name]
    y, p = targets(rng, 60), predictions(rng, 60)
    metric = make()
    for _ in range(2):
        metric.reset_state()
        waits = GuardArray.waits
        for rows in (slice(0, 1), slice(1, 50), slice(50, 60)):
            metric.update_state(to_device(y[rows], device), to_device(p[rows], device))
        assert GuardArray.waits == waits
        result = metric.result()
        assert type(result) is float
        assert result == pytest.approx(slowly(y, p), rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_nothing_counted_is_0(name: str) -> None:
    metric = CASES[name][0]()
    assert metric.result() == 0
    metric.update_state(CASES[name][1](np.random.default_rng(0), 9), np.full((9, 4), 0.7))
    metric.reset_state()
    assert metric.result() == 0


@pytest.mark.parametrize("name", CASES)
def test_steps_of_a_sequence_count_like_samples(name: str, rng: np.random.Generator) -> None:
    make, targets, predictions, _ = CASES[name]
    y, p = targets(rng, 60), predictions(rng, 60)
    assert make()(y.reshape(20, 3, *y.shape[1:]), p.reshape(20, 3, 4)) == pytest.approx(make()(y, p), rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_weights_count_samples_as_often(name: str, device: Device, rng: np.random.Generator) -> None:
    """Weights 0, 1, 2 and halves of them, of samples and of the steps of sequences; no look at the device."""
    make, targets, predictions, slowly = CASES[name]
    y, p = targets(rng, 60), predictions(rng, 60)
    w = rng.integers(3, size=60)
    many = np.repeat(np.arange(60), w)
    expected = slowly(y[many], p[many])
    metric = make()
    waits = GuardArray.waits
    for rows in (slice(0, 1), slice(1, 50), slice(50, 60)):
        arrays = [to_device(array[rows], device) for array in (y, p, (w / 2).astype("float32"))]
        metric.update_state(*arrays)
    assert GuardArray.waits == waits
    assert metric.result() == pytest.approx(expected, rel=1e-9)
    steps = y.reshape(20, 3, *y.shape[1:]), p.reshape(20, 3, 4), w.reshape(20, 3)
    assert make()(*steps) == pytest.approx(expected, rel=1e-9)
    assert make()(y, p, w[:, None]) == pytest.approx(expected, rel=1e-9)
    assert make()(y, p, 0 * w) == 0
    with pytest.raises(ValueError, match=r"expected weights whose shape is the first axes of \(60"):
        make()(y, p, w[:7])


def test_weights_of_samples_hold_for_their_steps() -> None:
    y, p = np.array([[0, 1, 1], [0, 0, 1]]), np.full((2, 3, 2), [0.9, 0.1])
    assert SparseCategoricalAccuracy()(y, p, [1, 3]) == pytest.approx((1 * 1 + 3 * 2) / 12)


def test_perplexity_leaves_out_what_pads() -> None:
    y, p = np.array([[1, 2, 0], [3, 0, 0]]), np.full((2, 3, 4), 0.25)
    p[0, 1], p[1, 1:] = [0.1, 0.1, 0.7, 0.1], [1.0, 0.0, 0.0, 0.0]
    expected = (4 / 0.7 * 4) ** (1 / 3)
    assert Perplexity(mask_token_id=0)(y, p) == pytest.approx(expected)
    assert Perplexity()(y, p, y > 0) == pytest.approx(expected)
    assert Perplexity(mask_token_id=0)(y, p, [[1, 0, 1], [2, 5, 5]]) == pytest.approx(4)


def test_perplexity_counts_tokens_not_batches() -> None:
    metric, y = Perplexity(mask_token_id=0), np.array([[1, 1, 1], [1, 0, 0]])
    p = np.empty((2, 3, 2))
    p[0], p[1] = [0.5, 0.5], [0.75, 0.25]
    for row in range(2):
        metric.update_state(y[row : row + 1], p[row : row + 1])
    assert metric.result() == pytest.approx((2**3 * 4) ** (1 / 4))
    assert Perplexity(from_logits=True)(np.array([0]), np.array([[0.0, 1e4]])) == np.inf


def test_confusion_matrix() -> None:
    true, said = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    matrix = metrics.confusion_matrix(true, said)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype.kind == "i"
    one_hot_rows, outputs = np.eye(3)[true], 0.1 + np.eye(3)[said]
    for t in (true, np.array(true)[:, None], one_hot_rows):
        for s in (said, outputs):
            np.testing.assert_array_equal(metrics.confusion_matrix(t, s), expected)
    wide = metrics.confusion_matrix(true, said, num_classes=5)
    assert wide.shape == (5, 5)
    assert wide.sum() == 6
    assert np.trace(wide) / wide.sum() == SparseCategoricalAccuracy()(np.array(true), outputs)


def test_a_name_of_its_own() -> None:
    assert metrics.get("mse").name == "mse"
    assert metrics.get("root_mean_squared_error").name == "root_mean_squared_error"
    assert metrics.get(Precision(class_id=3, name="precision_of_3")).name == "precision_of_3"
    assert metrics.check_name(F1Score) == "f1_score"
    for name, kind in metrics.METRICS.items():
        if len(name) > 3 or name == "auc":
            assert kind.name == name


def test_of_equal_outputs_all_are_in_the_top_and_nan_is_not() -> None:
    y = np.array([0])
    assert SparseTopKCategoricalAccuracy(k=1)(y, np.array([[0.5, 0.5]])) == 1
    assert SparseTopKCategoricalAccuracy(k=1)(y, np.array([[np.nan, 0.5]])) == 0
    assert SparseTopKCategoricalAccuracy(k=1)(y, np.array([[0.5, np.nan]])) == 0


def test_float32_sums_do_not_lose_what_is_small(rng: np.random.Generator) -> None:
    y = (1e4 + rng.normal(size=(1000, 1))).astype("float32")
    p = y + rng.normal(size=(1000, 1)).astype("float32")
    e = y.astype(float) - p.astype(float)
    mse, mae, r2 = MeanSquaredError(), MeanAbsoluteError(), R2Score()
    for rows in np.split(np.arange(1000), 10):
        for metric in (mse, mae, r2):
            metric.update_state(y[rows], p[rows])
    assert mse.result() == pytest.approx((e**2).mean(), rel=1e-13)
    assert mae.result() == pytest.approx(abs(e).mean(), rel=1e-13)
    assert r2.result() == pytest.approx(1 - (e**2).mean() / y.astype(float).var(), rel=1e-11)


def test_f1_finds_nothing_in_a_row_of_zeros() -> None:
    y, p = np.array([[1, 0], [0, 1]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    assert F1Score()(y, p) == 0.5


def test_r2_of_targets_that_are_all_equal() -> None:
    y = np.full((3, 1), 5.0)
    for aggregation in ("uniform_average", "variance_weighted_average"):
        assert R2Score(aggregation)(y, y) == 1
        assert R2Score(aggregation)(y, y + 1) == 0


def test_r2_of_one_axis() -> None:
    assert R2Score()(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])) == pytest.approx(0.5)


def test_auc_at_the_ends() -> None:
    y = np.array([0.0, 1.0])
    assert AUC()(y, np.array([0.0, 1.0])) == 1
    assert AUC()(y, np.array([1.0, 0.0])) == 0
    assert AUC()(y, np.array([0.5, 0.5])) == 0.5
    assert AUC()(np.ones(2), np.array([0.1, 0.9])) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopKCategoricalAccuracy(k=0), "TopKCategoricalAccuracy: k must be a whole number from 1 up, got 0"),
        (lambda: Precision(2), "Precision: thresholds must be a number from 0 to 1, got 2"),
        (lambda: Recall([0.5]), r"Recall: thresholds must be a number from 0 to 1, got \[0.5\]"),
        (lambda: Recall(class_id=-1), "Recall: class_id must be a whole number from 0 up, got -1"),
        (lambda: Recall(class_id=4)(np.ones((2, 4)), np.ones((2, 4))), "class_id must be from 0 to 3.* got 4"),
        (lambda: F1Score(average=None), "F1Score: average must be 'macro', 'micro' or 'weighted', got None"),
        (lambda: F1Score(threshold=2), "F1Score: threshold must be a number from 0 to 1"),
        (lambda: F1Score()(np.ones((2, 1)), np.ones((2, 1))), "one output is always the largest; give a threshold"),
        (lambda: AUC(1), "AUC: num_thresholds must be 2 or more, got 1"),
        (lambda: R2Score(None), "R2Score: class_aggregation must be 'uniform_average' or"),
        (
            lambda: MeanSquaredError()(np.ones(2), np.ones((2, 1))),
            r"MeanSquaredError expected targets.*never broadcast",
        ),
        (lambda: AUC()(np.ones(2), np.ones((2, 1))), "AUC expected targets of the predictions' shape"),
        (lambda: Recall()(np.ones(2, int), np.ones((2, 3))), "Recall expected targets.*to_categorical"),
        (lambda: Perplexity(mask_token_id=0.5), "Perplexity: mask_token_id must be a whole number, got 0.5"),
        (
            lambda: Perplexity()(np.eye(3), np.eye(3)),
            r"Perplexity expected class numbers of shape \(3,\), got \(3, 3\)",
        ),
        (lambda: metrics.confusion_matrix([0, 1], [0]), "confusion_matrix: y_true has 2 samples and y_pred has 1"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], 3), "num_classes=3, but the data have 4 classes"),
        (lambda: metrics.confusion_matrix([0, 1], [0.2, 0.7]), "y_pred must hold class numbers 0, 1, 2, ..., or"),
        (lambda: metrics.confusion_matrix([0], [0], 0), "num_classes must be a whole number from 1 up, got 0"),
    ],
)
def test_wrong_settings_and_shapes_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_name_has_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        metrics.check_name("acuracy")
