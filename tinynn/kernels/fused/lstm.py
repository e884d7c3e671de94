"""The loops of `LSTM` over the steps, in compiled code; the plain lines are in tinynn/layers/lstm.py.

Samples know nothing of each other, so each thread goes through all steps with some of them, and its own copy of U.

Shapes   a, v, da (T, B, 4 H): the gates i, f, g, o side by side; U (H, 4 H), n, dh, dc (B, H), mask (T, B, 1)
         h, c (T + 1, B, H), s (T, B, H); here as rows: those of step t begin at t B
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.activations import sigmoid_of
from tinynn.kernels.fused.compiler import expm1, loop
from tinynn.kernels.fused.memory import empty
from tinynn.kernels.fused.panels import copy, transpose
from tinynn.kernels.fused.team import array1, array2, piece, team, unpacked
from tinynn.kernels.fused.tiles import ROWS, multiply, width

SHARED = 2**21  # numbers multiplied in all steps from which on the team takes part


@loop
def tanh_of(x: Any, one: Any) -> Any:
    """Return tanh of one number, from exp(-2 |x|) - 1, which is exact where x is small."""
    negative = x < 0
    e = expm1((x if negative else -x) * (one + one), one)
    return (e if negative else -e) / (one + one + e)


@loop
def _gates(k: Any, a: Any, c: Any, c_new: Any, s: Any, h_new: Any) -> None:
    """Write c_new, s and h_new, and the gates into a."""
    one = a.dtype.type(1)
    B, H = c.shape
    for b in range(B):
        for j in range(4 * H):
            a[b, j] += k[b, j]
        i, f, g, o = a[b, :H], a[b, H : 2 * H], a[b, 2 * H : 3 * H], a[b, 3 * H :]
        for j in range(H):
            i[j] = sigmoid_of(i[j], one)
            f[j] = sigmoid_of(f[j], one)
            g[j] = tanh_of(g[j], one)
            o[j] = sigmoid_of(o[j], one)
        for j in range(H):
            c_new[b, j] = f[j] * c[b, j] + i[j] * g[j]
            s[b, j] = tanh_of(c_new[b, j], one)
            h_new[b, j] = o[j] * s[b, j]


@loop
def _gates_backward(dh: Any, dc: Any, c: Any, s: Any, v: Any) -> None:
    """Write the gradients of what goes into the gates into v, and that of the earlier c into dc."""
    one = v.dtype.type(1)
    B, H = c.shape
    for b in range(B):
        i, f, g, o = v[b, :H], v[b, H : 2 * H], v[b, 2 * H : 3 * H], v[b, 3 * H :]
        for j in range(H):
            d = dc[b, j] + dh[b, j] * o[j] * (one - s[b, j] * s[b, j])  # h_new = o s, s = tanh(c_new)
            d_o = dh[b, j] * s[b, j]  # h_new = o s
            di, df, dg = d * g[j], d * c[b, j], d * i[j]  # c_new = f c + i g
            dc[b, j] = d * f[j]  # c_new = f c + i g
            i[j] = di * i[j] * (one - i[j])
            f[j] = df * f[j] * (one - f[j])
            g[j] = dg * (one - g[j] * g[j])
            o[j] = d_o * o[j] * (one - o[j])


@loop
def _product(x: Any, W: Any, z: Any) -> None:
    """Write x W into z: rows (N, K), W in tiles (1, tiles, K, width)."""
    N, K = x.shape
    start = np.empty(-(-N // ROWS) * ROWS, np.int64)
    for q in range(len(start)):
        start[q] = min(q, N - 1) * K
    offset = np.arange(K).reshape(1, K)
    nothing = np.zeros((1, W.shape[1], ROWS * W.shape[3]), z.dtype)
    multiply(x.reshape(1, -1), start, offset, W, nothing, z.reshape(1, N, -1))


@loop
def _forward(
    a: Any, U: Any, n: Any, mask: Any, h: Any, c: Any, s: Any, wide: Any, B: Any, b0: Any, b1: Any, steps: Any
) -> None:
    """Go through the steps with the samples from b0 to b1."""
    H, gates = U.shape
    N, tiles = b1 - b0, -(-gates // wide)
    U_tiles = np.zeros((1, tiles, H, wide), U.dtype)
    for i in range(tiles):
        copy(U.reshape(-1), i * wide, gates, U_tiles[0, i].reshape(-1), wide, H, min(wide, gates - i * wide))
    k, hn = np.empty((N, gates), a.dtype), np.empty((N, H), a.dtype)
    for t in range(steps):
        old, new = slice(t * B + b0, t * B + b1), slice((t + 1) * B + b0, (t + 1) * B + b1)
        if len(n) > 0:
            hn[:] = h[old] * n[b0:b1]
            _product(hn, U_tiles, k)
        else:
            _product(h[old], U_tiles, k)
        _gates(k, a[old], c[old], c[new], s[old], h[new])
        if len(mask) > 0:
            for b in range(N):
                if not mask[old.start + b]:
                    c[new.start + b] = c[old.start + b]
                    h[new.start + b] = h[old.start + b]


@loop
def _backward(
    dy: Any, dh: Any, dc: Any, n: Any, mask: Any, c: Any, s: Any, v: Any, U: Any, wide: Any,
    B: Any, b0: Any, b1: Any, steps: Any, first: Any, truncate: Any, given: Any,
) -> None:  # fmt: skip
    """Go back through the steps with the samples from b0 to b1; dy begins at the step `first`."""
    H, gates = U.shape
    N, tiles = b1 - b0, -(-H // wide)
    U_tiles = np.zeros((1, tiles, gates, wide), U.dtype)  # of U^T
    for i in range(tiles):
        start = i * wide * gates
        transpose(U.reshape(-1), start, gates, U_tiles[0, i].reshape(-1), wide, gates, min(wide, H - i * wide))
    dh, dc = dh[b0:b1], dc[b0:b1]
    dh_old, dc_old = np.zeros((N, H), v.dtype), np.zeros((N, H), v.dtype)
    for t in range(steps - 1, -1, -1):
        old = slice(t * B + b0, t * B + b1)
        if t >= first:
            dh += dy[(t - first) * B + b0 : (t - first) * B + b1]  # y[t] = h[t + 1]
        if len(mask) > 0:  # h[t + 1] = where(mask, h_new, h[t]), and c
            for b in range(N):
                keeps = mask[old.start + b]
                for j in range(H):
                    dh_old[b, j] = v.dtype.type(0) if keeps else dh[b, j]
                    dc_old[b, j] = v.dtype.type(0) if keeps else dc[b, j]
                if not keeps:
                    dh[b] = 0
                    dc[b] = 0
        _gates_backward(dh, dc, c[old], s[old], v[old])
        if t % truncate == 0 and (t > 0 or not given):  # h[t] and c[t] count as constants
            dh[:] = 0
            dc[:] = 0
            continue
        _product(v[old], U_tiles, dh)  # k = hn U
        if len(n) > 0:
            dh *= n[b0:b1]  # hn = h n
        if len(mask) > 0:
            dh += dh_old
            dc += dc_old


def piece_of_forward(dtype: Any) -> int:
    """Return the address of what a thread does of the way through the steps."""

    def part(number: Any, arguments: Any) -> None:
        m = unpacked(arguments)
        a, U, n = array2(m, 0, dtype), array2(m, 1, dtype), array2(m, 2, dtype)
        h, c, s, mask = array2(m, 3, dtype), array2(m, 4, dtype), array2(m, 5, dtype), array1(m, 6, np.bool_)
        wide, B, pieces, steps = m[42], m[43], m[44], m[45]
        b0, b1 = B * number // pieces, B * (number + 1) // pieces
        _forward(a, U, n, mask, h, c, s, wide, B, b0, b1, steps)

    return piece(part)


def piece_of_backward(dtype: Any) -> int:
    """Return the address of what a thread does of the way back."""

    def part(number: Any, arguments: Any) -> None:
        m = unpacked(arguments)
        dy, dh, dc, n = array2(m, 0, dtype), array2(m, 1, dtype), array2(m, 2, dtype), array2(m, 3, dtype)
        c, s, v, U = array2(m, 4, dtype), array2(m, 5, dtype), array2(m, 6, dtype), array2(m, 7, dtype)
        mask = array1(m, 8, np.bool_)
        wide, B, pieces, steps, first, truncate, given = m[54], m[55], m[56], m[57], m[58], m[59], m[60]
        b0, b1 = B * number // pieces, B * (number + 1) // pieces
        _backward(dy, dh, dc, n, mask, c, s, v, U, wide, B, b0, b1, steps, first, truncate, given > 0)

    return piece(part)


FORWARD = {"f": piece_of_forward(np.float32), "d": piece_of_forward(np.float64)}
BACKWARD = {"f": piece_of_backward(np.float32), "d": piece_of_backward(np.float64)}


def pieces_of(a: Array, H: int) -> int:
    """Return into how many pieces the samples go."""
    return min(team().size, a.shape[1]) if a.size * H >= SHARED else 1


def as_rows(x: Array) -> Array:
    """Return (..., H) as contiguous rows."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def no_rows(U: Array) -> Array:
    """Return what stands for a factor that is not there."""
    return np.empty((0, len(U)), U.dtype)


def as_flags(mask: Array | None) -> Array:
    """Return (T, B, 1) as one row of flags, none if there is no mask."""
    return np.empty(0, bool) if mask is None else np.ascontiguousarray(mask).reshape(-1)


def lstm_forward(
    a: Array, U: Array, n: Array | None, mask: Array | None, h0: Array | None, c0: Array | None
) -> tuple[Array, Array, Array]:
    """Return the states before the first step and after every step, h and c, and s = tanh(c); the gates go into a."""
    T, B, _ = a.shape
    H = len(U)
    h, c, s = (empty((count, B, H), a.dtype) for count in (T + 1, T + 1, T))
    h[0], c[0] = (0, 0) if h0 is None else (h0, c0)
    arrays = (as_rows(x) for x in (a, U, no_rows(U) if n is None else n, h, c, s))
    pieces = pieces_of(a, H)
    numbers = width(4 * H, a.dtype), B, pieces, T
    team().share_out(FORWARD[a.dtype.char], pieces, (*arrays, as_flags(mask)), *numbers)
    return h, c, s


def lstm_backward(
    dy: Any, dh: Array, dc: Array, n: Array | None, mask: Array | None, c: Array, s: Array, v: Array,
    U: Array, truncate: int, given: bool,
) -> list[Array]:  # fmt: skip
    """Write da over the gates v, and return the gradients by the first states; dh and dc may be written into.

    `dy` (T, B, H) is an array, or a list of zeros before the array of the last step; `given` says whether there are
    first states that want gradients.
    """
    T, B, _ = v.shape
    if isinstance(dy, list):
        last = dy[-1]
        dy = np.empty((0, B, len(U))) if isinstance(last, int) else last[None]
    dy, first = dy.astype(v.dtype, copy=False), T - len(dy)
    dh, dc = np.ascontiguousarray(dh), np.ascontiguousarray(dc)
    arrays = (as_rows(x) for x in (dy, dh, dc, no_rows(U) if n is None else n, c, s, v, U))
    pieces = pieces_of(v, len(U))
    numbers = width(len(U), v.dtype), B, pieces, T, first, truncate, given
    team().share_out(BACKWARD[v.dtype.char], pieces, (*arrays, as_flags(mask)), *numbers)
    return [dh, dc]
