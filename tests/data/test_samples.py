"""Data: one-hot rows, splits, batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn
from tinynn import data


@given(count=st.integers(2, 60), part=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_split_parts_nothing_and_shares_nothing(count: int, part: float, seed: int) -> None:
    held = round(count * part)
    if held in (0, count):
        with pytest.raises(ValueError, match="leaves"):
            data.split(count, part, np.random.default_rng(seed))
        return
    training, validation = data.split(count, part, np.random.default_rng(seed))
    assert sorted([*training, *validation]) == list(range(count))
    assert len(validation) == held


@given(count=st.integers(1, 50), batch_size=st.integers(1, 60), shuffled=st.booleans())
def test_batches_take_every_row_once(count: int, batch_size: int, shuffled: bool) -> None:
    x = np.arange(count)
    order = np.random.default_rng(0).permutation(count) if shuffled else None
    found = [x[rows] for rows in data.batches(count, batch_size, order)]
    assert [len(batch) for batch in found[:-1]] == [batch_size] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate(found), x if order is None else order)


def test_to_categorical_is_the_inverse_of_argmax(rng: np.random.Generator) -> None:
    numbers = rng.integers(5, size=(4, 3))
    rows = tinynn.to_categorical(numbers, 5)
    assert rows.shape == (4, 3, 5)
    np.testing.assert_array_equal(rows.argmax(axis=-1), numbers)
    np.testing.assert_array_equal(rows.sum(axis=-1), 1)


def test_weights_of_classes_of_every_step() -> None:
    numbers, table = np.array([[0, 2], [1, 1]]), {0: 0.5, 1: 2.0, 2: 0.0}
    expected = [[0.5, 0.0], [2.0, 2.0]]
    rows = np.eye(3)[numbers]
    for y in (numbers, rows, 0.9 * rows + 0.1 / 3):
        np.testing.assert_array_equal(data.weights_of_classes(y, table, (2, 2, 3), "here"), expected)


def test_class_numbers_of_anything() -> None:
    for y in ([0, 2, 1], [[0], [2], [1]], np.eye(3)[[0, 2, 1]], [0.0, 2.0, 1.0]):
        numbers, classes = data.class_numbers(y, "here", "y")
        assert numbers.tolist() == [0, 2, 1]
        assert classes == 3
    with pytest.raises(ValueError, match=r"here: y must hold class numbers 0, 1, 2, .*; got 0\.5"):
        data.class_numbers([0.5], "here", "y")
    with pytest.raises(ValueError, match=r"here: y must be class numbers, of shape \(samples,\), .* \(1, 2, 3\)"):
        data.class_numbers(np.zeros((1, 2, 3)), "here", "y")
