"""Metrics: counted over the whole, and the kind of accuracy that fits."""

from __future__ import annotations

import numpy as np
import pytest

from tinynn import metrics
from tinynn.backend import Device, to_device
from tinynn.metrics import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy


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


def test_unknown_name_has_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        metrics.check_name("acuracy")
