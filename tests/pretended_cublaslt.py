"""A pretended cuBLASLt: it multiplies what lies at addresses, column by column, as the library's manual says.

It is called as the C library is, with addresses for everything, so that what is tested is all of the binding.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from typing import Any

import numpy as np

from tests.capturing import Capture

TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: np.uint16}  # the last is bfloat16
SIZES = {  # of attributes, in bytes
    "MatmulDesc": {3: 4, 4: 4},
    "MatrixLayout": {5: 4, 6: 8},
    "MatmulPreference": {1: 8, 5: 4, 6: 4, 7: 4, 8: 4},
}


def widened(bits: np.ndarray) -> np.ndarray:
    """Return numbers of bfloat16 as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class PretendedLibrary:
    """The functions that tinynn calls.

    Attributes
    ----------
    alive : dict
        Descriptors that were made and not yet destroyed, by address.
    knows_algorithms, status, status_found
        What looking for an algorithm comes to.
    compute_types : list of int
        How each product was to be made.
    """

    def __init__(self) -> None:
        self.alive: dict[int, dict[str, Any]] = {}
        self.addresses = itertools.count(1000)
        self.compute_types: list[int] = []
        self.knows_algorithms = True
        self.status = self.status_found = 0
        for what in ("", *SIZES):
            setattr(self, f"cublasLt{what}Create", functools.partial(self.create, what))
        for what in SIZES:
            setattr(self, f"cublasLt{what}Destroy", functools.partial(self.destroy, what))
            setattr(self, f"cublasLt{what}SetAttribute", functools.partial(self.set_attribute, what))
        self.cublasLtMatmulAlgoGetHeuristic = functools.partial(self.heuristic)
        self.cublasLtMatmul = functools.partial(self.matmul)
        self.cublasLtGetVersion = functools.partial(lambda: 130100)

    def create(self, what: str, made: int, *arguments: int) -> int:
        address = next(self.addresses)
        self.alive[address] = {"what": what, "arguments": arguments}
        ctypes.c_void_p.from_address(made).value = address
        return 0

    def destroy(self, what: str, address: int) -> int:
        return 0 if self.alive.pop(address)["what"] == what else 7

    def set_attribute(self, what: str, address: int, attribute: int, value: int, size: int) -> int:
        if self.alive[address]["what"] != what or SIZES[what].get(attribute) != size:
            return 7
        self.alive[address][attribute] = int.from_bytes(ctypes.string_at(value, size), "little", signed=True)
        return 0

    def heuristic(self, handle: int, product: int, a: int, b: int, c: int, d: int, preference: int, *rest: int) -> int:
        wanted, found, count = rest
        assert wanted == 1
        ctypes.c_int.from_address(count).value = int(self.knows_algorithms)
        ctypes.c_uint64.from_address(found).value = 42
        ctypes.c_size_t.from_address(found + 64).value = 512
        ctypes.c_int.from_address(found + 72).value = self.status_found
        alignments = [self.alive[preference][attribute] for attribute in (5, 6, 7, 8)]
        self.alive[product]["alignments"] = alignments
        return self.status

    def matrices(self, layout: int, address: int) -> np.ndarray:
        """Return (count, rows, columns), a view of what lies at an address."""
        described = self.alive[layout]
        kind, rows, columns, lead = described["arguments"]
        count, step = described.get(5, 1), described.get(6, 0)
        assert lead >= rows
        dtype = np.dtype(TYPES[kind])
        length = max((count - 1) * step + (columns - 1) * lead + rows, 1)
        memory = np.frombuffer((ctypes.c_char * (length * dtype.itemsize)).from_address(address), dtype)
        strides = (step * dtype.itemsize, dtype.itemsize, lead * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), strides)

    def matmul(self, handle: int, product: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int, *rest: int):
        beta, c, c_layout, d, d_layout, algorithm, workspace, size, _ = rest
        assert (c, c_layout) == (d, d_layout)
        assert self.alive[handle]["what"] == ""
        assert ctypes.c_uint64.from_address(algorithm).value == 42
        assert size == 512
        assert workspace
        described = self.alive[product]
        compute, scale = described["arguments"]
        number = {0: ctypes.c_float, 1: ctypes.c_double}[scale]
        assert (number.from_address(alpha).value, number.from_address(beta).value) == (1, 0)
        for address, aligned in zip((a, b, c, d), described["alignments"], strict=True):
            assert address % aligned == 0
        A, B, D = self.matrices(a_layout, a), self.matrices(b_layout, b), self.matrices(d_layout, d)
        if described.get(3):
            A = A.transpose(0, 2, 1)
        if described.get(4):
            B = B.transpose(0, 2, 1)
        self.compute_types.append(compute)

        def multiply() -> None:
            factors = [widened(x) if x.dtype == np.uint16 else x for x in (A, B)]
            if D.dtype == np.float16:
                factors = [x.astype(np.float32) for x in factors]
            D[...] = factors[0] @ factors[1]

        if Capture.current is not None:
            Capture.current.note_product(multiply, D)
        else:
            multiply()
        return 0
