"""Regularizers: penalties in the loss, and their gradients in the step."""

from __future__ import annotations

import numpy as np
import pytest

import tinynn
from tinynn import L1, L1L2, L2, Dense, Input, Regularizer, Sequential


@pytest.mark.parametrize("regularizer", [L1(0.3), L2(0.2), L1L2(0.1, 0.4)])
def test_gradient_is_right(regularizer: Regularizer, rng: np.random.Generator) -> None:
    w, direction, h = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 1e-6
    expected = (regularizer(w + h * direction) - regularizer(w - h * direction)) / (2 * h)
    assert (regularizer.gradient(w) * direction).sum() == pytest.approx(expected, rel=1e-8)


def test_penalties_count_to_the_loss_and_push_the_weights(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))

    def model(**options: object) -> Sequential:
        network = Sequential([Input((3,)), Dense(2, **options)], seed=0, dtype="float64")
        network.compile(tinynn.SGD(0.1), "mse")
        return network

    plain, penal = model(), model(kernel_regularizer=L2(0.3), bias_regularizer="l1")
    W = plain.get_weights()[0]
    assert penal.evaluate(x, y) == pytest.approx(plain.evaluate(x, y) + 0.3 * (W * W).sum())
    assert penal.train_on_batch(x, y) == pytest.approx(plain.train_on_batch(x, y) + 0.3 * (W * W).sum())
    np.testing.assert_allclose(penal.get_weights()[0], plain.get_weights()[0] - 0.1 * 2 * 0.3 * W)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown regularizer 'l3'\. Did you mean 'l2'"):
        Dense(2, kernel_regularizer="l3")
    with pytest.raises(ValueError, match="L2: l2 must be a number from 0 up, got -1"):
        L2(-1)
