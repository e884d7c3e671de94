"""Layers and losses, right ones and ones with a wrong line, for the tests of the line checker."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.initializers import get as initializer
from tinynn.layers import Layer
from tinynn.losses import Loss


class MyDense(Layer):
    """The right one; the others change a line of it."""

    def build(self, input_shape: Any) -> Any:
        self.add_weight("W", (input_shape[-1], 3), initializer("normal"))
        self.add_weight("b", (3,), initializer("normal"))
        return (3,)

    def forward(self, x: Any, training: bool = False) -> Any:
        z = x @ self.W + self.b
        y = np.tanh(z)
        self.cache = x, y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 - y * y)
        self.dW = x.T @ dz
        self.db = dz.sum(axis=0)
        dx = dz @ self.W.T
        return dx


class WrongDerivative(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 - y)  # wrong
        self.dW = x.T @ dz
        self.db = dz.sum(axis=0)
        dx = dz @ self.W.T
        return dx


class TwoWrong(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 + y * y)  # wrong
        self.dW = x.T @ dz
        self.db = dz.mean(axis=0)  # wrong
        dx = dz @ self.W.T
        return dx


class AllInReturn(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 - y * y)
        np.matmul(x.T, dz, out=self.dW)
        dz.sum(axis=0, out=self.db)
        return -dz @ self.W.T  # wrong


class PartByPart(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = np.zeros_like(dy)
        dz += dy
        dz -= 2 * dy * y * y  # wrong
        self.dW[...] = x.T @ dz
        self.db[:] = dz.sum(axis=0)
        dx = dz @ self.W.T
        return dx


class BiasForgotten(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 - y * y)
        self.dW = x.T @ dz
        dx = dz @ self.W.T
        return dx


class NotSummed(MyDense):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = dy * (1 - y * y)
        self.dW = x.T @ dz
        db = dz  # wrong
        self.db = db.sum(axis=0) * 3  # wrong
        dx = dz @ self.W.T
        return dx


class Recurrence(Layer):
    """h = tanh(x_t + h U), T times."""

    def build(self, input_shape: Any) -> Any:
        self.add_weight("U", (input_shape[-1], input_shape[-1]), initializer("normal"))
        return input_shape

    def forward(self, x: Any, training: bool = False) -> Any:
        B, T, H = x.shape
        h = np.zeros((B, H), dtype=x.dtype)
        kept = []
        y = np.zeros_like(x)
        for t in range(T):
            k = h @ self.U
            kept.append(h)
            h = np.tanh(x[:, t] + k)
            y[:, t] = h
        self.cache = kept, y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        kept, y = self.take_cache()
        B, T, H = y.shape
        dx = np.zeros_like(y)
        self.dU[...] = 0
        dh = np.zeros((B, H), dtype=dy.dtype)
        for t in reversed(range(T)):
            dh = dh + dy[:, t]
            da = dh * (1 - y[:, t] ** 2)
            dx[:, t] = da
            dk = da
            self.dU += kept[t].T @ dk
            dh = dk @ self.U.T
        return dx


class WrongInLoop(Recurrence):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        kept, y = self.take_cache()
        B, T, H = y.shape
        dx = np.zeros_like(y)
        self.dU[...] = 0
        dh = np.zeros((B, H), dtype=dy.dtype)
        for t in reversed(range(T)):
            dh = dh + dy[:, t]
            da = dh * (1 - y[:, t] ** 2)
            dx[:, t] = da
            dk = da
            self.dU += kept[t].T @ dk
            dh = dk @ self.U  # wrong
        return dx


class StepTooFar(Recurrence):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        kept, y = self.take_cache()
        B, T, H = y.shape
        dx = np.zeros_like(y)
        self.dU[...] = 0
        dh = np.zeros((B, H), dtype=dy.dtype)
        for t in reversed(range(T)):
            dh = dh + dy[:, t]
            da = dh * (1 - y[:, t] ** 2)
            dx[:, t] = da
            dk = da
            self.dU += kept[t].T @ dk
            dh = dk * 0  # wrong
        return dx


class Normal(Layer):
    """(x - mean) / length, to have several ways back."""

    def forward(self, x: Any, training: bool = False) -> Any:
        m = x.mean(axis=-1, keepdims=True)
        c = x - m
        s = (c * c).sum(axis=-1, keepdims=True)
        r = 1 / np.sqrt(s)
        y = c * r
        self.cache = c, r
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        c, r = self.take_cache()
        dr = (dy * c).sum(axis=-1, keepdims=True)
        ds = -0.5 * r**3 * dr
        dc_y = dy * r
        dc_s = 2 * c * ds
        dc = dc_y + dc_s
        dm = -dc.sum(axis=-1, keepdims=True)
        dx = dc + dm / c.shape[-1]
        return dx


class WithoutMean(Normal):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        c, r = self.take_cache()
        dr = (dy * c).sum(axis=-1, keepdims=True)
        ds = -0.5 * r**3 * dr
        dc = dy * r + 2 * c * ds
        dx = dc  # wrong
        return dx


class WrongPart(Normal):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        c, r = self.take_cache()
        dr = (dy * c).sum(axis=-1, keepdims=True)
        ds = -0.5 * r**3 * dr
        dc_y = dy * r
        dc_s = c * ds  # wrong
        dc = dc_y + dc_s
        dm = -dc.sum(axis=-1, keepdims=True)
        dx = dc + dm / c.shape[-1]
        return dx


class OtherNames(MyDense):
    """Right, though dz means something else."""

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = 1 - y * y
        da = dy * dz
        self.dW = x.T @ da
        self.db = da.sum(axis=0)
        return da @ self.W.T


class OtherNamesAndWrong(MyDense):
    """The same, and a line that is wrong."""

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, y = self.take_cache()
        dz = 1 - y * y
        da = dy * dz
        self.dW = x.T @ da
        self.db = da.mean(axis=0)  # wrong
        return da @ self.W.T


class Views(Layer):
    """Sums of neighbours and a product, through views of larger arrays."""

    def build(self, input_shape: Any) -> Any:
        self.add_weight("W", (input_shape[-1] - 1, 3), initializer("normal"))
        return (3,)

    def forward(self, x: Any, training: bool = False) -> Any:
        s = np.zeros((len(x), x.shape[1] - 1), dtype=x.dtype)
        for piece in (x[:, :-1], x[:, 1:]):
            s += piece
        z = np.empty((len(x), 1, 3), dtype=np.result_type(x, self.W))
        z2 = z.reshape(len(x), 3)
        np.matmul(s, self.W, out=z2)
        y = np.tanh(z)
        self.cache = x.shape, s, y
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        shape, s, y = self.take_cache()
        dz = dy * (1 - y * y)
        dz2 = dz.reshape(len(dz), 3)
        dW = np.matmul(s.T, dz2, out=self.dW)
        ds = dz2 @ self.W.T
        dx = np.zeros(shape, dtype=dy.dtype)
        for dpiece in (dx[:, :-1], dx[:, 1:]):
            dpiece += ds
        return dx


class WrongView(Views):
    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        shape, s, y = self.take_cache()
        dz = dy * (1 - y * y)
        dz2 = dz.reshape(len(dz), 3)
        dW = np.matmul(s.T, dz2, out=self.dW)
        ds = dz2 @ self.W.T
        dx = np.zeros(shape, dtype=dy.dtype)
        for dpiece in (dx[:, :-1], dx[:, 1:]):
            dpiece -= ds  # wrong
        return dx


class Absolute(Layer):
    """Its forward loses the imaginary part."""

    def forward(self, x: Any, training: bool = False) -> Any:
        a = np.abs(x)
        y = a * a * a
        self.cache = x, a
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        x, a = self.take_cache()
        da = 3 * dy * a * a
        dx = da * np.sign(x)
        return dx


class BadLoss(Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        e = y_pred - y_true
        v = (e * e).sum(axis=-1, keepdims=True)
        self.cache = e
        return v

    def gradient(self, dv: Any) -> Any:
        e = self.take_cache()
        de = e * dv  # wrong
        dy = de
        return dy


class Mine:
    """Knows nothing of this library."""

    def __init__(self) -> None:
        self.W = np.random.default_rng(0).normal(size=(5, 2))

    def forward(self, x: Any) -> Any:
        self.x = x
        z = x @ self.W
        return np.exp(z)

    def backward(self, dy: Any) -> Any:
        z = self.x @ self.W
        dz = dy * z  # wrong
        self.dW = self.x.T @ dz
        return dz @ self.W.T
