"""The loops of `GRU`, in place; the plain lines are in tinynn/layers/gru.py.

Shapes   a (T, B, 3 H), U (H, 3 H), n (B, H), mask (T, B, 1), h0 (B, H), h (T + 1, B, H), v (T, 3, B, H)
"""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels, matmul
from tinynn.kernels.steps import StepActivation, rows, split_gates


def step_kernels(a: Array, U: Array, gate: StepActivation, act: StepActivation) -> Any:
    """Return the module of the fused kernels if a step of it may run, else None."""
    usual = gate.name == "sigmoid" and act.name == "tanh" and a.dtype == U.dtype
    return fused_kernels(a) if usual and can_fuse(a, "gru_step") else None


def forward_reset_after(
    a: Array,
    U: Array,
    b: Array | None,
    n: Array | None,
    mask: Array | None,
    h0: Array | None,
    gate: StepActivation,
    act: StepActivation,
) -> tuple[Array, list[Array], Any]:
    """Return the states after every step, the last one, and what backward needs; `b` is added to h U."""
    xp = array_module(a)
    T, B, _ = a.shape
    H = len(U)
    h = xp.empty((T + 1, B, H), dtype=a.dtype)  # h[t] goes into step t, h[t + 1] comes out
    h[0] = 0 if h0 is None else h0
    v = xp.empty((T, 3, B, H), dtype=a.dtype)  # the gates z and r, and the candidate g
    k = xp.empty_like(a[0])  # (B, 3 H)
    q = xp.empty_like(h[1:])  # h U_h + b'_h
    a3, k3 = split_gates(a, 3), split_gates(k, 3)  # views: (T, 3, B, H) and (3, B, H)
    fused = step_kernels(a, U, gate, act)
    for t in range(T):
        hn = h[t] if n is None else h[t] * n
        k = matmul(hn, U, out=k)  # (B, H) (H, 3 H) -> (B, 3 H)
        if fused is not None:
            fused.gru_step(k, b, a[t], h[t], v[t], q[t], h[t + 1])
        else:
            if b is not None:
                k += b
            z, r, g = v[t]
            xp.add(a3[t, :2], k3[:2], out=v[t, :2])
            gate.forward(v[t, :2], v[t, :2])  # z and r
            q[t] = k3[2]
            xp.multiply(r, q[t], out=g)
            g += a3[t, 2]
            act.forward(g, g)  # g = act(r q + a_g)
            d = h[t] - g
            d *= z
            xp.add(g, d, out=h[t + 1])  # h = g + z (h - g)
        if mask is not None:
            h[t + 1] = xp.where(mask[t], h[t + 1], h[t])
    return h[1:], [h[T]], (h, v, q, a, h0 is not None)


def backward_reset_after(
    dy: Any,
    dh: Array,
    n: Array | None,
    mask: Array | None,
    kept: Any,
    U: Array,
    dU: Array,
    db: Array | None,
    gate: StepActivation,
    act: StepActivation,
    truncate: int | None,
) -> tuple[Array, list[Array]]:
    """Write dU and db, return da and the gradient by h0; `dh` is the last state's and is written into."""
    h, v, q, a, given = kept
    xp = array_module(h)
    T = len(a)
    da = a  # a is not needed any more: its memory takes da
    dk = xp.empty_like(a)
    da3, dk3 = split_gates(da, 3), split_gates(dk, 3)
    dv = xp.empty_like(v[0])
    dz, dr, dg = dv
    dkh = xp.empty_like(h[0])
    fused = step_kernels(a, U, gate, act)
    for t in reversed(range(T)):
        if not isinstance(dy[t], int):  # 0 where only the last step is given on
            dh += dy[t]  # y[t] = h[t + 1]
        if mask is not None:  # h[t + 1] = where(mask, h_new, h[t])
            dh_old = xp.where(mask[t], 0, dh)
            dh = xp.where(mask[t], dh, 0)
        if fused is not None:
            dh_direct = xp.empty_like(dh)
            fused.gru_step_backward(dh, h[t], v[t], q[t], da[t], dk[t], dh_direct)
        else:
            z, r, g = v[t]
            xp.subtract(h[t], g, out=dz)
            dz *= dh  # h_new = g + z (h[t] - g)
            dh_direct = dh * z  # h_new = g + z (h[t] - g)
            xp.subtract(dh, dh_direct, out=dg)  # h_new = g + z (h[t] - g)
            act.backward(dg, g, dg)  # g = act(r q + a_g)
            xp.multiply(dg, q[t], out=dr)  # g = act(r q + a_g)
            dq = dg * r  # g = act(r q + a_g)
            gate.backward(dv[:2], v[t, :2], dv[:2])  # z and r
            da3[t] = dv
            dk3[t, :2] = dv[:2]  # z, r = gate(a + k)
            dk3[t, 2] = dq  # q = k_g
        if t % (truncate or T) == 0 and (t or not given):  # h[t] counts as a constant
            dh[...] = 0
            continue
        matmul(dk[t], U.T, out=dkh)  # k = hn U + b'
        if n is not None:
            dkh *= n  # hn = h n
        dh = xp.add(dh_direct, dkh, out=dh)
        if mask is not None:
            dh += dh_old
    if db is not None:
        rows(dk).sum(axis=0, out=db)  # k = hn U + b'
    hn = h[:-1] if n is None else h[:-1] * n
    matmul(rows(hn).T, rows(dk), out=dU)  # k = hn U, all steps in one product
    return da, [dh]


def forward_reset_before(
    a: Array, U: Array, n: Array | None, mask: Array | None, h0: Array | None, gate: StepActivation, act: StepActivation
) -> tuple[Array, list[Array], Any]:
    """Return the states after every step, the last one, and what backward needs."""
    xp = array_module(a)
    T, B, _ = a.shape
    H = len(U)
    U_zr, U_g = xp.ascontiguousarray(U[:, : 2 * H]), xp.ascontiguousarray(U[:, 2 * H :])
    h = xp.empty((T + 1, B, H), dtype=a.dtype)  # h[t] goes into step t, h[t + 1] comes out
    h[0] = 0 if h0 is None else h0
    v = xp.empty((T, 3, B, H), dtype=a.dtype)  # the gates z and r, and the candidate g
    k = xp.empty((B, 2 * H), dtype=a.dtype)
    p = xp.empty_like(h[1:])  # r h, which meets U_g
    a3, k2 = split_gates(a, 3), split_gates(k, 2)  # views: (T, 3, B, H) and (2, B, H)
    for t in range(T):
        hn = h[t] if n is None else h[t] * n
        k = matmul(hn, U_zr, out=k)  # (B, H) (H, 2 H) -> (B, 2 H)
        z, r, g = v[t]
        xp.add(a3[t, :2], k2, out=v[t, :2])
        gate.forward(v[t, :2], v[t, :2])  # z and r
        xp.multiply(r, hn, out=p[t])
        matmul(p[t], U_g, out=g)  # (B, H) (H, H) -> (B, H)
        g += a3[t, 2]
        act.forward(g, g)  # g = act(p U_g + a_g)
        d = h[t] - g
        d *= z
        xp.add(g, d, out=h[t + 1])  # h = g + z (h - g)
        if mask is not None:
            h[t + 1] = xp.where(mask[t], h[t + 1], h[t])
    return h[1:], [h[T]], (h, v, p, a, h0 is not None)


def backward_reset_before(
    dy: Any,
    dh: Array,
    n: Array | None,
    mask: Array | None,
    kept: Any,
    U: Array,
    dU: Array,
    gate: StepActivation,
    act: StepActivation,
    truncate: int | None,
) -> tuple[Array, list[Array]]:
    """Write dU, return da and the gradient by h0; `dh` is the last state's and is written into."""
    h, v, p, a, given = kept
    xp = array_module(h)
    T, H = len(a), len(U)
    U_zr, U_g = U[:, : 2 * H], U[:, 2 * H :]
    da = a  # a is not needed any more: its memory takes da
    da3 = split_gates(da, 3)
    dv = xp.empty_like(v[0])
    dz, dr, dg = dv
    for t in reversed(range(T)):
        z, r, g = v[t]
        hn = h[t] if n is None else h[t] * n
        if not isinstance(dy[t], int):  # 0 where only the last step is given on
            dh += dy[t]  # y[t] = h[t + 1]
        if mask is not None:  # h[t + 1] = where(mask, h_new, h[t])
            dh_old = xp.where(mask[t], 0, dh)
            dh = xp.where(mask[t], dh, 0)
        xp.subtract(h[t], g, out=dz)
        dz *= dh  # h_new = g + z (h[t] - g)
        dh_direct = dh * z  # h_new = g + z (h[t] - g)
        xp.subtract(dh, dh_direct, out=dg)  # h_new = g + z (h[t] - g)
        act.backward(dg, g, dg)  # g = act(p U_g + a_g)
        dp = matmul(dg, U_g.T)  # g = act(p U_g + a_g)
        xp.multiply(dp, hn, out=dr)  # p = r hn
        gate.backward(dv[:2], v[t, :2], dv[:2])  # z and r
        da3[t] = dv
        if t % (truncate or T) == 0 and (t or not given):  # h[t] counts as a constant
            dh[...] = 0
            continue
        dhn = matmul(da[t, :, : 2 * H], U_zr.T)  # k = hn U_zr
        dp *= r
        dhn += dp  # p = r hn
        if n is not None:
            dhn *= n  # hn = h n
        dh = xp.add(dh_direct, dhn, out=dh)
        if mask is not None:
            dh += dh_old
    hn = h[:-1] if n is None else h[:-1] * n
    dv2 = rows(da)
    dU[:, : 2 * H] = matmul(rows(hn).T, dv2[:, : 2 * H])  # k = hn U_zr, all steps in one product
    dU[:, 2 * H :] = matmul(rows(p).T, dv2[:, 2 * H :])  # g = act(p U_g + a_g)
    return da, [dh]
