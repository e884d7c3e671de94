"""Initialisers: the distributions they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinynn import initializers
from tinynn.initializers import fans

SHAPE = (300, 200)
EXPECTED_VARIANCE = {
    "glorot_normal": 2 / 500,
    "glorot_uniform": 2 / 500,
    "he_normal": 2 / 300,
    "he_uniform": 2 / 300,
    "lecun_normal": 1 / 300,
    "lecun_uniform": 1 / 300,
    "normal": 0.05**2,
    "uniform": 0.1**2 / 12,
}


@pytest.mark.parametrize("name", EXPECTED_VARIANCE)
def test_mean_and_variance(name: str, rng: np.random.Generator) -> None:
    values = initializers.get(name)(SHAPE, rng, "float64")
    variance = EXPECTED_VARIANCE[name]
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "lecun_uniform"])
def test_uniform_stays_inside_its_limits(name: str, rng: np.random.Generator) -> None:
    values = initializers.get(name)(SHAPE, rng, "float64")
    limit = math.sqrt(3 * EXPECTED_VARIANCE[name])
    assert 0.99 * limit < np.abs(values).max() <= limit


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal"])
def test_normal_is_cut_at_two_standard_deviations(name: str, rng: np.random.Generator) -> None:
    values = initializers.get(name)(SHAPE, rng, "float64")
    cut = 2 * math.sqrt(EXPECTED_VARIANCE[name]) / 0.87962566103423978
    assert 0.99 * cut < np.abs(values).max() <= cut


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    q = initializers.get("orthogonal")(shape, rng, "float64").reshape(-1, shape[-1])
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)


def test_constants(rng: np.random.Generator) -> None:
    for name, value in (("zeros", 0), ("ones", 1)):
        assert (initializers.get(name)((4,), rng) == value).all()
    assert (initializers.Constant(3)((4,), rng) == 3).all()


def test_fans_of_a_kernel() -> None:
    assert fans((5,)) == (5, 5)
    assert fans((3, 3, 4, 8)) == (36, 72)


def test_one_seed_gives_one_network_in_both_dtypes() -> None:
    single, double = (
        initializers.get("glorot_uniform")((4, 3), np.random.default_rng(5), dtype) for dtype in ("float32", "float64")
    )
    np.testing.assert_array_equal(single, double.astype("float32"))


def test_wrong_settings_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"unknown initializer 'glorot'. Did you mean 'glorot_"):
        initializers.get("glorot")
    with pytest.raises(ValueError, match=r"Orthogonal needs a parameter with at least two axes, got the shape \(3,\)"):
        initializers.Orthogonal()((3,), rng)
    with pytest.raises(ValueError, match="mode must be"):
        initializers.VarianceScaling(mode="fan")
