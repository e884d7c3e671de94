"""Matrix products on a CUDA device, by cuBLASLt: what `tinynn.kernels.matmul` does with CuPy's arrays.

cuBLASLt counts down columns, arrays here along rows. A matrix that is read along its rows is, read down its columns,
its transpose; and y = a b is y^T = b^T a^T. So b is given as the first factor and a as the second, as they lie in
memory, and what comes out is y as it shall lie there. A transposed view, ``x.T``, costs nothing: it is a flag.

    NumPy twin      y = a @ b
    launch shape    cuBLASLt's own, which it chooses once for each kind of product (`Plan`)
    precision       sums in float32 (float64 for float64); of float32 factors all bits count, the 10 of TF32 or the 7
                    of bfloat16, as `tinynn.kernels.precision` says
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import array_module
from tinynn.kernels.cuda import cublaslt
from tinynn.kernels.cuda.cublaslt import CublasLt, NoAlgorithm
from tinynn.kernels.precision import current

WORKSPACE = 2**25  # bytes an algorithm may work in: what NVIDIA advises for the H100
MOST_PLANS = 1000
ALIGNED = 256  # the largest alignment that an algorithm asks for

# For each dtype and precision: of what type the factors and the result are, and how sums are made.
KINDS = {
    ("e", "float32"): (cublaslt.REAL_16F, cublaslt.REAL_16F, cublaslt.COMPUTE_32F),
    ("d", "float32"): (cublaslt.REAL_64F, cublaslt.REAL_64F, cublaslt.COMPUTE_64F),
    ("f", "float32"): (cublaslt.REAL_32F, cublaslt.REAL_32F, cublaslt.COMPUTE_32F),
    ("f", "tensorfloat32"): (cublaslt.REAL_32F, cublaslt.REAL_32F, cublaslt.COMPUTE_32F_TF32),
    ("f", "bfloat16"): (cublaslt.REAL_16BF, cublaslt.REAL_32F, cublaslt.COMPUTE_32F),
}


DTYPES = {cublaslt.REAL_16F: "float16", cublaslt.REAL_32F: "float32", cublaslt.REAL_64F: "float64"}


class Matrix(NamedTuple):
    """How the matrices of one factor lie in memory.

    Attributes
    ----------
    transposed : bool
        Whether they lie column by column, and not row by row.
    lead : int
        From one row (or column) to the next, in numbers.
    step : int
        From one matrix to the next; 0 where all are one.
    aligned : int
        Of what power of two, up to `ALIGNED`, the first byte's address is a multiple.
    """

    transposed: bool
    lead: int
    step: int
    aligned: int


class Kind(NamedTuple):
    """All that a product is told by but where its numbers are: what an algorithm is chosen for.

    y (matrices, rows, columns) = a (matrices, rows, depth) b (matrices, depth, columns)
    """

    types: tuple[int, int, int]
    matrices: int
    rows: int
    depth: int
    columns: int
    a: Matrix
    b: Matrix
    y: Matrix


class Plan:
    """One kind of product: how it is described to cuBLASLt, and which algorithm it has chosen.

    Parameters
    ----------
    lt : CublasLt
    handle : int
    kind : Kind

    Attributes
    ----------
    found : Found or None
        None where cuBLASLt knows no algorithm.
    """

    def __init__(self, lt: CublasLt, handle: int, kind: Kind) -> None:
        of_factors, of_y, compute = kind.types
        double = of_y == cublaslt.REAL_64F
        number = ctypes.c_double if double else ctypes.c_float
        self.one, self.zero = number(1), number(0)
        self.lt = lt
        self.made: list[tuple[str, int]] = []
        self.product = self.make("MatmulDesc", compute, cublaslt.REAL_64F if double else cublaslt.REAL_32F)
        for attribute, matrix in ((cublaslt.DESC_TRANSA, kind.b), (cublaslt.DESC_TRANSB, kind.a)):
            if matrix.transposed:
                lt.set("MatmulDesc", self.product, attribute, ctypes.c_int32(cublaslt.TRANSPOSE))
        self.b = self.layout(of_factors, kind.depth, kind.columns, kind.b, kind.matrices)
        self.a = self.layout(of_factors, kind.rows, kind.depth, kind.a, kind.matrices)
        self.y = self.layout(of_y, kind.rows, kind.columns, kind.y, kind.matrices)
        self.found = self.choose(handle, kind)

    def make(self, what: str, *arguments: Any) -> int:
        """Make a thing of cuBLASLt's that `end` frees."""
        address = self.lt.make(what, *arguments)
        self.made.append((what, address))
        return address

    def layout(self, of: int, rows: int, columns: int, matrix: Matrix, count: int) -> int:
        """Describe one factor or the result, down its columns: a matrix that lies by rows is its transpose."""
        shape = (rows, columns) if matrix.transposed else (columns, rows)
        layout = self.make("MatrixLayout", of, *shape, matrix.lead)
        if count > 1:
            self.lt.set("MatrixLayout", layout, cublaslt.LAYOUT_BATCH_COUNT, ctypes.c_int32(count))
            self.lt.set("MatrixLayout", layout, cublaslt.LAYOUT_BATCH_STRIDE, ctypes.c_int64(matrix.step))
        return layout

    def choose(self, handle: int, kind: Kind) -> cublaslt.Found | None:
        """Return the algorithm that cuBLASLt thinks the fastest, None where it knows none."""
        preference = self.make("MatmulPreference")
        set_number = functools.partial(self.lt.set, "MatmulPreference", preference)
        set_number(cublaslt.PREFERENCE_WORKSPACE, ctypes.c_uint64(WORKSPACE))
        for attribute, matrix in zip(cublaslt.PREFERENCE_ALIGNMENTS, (kind.b, kind.a, kind.y, kind.y), strict=True):
            set_number(attribute, ctypes.c_uint32(matrix.aligned))
        found, count = cublaslt.Found(), ctypes.c_int()
        try:
            self.lt.call(
                "cublasLtMatmulAlgoGetHeuristic",
                *(handle, self.product, self.b, self.a, self.y, self.y, preference),
                *(1, ctypes.addressof(found), ctypes.addressof(count)),
            )
        except NoAlgorithm:
            return None
        return found if count.value and not found.status else None

    def end(self) -> None:
        """Free what was made."""
        for what, address in self.made:
            self.lt.destroy(what, address)


class Products:
    """The products of one device.

    Parameters
    ----------
    xp : module
        CuPy.
    lt : CublasLt
    """

    def __init__(self, xp: Any, lt: CublasLt) -> None:
        self.xp, self.lt = xp, lt
        self.handle = lt.make("")
        self.plans: dict[Kind, Plan] = {}
        self.workspaces: dict[int, Any] = {}  # a stream each: products of two streams may run at once

    def multiply(self, a: Any, b: Any, y: Any, kind: Kind) -> None:
        """Write the products into y.

        Raises
        ------
        NoAlgorithm
            If cuBLASLt cannot make such products.
        """
        plan = self.plans.get(kind)
        if plan is None:
            plan = self.plan(kind)
        found = plan.found
        if found is None:
            raise NoAlgorithm(f"cuBLASLt knows no algorithm for {kind}")
        stream = self.xp.cuda.get_current_stream().ptr
        workspace = self.workspace(stream) if found.workspace else 0
        self.lt.call(
            "cublasLtMatmul",
            *(self.handle, plan.product, ctypes.addressof(plan.one)),
            *(b.data.ptr, plan.b, a.data.ptr, plan.a, ctypes.addressof(plan.zero)),
            *(y.data.ptr, plan.y, y.data.ptr, plan.y, ctypes.addressof(found.algorithm)),
            *(workspace, found.workspace, stream),
        )

    def plan(self, kind: Kind) -> Plan:
        """Make the plan for a kind of product; the oldest goes where there are too many."""
        if len(self.plans) >= MOST_PLANS:
            self.plans.pop(next(iter(self.plans))).end()
        plan = self.plans[kind] = Plan(self.lt, self.handle, kind)
        return plan

    def workspace(self, stream: int) -> int:
        """Return the address of the memory that products on a stream work in."""
        if stream not in self.workspaces:
            self.workspaces[stream] = self.xp.cuda.alloc(WORKSPACE)
        return int(self.workspaces[stream].ptr)


of_devices: dict[tuple[Any, int], Products] = {}


def products(xp: Any) -> Products | None:
    """Return the products of the current device, None where cuBLASLt cannot be had."""
    device = xp.cuda.runtime.getDevice()
    found = of_devices.get((xp, device))
    if found is None:
        lt = cublaslt.load(xp.cuda.runtime.runtimeGetVersion() // 1000)[0]
        if lt is None:
            return None
        found = of_devices[xp, device] = Products(xp, lt)
    return found


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Return a b for arrays of CuPy; see `tinynn.kernels.matmul`.

    What cuBLASLt does not take (complex numbers, two dtypes, vectors, a product it knows no algorithm for) CuPy
    multiplies.
    """
    xp = array_module(a)
    types = KINDS.get((a.dtype.char, current.get() if a.dtype.char == "f" else "float32"))
    if types is None or a.dtype != b.dtype or min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        return xp.matmul(a, b, out=out)
    device = products(xp)
    if device is None:
        return xp.matmul(a, b, out=out)
    batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    shape = (*batch, a.shape[-2], b.shape[-1])
    if a.size == 0 or b.size == 0:
        y = xp.zeros(shape, dtype=a.dtype)
    else:
        try:
            y = product(device, types, a, b, out, batch, shape)
        except NoAlgorithm:
            y = xp.matmul(a, b)
    if out is not None and y is not out:
        out[...] = y
        return out
    return y


def product(device: Products, types: tuple[int, int, int], a: Any, b: Any, out: Any, batch: Shape, shape: Shape) -> Any:
    """Return a b, which has the given shape; in `out` if cuBLASLt can write there."""
    xp = device.xp
    dtype = DTYPES[types[1]]
    fits = out is not None and out.dtype == dtype and tuple(out.shape) == shape
    place = matrix_of(out, batch) if fits else None
    y = out
    if place is None or place.transposed:
        y = xp.empty(shape, dtype=dtype)
        place = matrix_of(y, batch)
        assert place is not None
    if types[0] == cublaslt.REAL_16BF and a.dtype.char == "f":
        a, b = rounded(xp, a), rounded(xp, b)
    (a, of_a), (b, of_b) = (lying(xp, x, batch) for x in (a, b))
    rows, columns = shape[-2:]
    device.multiply(a, b, y, Kind(types, math.prod(batch), rows, a.shape[-1], columns, of_a, of_b, place))
    return y


def multiply_rounded(a: Any, b: Any, out: Any) -> None:
    """Write a b into `out`, float32, for two matrices that `rounded` has returned: what a benchmark measures."""
    device = products(array_module(a))
    if device is None:
        raise RuntimeError("bfloat16 needs cuBLASLt, which was not found.")
    product(device, KINDS["f", "bfloat16"], a, b, out, (), (a.shape[0], b.shape[1]))


def lying(xp: Any, x: Any, batch: Shape) -> tuple[Any, Matrix]:
    """Return matrices and how they lie; copied where they lie as cuBLASLt cannot read them."""
    found = matrix_of(x, batch)
    if found is None:
        x = xp.ascontiguousarray(x)
        found = matrix_of(x, batch)
    if found is None:  # some axes of the batch repeat, others do not
        x = xp.ascontiguousarray(xp.broadcast_to(x, (*batch, *x.shape[-2:])))
        found = matrix_of(x, batch)
    assert found is not None
    return x, found


def matrix_of(x: Any, batch: Shape) -> Matrix | None:
    """Return how the matrices in the last two axes lie, repeated to a batch; None where cuBLASLt cannot read them."""
    strides = [stride // x.itemsize for stride in x.strides]
    rows, columns = x.shape[-2:]
    down, along = strides[-2:]
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        transposed, lead = False, columns if rows == 1 else down
    elif (down == 1 or rows == 1) and (along >= rows or columns == 1):
        transposed, lead = True, rows if columns == 1 else along
    else:
        return None
    step = one_step(tuple(x.shape[:-2]), strides[:-2], batch)
    if step is None:
        return None
    address = x.data.ptr
    return Matrix(transposed, lead, step, min(address & -address, ALIGNED) if address else ALIGNED)


def one_step(shape: Shape, strides: list[int], batch: Shape) -> int | None:
    """Return the one step from matrix to matrix that goes through a batch, None where it takes several.

    Examples
    --------
    >>> one_step((2, 3), [30, 10], (2, 3)), one_step((3, 2), [10, 30], (3, 2)), one_step((), [], (5,))
    (10, None, 0)
    """
    missing = len(batch) - len(shape)
    step, next_step = 0, None
    for axis in reversed(range(len(batch))):
        if batch[axis] == 1:
            continue
        inside = axis >= missing and shape[axis - missing] > 1
        stride = strides[axis - missing] if inside else 0
        if next_step is None:
            step = stride
        elif stride != next_step:
            return None
        next_step = stride * batch[axis]
    return step


@functools.cache
def rounding(xp: Any) -> Any:
    """Return the kernel that rounds float32 to bfloat16, whose bits are the upper half of float32's, ties to even."""
    return xp.ElementwiseKernel(
        "uint32 bits",
        "uint16 upper",
        """
        bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
        upper = is_nan ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        """,
        "round_to_bfloat16",
    )


def rounded(xp: Any, x: Any) -> Any:
    """Return float32 numbers as bfloat16, in an array of uint16 that lies in memory as x does.

    NumPy twin: ``(bits + 0x7FFF + (bits >> 16 & 1)) >> 16`` of ``bits = x.view("uint32")``.
    """
    if x.strides[-2] == x.itemsize and x.strides[-1] != x.itemsize:
        return rounded(xp, x.swapaxes(-1, -2)).swapaxes(-1, -2)  # a transposed view: what lies under it is rounded
    return rounding(xp)(x.view(np.uint32))
