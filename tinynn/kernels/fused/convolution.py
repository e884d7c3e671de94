"""Convolution without im2col; the plain lines are in tinynn/layers/convolution.py.

In a sample laid out flat, window n sees at its offset k the number start[n] + offset[k], whatever the axes, strides and
dilation are. With these two tables nothing has to be moved before it is multiplied:

    z[n] = b + sum_k x[start[n] + offset[k]] W[k]          dW[k] = sum_n x[offset[k] + start[n]] dz[n]

The second is the first with the tables exchanged. And so is the gradient of the input, along each axis

    dx[s m + r - p] = sum_u dz[m - d u] W[s u + r]         s stride, d dilation, p padding, r = 0 ... s - 1

since a window that sees this place at its offset s u + r begins at s (m - d u). For every r that is a convolution of
dz, with zeros around it, and every s-th number of the kernel; with a stride of 1 there is but one r.

Shapes   x (B, S) padded and flat, start (N,), offset (G, K), W (G, tiles, K, width), z (B, N, O), dz (B, N, G, O/G),
         dW (G, tiles, K / ROWS, ROWS width)                                              G groups; see tiles.py
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.team import array1, array2, array3, array4, array5, piece, team, unpacked
from tinynn.kernels.fused.tiles import ROWS, empty_sums, fill, in_tiles, multiply, multiply_rows, out_of_tiles

NUMBERS = 2**18  # of columns that are made at a time, so that they stay in a processor's own cache
PIECES = 8  # of a batch, at most: each has sums of its own for dW
PRODUCTS = 2**21  # that are worth a piece: some 15 microseconds
TABLES = 32  # that are kept: to make them takes longer than a small convolution


def tables(begins: Sequence[Array], kernel: Sequence[Array], sizes: Sequence[int], C: int, G: int) -> tuple[Any, Any]:
    """Return start and offset.

    Parameters
    ----------
    begins, kernel : one array for each axis
        Where windows begin, and what places a window sees from there on.
    sizes : one number for each axis
        Of the padded sample.
    C, G : int
        Its channels, and the groups of them.
    """
    steps = [C * math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    start = [places * step for places, step in zip(begins, steps, strict=True)]
    offset = [places * step for places, step in zip(kernel, steps, strict=True)]
    of_groups = [fill(all_sums([*offset, channels])) for channels in np.arange(C).reshape(G, -1)]
    return fill(all_sums(start)), np.stack(of_groups)  # as many as fill rows of tiles


def all_sums(places: list[Array]) -> Array:
    """Return the sums of one place of each axis, the last axis running fastest."""
    return functools.reduce(np.add.outer, places).reshape(-1)


@functools.lru_cache(TABLES)
def tables_of(windows: Any, C: int, G: int) -> tuple[Any, Any]:
    """Return start and offset of a layer's windows."""
    begins = [np.arange(n) * s for n, s in zip(windows.count, windows.strides, strict=True)]
    kernel = [np.arange(k) * d for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    return tables(begins, kernel, padded_sizes(windows.sizes, windows.padding), C, G)


def padded_sizes(sizes: Sequence[int], padding: Sequence[tuple[int, int]]) -> list[int]:
    """Return the sizes with what is added before and after."""
    return [before + n + after for n, (before, after) in zip(sizes, padding, strict=True)]


class Rows(NamedTuple):
    """Where the rows of samples, along the last axis and its channels, begin in the padded ones laid out flat.

    Attributes
    ----------
    places : array of int64
    length : int
        Of a row.
    size : int
        Of a padded sample; 0 if there is no padding, and so nothing to move.
    """

    places: Array
    length: int
    size: int


@functools.lru_cache(TABLES)
def rows_of(sizes: tuple[int, ...], padding: tuple[tuple[int, int], ...], C: int) -> Rows:
    """Return where rows go."""
    if not any(map(sum, padding)):
        return Rows(np.zeros(0, dtype=np.int64), 0, 0)
    padded = (*padded_sizes(sizes, padding), C)
    steps = [math.prod(padded[axis + 1 :]) for axis in range(len(sizes))]
    *befores, (first, _) = padding
    places = [(before + np.arange(n)) * step for n, (before, _), step in zip(sizes, befores, steps, strict=False)]
    return Rows(all_sums([np.array([first * C]), *places]), sizes[-1] * C, math.prod(padded))


@loop
def padded(x: Any, b: Any, places: Any, length: Any, memory: Any) -> Any:
    """Return sample b (1, S), with zeros around it in `memory` (1, S) if it has places to go to."""
    if len(places) == 0:
        return x[b : b + 1]
    for r in range(len(places)):
        for i in range(length):
            memory[0, places[r] + i] = x[b, r * length + i]
    return memory


@loop
def _convolve(
    x: Any,
    places: Any,
    length: Any,
    size: Any,
    start: Any,
    offset: Any,
    W: Any,
    bias: Any,
    z: Any,
    first: Any,
    end: Any,
) -> None:
    """Write z = bias + x W in the windows of some samples."""
    memory = np.zeros((1, size), x.dtype)
    for b in range(first, end):
        multiply(padded(x, b, places, length, memory), start, offset, W, bias, z[b : b + 1])


@loop
def _convolve_weights(
    x: Any, places: Any, length: Any, size: Any, start: Any, offset: Any, dz: Any, dW: Any, first: Any, end: Any
) -> None:
    """Add the sums of x dz over the windows of some samples to dW."""
    memory = np.zeros((1, size), x.dtype)
    for b in range(first, end):
        multiply_rows(padded(x, b, places, length, memory), start, offset, dz[b : b + 1], dW)


def piece_of_convolve(dtype: Any) -> int:
    """Return the address of what a thread does of a convolution."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        x, places, start, offset = (
            array2(n, 0, dtype),
            array1(n, 1, np.int64),
            array1(n, 2, np.int64),
            array2(n, 3, np.int64),
        )
        W, bias, z, count = array4(n, 4, dtype), array3(n, 5, dtype), array3(n, 6, dtype), n[44]
        _convolve(x, places, n[42], n[43], start, offset, W, bias, z, number * count, min((number + 1) * count, len(x)))

    return piece(part)


def piece_of_weights(dtype: Any) -> int:
    """Return the address of what a thread does of the gradient of the kernel."""

    def part(number: Any, arguments: Any) -> None:
        n = unpacked(arguments)
        x, places, start, offset = (
            array2(n, 0, dtype),
            array1(n, 1, np.int64),
            array1(n, 2, np.int64),
            array2(n, 3, np.int64),
        )
        dz, dW, count = array4(n, 4, dtype), array5(n, 5, dtype)[number], n[38]
        _convolve_weights(
            x, places, n[36], n[37], start, offset, dz, dW, number * count, min((number + 1) * count, len(x))
        )

    return piece(part)


CONVOLVE = {"f": piece_of_convolve(np.float32), "d": piece_of_convolve(np.float64)}
WEIGHTS = {"f": piece_of_weights(np.float32), "d": piece_of_weights(np.float64)}


def samples_of_a_piece(B: int, products: int) -> int:
    """Return how many samples a thread takes at a time: the same for any number of threads, and so are the sums."""
    return -(-B // max(1, min(PIECES, B, products // PRODUCTS)))


def convolve(x: Array, padding: Any, start: Array, offset: Array, W: Array, bias: Array, z: Array) -> None:
    """Write z (B, ..., O) = bias + x W in all windows, for W and bias in tiles."""
    places, length, size = rows_of(x.shape[1:-1], padding, x.shape[-1])
    x2, z3 = x.reshape(len(x), -1), z.reshape(len(x), -1, z.shape[-1])
    count = samples_of_a_piece(len(x), z.size * W.shape[2])
    arrays = x2, places, start, offset, W, bias, z3
    team().share_out(CONVOLVE[z.dtype.char], -(-len(x) // count), arrays, length, size, count)


def samples(B: int, numbers: int) -> Iterator[slice]:
    """Yield slices of the batch of about `NUMBERS` numbers, given those of one sample."""
    size = max(1, NUMBERS // numbers)
    for first in range(0, B, size):
        yield slice(first, min(first + size, B))


def check_shape(array: Array, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has this shape: a tile does not look where an array ends."""
    if array.shape != shape:
        raise ValueError(f"a convolution expected an array of shape {shape}, got {array.shape}.")


def convolution(x: Array, W: Array, b: Array | None, windows: Any, G: int) -> Array:
    """Return the convolution of x (B, ..., C) and W (*k, C/G, O), + b."""
    check_shape(x, (len(x), *windows.sizes, G * W.shape[-2]))
    dtype, filters = np.result_type(x, W), W.shape[-1]
    start, offset = tables_of(windows, x.shape[-1], G)
    W_tiles = in_tiles(W.astype(dtype, copy=False).reshape(-1, G, filters // G).swapaxes(0, 1))
    bias = np.zeros(filters, dtype=dtype) if b is None else b.astype(dtype, copy=False)
    bias_tiles = in_tiles(bias.reshape(G, 1, -1)).repeat(ROWS, axis=2).reshape(*W_tiles.shape[:2], -1)
    z = empty((len(x), *windows.count, filters), dtype=dtype)
    convolve(np.ascontiguousarray(x, dtype=dtype), windows.padding, start, offset, W_tiles, bias_tiles, z)
    return z


def convolution_weights(dz: Array, x: Array, windows: Any, G: int) -> Array:
    """Return dW (*k, C/G, O)."""
    check_shape(dz, (len(x), *windows.count, dz.shape[-1]))
    dtype, C, filters = np.result_type(dz, x), x.shape[-1], dz.shape[-1]
    start, offset = tables_of(windows, C, G)
    places, length, size = rows_of(x.shape[1:-1], windows.padding, C)
    count = samples_of_a_piece(len(x), dz.size * offset.shape[1])
    pieces = -(-len(x) // count)
    x2 = np.ascontiguousarray(x, dtype=dtype).reshape(len(x), -1)
    dz4 = np.ascontiguousarray(dz, dtype=dtype).reshape(len(x), -1, G, filters // G)
    dW = np.stack([empty_sums(G, offset.shape[1], filters // G, dtype)] * pieces)  # each has sums of its own
    team().share_out(WEIGHTS[dtype.char], pieces, (x2, places, start, offset, dz4, dW), length, size, count)
    dW2 = out_of_tiles(functools.reduce(np.add, dW), math.prod(windows.kernel) * C // G, filters // G)
    return dW2.reshape(*windows.kernel, C // G, filters)


class Turn(NamedTuple):
    """One r along every axis: the convolution of dz that makes every s-th place of dx.

    Attributes
    ----------
    numbers : tuple of slice
        Of the kernel: s u + r.
    start, offset : array
        The tables of m and of m - d u in the padded dz.
    padding : tuple of (int, int)
        How many zeros dz gets before and after.
    places : tuple of slice
        Of dx: s m + r - p.
    """

    numbers: tuple[slice, ...]
    start: Array
    offset: Array
    padding: tuple[tuple[int, int], ...]
    places: tuple[slice, ...]


def along(size: int, k: int, s: int, d: int, padding: tuple[int, int], count: int) -> Iterator[tuple[Any, ...]]:
    """Yield for every r along one axis: numbers, m, the places of m - d u from there on, padding and places."""
    p, _ = padding
    for r in range(min(s, k)):
        u = np.arange(len(range(r, k, s)))
        m = np.arange(max(0, -((r - p) // s)), (p + size - 1 - r) // s + 1)  # that make 0 <= s m + r - p < size
        if len(m):
            reach = d * int(u[-1])
            after = max(reach, int(m[-1]) + 1 - count)
            yield slice(r, None, s), m, reach - d * u, (reach, after), slice(s * int(m[0]) + r - p, None, s)


@functools.lru_cache(TABLES)
def turns_of(w: Any, filters: int, G: int) -> list[Turn]:
    """Return what makes dx, one r after the other."""
    axes = zip(w.sizes, w.kernel, w.strides, w.dilation, w.padding, w.count, strict=True)
    turns = []
    for of_axes in itertools.product(*(tuple(along(*axis)) for axis in axes)):
        numbers, m, seen, padding, places = zip(*of_axes, strict=True)
        start, offset = tables(m, seen, padded_sizes(w.count, padding), filters, G)
        turns.append(Turn(numbers, start, offset, padding, places))
    return turns


def convolution_input(dz: Array, W: Array, windows: Any, G: int) -> Array:
    """Return dx (B, ..., C)."""
    dtype, filters, size = np.result_type(dz, W), W.shape[-1], W.shape[-2]
    check_shape(dz, (len(dz), *windows.count, filters))
    dx = empty((len(dz), *windows.sizes, G * size), dtype=dtype)
    dx[...] = 0  # between windows that lie apart nobody writes
    W_groups = W.astype(dtype, copy=False).reshape(*W.shape[:-1], G, -1)
    W_groups = np.moveaxis(W_groups, (-2, -3), (0, -1))  # (*k, C/G, G, O/G) -> (G, *k, O/G, C/G)
    if dx.shape[-1] == 1:  # tiles would be empty but for one column; in im2col's way NumPy walks along the windows
        W2 = W.reshape(-1, filters)
        for part in samples(len(dz), windows.numbers):
            dx[part] = windows.col2im((dz[part].reshape(-1, filters) @ W2.T)[None])
        return dx
    dz = np.ascontiguousarray(dz, dtype=dtype)
    for turn in turns_of(windows, filters, G):
        W_tiles = in_tiles(W_groups[(slice(None), *turn.numbers)].reshape(G, -1, size))
        nothing = np.zeros((*W_tiles.shape[:2], ROWS * W_tiles.shape[3]), dtype=dtype)
        dx_r = dx[(slice(None), *turn.places)]  # every place, with strides of 1
        made = dx_r if dx_r.flags.c_contiguous else empty(dx_r.shape, dtype)
        convolve(dz, turn.padding, turn.start, turn.offset, W_tiles, nothing, made)
        if made is not dx_r:
            dx_r[...] = made
    return dx
