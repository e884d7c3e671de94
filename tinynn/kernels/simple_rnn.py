"""The loops of `SimpleRNN`, in place; the plain lines are in tinynn/layers/recurrent.py."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.kernels import matmul
from tinynn.kernels.steps import StepActivation, rows


def forward(
    a: Array, U: Array, n: Array | None, mask: Array | None, h0: Array | None, act: StepActivation
) -> tuple[Array, list[Array], Any]:
    """Return the states after every step, the last ones, and what `backward` needs; may write into `a`.

    Shapes   a (T, B, H), U (H, H), n (B, H), mask (T, B, 1), h0 (B, H), h (T + 1, B, H)
    """
    xp = array_module(a)
    T, B, H = a.shape
    h = xp.empty((T + 1, B, H), dtype=a.dtype)  # h[t] goes into step t, h[t + 1] comes out
    h[0] = 0 if h0 is None else h0
    k = xp.empty_like(h[0])
    for t in range(T):
        hn = h[t] if n is None else h[t] * n
        k = matmul(hn, U, out=k)  # (B, H) (H, H) -> (B, H)
        k += a[t]
        act.forward(k, h[t + 1])
        if mask is not None:
            h[t + 1] = xp.where(mask[t], h[t + 1], h[t])
    return h[1:], [h[T]], (h, a, h0 is not None)


def backward(
    dy: Any,
    dh: Array,
    n: Array | None,
    mask: Array | None,
    kept: Any,
    U: Array,
    dU: Array,
    act: StepActivation,
    truncate: int | None,
) -> tuple[Array, list[Array]]:
    """Write dU, return da and the gradient by h0; `dh` is the last state's and is written into."""
    h, a, given = kept
    xp = array_module(h)
    T = len(a)
    da = a  # a is not needed any more: its memory takes da
    for t in reversed(range(T)):
        if not isinstance(dy[t], int):  # 0 where only the last step is given on
            dh += dy[t]  # y[t] = h[t + 1]
        if mask is not None:  # h[t + 1] = where(mask, h_new, h[t])
            dh_old = xp.where(mask[t], 0, dh)
            dh = xp.where(mask[t], dh, 0)
        act.backward(dh, h[t + 1], da[t])  # h_new = act(k + a[t])
        if t % (truncate or T) == 0 and (t or not given):  # h[t] counts as a constant
            dh[...] = 0
            continue
        dh = matmul(da[t], U.T, out=dh)  # k = hn U
        if n is not None:
            dh *= n  # hn = h n
        if mask is not None:
            dh += dh_old
    hn = h[:-1] if n is None else h[:-1] * n
    matmul(rows(hn).T, rows(da), out=dU)  # k = hn U, all steps in one product
    return da, [dh]
