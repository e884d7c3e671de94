"""Panels: pieces of a matrix laid out anew, so that a tile finds the numbers that it reads one after the other.

Rows that lie apart by a whole matrix fall on few places of a processor's cache, and each on a page of memory of its
own. So a product first copies so many columns as a tile has (Goto & van de Geijn 2008). To copy must cost little beside
the product: it is done a register at a time, also where the matrix is transposed. As tiles.py, this is for LLVM.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from tinynn.kernels.fused.compiler import loop, of_llvm
from tinynn.kernels.fused.tiles import BYTES


def kind_of(context: Any, array_type: Any) -> tuple[int, int, Any]:
    """Return the bytes of a number, how many a register holds, and the type of a register."""
    size = array_type.dtype.bitwidth // 8
    return size, BYTES // size, ir.VectorType(context.get_data_type(array_type.dtype), BYTES // size)


def pointer_to(builder: Any, address: Any, index: Any, register: Any) -> Any:
    """Return where a register of numbers begins."""
    return builder.bitcast(builder.gep(address, [index]), register.as_pointer())


def transposed(builder: Any, registers: list[Any]) -> list[Any]:
    """Return the columns of the square that has these registers as rows.

    To lay the first half of the rows between the second half, number by number, turns the numbers of a place's index
    in the square by one bit; after as many times as there are bits rows and columns have changed places.
    """
    count = len(registers)
    low = [i // 2 + count * (i % 2) for i in range(count)]
    masks = [ir.Constant(ir.VectorType(ir.IntType(32), count), [i + shift for i in low]) for shift in (0, count // 2)]
    for _ in range(count.bit_length() - 1):
        halves = zip(registers[: count // 2], registers[count // 2 :], strict=True)
        registers = [builder.shuffle_vector(a, b, mask) for a, b in halves for mask in masks]
    return registers


@of_llvm
def copy_row(typing: Any, source: Any, at: Any, into: Any, place: Any, count: Any) -> Any:
    """Copy `count` registers of numbers, from source[at:] to into[place:], inside a loop; nothing is checked."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size, lanes, register = kind_of(context, signature.args[0])
        source, into = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2))
        with cgutils.for_range(builder, arguments[4]) as v:
            further = builder.mul(v.index, ir.Constant(v.index.type, lanes))
            numbers = pointer_to(builder, source, builder.add(arguments[1], further), register)
            there = pointer_to(builder, into, builder.add(arguments[3], further), register)
            builder.store(builder.load(numbers, align=size), there, align=size)
        return context.get_dummy_value()

    return types.void(source, types.int64, into, types.int64, types.int64), write


@of_llvm
def transpose_square(typing: Any, source: Any, at: Any, stride: Any, into: Any, place: Any, into_stride: Any) -> Any:
    """Write the transpose of the square of registers at source[at:] to into[place:]; nothing is checked.

    The square's rows lie `stride` apart, those of its transpose `into_stride`.
    """

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size, lanes, register = kind_of(context, signature.args[0])
        source, into = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3))

        def rows(address: Any, first: Any, stride: Any) -> list[Any]:
            places = (builder.add(first, builder.mul(stride, ir.Constant(stride.type, i))) for i in range(lanes))
            return [pointer_to(builder, address, place, register) for place in places]

        square = [builder.load(row, align=size) for row in rows(source, arguments[1], arguments[2])]
        for column, row in zip(transposed(builder, square), rows(into, arguments[4], arguments[5]), strict=True):
            builder.store(column, row, align=size)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, into, types.int64, types.int64), write


@loop
def copy(source: Any, at: Any, stride: Any, into: Any, into_stride: Any, rows: Any, columns: Any) -> None:
    """Write into[i into_stride + j] = source[at + i stride + j], all flat, for so many rows i and columns j.

    Up to the next whole register anything may be written beyond the columns, where `into` must have room.
    """
    lanes = BYTES // into.itemsize
    count = (columns + lanes - 1) // lanes
    for i in range(rows):
        first = at + i * stride
        if first + count * lanes <= source.size:
            copy_row(source, first, into, i * into_stride, count)
        else:
            for j in range(columns):
                into[i * into_stride + j] = source[first + j]


@loop
def transpose(source: Any, at: Any, stride: Any, into: Any, into_stride: Any, rows: Any, columns: Any) -> None:
    """Write into[i into_stride + j] = source[at + j stride + i], all flat, for so many rows i and columns j."""
    lanes = BYTES // into.itemsize
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            if i + lanes <= rows and j + lanes <= columns:
                transpose_square(source, at + j * stride + i, stride, into, i * into_stride + j, into_stride)
            else:
                for p in range(i, min(i + lanes, rows)):
                    for q in range(j, min(j + lanes, columns)):
                        into[p * into_stride + q] = source[at + q * stride + p]
