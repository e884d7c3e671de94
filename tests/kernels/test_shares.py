"""Work in shares: the numbers are the plain lines', whatever the threads; and products of matrices in tiles."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.kernels.test_fused import assert_equal, every_dtype, in_dtype, outcome
from tinynn import kernels, layers

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba, which compiles the fused kernels, is not installed"
)


@pytest.fixture
def use_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let so many threads share every batch, three of them at first."""
    team = importlib.import_module("tinynn.kernels.fused.team")
    limits = {"shares": "PRODUCTS", "elementwise": "LARGE", "optimizers": "LARGE"}
    limits |= {"products": "SHARED", "lstm": "SHARED", "biased": "SHARED"}
    for module, limit in limits.items():
        monkeypatch.setattr(importlib.import_module(f"tinynn.kernels.fused.{module}"), limit, 1)
    monkeypatch.setattr(kernels, "LARGE", 1)
    monkeypatch.setattr(kernels, "MUCH", 1)
    fused = kernels.load_fused()[0]
    monkeypatch.setattr(fused, "LEAST", dict.fromkeys(fused.LEAST, 0))

    def use(count: int) -> None:
        team.team().end()
        monkeypatch.setattr(team, "threads", lambda: count)
        team.team.cache_clear()

    use(3)
    yield use
    team.team().end()
    team.team.cache_clear()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv2D(5, 3, strides=2, padding="same"), (6, 6, 3)),
        (layers.Conv2DTranspose(5, 3), (6, 6, 3)),
        (layers.ReLU(), (37,)),
        (layers.ReLU6(), (3,)),
        (layers.Sigmoid(), (37,)),
        (layers.GELU(), (5, 67)),
        (layers.HardTanh(), (37,)),
        (layers.ELU(), (37,)),
        (layers.Dense(37, activation="relu"), (5,)),
        (layers.Dense(3, activation=layers.ReLU6()), (4, 5)),
        (layers.Dense(70, activation="sigmoid"), (5,)),
        (layers.Dense(35, activation="tanh"), (5,)),
        (layers.LSTM(5), (4, 3)),
        (layers.LSTM(35, return_sequences=True, truncate=3, go_backwards=True), (4, 9)),
    ],
    ids=str,
)
@every_dtype
def test_shares_make_no_difference(
    layer: Any, shape: tuple[int, ...], dtype: str, use_threads: Callable[[int], None]
) -> None:
    for batch in (1, 2, 7):
        rng = np.random.default_rng(batch)
        x = rng.normal(size=(batch, *shape)).astype(dtype)
        dy = rng.normal(size=layer(x).shape).astype(dtype)
        assert_equal(in_dtype(layer, dtype), x, dy, dtype)
        results = []
        for count in (3, 2, 1, 3):
            use_threads(count)
            results.append(outcome(layer, x, dy, plain=False))
        for again in results[1:]:
            for first, second in zip(results[0], again, strict=True):
                np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("use_threads")
@every_dtype
def test_an_lstm_in_shares_with_states_masks_and_dropout(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 6, 4)).astype(dtype)
    mask = rng.random((7, 6)) < 0.6
    start = [rng.normal(size=(7, 5)).astype(dtype) for _ in range(2)]
    dy = [rng.normal(size=shape).astype(dtype) for shape in ((7, 6, 5), (7, 5), (7, 5))]
    results = []
    for plain in (False, True):
        layer = layers.LSTM(5, dropout=0.3, recurrent_dropout=0.4, return_sequences=True, return_state=True)
        layer.rng = np.random.default_rng(1)
        layer.build_for((6, 4))
        in_dtype(layer, dtype)
        layer.plain = plain
        y = layer.forward(x, training=True, mask=mask, initial_state=start)
        dx = layer.backward(dy)
        results.append([*y, dx, *layer.dinitial_state, *(parameter.grad for parameter in layer.parameters)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("M", "K", "size"),
    [
        (4, 1, 1),
        (7, 5, 3),
        (50, 67, 33),
        (301, 12, 32),
        (5, 130, 70),
        (9, 2100, 40),
        (530, 40, 9),
        (300, 90, 2),
        (1100, 1030, 5),
    ],
)
@every_dtype
def test_products(M: int, K: int, size: int, dtype: str, use_threads: Callable[[int], None]) -> None:
    matmul = kernels.fused_kernels(np.zeros(1)).matmul
    rng = np.random.default_rng(0)
    for a_transposed, b_transposed in itertools.product((False, True), repeat=2):
        a = rng.integers(-9, 10, (K, M) if a_transposed else (M, K)).astype(dtype)
        b = rng.integers(-9, 10, (size, K) if b_transposed else (K, size)).astype(dtype)
        a, b = a.T if a_transposed else a, b.T if b_transposed else b
        for count in (3, 1):  # whole numbers: their sums are exact in any order
            use_threads(count)
            z = matmul(a, b)
            assert z.dtype == dtype
            np.testing.assert_array_equal(z, a @ b)
            out = np.full((M, size), np.nan, dtype=dtype)
            assert matmul(a, b, out) is out
            np.testing.assert_array_equal(out, z)


@pytest.mark.usefixtures("use_threads")
def test_products_that_are_left_to_numpy() -> None:
    matmul = kernels.fused_kernels(np.zeros(1)).matmul
    a, b = np.ones((600, 700)), np.ones((700, 800))
    assert matmul(a[:, ::2], b[::2]) is None
    assert matmul(a[:3], b) is None
    assert matmul(a, b.astype("float32")) is None
    assert matmul(a, b, np.empty((600, 800), dtype="float32")) is None
    assert matmul(a, b, np.empty((800, 600)).T) is None
    assert matmul(a, b, np.empty((600, 799))) is None
    np.testing.assert_array_equal(kernels.matmul(a[:, ::2], b[::2]), np.full((600, 800), 350.0))
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        kernels.matmul(a, b[1:])


@pytest.mark.usefixtures("use_threads")
def test_a_product_keeps_nan_in_its_row_or_column() -> None:
    x, dz = np.ones((50, 7)), np.ones((50, 35))
    x[49, 6] = dz[3, 34] = np.nan
    z = kernels.fused_kernels(np.zeros(1)).matmul(x, np.ones((7, 35)))
    dW = kernels.fused_kernels(np.zeros(1)).matmul(x.T, dz)
    np.testing.assert_array_equal(np.isnan(z), (np.arange(50) == 49)[:, None] | np.zeros(35, dtype=bool))
    np.testing.assert_array_equal(np.isnan(dW), (np.arange(7) == 6)[:, None] | (np.arange(35) == 34))


@pytest.mark.parametrize("dtype", ["float32", ">f4", "uint8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 5), (7, 0)], ids=str)
def test_rows_are_gathered(shape: tuple[int, ...], dtype: str, use_threads: Callable[[int], None]) -> None:
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    rows = np.array([6, 0, 3, 3, -1, -7, 2])
    for count in (3, 1):
        use_threads(count)
        for taken in (rows, rows[:1], rows[:0], rows[::2]):
            np.testing.assert_array_equal(kernels.gather(x, taken), x[taken])
            np.testing.assert_array_equal(kernels.gather(x[::2], taken % 4), x[::2][taken % 4])
        for missing in (7, -8):
            with pytest.raises(IndexError, match=f"index {missing} is out of bounds"):
                kernels.gather(x, np.array([0, missing]))


@pytest.mark.parametrize("pieces", [1, 2])
def test_arrays_of_a_job_live_until_it_is_done(
    pieces: int, use_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_threads(2)
    team = importlib.import_module("tinynn.kernels.fused.team")
    made, alive = [], []

    def temporary() -> Iterator[np.ndarray]:
        x = np.ones(3)
        made.append(weakref.ref(x))
        yield x

    def look(*job: Any) -> None:
        alive.append(made[0]() is not None)

    monkeypatch.setattr(team, "share_out", look)
    monkeypatch.setattr(team, "alone", look)
    team.team().share_out(0, pieces, temporary())
    assert alive == [True]


@pytest.mark.parametrize("return_sequences", [True, False])
def test_an_lstm_takes_gradients_with_gaps_and_turned_ones(
    return_sequences: bool, use_threads: Callable[[int], None]
) -> None:
    rng = np.random.default_rng(0)
    x, start = rng.normal(size=(6, 5, 4)), [rng.normal(size=(6, 3)) for _ in range(2)]
    dy = [rng.normal(size=shape) for shape in ((6, 5, 3) if return_sequences else (6, 3), (6, 3), (6, 3))]
    results = []
    for plain, change in (
        (True, np.copy),
        (False, np.copy),
        (False, np.asfortranarray),
        (False, lambda d: np.repeat(d, 2, axis=0)[::2]),
    ):
        layer = layers.LSTM(3, return_sequences=return_sequences, return_state=True, kernel_initializer="ones")
        layer.rng = np.random.default_rng(1)
        layer.build_for((5, 4))
        in_dtype(layer, "float64")
        layer.plain = plain
        layer.forward(x, initial_state=start)
        dx = layer.backward([change(d) for d in dy])
        results.append([dx, *layer.dinitial_state, *(parameter.grad for parameter in layer.parameters)])
    for others in results[1:]:
        for ours, theirs in zip(others, results[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("use_threads")
def test_an_error_in_a_share_reaches_who_asked() -> None:
    in_shares = importlib.import_module("tinynn.kernels.fused.shares").in_shares

    def work(share: slice) -> int:
        if share.start >= 4:
            raise ValueError(f"share {share.start}")
        return int(share.start)

    with pytest.raises(ValueError, match="share 4"):
        in_shares(work, 8, 8)
    assert in_shares(work, 4, 4) == [0, 1, 2, 3]  # the threads are still there


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = "import numpy, tinynn.kernels.fused.shares as s, tinynn.kernels.fused.team as t, os, threading\n"
    code += "t.threads = lambda: 2; s.PRODUCTS, s.SHARES = 1, 2\n"
    code += "both = threading.Barrier(2, timeout=20)\n"
    code += "work = lambda share: (both.wait(), share.start)[1]\n"  # passes if two threads are at it at once
    code += "assert s.in_shares(work, 4, 9) == [0, 2]\n"
    code += "child = os.fork()\n"
    code += "if child == 0: os._exit(s.in_shares(work, 4, 9) != [0, 2])\n"
    code += "assert os.waitpid(child, 0)[1] == 0"
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True, timeout=60)
