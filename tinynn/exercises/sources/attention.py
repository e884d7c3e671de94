"""Attention with one head."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn import initializers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array
from tinynn.layers.base import Layer


class SelfAttention(Layer):
    """Every step asks a question, and gets the answers of all steps, each as far as its key fits (one head).

    ::

        q = x Wq, k = x Wk, v = x Wv     questions, keys, answers
        s = q k^T / sqrt(K)              how well each key fits each question
        p = softmax(s)                   in shares that add up to 1
        y = p v                          the answers, mixed

    Shapes   x (B, T, D), Wq, Wk, Wv (D, K), q, k, v, y (B, T, K), s, p (B, T, T)       B batch, T steps, D features
    Backward dp = dy v^T, dv = p^T dy, ds = p (dp - sum_T p dp), dq = ds k / sqrt(K), dk = ds^T q / sqrt(K)
             dWq = x^T dq, dWk = x^T dk, dWv = x^T dv, summed over the batch
             dx = dq Wq^T + dk Wk^T + dv Wv^T: x goes three ways                        (Vaswani et al. 2017)
    """

    Wq: Array
    dWq: Array
    Wk: Array
    dWk: Array
    Wv: Array
    dWv: Array

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = check_count(size, f"{self.label}: size")

    def build(self, input_shape: Shape) -> Shape:
        """Make the three matrices."""
        for name in ("Wq", "Wk", "Wv"):
            self.add_weight(name, (input_shape[-1], self.size), initializers.get("glorot_uniform"))
        return (input_shape[0], self.size)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the answers to every step's question."""
        scale = 1 / math.sqrt(self.size)
        q = x @ self.Wq  # (B, T, D) (D, K) -> (B, T, K)
        k = x @ self.Wk
        v = x @ self.Wv
        s = (q @ k.transpose(0, 2, 1)) * scale  # (B, T, K) (B, K, T) -> (B, T, T)
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)  # softmax(s)
        y = p @ v  # (B, T, T) (B, T, K) -> (B, T, K)
        self.cache = x, q, k, v, p, scale
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dWq, dWk and dWv, return dx."""
        x, q, k, v, p, scale = self.take_cache()
        dv = p.transpose(0, 2, 1) @ dy  # y = p v
        dp = dy @ v.transpose(0, 2, 1)  # y = p v
        ds = p * (dp - (p * dp).sum(axis=-1, keepdims=True))  # p = softmax(s)
        dq = (ds @ k) * scale  # s = q k^T scale
        dk = (ds.transpose(0, 2, 1) @ q) * scale  # s = q k^T scale
        self.dWq = np.einsum("btd,btk->dk", x, dq)  # q = x Wq: over all steps of all samples
        self.dWk = np.einsum("btd,btk->dk", x, dk)  # k = x Wk
        self.dWv = np.einsum("btd,btk->dk", x, dv)  # v = x Wv
        dx = dq @ self.Wq.T + dk @ self.Wk.T + dv @ self.Wv.T  # q = x Wq, k = x Wk, v = x Wv: three ways
        return dx
