"""What broadcasting does forward, and what has to be summed for it backward."""

from __future__ import annotations

from typing import Any

from tinynn import initializers
from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.layers.base import Layer


class CenterAndScale(Layer):
    """Take the mini-batch's mean off, then scale and shift every feature: y = g (x - mean) + b.

    Three arrays without a batch axis, m, g and b, are stretched over the samples. What is one number forward reaches
    all B samples, so its gradient is the sum of what comes back from each.

    Shapes   x, c, s, y (B, F), m, g, b (F,)                 B samples, F features
    Backward db = sum_B dy, dg = sum_B ds c, dc = ds g, dm = -sum_B dc, dx = dc + dm / B: x goes two ways, by itself and
             through the mean
    """

    g: Array
    dg: Array
    b: Array
    db: Array

    def build(self, input_shape: Shape) -> Shape:
        """Make g and b."""
        self.add_weight("g", input_shape, initializers.get("ones"))
        self.add_weight("b", input_shape, initializers.get("zeros"))
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return g (x - mean) + b."""
        m = x.mean(axis=0)  # (B, F) -> (F,)
        c = x - m  # (B, F) - (F,) -> (B, F)
        s = self.g * c
        y = s + self.b
        self.cache = c
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dg and db, return dx."""
        c = self.take_cache()
        B = len(c)
        self.db = dy.sum(axis=0)  # y = s + b: b reaches every sample
        ds = dy  # y = s + b
        self.dg = (ds * c).sum(axis=0)  # s = g c: g reaches every sample
        dc = ds * self.g  # s = g c
        dm = -dc.sum(axis=0)  # c = x - m: m reaches every sample
        dx = dc + dm / B  # c = x - m, m = mean of x: two ways
        return dx
