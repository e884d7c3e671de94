"""What the activations share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.kernels import Kept, fused_kernels
from tinynn.layers.base import Layer, ShapeError, show_shape


class ActivationFunction(Layer):
    """Base class of the activations: the output has the input's shape, and there is nothing to learn.

    Attributes
    ----------
    kernel : str
        The fused kernel that does what forward does; backward's has the same name with ``_backward``.
    kernel_keeps : {"x", "y"}
        What the backward kernel gets, beside dy.
    """

    kernel_keeps = "x"

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return what both kernels get as well: the layer's settings."""
        return ()

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, in one pass over x."""
        y: Array = getattr(fused_kernels(x), self.kernel)(x, *self.kernel_numbers())
        self.cache = Kept([x if self.kernel_keeps == "x" else y])
        return y

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, in one pass over dy and what was kept."""
        [kept] = self.take_cache()
        return getattr(fused_kernels(dy), f"{self.kernel}_backward")(dy, kept, *self.kernel_numbers())

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def check_axis(self, axis: int, input_shape: Shape) -> None:
        """Raise ShapeError unless `axis` is an axis of the input other than the batch axis."""
        if not isinstance(axis, int | np.integer) or isinstance(axis, bool):
            raise ValueError(f"{self.label}: axis must be a whole number, got {axis!r}.")
        axes = len(input_shape) + 1
        if not -axes <= axis < axes or axis % axes == 0:
            raise ShapeError(
                f"{self.label}: axis {axis} is none of the {axes - 1} axes after the batch axis of an input of "
                f"shape {show_shape(input_shape)}."
            )


def forward_biased(activation: Layer, z: Array, b: Array, training: bool) -> Array:
    """Return the activation of z + b, in one pass where there is a kernel for it; z may be written into."""
    kernels = fused_kernels(z)
    if isinstance(activation, ActivationFunction) and activation.kernel in kernels.ACTIVATIONS and activation.fused(z):
        y, kept = kernels.biased(z, b, activation.kernel, *activation.kernel_numbers())
        activation.cache = Kept([kept])
        return y
    return activation.forward(kernels.biased(z, b, "linear")[0], training)


def backward_biased(activation: Layer, dy: Array, db: Array) -> Array:
    """Return dz, and write db."""
    kernels = fused_kernels(dy)
    if isinstance(activation, ActivationFunction) and activation.kernel in kernels.ACTIVATIONS and activation.was_fused:
        [kept] = activation.take_cache()
        return kernels.biased_backward(dy, kept, db, activation.kernel, *activation.kernel_numbers())
    da = activation.backward(dy)
    kernels.column_sums(da, db)
    return da
