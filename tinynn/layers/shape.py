"""Shape: layers that move numbers without changing them."""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.layers.base import Layer


class Flatten(Layer):
    """One row a sample: (batch, ...) to (batch, features).

    Backward dx = dy in the shape of x

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    def build(self, input_shape: Shape) -> Shape:
        """Return the number of features."""
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with one row a sample."""
        y = x.reshape(len(x), -1)                 # (B, ...) -> (B, F)
        self.cache = x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        shape = self.take_cache()
        dx = dy.reshape(shape)                    # y = x in rows
        return dx
