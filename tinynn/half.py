"""Half precision: how a step is made with numbers of 16 bits while the weights are kept with 32."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array
from tinynn.layers.base import Layer
from tinynn.optimizers import LossScaleOptimizer
from tinynn.parameter import Arena


class HalfPrecision(Layer):
    """A net that computes with 16 bits, between a loss and an optimizer that compute with 32.

    The arena keeps the weights twice: with 32 bits for the optimizer, and with 16 for the layers. z is made float32
    for the loss; dz is multiplied by the optimizer's scale and made float16; the gradients are made float32 and
    divided by the scale (Micikevicius et al. 2018, "Mixed precision training").
    """

    takes_mask = True

    def __init__(self, net: Layer, arena: Arena, optimizer: LossScaleOptimizer) -> None:
        super().__init__()
        self.net = net
        self.arena = arena
        self.optimizer = optimizer

    def forward_with_mask(self, x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the net's output as float32, and which of its steps count."""
        z16, mask = self.net.forward_with_mask(x, training, mask)
        z = z16.astype("float32")
        return z, mask

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the net's output as float32."""
        return self.forward_with_mask(x, training, mask)[0]

    def backward(self, dz: Array, need_dx: bool = True) -> Any:
        """Write the gradients, and return dx times the scale."""
        dz16 = (dz * self.optimizer.scale).astype("float16")  # z = z16 as float32; infinite if the scale is too large
        dx = self.net.backward(dz16, need_dx)
        self.arena.collect(self.optimizer.scale)
        return dx
