"""The loops of `LSTM`, in place; the plain lines are in tinynn/layers/lstm.py.

Where numba is, the whole loop is one kernel (tinynn/kernels/fused/lstm.py); on a CUDA device each step is.
"""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels, matmul
from tinynn.kernels.steps import StepActivation, rows, split_gates


def lstm_kernels(a: Array, U: Array, gate: StepActivation, act: StepActivation, name: str) -> Any:
    """Return the module of the fused kernels if this one is among them and may run, else None."""
    usual = gate.name == "sigmoid" and act.name == "tanh" and a.dtype == U.dtype
    return fused_kernels(a) if usual and can_fuse(a, name) else None


def forward(
    a: Array,
    U: Array,
    n: Array | None,
    mask: Array | None,
    h0: Array | None,
    c0: Array | None,
    gate: StepActivation,
    act: StepActivation,
) -> tuple[Array, list[Array], Any]:
    """Return the states after every step, the last ones, and what `backward` needs; writes into `a`.

    Shapes   a (T, B, 4 H), U (H, 4 H), n (B, H), mask (T, B, 1), h0, c0 (B, H), h, c (T + 1, B, H)
             v (T, 4, B, H), or (T, B, 4 H) if it is fused kernels that go through the steps
    """
    xp = array_module(a)
    T, B, _ = a.shape
    H = len(U)
    if (whole := lstm_kernels(a, U, gate, act, "lstm_forward")) is not None:
        h, c, s = whole.lstm_forward(a, U, n, mask, h0, c0)
        return h[1:], [h[T], c[T]], (h, c, s, a, h0 is not None)
    h = xp.empty((T + 1, B, H), dtype=a.dtype)  # h[t] goes into step t, h[t + 1] comes out
    c = xp.empty_like(h)
    h[0], c[0] = (0, 0) if h0 is None else (h0, c0)
    s = xp.empty_like(h[1:])  # act(c)
    fused = lstm_kernels(a, U, gate, act, "lstm_step")
    # The gates of a step take the memory of its a, (B, 4 H): as they lie there, or one after the other
    v = a.reshape(T, 4, B, H) if fused is None else a
    k = xp.empty_like(a[0])
    k4 = split_gates(k, 4)  # a view: (B, 4 H) -> (4, B, H)
    fc = xp.empty_like(c[0])
    for t in range(T):
        hn = h[t] if n is None else h[t] * n
        k = matmul(hn, U, out=k)  # (B, H) (H, 4 H) -> (B, 4 H)
        if fused is not None:
            fused.lstm_step(k, a[t], c[t], c[t + 1], s[t], h[t + 1])
        else:
            k += a[t]
            i, f, g, o = v[t]
            gate.forward(k4[:2], v[t, :2])  # i and f
            act.forward(k4[2], g)
            gate.forward(k4[3], o)
            xp.multiply(f, c[t], out=fc)
            xp.multiply(i, g, out=c[t + 1])
            c[t + 1] += fc  # c = f c + i g
            act.forward(c[t + 1], s[t])
            xp.multiply(o, s[t], out=h[t + 1])
        if mask is not None:
            c[t + 1] = xp.where(mask[t], c[t + 1], c[t])
            h[t + 1] = xp.where(mask[t], h[t + 1], h[t])
    return h[1:], [h[T], c[T]], (h, c, s, v, h0 is not None)


def backward(
    dy: Any,
    dh: Array,
    dc: Array,
    n: Array | None,
    mask: Array | None,
    kept: Any,
    U: Array,
    dU: Array,
    gate: StepActivation,
    act: StepActivation,
    truncate: int | None,
) -> tuple[Array, list[Array]]:
    """Write dU, return da and the gradients by h0 and c0; `dh` and `dc`, the last state's, are written into."""
    h, c, s, v, given = kept
    xp = array_module(h)
    T, B, H = s.shape
    da = v.reshape(T, B, 4 * H)  # da of a step takes the memory of its gates
    hn = h[:-1] if n is None else h[:-1] * n
    if (whole := lstm_kernels(v, U, gate, act, "lstm_backward")) is not None:
        dstart = whole.lstm_backward(dy, dh, dc, n, mask, c, s, da, U, truncate or T, given)
        matmul(rows(hn).T, rows(da), out=dU)  # k = hn U, all steps in one product
        return da, dstart
    fused = lstm_kernels(v, U, gate, act, "lstm_step")
    da4 = split_gates(da, 4)
    dv = xp.empty((4, B, H), dtype=v.dtype)
    di, df, dg, do = dv
    ds = xp.empty_like(h[0])
    for t in reversed(range(T)):
        if not isinstance(dy[t], int):
            dh += dy[t]  # y[t] = h[t + 1]
        if mask is not None:  # h[t + 1] = where(mask, h_new, h[t]), and c
            dh_old, dc_old = xp.where(mask[t], 0, dh), xp.where(mask[t], 0, dc)
            dh, dc = xp.where(mask[t], dh, 0), xp.where(mask[t], dc, 0)
        if fused is not None:
            fused.lstm_step_backward(dh, dc, c[t], s[t], da[t])
        else:
            i, f, g, o = v[t]
            xp.multiply(dh, o, out=ds)  # h_new = o s
            xp.multiply(dh, s[t], out=do)  # h_new = o s
            dc += act.backward(ds, s[t], ds)  # s = act(c_new)
            xp.multiply(dc, g, out=di)  # c_new = f c[t] + i g
            xp.multiply(dc, i, out=dg)  # c_new = f c[t] + i g
            xp.multiply(dc, c[t], out=df)  # c_new = f c[t] + i g
            gate.backward(do, o, do)
            act.backward(dg, g, dg)
            gate.backward(dv[:2], v[t, :2], dv[:2])  # i and f
            dc *= f  # c_new = f c[t] + i g
            da4[t] = dv  # k = hn U + a[t]
        if t % (truncate or T) == 0 and (t or not given):  # h[t] and c[t] count as constants
            dh[...] = 0
            dc[...] = 0
            continue
        dh = matmul(da[t], U.T, out=dh)  # k = hn U
        if n is not None:
            dh *= n  # hn = h n
        if mask is not None:
            dh += dh_old
            dc += dc_old
    matmul(rows(hn).T, rows(da), out=dU)  # k = hn U, all steps in one product
    return da, [dh, dc]
