"""Products on the device, by a pretended cuBLASLt, and by the real one where there is a device."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard import FakeCuPy, round_to_bfloat16
from tests.pretended_cublaslt import widened
from tinynn.backend import Device, choose_device, to_device, to_host
from tinynn.kernels import matmul
from tinynn.kernels.cuda import cublaslt, products
from tinynn.kernels.precision import check_precision, precision

TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-13}


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=pytest.mark.gpu)])
def on_device(request: pytest.FixtureRequest) -> Device:
    if request.param == "pretended":
        request.getfixturevalue("fake_cupy")
    try:
        return choose_device("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))


def near(found: Any, wanted: np.ndarray, dtype: str = "float32") -> None:
    assert found.dtype == dtype
    scale = abs(wanted).max() if wanted.size else 1
    assert found.shape == wanted.shape
    assert np.allclose(to_host(found).astype("float64"), wanted, rtol=0, atol=TOLERANCE[dtype] * (scale + 1))


SHAPES = [
    ((3, 4), (4, 5)),
    ((1, 4), (4, 1)),
    ((3, 1), (1, 5)),
    ((6, 3, 4), (6, 4, 5)),
    ((2, 3, 4, 5), (2, 3, 5, 6)),
    ((2, 3, 4, 5), (5, 6)),
    ((4, 5), (3, 5, 2)),
    ((2, 1, 4, 5), (1, 3, 5, 6)),
    ((1, 1, 4, 5), (1, 5, 6)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)], ids=str)
def test_products_of_all_shapes(
    on_device: Device, rng: np.random.Generator, dtype: str, shapes: Any, transposed: tuple[bool, bool]
) -> None:
    factors, there = [], []
    for shape, flip in zip(shapes, transposed, strict=True):
        x = rng.normal(size=shape).astype(dtype)
        factors.append(x.astype("float64"))
        if flip:
            there.append(to_device(np.ascontiguousarray(x.swapaxes(-1, -2)), on_device).swapaxes(-1, -2))
        else:
            there.append(to_device(x, on_device))
    wanted = factors[0] @ factors[1]
    near(matmul(*there), wanted, dtype)
    out = on_device.xp.full(wanted.shape, 9, dtype=dtype)
    assert matmul(*there, out=out) is out
    near(out, wanted, dtype)


@given(
    rows=st.integers(1, 5),
    depth=st.integers(1, 5),
    columns=st.integers(1, 5),
    pieces=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), st.booleans())] * 3),
)
def test_pieces_of_larger_arrays(
    fake_cupy: FakeCuPy, rows: int, depth: int, columns: int, pieces: tuple[tuple[int, int, int, bool], ...]
) -> None:
    """Slices with offsets and steps, by rows or by columns; also as the place for the result."""
    rng = np.random.default_rng(0)
    views = []
    for (height, width), (start, row_step, column_step, flip) in zip(
        ((rows, depth), (depth, columns), (rows, columns)), pieces, strict=True
    ):
        if flip:
            height, width = width, height
        whole = fake_cupy.asarray(rng.normal(size=(start + height * row_step, start + width * column_step)))
        piece = whole[start::row_step, start::column_step][:height, :width]
        views.append(piece.T if flip else piece)
    a, b, out = views
    matmul(a, b, out=out)
    assert np.allclose(out.wrapped, a.wrapped @ b.wrapped, rtol=0, atol=1e-12)


def test_a_product_leaves_its_surroundings_alone(fake_cupy: FakeCuPy, rng: np.random.Generator) -> None:
    whole = fake_cupy.asarray(np.zeros((4, 9)))
    a, b = (fake_cupy.asarray(rng.normal(size=shape)) for shape in ((4, 3), (3, 5)))
    matmul(a, b, out=whole[:, 2:7])
    assert (whole.wrapped[:, :2] == 0).all()
    assert (whole.wrapped[:, 7:] == 0).all()
    assert np.allclose(whole.wrapped[:, 2:7], a.wrapped @ b.wrapped)


def test_only_what_has_to_be_is_copied(fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(x: Any) -> None:
        raise AssertionError("a copy")

    monkeypatch.setattr(fake_cupy, "ascontiguousarray", refuse, raising=False)
    a, b = (fake_cupy.asarray(np.ones(shape)) for shape in ((8, 6), (6, 4)))
    matmul(a, b)
    matmul(a[:, 1:4].T, a[:, 2:])
    matmul(a.reshape(2, 4, 6), b)
    with pytest.raises(AssertionError, match="a copy"):
        matmul(a[:, ::2], b[:3])


def test_what_cublaslt_does_not_take_cupy_multiplies(fake_cupy: FakeCuPy, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=(3, 3)) for _ in range(2))
    for x, y in ((a + 1j, b), (a, b[0]), (a.astype("float32"), b)):
        assert np.allclose(matmul(fake_cupy.asarray(x), fake_cupy.asarray(y)).wrapped, x @ y)
    assert fake_cupy.cublaslt.compute_types == []
    with pytest.raises(ValueError, match="mismatch"):
        matmul(fake_cupy.asarray(a), fake_cupy.asarray(np.ones((4, 2))))


def test_precision_is_float32_unless_asked_for(fake_cupy: FakeCuPy) -> None:
    x = fake_cupy.asarray(np.ones((2, 2), "float32"))
    matmul(x, x)
    with precision("tensorfloat32"):
        matmul(x, x)
        matmul(fake_cupy.asarray(np.ones((2, 2))), fake_cupy.asarray(np.ones((2, 2))))
    with precision("bfloat16"):
        matmul(x, x)
    matmul(x, x)
    wanted = [cublaslt.COMPUTE_32F, cublaslt.COMPUTE_32F_TF32, cublaslt.COMPUTE_64F, *[cublaslt.COMPUTE_32F] * 2]
    assert fake_cupy.cublaslt.compute_types == wanted


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="'float32', 'tensorfloat32', 'bfloat16', got 'tf32'"):
        check_precision("tf32", "compile")
    with pytest.raises(ValueError, match="precision: matmul_precision"), precision("half"):
        pass


@pytest.mark.gpu
def test_tf32_is_asked_for_and_used(rng: np.random.Generator) -> None:
    """Only a device has TF32: there its products are less exact than float32's, and as exact as 10 bits are."""
    try:
        device = choose_device("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))
    a, b = (rng.normal(size=(512, 512)).astype("float32") for _ in range(2))
    wanted = a.astype("float64") @ b
    errors = []
    for name in ("float32", "tensorfloat32", "bfloat16"):
        with precision(name):
            errors.append(abs(to_host(matmul(to_device(a, device), to_device(b, device))) - wanted).max())
    assert errors[0] < 1e-3 < errors[1] < errors[2] < 1


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)], ids=str)
def test_bfloat16_multiplies_rounded_factors(
    on_device: Device, rng: np.random.Generator, transposed: tuple[bool, bool]
) -> None:
    factors, there = [], []
    for flip in transposed:
        x = rng.normal(size=(64, 64)).astype("float32")
        rounded = widened(round_to_bfloat16(x.view("uint32"))).astype("float64")
        factors.append(rounded.T if flip else rounded)
        there.append(to_device(x, on_device).T if flip else to_device(x, on_device))
    with precision("bfloat16"):
        near(matmul(*there), factors[0] @ factors[1])


def test_rounding_to_bfloat16_is_to_the_nearest_even() -> None:
    x = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, np.inf, 0], "float32")
    wanted = [1, 1, 1 + 2**-6, 1 + 2**-7, -1, np.inf, 0]
    assert widened(round_to_bfloat16(x.view("uint32"))).tolist() == wanted


def test_a_plan_is_made_once_and_the_oldest_are_freed(fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MOST_PLANS", 3)
    x = fake_cupy.asarray(np.ones((9, 9)))
    matmul(x, x)
    alive = len(fake_cupy.cublaslt.alive)
    matmul(x, x)
    assert len(fake_cupy.cublaslt.alive) == alive
    for rows in range(1, 9):
        matmul(x[:rows], x)
    assert len(fake_cupy.cublaslt.alive) == 1 + 3 * (alive - 1)


@pytest.mark.parametrize("why", [{"knows_algorithms": False}, {"status": 15}, {"status_found": 7}], ids=str)
def test_what_cublaslt_knows_no_algorithm_for_cupy_multiplies(fake_cupy: FakeCuPy, why: dict[str, Any]) -> None:
    vars(fake_cupy.cublaslt).update(why)
    x, out = fake_cupy.asarray(np.ones((2, 2), "float32")), fake_cupy.asarray(np.zeros((2, 2), "float32"))
    with precision("bfloat16"):
        for _ in range(2):  # the second time it is known
            assert matmul(x, x, out=out) is out
            assert out.wrapped.tolist() == [[2, 2], [2, 2]]
            out[...] = 0
    assert fake_cupy.cublaslt.compute_types == []
    rounded = products.rounded(fake_cupy, x)
    with pytest.raises(cublaslt.CublasLtError, match=r"no algorithm for Kind\(types=\(14, 0, 68\), matrices=1, rows=2"):
        products.multiply_rounded(rounded, rounded, out)


def test_another_failure_is_an_error(fake_cupy: FakeCuPy) -> None:
    fake_cupy.cublaslt.status = 1
    x = fake_cupy.asarray(np.ones((2, 2)))
    with pytest.raises(cublaslt.CublasLtError, match="GetHeuristic failed with the status 1 of cuBLAS"):
        matmul(x, x)


def test_without_the_library_cupy_multiplies(fake_cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublaslt, "load", lambda major: (None, "not there"))
    x = fake_cupy.asarray(np.ones((2, 2)))
    assert matmul(x, x).wrapped.tolist() == [[2, 2], [2, 2]]
    assert fake_cupy.cublaslt.compute_types == []


def test_a_library_that_is_not_there_is_said() -> None:
    found, reason = cublaslt.load(99)
    assert found is None
    assert reason.startswith("cuBLASLt of CUDA 99 was not found (")


def real_library() -> cublaslt.CublasLt:
    """Return the real library, which describes products on a machine without a device too."""
    for major in (13, 12):
        found, reason = cublaslt.load(major)
        if found is not None:
            return found
    pytest.skip(reason)


def test_the_real_library_takes_the_descriptions() -> None:
    lt = real_library()
    for compute, scale in ((68, 0), (77, 0), (70, 1)):
        product = lt.make("MatmulDesc", compute, scale)
        lt.set("MatmulDesc", product, cublaslt.DESC_TRANSA, ctypes.c_int32(1))
        lt.destroy("MatmulDesc", product)
    layout = lt.make("MatrixLayout", cublaslt.REAL_16BF, 3, 4, 5)
    lt.set("MatrixLayout", layout, cublaslt.LAYOUT_BATCH_COUNT, ctypes.c_int32(7))
    lt.set("MatrixLayout", layout, cublaslt.LAYOUT_BATCH_STRIDE, ctypes.c_int64(7))
    with pytest.raises(cublaslt.CublasLtError, match="failed with the status 7"):
        lt.set("MatrixLayout", layout, cublaslt.LAYOUT_BATCH_STRIDE, ctypes.c_int8(7))
    lt.destroy("MatrixLayout", layout)
    preference = lt.make("MatmulPreference")
    lt.set("MatmulPreference", preference, cublaslt.PREFERENCE_WORKSPACE, ctypes.c_uint64(products.WORKSPACE))
    for attribute in cublaslt.PREFERENCE_ALIGNMENTS:
        lt.set("MatmulPreference", preference, attribute, ctypes.c_uint32(16))
    lt.destroy("MatmulPreference", preference)
