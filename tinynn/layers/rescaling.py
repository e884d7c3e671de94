"""Rescaling: the scale of the inputs, kept in the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array
from tinynn.layers.base import Layer


class Rescaling(Layer):
    """Inputs on another scale: y = x scale + offset. Nothing is learned.

    As the first layer of a model it lets the scale travel with the weights: ``Rescaling(1 / 255)`` takes images of
    uint8 to 0..1, and who uses the model later cannot forget it.

    Shapes   x (...), y (...)
    Backward dx = dy scale

    Parameters
    ----------
    scale : float
    offset : float, default 0.0
        Added after the scaling: ``Rescaling(1 / 127.5, offset=-1)`` takes 0..255 to -1..1.

    Raises
    ------
    ValueError
        If one of them is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> Rescaling(1 / 255)(np.array([[0, 51, 255]], dtype="uint8")).round(4)
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        lowest = -np.finfo(float).max
        self.scale = check_number(scale, f"{self.label}: scale", lowest)
        self.offset = check_number(offset, f"{self.label}: offset", lowest)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x on the new scale."""
        y = x * self.scale + self.offset
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy * self.scale                      # y = x scale + offset
        return dx
