"""One neuron."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import initializers
from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.layers.base import Layer


class Perceptron(Layer):
    """One neuron: y = 1 / (1 + exp(-(x W + b))).

    Rosenblatt's perceptron (1958) fires, y = 1, where x W + b > 0, and else stays silent, y = 0. That step has no slope
    to learn from; here it is made smooth, and y is how sure the neuron is.

    Shapes   x (B, I), W (I, 1), b (1,), z, a, y (B, 1)      B samples, I inputs
    Backward da = dy y (1 - y), db = sum_B da, dz = da, dW = x^T dz, dx = dz W^T
    """

    W: Array
    dW: Array
    b: Array
    db: Array

    def build(self, input_shape: Shape) -> Shape:
        """Make W and b."""
        self.add_weight("W", (input_shape[-1], 1), initializers.get("glorot_uniform"))
        self.add_weight("b", (1,), initializers.get("zeros"))
        return (1,)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return how sure the neuron is."""
        z = x @ self.W  # (B, I) (I, 1) -> (B, 1)
        a = z + self.b
        y = 1 / (1 + np.exp(-a))
        self.cache = x, y  # what backward needs
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW and db, return dx; dy is the gradient of the loss by y, of y's shape."""
        x, y = self.take_cache()
        da = dy * y * (1 - y)  # y = 1 / (1 + exp(-a))
        self.db = da.sum(axis=0)  # a = z + b: b reaches every sample
        dz = da  # a = z + b
        self.dW = x.T @ dz  # z = x W
        dx = dz @ self.W.T  # z = x W
        return dx
