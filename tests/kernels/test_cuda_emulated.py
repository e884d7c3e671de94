"""The CUDA kernels, run on the CPU or on a device: each equals its twin in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynn.backend import choose_device, to_host
from tinynn.kernels.cuda import activations, columns

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Any:
    """What runs the kernels: a device, or a compiler that makes C++ of them."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated_cupy")
    try:
        return choose_device("cuda").xp
    except RuntimeError as error:
        pytest.skip(str(error))


def assert_equal(found: Any, expected: np.ndarray, dtype: str, factor: float = 16) -> None:
    """Compare with what the twin made of float64: 16 units of the last place of the largest number."""
    found = to_host(found)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    atol = factor * np.finfo(dtype).eps * np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


NUMBERS = {"relu": (2.0,), "leaky_relu": (0.2,), "elu": (1.1, 1.5, 0.8)}


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (1300, 3), (2, 3, 40)], ids=str)
@every_dtype
def test_activations(name: str, shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    activation, numbers = activations.ACTIVATIONS[name], NUMBERS.get(name, ())
    rng = np.random.default_rng(0)
    x, dy = ((3 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    b = rng.normal(size=shape[-1]).astype(dtype)
    forward, backward = getattr(activations, name), getattr(activations, f"{name}_backward")
    exact = x.astype(float)
    y = activation.twin(exact, *numbers)
    assert_equal(forward(xp.asarray(x), *numbers), y, dtype)
    kept = exact if activation.keeps == "x" else y.astype(dtype).astype(float)
    dx = activation.backward_twin(dy.astype(float), kept, *numbers)
    assert_equal(backward(xp.asarray(dy), xp.asarray(kept.astype(dtype)), *numbers), dx, dtype)

    y, kept = activations.biased(xp.asarray(x), xp.asarray(b), name, *numbers)
    assert_equal(y, activations.biased_twin(exact, b.astype(float), name, *numbers), dtype)
    db = xp.asarray(np.full_like(b, np.nan))
    da, db_true = activations.biased_backward_twin(dy.astype(float), to_host(kept).astype(float), name, *numbers)
    assert_equal(activations.biased_backward(xp.asarray(dy), kept, db, name, *numbers), da, dtype)
    assert_equal(db, db_true, dtype)


@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (2500, 5), (2, 3, 10)], ids=str)
@every_dtype
def test_column_sums(shape: tuple[int, ...], dtype: str, xp: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    true = columns.column_sums_twin(x.astype(float))
    out = xp.asarray(np.full(shape[-1], np.nan, dtype))
    assert columns.column_sums(xp.asarray(x), out).shape == true.shape
    assert_equal(out, true, dtype)
    assert_equal(columns.column_sums(xp.asarray(x)), true, dtype)
