"""ReLU without the library's three settings."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.layers.activation_function import ActivationFunction


class ReLU(ActivationFunction):
    """y = max(x, 0).

    Backward dx = dy where x > 0, else 0
    Kinks    0 at x = 0: there is no derivative there, and this is the one that everybody takes
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return max(x, 0)."""
        xp = array_module(x)
        y = xp.clip(x, 0, xp.inf)
        self.cache = x
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        x = self.take_cache()
        dx = dy * (x > 0)  # y = max(x, 0)
        return dx
