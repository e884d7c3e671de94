"""The loops of `LSTM`, in place; the plain lines are in tinynn/layers/lstm.py."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels, matmul
from tinynn.kernels.steps import StepActivation, rows, split_gates


def step_kernels(a: Array, U: Array, gate: StepActivation, act: StepActivation) -> Any:
    """Return the module of the fused kernels if a step of it may run, else None."""
    usual = gate.name == "sigmoid" and act.name == "tanh"
    return fused_kernels(a) if usual and can_fuse(a, "lstm_step") and can_fuse(U) and a.dtype == U.dtype else None


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
             v (T, 4, B, H), or (T, B, 4 H) if the steps are fused
    """
    xp = array_module(a)
    T, B, _ = a.shape
    H = len(U)
    h = xp.empty((T + 1, B, H), dtype=a.dtype)  # h[t] goes into step t, h[t + 1] comes out
    c = xp.empty_like(h)
    h[0], c[0] = (0, 0) if h0 is None else (h0, c0)
    s = xp.empty_like(h[1:])  # act(c)
    fused = step_kernels(a, U, gate, act)
    # The gates of a step take the memory of its a, (B, 4 H): as they lie there, or one after the other
    v = a.reshape(T, 4, B, H) if fused is None else a

    def steps(share: slice) -> None:
        """Go through the steps with some samples, which know nothing of each other."""
        if fused is not None:
            U_tiles = fused.factor(U, len(h[0, share]))
        k = xp.empty_like(a[0, share])
        k4 = split_gates(k, 4)  # a view: (B, 4 H) -> (4, B, H)
        fc = xp.empty_like(c[0, share])
        for t in range(T):
            h_old, c_old, h_new, c_new, s_new = h[t, share], c[t, share], h[t + 1, share], c[t + 1, share], s[t, share]
            hn = h_old if n is None else h_old * n[share]
            if fused is not None:
                fused.lstm_step(hn, U_tiles, a[t, share], c_old, c_new, s_new, h_new, k)
            else:
                k = matmul(hn, U, out=k)  # (B, H) (H, 4 H) -> (B, 4 H)
                k += a[t]
                i, f, g, o = v[t]
                gate.forward(k4[:2], v[t, :2])  # i and f
                act.forward(k4[2], g)
                gate.forward(k4[3], o)
                xp.multiply(f, c_old, out=fc)
                xp.multiply(i, g, out=c_new)
                c_new += fc  # c = f c + i g
                act.forward(c_new, s_new)
                xp.multiply(o, s_new, out=h_new)
            if mask is not None:
                c_new[...] = xp.where(mask[t, share], c_new, c_old)
                h_new[...] = xp.where(mask[t, share], h_new, h_old)

    if fused is None:
        steps(slice(None))
    else:
        fused.in_shares(steps, B, a.size * H, one_each=True)
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
    """Write dU, return da and the gradients by h0 and c0; `dh` and `dc`, the last state's, may be written into."""
    h, c, s, v, given = kept
    xp = array_module(h)
    T, B, H = s.shape
    da = v.reshape(T, B, 4 * H)  # da of a step takes the memory of its gates
    fused = fused_kernels(v) if v.ndim == 3 else None  # as in forward
    dh0, dc0 = xp.empty_like(h[0]), xp.empty_like(c[0])

    def steps(share: slice) -> None:
        """Go back through the steps with some samples."""
        dh_t, dc_t = dh[share], dc[share]
        if fused is not None:
            UT_tiles = fused.factor(U.T, len(dh_t))
            dh_t, dc_t = xp.ascontiguousarray(dh_t), xp.ascontiguousarray(dc_t)
        da4 = split_gates(da, 4)
        dv = xp.empty((4, B, H), dtype=v.dtype)
        di, df, dg, do = dv
        ds = xp.empty_like(h[0])
        for t in reversed(range(T)):
            if not isinstance(dy[t], int):
                dh_t += dy[t][share]  # y[t] = h[t + 1]
            if mask is not None:  # h[t + 1] = where(mask, h_new, h[t]), and c
                m = mask[t, share]
                dh_old, dc_old = xp.where(m, 0, dh_t), xp.where(m, 0, dc_t)
                dh_t, dc_t = xp.where(m, dh_t, 0), xp.where(m, dc_t, 0)
            if fused is not None:
                fused.lstm_step_backward(dh_t, dc_t, c[t, share], s[t, share], da[t, share])
            else:
                i, f, g, o = v[t]
                xp.multiply(dh_t, o, out=ds)  # h_new = o s
                xp.multiply(dh_t, s[t], out=do)  # h_new = o s
                dc_t += act.backward(ds, s[t], ds)  # s = act(c_new)
                xp.multiply(dc_t, g, out=di)  # c_new = f c[t] + i g
                xp.multiply(dc_t, i, out=dg)  # c_new = f c[t] + i g
                xp.multiply(dc_t, c[t], out=df)  # c_new = f c[t] + i g
                gate.backward(do, o, do)
                act.backward(dg, g, dg)
                gate.backward(dv[:2], v[t, :2], dv[:2])  # i and f
                dc_t *= f  # c_new = f c[t] + i g
                da4[t] = dv  # k = hn U + a[t]
            if t % (truncate or T) == 0 and (t or not given):  # h[t] and c[t] count as constants
                dh_t[...] = 0
                dc_t[...] = 0
                continue
            if fused is not None:
                fused.product(da[t, share], UT_tiles, dh_t)  # k = hn U
            else:
                dh_t = matmul(da[t], U.T, out=dh_t)  # k = hn U
            if n is not None:
                dh_t *= n[share]  # hn = h n
            if mask is not None:
                dh_t += dh_old
                dc_t += dc_old
        dh0[share], dc0[share] = dh_t, dc_t

    hn = h[:-1] if n is None else h[:-1] * n
    if fused is None:
        steps(slice(None))
    else:
        fused.in_shares(steps, B, da.size * H, one_each=True)
    matmul(rows(hn).T, rows(da), out=dU)  # k = hn U, all steps in one product
    return da, [dh0, dc0]
