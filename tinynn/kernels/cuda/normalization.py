"""The normalizations; the plain lines are in tinynn/layers/normalization.py and batch_normalization.py.

Along rows     xhat = (x - mean) inv, y = gamma xhat + beta
               dx = inv (gamma dy - a - xhat b), a and b the means of gamma dy and of gamma dy xhat along a row
               dgamma = sum dy xhat, dbeta = sum dy down the columns
Down columns   mean = K + s / N, var = (q - s^2 / N) / N, s = sum (x - K), q = sum (x - K)^2, K the first of x
               y = gamma (x - mean) inv + beta, dx = inv (gamma dy - m - xhat m_x)
               running averages: a = momentum a + (1 - momentum) new

Sums down the columns are double, so that one pass over x is enough for both moments; K keeps q small.

Shapes   along rows x, y, dy, dx (N, F), gamma, beta, dgamma, dbeta (F,), mean, inv (N,)
         down the columns x, y, dy, dx (B, N, C), gamma, beta (C,), mean, var, inv, m, m_x (B, C)
Launch   rows: a block a row; sums down the columns: see columns.py, samples one after the other in the grid's third
         axis, which ends at 65535: a block goes on with the sample that lies so many further; what is done to each
         number: a thread a number, blocks of 256
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.columns import HEAD, LANES, grid_for
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat, threads_for

DEEPEST = 65535  # of a grid's third axis

source = Source(
    "normalization",
    HEAD
    + r"""
#define ROW(all, F) ((all) + blockIdx.x * (F))
#define OR(pointer, i, otherwise) ((pointer) ? (pointer)[i] : T(otherwise))

extern "C" __global__ void rows_forward(
    const T* xs, const T* gamma, const T* beta, T epsilon, Size centered, T* means, T* invs, T* ys, Size F) {
    const T* x = ROW(xs, F);
    T* y = ROW(ys, F);
    T mean = 0, var = 0;
    if (centered) {
        IN_BLOCK(i, F) mean += x[i];
        mean = block_sum(mean) / F;
    }
    IN_BLOCK(i, F) var += (x[i] - mean) * (x[i] - mean);
    T inv = 1 / sqrt(block_sum(var) / F + epsilon);
    IN_BLOCK(i, F) y[i] = (x[i] - mean) * inv * OR(gamma, i, 1) + OR(beta, i, 0);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = mean;
        invs[blockIdx.x] = inv;
    }
}

extern "C" __global__ void rows_backward(
    const T* dys, const T* xs, const T* gamma, const T* means, const T* invs, Size centered, T* dxs, Size F) {
    const T *dy = ROW(dys, F), *x = ROW(xs, F);
    T* dx = ROW(dxs, F);
    T mean = means[blockIdx.x], inv = invs[blockIdx.x], a = 0, b = 0;
    IN_BLOCK(i, F) {
        T dxhat = dy[i] * OR(gamma, i, 1);
        a += dxhat;
        b += dxhat * (x[i] - mean) * inv;
    }
    a = centered ? block_sum(a) / F : T(0);
    b = block_sum(b) / F;
    IN_BLOCK(i, F) dx[i] = inv * (dy[i] * OR(gamma, i, 1) - a - (x[i] - mean) * inv * b);
}

// dgamma and dbeta of a slab of rows, each a row of `parts` (2, slabs, F).
extern "C" __global__ void OF_COLUMNS rows_sums(
    const T* dy, const T* x, const T* means, const T* invs, double* parts, Size N, Size F) {
    COLUMN;
    double dgamma = 0, dbeta = 0;
    if (c < F) IN_SLAB(n, N) {
        T d = dy[n * F + c];
        dgamma += d * ((x[n * F + c] - means[n]) * invs[n]);
        dbeta += d;
    }
    write_lane_sum(dgamma, parts, F);
    write_lane_sum(dbeta, parts + gridDim.y * F, F);
}

// out[k, c] = sum over the slabs of parts[k, slab, c].
extern "C" __global__ void add_parts(const double* parts, T* out, Size slabs, Size C, Size n) {
    EACH(i, n) {
        double s = 0;
        for (Size slab = 0; slab < slabs; slab++) s += parts[(i / C * slabs + slab) * C + i % C];
        out[i] = s;
    }
}

// s and q of a slab of every sample: all (B, 2, slabs, C).
extern "C" __global__ void OF_COLUMNS columns_moments(const T* xs, double* all, Size B, Size N, Size C) {
    COLUMN;
    for (Size b = blockIdx.z; b < B; b += gridDim.z) {
        const T* x = xs + b * N * C;
        double *parts = all + b * 2 * gridDim.y * C, s = 0, q = 0;
        if (c < C) IN_SLAB(n, N) {
            double d = (double)x[n * C + c] - (double)x[c];
            s += d;
            q += d * d;
        }
        write_lane_sum(s, parts, C);
        write_lane_sum(q, parts + gridDim.y * C, C);
    }
}

extern "C" __global__ void moments_of_parts(
    const T* x, const double* parts, T* mean, T* var, Size slabs, Size N, Size C, Size n) {
    EACH(i, n) {
        Size b = i / C, c = i % C;
        double s = 0, q = 0;
        for (Size slab = 0; slab < slabs; slab++) {
            s += parts[(b * 2 * slabs + slab) * C + c];
            q += parts[((b * 2 + 1) * slabs + slab) * C + c];
        }
        mean[i] = (double)x[b * N * C + c] + s / N;
        double v = (q - s * s / N) / N;
        var[i] = v < 0 ? 0 : v;  // NaN stays
    }
}

extern "C" __global__ void move_averages(
    T* mean, T* var, const T* new_mean, const T* new_var, T momentum, Size n) {
    EACH(i, n) {
        mean[i] = momentum * mean[i] + (1 - momentum) * new_mean[i];
        var[i] = momentum * var[i] + (1 - momentum) * new_var[i];
    }
}

extern "C" __global__ void columns_forward(
    const T* x, const T* mean, const T* inv, const T* gamma, const T* beta, T* y, Size N, Size C, Size n) {
    EACH(i, n) {
        Size c = i % C, bc = i / (N * C) * C + c;
        y[i] = (x[i] - mean[bc]) * (inv[bc] * OR(gamma, c, 1)) + OR(beta, c, 0);
    }
}

// Sums of dy and of dy xhat of a slab of every sample: all (B, 2, slabs, C).
extern "C" __global__ void OF_COLUMNS columns_sums(
    const T* dys, const T* xs, const T* mean, const T* inv, double* all, Size B, Size N, Size C) {
    COLUMN;
    for (Size b = blockIdx.z; b < B; b += gridDim.z) {
        const T *dy = dys + b * N * C, *x = xs + b * N * C;
        double *parts = all + b * 2 * gridDim.y * C, s = 0, q = 0;
        if (c < C) {
            T m = mean[b * C + c], r = inv[b * C + c];
            IN_SLAB(n, N) {
                T d = dy[n * C + c];
                s += d;
                q += d * ((x[n * C + c] - m) * r);
            }
        }
        write_lane_sum(s, parts, C);
        write_lane_sum(q, parts + gridDim.y * C, C);
    }
}

extern "C" __global__ void columns_backward(
    const T* dy, const T* x, const T* mean, const T* inv, const T* gamma, const T* m, const T* m_x, T* dx,
    Size N, Size C, Size n) {
    EACH(i, n) {
        Size c = i % C, bc = i / (N * C) * C + c;
        T r = inv[bc];
        dx[i] = r * (OR(gamma, c, 1) * dy[i] - m[bc] - (x[i] - mean[bc]) * r * m_x[bc]);
    }
}
""",
)


def rows_forward(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, centered: bool
) -> tuple[Array, Array, Array]:
    """Return y = gamma xhat + beta, and mean and inv of every row; the mean is 0 without `centered`."""
    xp: Any = array_module(x)
    x, (N, F) = flat(x), x.shape
    gamma, beta = factors(x, gamma, beta)
    y, mean, inv = xp.empty(x.shape, dtype=x.dtype), xp.empty(N, dtype=x.dtype), xp.empty(N, dtype=x.dtype)
    given = (x, gamma, beta, float(epsilon), int(centered), mean, inv, y)
    source.launch("rows_forward", x, N, threads_for(F), *given, F)
    return y, mean, inv


def rows_forward_twin(
    x: Array, gamma: Array | None, beta: Array | None, epsilon: float, centered: bool
) -> tuple[Array, Array, Array]:
    """Do what `rows_forward` does, with NumPy."""
    mean = x.mean(axis=1) if centered else np.zeros(len(x))
    xc = x - mean[:, None]
    inv = 1 / np.sqrt((xc * xc).mean(axis=1) + epsilon)
    xhat = xc * inv[:, None]
    return xhat * (1 if gamma is None else gamma) + (0 if beta is None else beta), mean, inv


def rows_backward(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inv: Array, centered: bool, need_dx: bool
) -> tuple[Array, Array, Array]:
    """Return dgamma, dbeta and dx, which is empty without `need_dx`."""
    xp: Any = array_module(x)
    dy, (N, F) = flat(dy, x), x.shape
    grid = grid_for(N, F)
    parts, sums = xp.empty((2, grid[1], F), dtype="float64"), xp.empty((2, F), dtype=x.dtype)
    source.launch("rows_sums", x, grid, 32 * LANES, dy, x, mean, inv, parts, N, F)
    source.launch("add_parts", x, blocks_for(2 * F), THREADS, parts, sums, grid[1], F, 2 * F)
    dx = xp.empty(x.shape if need_dx else (0, F), dtype=x.dtype)
    if need_dx:
        source.launch("rows_backward", x, N, threads_for(F), dy, x, *factors(x, gamma), mean, inv, int(centered), dx, F)
    return sums[0], sums[1], dx


def rows_backward_twin(
    dy: Array, x: Array, gamma: Array | None, mean: Array, inv: Array, centered: bool
) -> tuple[Array, Array, Array]:
    """Do what `rows_backward` does, with NumPy."""
    xhat = (x - mean[:, None]) * inv[:, None]
    dxhat = dy * (1 if gamma is None else gamma)
    a = dxhat.mean(axis=1, keepdims=True) if centered else 0
    b = (dxhat * xhat).mean(axis=1, keepdims=True)
    return (dy * xhat).sum(axis=0), dy.sum(axis=0), inv[:, None] * (dxhat - a - xhat * b)


def parts_for(x: Array) -> tuple[Array, tuple[int, int, int]]:
    """Return memory for two sums a column of every slab and sample, and the grid that fills it."""
    B, N, C = x.shape
    grid = (*grid_for(N, C), min(B, DEEPEST))
    xp: Any = array_module(x)
    return xp.empty((B, 2, grid[1], C), dtype="float64"), grid


def moments(x: Array) -> tuple[Array, Array]:
    """Return mean and variance of every column: (B, N, C) to (B, C)."""
    xp: Any = array_module(x)
    x, (B, N, C) = flat(x), x.shape
    mean, var = xp.empty((B, C), dtype=x.dtype), xp.empty((B, C), dtype=x.dtype)
    parts, grid = parts_for(x)
    source.launch("columns_moments", x, grid, 32 * LANES, x, parts, B, N, C)
    source.launch("moments_of_parts", x, blocks_for(B * C), THREADS, x, parts, mean, var, grid[1], N, C, B * C)
    return mean, var


def moments_twin(x: Array) -> tuple[Array, Array]:
    """Do what `moments` does, with NumPy."""
    return x.mean(axis=1), x.var(axis=1)


def move_averages(mean: Array, var: Array, new_mean: Array, new_var: Array, momentum: float) -> None:
    """Move the running averages of mean and variance (C,) in place."""
    given = (mean, var, flat(new_mean, mean), flat(new_var, var), float(momentum))
    source.launch("move_averages", mean, blocks_for(mean.size), THREADS, *given, mean.size)


def move_averages_twin(mean: Array, var: Array, new_mean: Array, new_var: Array, momentum: float) -> None:
    """Do what `move_averages` does, with NumPy."""
    mean[...] = momentum * mean + (1 - momentum) * new_mean
    var[...] = momentum * var + (1 - momentum) * new_var


def columns_forward(x: Array, mean: Array, inv: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return y = gamma (x - mean) inv + beta."""
    x, y = flat(x), array_module(x).empty(x.shape, dtype=x.dtype)
    given = (x, flat(mean, x), flat(inv, x), *factors(x, gamma, beta), y)
    source.launch("columns_forward", x, blocks_for(x.size), THREADS, *given, *x.shape[1:], x.size)
    return y


def columns_forward_twin(x: Array, mean: Array, inv: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Do what `columns_forward` does, with NumPy."""
    xhat = (x - mean[:, None]) * inv[:, None]
    return xhat * (1 if gamma is None else gamma) + (0 if beta is None else beta)


def columns_sums(dy: Array, x: Array, mean: Array, inv: Array) -> tuple[Array, Array]:
    """Return the sums of dy and of dy xhat down the columns: (B, C) each."""
    xp: Any = array_module(x)
    x, dy, (B, N, C) = flat(x), flat(dy, x), x.shape
    parts, grid = parts_for(x)
    sums = xp.empty((B, 2, C), dtype=x.dtype)
    source.launch("columns_sums", x, grid, 32 * LANES, dy, x, flat(mean, x), flat(inv, x), parts, B, N, C)
    source.launch("add_parts", x, blocks_for(sums.size), THREADS, parts, sums, grid[1], C, sums.size)
    return sums[:, 0], sums[:, 1]


def columns_sums_twin(dy: Array, x: Array, mean: Array, inv: Array) -> tuple[Array, Array]:
    """Do what `columns_sums` does, with NumPy."""
    return dy.sum(axis=1), (dy * (x - mean[:, None]) * inv[:, None]).sum(axis=1)


def columns_backward(
    dy: Array, x: Array, mean: Array, inv: Array, gamma: Array | None, means: tuple[Array, Array]
) -> Array:
    """Return dx = inv (gamma dy - m - xhat m_x), given m and m_x, the means of dxhat and of dxhat xhat."""
    x, dy = flat(x), flat(dy, x)
    dx = array_module(x).empty(x.shape, dtype=x.dtype)
    given = (dy, x, flat(mean, x), flat(inv, x), *factors(x, gamma), *(flat(m, x) for m in means), dx)
    source.launch("columns_backward", x, blocks_for(x.size), THREADS, *given, *x.shape[1:], x.size)
    return dx


def columns_backward_twin(
    dy: Array, x: Array, mean: Array, inv: Array, gamma: Array | None, means: tuple[Array, Array]
) -> Array:
    """Do what `columns_backward` does, with NumPy."""
    m, m_x = (array[:, None] for array in means)
    xhat = (x - mean[:, None]) * inv[:, None]
    return inv[:, None] * (dy * (1 if gamma is None else gamma) - m - xhat * m_x)


def factors(x: Array, *given: Array | None) -> list[Array | None]:
    """Return gamma or beta flat and of x's type, as far as there are such."""
    return [None if factor is None else flat(factor, x) for factor in given]
