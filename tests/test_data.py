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
    x = np.arange(count)
    held = round(count * part)
    if held in (0, count):
        with pytest.raises(ValueError, match="leaves"):
            data.split(x, x, part, np.random.default_rng(seed))
        return
    (x_train, y_train), (x_held, y_held) = data.split(x, 10 * x, part, np.random.default_rng(seed))
    assert sorted([*x_train, *x_held]) == x.tolist()
    assert len(x_held) == held
    np.testing.assert_array_equal(y_train, 10 * x_train)
    np.testing.assert_array_equal(y_held, 10 * x_held)


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
