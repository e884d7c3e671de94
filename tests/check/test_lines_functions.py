"""The line checker on plain functions, and on classes that know nothing of this library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynn.check import LinesReport, lines
from tinynn.layers import Layer

r = np.random.default_rng(0)
x = r.normal(size=(4, 5))
PARAMS = {"W1": r.normal(size=(5, 6)), "b1": r.normal(size=6), "W2": r.normal(size=(6, 2)), "b2": r.normal(size=2)}


def forward(params: Any, x: Any) -> Any:
    W1, b1 = params["W1"], params["b1"]
    z1 = x @ W1 + b1
    h1 = np.maximum(0, z1)
    y = h1 @ params["W2"] + params["b2"]
    cache = (x, z1, h1)
    return y, cache


def backward(params: Any, dy: Any, cache: Any) -> Any:
    x, z1, h1 = cache
    grads = {}
    grads["W2"] = h1.T @ dy
    grads["b2"] = dy.sum(axis=0)
    dh1 = dy @ params["W2"].T
    dz1 = dh1 * (z1 > 0)
    grads["W1"] = x.T @ dz1
    grads["b1"] = dz1.sum(axis=0)
    dx = dz1 @ params["W1"].T
    return dx, grads


def wrong_backward(params: Any, dy: Any, cache: Any) -> Any:
    x, _, h1 = cache
    grads = {}
    grads["W2"] = h1.T @ dy
    grads["b2"] = dy.mean(axis=0)
    dh1 = dy @ params["W2"].T
    dz1 = dh1
    grads["W1"] = x.T @ dz1
    grads["b1"] = dz1.sum(axis=0)
    return {"W2": grads["W2"], "b2": grads["b2"], "W1": grads["W1"], "b1": grads["b1"]}


def tanh_forward(x: Any, W: Any, b: Any) -> Any:
    return np.tanh(x @ W + b)


def tanh_backward(dout: Any, x: Any, W: Any, y: Any) -> Any:
    dz = dout * (1 - y**2)
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


def tanh_wrong(dout: Any, x: Any, W: Any, y: Any) -> Any:
    dz = dout * (1 - y**2)
    return dz @ W.T, x.T @ dz, -dz.sum(axis=0)


def loss_forward(params: Any, x: Any, t: Any) -> Any:
    w, c = params
    p = x @ w + c
    e = p - t
    L = np.mean(e**2)
    return L


def loss_backward(params: Any, x: Any, e: Any) -> Any:
    de = 2 * e / e.size
    dp = de
    dw = x.T @ dp
    dc = dp.sum(axis=0)
    return dw, dc


def loss_wrong(params: Any, x: Any, e: Any) -> Any:
    de = 2 * e
    dp = de
    dw = x.T @ dp
    dc = dp.sum(axis=0)
    return dw, dc


def rnn_forward(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    N, T, _ = x.shape
    h = np.zeros((N, T, b.shape[0]))
    before = h0
    for t in range(T):
        a = x[:, t] @ Wx + before @ Wh + b
        before = np.tanh(a)
        h[:, t] = before
    return h, (x, h0, Wx, Wh, h)


def rnn_backward(dh: Any, cache: Any) -> Any:
    x, h0, Wx, Wh, h = cache
    dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(len(Wh))
    dh0 = np.zeros_like(h0)
    for t in reversed(range(x.shape[1])):
        da = (dh[:, t] + dh0) * (1 - h[:, t] ** 2)
        dx[:, t] = da @ Wx.T
        dWx += x[:, t].T @ da
        dWh += (h[:, t - 1] if t else h0).T @ da
        db += da.sum(axis=0)
        dh0 = da @ Wh.T
    return dx, dh0, dWx, dWh, db


def rnn_wrong(dh: Any, cache: Any) -> Any:
    x, h0, Wx, Wh, h = cache
    dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(len(Wh))
    dh0 = np.zeros_like(h0)
    for t in reversed(range(x.shape[1])):
        da = (dh[:, t] + dh0) * (1 - h[:, t] ** 2)
        dx[:, t] = da @ Wx.T
        dWx += x[:, t].T @ da
        dWh += h[:, t].T @ da
        db += da.sum(axis=0)
        dh0 = da @ Wh.T
    return dx, dh0, dWx, dWh, db


def wrong(report: LinesReport) -> list[str]:
    return [line.line.text for line in report.wrong]


RNN = {"h0": r.normal(size=(2, 3)), "Wx": r.normal(size=(4, 3)), "Wh": r.normal(size=(3, 3)), "b": r.normal(size=3)}
LOSS = {"params": (r.normal(size=(5, 2)), r.normal(size=2)), "t": r.normal(size=(4, 2))}
TANH = {"W": r.normal(size=(5, 3)), "b": r.normal(size=3)}
SEQUENCE = r.normal(size=(2, 5, 4))


def test_right_functions_are_right() -> None:
    for pair, given, options in (
        ((forward, backward), x, {"params": PARAMS}),
        ((tanh_forward, tanh_backward), x, TANH),
        ((loss_forward, loss_backward), x, LOSS),
        ((rnn_forward, rnn_backward), SEQUENCE, RNN),
    ):
        report = lines(pair, given, **options)
        assert report.ok, str(report)
        assert any(line.verdict == "ok" for line in report.lines)


def test_the_wrong_lines_of_functions_are_named() -> None:
    assert wrong(lines((forward, wrong_backward), x, params=PARAMS)) == ['grads["b2"] = dy.mean(axis=0)', "dz1 = dh1"]
    report = lines((tanh_forward, tanh_wrong), x, **TANH)
    assert wrong(report) == ["return dz @ W.T, x.T @ dz, -dz.sum(axis=0)"]
    assert report.wrong[0].name == "db"
    assert wrong(lines((loss_forward, loss_wrong), x, **LOSS)) == ["de = 2 * e"]
    assert wrong(lines((rnn_forward, rnn_wrong), SEQUENCE, **RNN)) == ["dWh += h[:, t].T @ da"]


def test_their_mistakes_are_diagnosed() -> None:
    kinds = [
        line.diagnosis and line.diagnosis.kind for line in lines((forward, wrong_backward), x, params=PARAMS).wrong
    ]
    assert kinds == ["factor 1/N", "missing mask"]
    diagnosis = lines((loss_forward, loss_wrong), x, **LOSS).wrong[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.kind == "factor N"
    assert "exactly 8 times the truth" in diagnosis.text


def test_what_cannot_be_checked_says_which_forms_can() -> None:
    with pytest.raises(ValueError, match=r"no value for forward's argument 'b'.*Accepted are forward\(x, W, b\)"):
        lines((tanh_forward, tanh_backward), x, W=TANH["W"])
    with pytest.raises(ValueError, match="forward has no argument 'V'"):
        lines((tanh_forward, tanh_backward), x, V=x, **TANH)
    no_layer: Any = 3
    with pytest.raises(ValueError, match=r"expected a layer, a loss, or the two functions .* got int"):
        lines(no_layer, x)

    def puzzling(mystery: Any, riddle: Any) -> Any:
        return mystery

    with pytest.raises(ValueError, match="what is backward's argument 'mystery'"):
        lines((tanh_forward, puzzling), x, **TANH)


def test_errors_of_the_functions_are_told_with_their_line() -> None:
    with pytest.raises(ValueError, match=r"line \d+  return np.tanh\(x @ W \+ b\)  raises ValueError: matmul"):
        lines((tanh_forward, tanh_backward), x[:, :4], **TANH)


class Plain(Layer):
    """Makes its weights itself."""

    def __init__(self) -> None:
        super().__init__()
        self.W = np.random.default_rng(0).normal(size=(5, 2))

    def forward(self, x: Any, training: bool = False) -> Any:
        y = x @ self.W
        self.cache = x
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x = self.take_cache()
        self.dW = x.T @ dy / len(x)
        dx = dy @ self.W.T
        return dx


class InDictionary:
    def __init__(self) -> None:
        self.params = {"W": np.ones((5, 2))}

    def forward(self, x: Any) -> Any:
        return x @ self.params["W"]

    def backward(self, dy: Any) -> Any:
        return dy @ self.params["W"].T


def test_weights_that_are_plain_attributes_are_found() -> None:
    layer = Plain()
    assert wrong(lines(layer, x)) == ["self.dW = x.T @ dy / len(x)"]
    assert layer.own_parameters == []
    with pytest.raises(ValueError, match=r"InDictionary keeps arrays in the dictionary self\.params"):
        lines(InDictionary(), x)
