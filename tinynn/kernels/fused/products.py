"""Products of matrices in tiles, the large ones in shares; see tiles.py and shares.py.

In a matrix (N, K) laid out flat row n begins at n K: these are the tables of a convolution (see convolution.py) whose
windows are rows.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.shares import in_shares
from tinynn.kernels.fused.tiles import ROWS, empty_sums, fill, in_tiles, multiply, multiply_rows, out_of_tiles

LARGE = 2**20  # products: with fewer NumPy is faster, it makes no tables


class Factor(NamedTuple):
    """A matrix (K, O) in tiles, and the tables of rows (N, K) that are multiplied by it."""

    start: Array
    offset: Array
    tiles: Array
    nothing: Array


def factor(W: Array, N: int) -> Factor:
    """Return what `product` of N rows with W takes."""
    K = len(W)
    tiles = in_tiles(W[None])
    nothing = np.zeros((*tiles.shape[:2], ROWS * tiles.shape[3]), dtype=W.dtype)
    return Factor(fill(np.arange(N) * K), np.arange(K)[None], tiles, nothing)


def product(x: Array, W: Factor, out: Array) -> None:
    """Write x W into `out`, both contiguous."""
    multiply(x.reshape(1, -1), W.start, W.offset, W.tiles, W.nothing, out[None])


def rows_product(x: Array, W: Array, out: Array | None = None) -> Array:
    """Return x W, written into `out`: (N, K) (K, O) -> (N, O). All are of one type, x and `out` contiguous."""
    if out is None:
        out = np.empty((len(x), W.shape[1]), dtype=x.dtype)
    products = x.size * W.shape[1]
    if products < LARGE:
        return np.matmul(x, W, out=out)
    W_factor = factor(W, 1)

    def work(share: slice) -> None:
        start = fill(np.arange(len(x[share])) * len(W))
        product(x[share], W_factor._replace(start=start), out[share])

    in_shares(work, len(x), products)
    return out


def columns_product(x: Array, dz: Array, out: Array) -> Array:
    """Return x^T dz, written into `out`: (N, K) (N, O) -> (K, O). All are of one type, x and dz contiguous."""
    K, size = out.shape
    if x.size * size < LARGE:
        return np.matmul(x.T, dz, out=out)
    offset = fill(np.arange(K))[None]

    def work(share: slice) -> Any:
        dW = empty_sums(1, offset.shape[1], size, out.dtype)
        rows = x[share]
        multiply_rows(rows.reshape(1, -1), np.arange(len(rows)) * K, offset, dz[share].reshape(1, -1, 1, size), dW)
        return dW

    dW = functools.reduce(np.add, in_shares(work, len(x), x.size * size))
    out[...] = out_of_tiles(dW, K, size)[:, 0]
    return out
