"""The normalizations; the plain lines are in tinynn/layers/normalization.py.

Along rows each row is read while it is in the cache: once for its mean, once for its variance, once for y. Down the
columns (`BatchNormalization`) that holds for a block of rows, whose mean and variance are then put together with those
of the rows before (Chan, Golub & LeVeque 1979). Sums down the columns are made block by block too: a sum of sums, which
is more exact than one long sum.

Shapes   x, y, dy, dx (N, F), gamma, beta, dgamma, dbeta (F,), mean, inv (N,); down the columns (B, N, C) and (B, C)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import loop, sums
from tinynn.kernels.fused.elementwise import flat
from tinynn.kernels.fused.memory import empty

BLOCK = 64  # rows whose sums are made before they are added to the others


@sums
def _rows(x: Any, gamma: Any, beta: Any, epsilon: Any, centered: bool, mean: Any, inv: Any, y: Any) -> None:
    """Write mean, inv and y; without `centered` the mean counts as 0."""
    f = x.dtype.type
    N, F = x.shape
    one, count = f(1), f(F)
    for n in range(N):
        m = f(0)
        if centered:
            for i in range(F):
                m += x[n, i]
            m /= count
        v = f(0)
        for i in range(F):
            v += (x[n, i] - m) * (x[n, i] - m)
        r = one / f(math.sqrt(v / count + epsilon))
        mean[n], inv[n] = m, r
        for i in range(F):
            y[n, i] = (x[n, i] - m) * r * gamma[i] + beta[i]


@sums
def _rows_backward(
    dy: Any, x: Any, gamma: Any, mean: Any, inv: Any, centered: bool, dgamma: Any, dbeta: Any, dx: Any
) -> None:
    """Write dgamma, dbeta and dx; no dx where it has no rows."""
    f = dx.dtype.type
    N, F = x.shape
    count = f(F)
    block_gamma, block_beta = np.zeros_like(dgamma), np.zeros_like(dbeta)
    dgamma[:] = 0
    dbeta[:] = 0
    for n in range(N):
        m, r = mean[n], inv[n]
        a, b = f(0), f(0)
        for i in range(F):
            xhat = (x[n, i] - m) * r
            block_gamma[i] += dy[n, i] * xhat
            block_beta[i] += dy[n, i]
            a += dy[n, i] * gamma[i]
            b += dy[n, i] * gamma[i] * xhat
        if dx.shape[0]:
            a = a / count if centered else f(0)
            b = b / count
            for i in range(F):
                dx[n, i] = r * (dy[n, i] * gamma[i] - a - (x[n, i] - m) * r * b)
        if n % BLOCK == BLOCK - 1 or n == N - 1:
            for i in range(F):
                dgamma[i] += block_gamma[i]
                dbeta[i] += block_beta[i]
                block_gamma[i] = block_beta[i] = f(0)


@loop
def _moments(x: Any, mean: Any, variance: Any) -> None:
    f = x.dtype.type
    B, N, C = x.shape
    s, q = np.empty(C, x.dtype), np.empty(C, x.dtype)
    mean[:] = 0
    variance[:] = 0
    for b in range(B):
        for start in range(0, N, BLOCK):
            end = min(start + BLOCK, N)
            count = f(end - start)
            s[:] = 0
            q[:] = 0
            for n in range(start, end):
                for c in range(C):
                    s[c] += x[b, n, c]
            for c in range(C):
                s[c] /= count
            for n in range(start, end):
                for c in range(C):
                    q[c] += (x[b, n, c] - s[c]) * (x[b, n, c] - s[c])
            share = (end - start) / end
            for c in range(C):
                distance = s[c] - mean[b, c]
                mean[b, c] += distance * share
                variance[b, c] += q[c] + distance * distance * share * start
        for c in range(C):
            variance[b, c] /= N


@loop
def _columns(x: Any, mean: Any, slope: Any, beta: Any, y: Any) -> None:
    B, N, C = x.shape
    for b in range(B):
        for n in range(N):
            for c in range(C):
                y[b, n, c] = (x[b, n, c] - mean[b, c]) * slope[b, c] + beta[c]


@loop
def _columns_sums(dy: Any, x: Any, mean: Any, total: Any, total_x: Any) -> None:
    B, N, C = x.shape
    s, q = np.empty(C, dy.dtype), np.empty(C, dy.dtype)
    total[:] = 0
    total_x[:] = 0
    for b in range(B):
        for start in range(0, N, BLOCK):
            s[:] = 0
            q[:] = 0
            for n in range(start, min(start + BLOCK, N)):
                for c in range(C):
                    s[c] += dy[b, n, c]
                    q[c] += dy[b, n, c] * (x[b, n, c] - mean[b, c])
            for c in range(C):
                total[b, c] += s[c]
                total_x[b, c] += q[c]


@loop
def _columns_backward(dy: Any, x: Any, mean: Any, slope: Any, a: Any, d: Any, dx: Any) -> None:
    B, N, C = x.shape
    for b in range(B):
        for n in range(N):
            for c in range(C):
                dx[b, n, c] = slope[b, c] * dy[b, n, c] + a[b, c] * (x[b, n, c] - mean[b, c]) + d[b, c]


def as_rows(x: Array) -> Array:
    """Return rows that lie one after the other in memory: x itself, or a copy."""
    return np.ascontiguousarray(x)


def rows_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, centered: bool
) -> tuple[Array, Array, Array]:
    """Return y = gamma xhat + beta, and mean and inv of every row; the mean is 0 without `centered`."""
    gamma, beta = factors(gamma, beta, x)
    y = empty(x.shape, dtype=np.result_type(x, gamma))
    mean, inv = np.empty(len(x), dtype=x.dtype), np.empty(len(x), dtype=x.dtype)
    _rows(as_rows(x), gamma, beta, x.dtype.type(epsilon), centered, mean, inv, y)
    return y, mean, inv


def rows_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inv: Array, centered: bool, need_dx: bool
) -> tuple[Array, Array, Array]:
    """Return dgamma, dbeta and dx, which is empty without `need_dx`."""
    gamma, _ = factors(gamma, None, x)
    dtype = np.result_type(dy, x, gamma)
    dgamma, dbeta = np.empty(len(gamma), dtype=dtype), np.empty(len(gamma), dtype=dtype)
    dx = empty(x.shape if need_dx else (0, len(gamma)), dtype=dtype)
    _rows_backward(as_rows(dy), as_rows(x), gamma, mean, inv, centered, dgamma, dbeta, dx)
    return dgamma, dbeta, dx


def moments(x: Array) -> tuple[Array, Array]:
    """Return mean and variance of every column, in float64: (B, N, C) to (B, C)."""
    mean, variance = np.empty((len(x), x.shape[2])), np.empty((len(x), x.shape[2]))
    _moments(as_rows(x), mean, variance)
    return mean, variance


def columns_forward(x: Array, mean: Array, inv: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return y = gamma (x - mean) inv + beta."""
    gamma, beta = factors(gamma, beta, x)
    y = empty(x.shape, dtype=np.result_type(x, gamma))
    _columns(as_rows(x), mean.astype(x.dtype), (gamma * inv).astype(y.dtype), beta, y)
    return y


def columns_sums(dy: Array, x: Array, mean: Array, inv: Array) -> tuple[Array, Array]:
    """Return the sums of dy and of dy xhat down the columns, in float64."""
    total, total_x = np.empty(mean.shape), np.empty(mean.shape)
    _columns_sums(as_rows(dy), as_rows(x), mean.astype(x.dtype), total, total_x)
    return total, total_x * inv


def columns_backward(
    dy: Array, x: Array, mean: Array, inv: Array, gamma: Array | None, means: tuple[Array, Array]
) -> Array:
    """Return dx = inv (gamma dy - m - xhat m_x), given m and m_x, the means of dxhat and of dxhat xhat."""
    gamma, _ = factors(gamma, None, x)
    dx = empty(x.shape, dtype=np.result_type(dy, x, gamma))
    m, m_x = means
    columns = (mean, gamma * inv, -inv * inv * m_x, -inv * m)
    _columns_backward(as_rows(dy), as_rows(x), *(column.astype(dx.dtype) for column in columns), dx)
    return dx


def factors(gamma: Array | None, beta: Array | None, x: Array) -> tuple[Array, Array]:
    """Return gamma and beta, flat; ones and zeros where there are none."""
    columns = x.shape[-1]
    return (
        np.ones(columns, dtype=x.dtype) if gamma is None else flat(gamma),
        np.zeros(columns, dtype=x.dtype) if beta is None else flat(beta),
    )
