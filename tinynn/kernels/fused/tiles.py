"""A tile: so many sums of products at once as a processor has registers for.

A sum of products alone waits for memory: two numbers are read for one product. In a tile of R rows and C columns R + C
numbers make R C products, and the sums stay in registers until they are whole (Goto & van de Geijn 2008). numba cannot
be told in Python to keep an array in registers; so the tile is written in the language of LLVM, its compiler.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop

ROWS = 6  # with two registers of columns that is 12 of sums, 2 of columns, 1 of a row: most processors have 16
ROWS_AT_ONCE = 128  # of dz, which are summed up before the sum is added to the others: they stay in the innermost cache
BYTES = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 32  # of a register


def width(columns: int, dtype: Any) -> int:
    """Return how many columns a tile has, out of so many: two registers, or one if they fit into it."""
    one = BYTES // np.dtype(dtype).itemsize
    return one if columns <= one else 2 * one


def tile_of(count: int) -> Any:
    """Return the tile that is so many registers wide."""

    @intrinsic
    def tile(typing: Any, x: Any, row: Any, step: Any, W: Any, start: Any, into: Any, stride: Any) -> Any:
        """Write into[q stride:] = start[q] + sum_t x[row[q] + step[t]] W[t] for each row q, inside a loop.

        Shapes   x, into flat, row (ROWS,), step (T,), W (T, width), start (ROWS width,)

        Nothing looks whether these places are inside the arrays.
        """

        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args[:6]
            x, row, step, W, start, into = (
                context.make_array(k)(context, builder, a) for k, a in zip(kinds, arguments[:6], strict=True)
            )
            size = kinds[0].dtype.bitwidth // 8
            lanes = BYTES // size
            register = ir.VectorType(context.get_data_type(kinds[0].dtype), lanes)
            undefined = ir.Constant(register, ir.Undefined)
            everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            integer = ir.IntType(64)

            def at(address: Any, index: Any) -> Any:
                return builder.gep(address, [index])

            def registers(address: Any) -> list[Any]:
                return [builder.bitcast(at(address, integer(v * lanes)), register.as_pointer()) for v in range(count)]

            def load(address: Any) -> Any:
                return builder.load(address, align=size)

            def add(a: Any, b: Any) -> Any:
                return builder.fadd(a, b, flags=["contract"])

            zero = ir.Constant(register, None)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(count)] for _ in range(ROWS)]
            seen = [at(x.data, load(at(row.data, integer(q)))) for q in range(ROWS)]
            W_stride = builder.sdiv(cgutils.unpack_tuple(builder, W.strides)[0], integer(size))
            with cgutils.for_range(builder, cgutils.unpack_tuple(builder, step.shape)[0]) as t:
                further = builder.load(at(step.data, t.index))
                columns = [load(address) for address in registers(at(W.data, builder.mul(t.index, W_stride)))]
                for q in range(ROWS):
                    number = builder.insert_element(undefined, load(at(seen[q], further)), ir.IntType(32)(0))
                    factor = builder.shuffle_vector(number, undefined, everywhere)
                    for total, column in zip(sums[q], columns, strict=True):
                        product = builder.fmul(factor, column, flags=["contract"])
                        builder.store(add(builder.load(total), product), total)
            for q in range(ROWS):
                firsts = registers(at(start.data, integer(q * count * lanes)))
                places = registers(at(into.data, builder.mul(integer(q), arguments[6])))
                for first, total, place in zip(firsts, sums[q], places, strict=True):
                    builder.store(add(load(first), builder.load(total)), place, align=size)
            return context.get_dummy_value()

        return types.void(x, row, step, W, start, into, types.int64), write

    return tile


narrow_tile, wide_tile = tile_of(1), tile_of(2)


@loop
def multiply(x: Any, start: Any, offset: Any, W: Any, bias: Any, z: Any) -> None:
    """Write z[n] = bias + sum_k x[start[n] + offset[k]] W[k] for every sample and group.

    Shapes   x (B, S), start (N,), offset (G, K), W (G, tiles, K, width), bias (G, tiles, ROWS width), z (B, N, O)
    """
    G, tiles, K, wide = W.shape
    B, N, filters = z.shape
    part = np.empty(ROWS * wide, z.dtype)  # for a tile that is larger than what is left of z
    for g in range(G):
        for a in range(tiles):
            columns = min(wide, filters // G - a * wide)
            for b in range(B):
                whole_z = z[b].reshape(-1)
                for n in range(0, N, ROWS):
                    rows, place = min(ROWS, N - n), n * filters + g * (filters // G) + a * wide
                    fits = rows == ROWS and columns == wide
                    into, stride = (whole_z[place:], filters) if fits else (part, wide)
                    if wide * z.itemsize > BYTES:
                        wide_tile(x[b], start[n : n + ROWS], offset[g, :K], W[g, a], bias[g, a], into, stride)
                    else:
                        narrow_tile(x[b], start[n : n + ROWS], offset[g, :K], W[g, a], bias[g, a], into, stride)
                    if not fits:
                        for q in range(rows):
                            for o in range(columns):
                                whole_z[place + q * filters + o] = part[q * wide + o]


@loop
def multiply_rows(x: Any, start: Any, offset: Any, dz: Any, dW: Any) -> None:
    """Add dW[k] += sum_n x[start[n] + offset[k]] dz[n] over all samples, for every group.

    Shapes   dz (B, N, G, O/G), dW (G, tiles, K / ROWS, ROWS width); its columns from O/G on are nobody's
    """
    G, tiles, blocks, numbers = dW.shape
    wide = numbers // ROWS
    memory = np.zeros((ROWS_AT_ONCE, wide), dz.dtype)  # rows that lie apart would fall on the same places of the cache
    for g in range(G):
        for b in range(dz.shape[0]):
            for n in range(0, dz.shape[1], ROWS_AT_ONCE):
                end = min(n + ROWS_AT_ONCE, dz.shape[1])
                for a in range(tiles):
                    count = min(wide, dz.shape[3] - a * wide)
                    memory[: end - n, :count] = dz[b, n:end, g, a * wide : a * wide + count]
                    columns = memory[: end - n]
                    for k in range(blocks):
                        rows, sums = offset[g, k * ROWS : (k + 1) * ROWS], dW[g, a, k]
                        if wide * dz.itemsize > BYTES:
                            wide_tile(x[b], rows, start[n:end], columns, sums, sums, wide)
                        else:
                            narrow_tile(x[b], rows, start[n:end], columns, sums, sums, wide)


def fill(places: Array) -> Array:
    """Return places with the last one again until they fill the rows of a tile."""
    return np.concatenate([places, places[-1:].repeat(-len(places) % ROWS)])


def in_tiles(W: Array) -> Array:
    """Return (G, K, O) as (G, tiles, K, width), the last tile filled with zeros."""
    G, K, size = W.shape
    wide = width(size, W.dtype)
    whole = np.zeros((G, K, -(-size // wide), wide), dtype=W.dtype)
    whole.reshape(G, K, -1)[..., :size] = W
    return np.ascontiguousarray(np.moveaxis(whole, 2, 1))


def empty_sums(G: int, K: int, size: int, dtype: Any) -> Array:
    """Return the zeros that `multiply_rows` adds (G, K, O) to; K fills rows of tiles."""
    wide = width(size, dtype)
    return np.zeros((G, -(-size // wide), K // ROWS, ROWS * wide), dtype=dtype)


def out_of_tiles(dW: Array, K: int, size: int) -> Array:
    """Return the sums of `multiply_rows` as (K, G, O)."""
    G, tiles, _, numbers = dW.shape
    whole = dW.reshape(G, tiles, -1, numbers // ROWS).transpose(2, 0, 1, 3)
    return whole.reshape(len(whole), G, -1)[:K, :, :size]
