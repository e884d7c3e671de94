"""A network of two layers, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import initializers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array
from tinynn.layers.base import Layer


class TwoLayerNetwork(Layer):
    """Two layers, tanh between them and a sigmoid at the end: y = sigmoid(tanh(x W1 + b1) W2 + b2).

    Shapes   x (B, I), W1 (I, H), b1 (H,), h (B, H), W2 (H, 1), b2 (1,), y (B, 1)      B samples, H hidden neurons
    Backward da2 = dy y (1 - y), db2 = sum_B da2, dW2 = h^T da2, dh = da2 W2^T
             da1 = dh (1 - h^2), db1 = sum_B da1, dW1 = x^T da1, dx = da1 W1^T
    """

    W1: Array
    dW1: Array
    b1: Array
    db1: Array
    W2: Array
    dW2: Array
    b2: Array
    db2: Array

    def __init__(self, hidden: int, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = check_count(hidden, f"{self.label}: hidden")

    def build(self, input_shape: Shape) -> Shape:
        """Make the weights of both layers."""
        self.add_weight("W1", (input_shape[-1], self.hidden), initializers.get("glorot_uniform"))
        self.add_weight("b1", (self.hidden,), initializers.get("zeros"))
        self.add_weight("W2", (self.hidden, 1), initializers.get("glorot_uniform"))
        self.add_weight("b2", (1,), initializers.get("zeros"))
        return (1,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the network's answer."""
        a1 = x @ self.W1 + self.b1  # (B, I) (I, H) -> (B, H)
        h = np.tanh(a1)
        a2 = h @ self.W2 + self.b2  # (B, H) (H, 1) -> (B, 1)
        y = 1 / (1 + np.exp(-a2))
        self.cache = x, h, y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of both layers, return dx: the last layer comes first."""
        x, h, y = self.take_cache()
        da2 = dy * y * (1 - y)  # y = sigmoid(a2)
        self.db2 = da2.sum(axis=0)  # a2 = h W2 + b2: b2 reaches every sample
        self.dW2 = h.T @ da2  # a2 = h W2 + b2
        dh = da2 @ self.W2.T  # a2 = h W2 + b2
        da1 = dh * (1 - h * h)  # h = tanh(a1)
        self.db1 = da1.sum(axis=0)  # a1 = x W1 + b1: b1 reaches every sample
        self.dW1 = x.T @ da1  # a1 = x W1 + b1
        dx = da1 @ self.W1.T  # a1 = x W1 + b1
        return dx
