"""What the loops of recurrent layers share: activations that keep nothing, gates side by side, steps as rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels


@dataclass(frozen=True)
class StepActivation:
    """An activation inside the loop: it keeps nothing, for its derivative is a function of y alone.

    ``forward(z, out=None)`` returns y, ``backward(dy, y, out=None)`` returns dz. With `out` they write there, and it
    may be the array that is read.
    """

    name: str
    forward: Callable[..., Array]
    backward: Callable[..., Array]


def linear(z: Array, out: Array | None = None) -> Array:
    """Return y = z."""
    if out is None or out is z:
        return z
    out[...] = z
    return out


def linear_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dz = dy."""
    return linear(dy, out)


def tanh(z: Array, out: Array | None = None) -> Array:
    """Return y = tanh(z)."""
    return array_module(z).tanh(z, out=out)


def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dz = dy (1 - y^2)."""
    xp = array_module(dy)
    slope = y * y
    xp.subtract(1, slope, out=slope)
    return xp.multiply(dy, slope, out=out)


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return y = 1 / (1 + exp(-z)) as (1 + tanh(z / 2)) / 2, which cannot overflow and is faster than exp.

    Outputs near 0 are exact to the last bit of 1 only; enough for a gate, which is a factor beside others.
    """
    xp = array_module(z)
    y = xp.multiply(z, 0.5, out=out)
    xp.tanh(y, out=y)
    xp.add(y, 1, out=y)
    return xp.multiply(y, 0.5, out=y)


def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dz = dy y (1 - y)."""
    xp = array_module(dy)
    slope = 1 - y
    xp.multiply(slope, y, out=slope)
    return xp.multiply(dy, slope, out=out)


def relu(z: Array, out: Array | None = None) -> Array:
    """Return y = max(z, 0)."""
    xp = array_module(z)
    return xp.clip(z, 0, xp.inf, out=out)


def relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """Return dz = dy where z > 0, else 0; 0 at the kink, as Keras does."""
    return array_module(dy).multiply(dy, y > 0, out=out)


STEP_ACTIVATIONS = {
    "linear": StepActivation("linear", linear, linear_backward),
    "relu": StepActivation("relu", relu, relu_backward),
    "sigmoid": StepActivation("sigmoid", sigmoid, sigmoid_backward),
    "tanh": StepActivation("tanh", tanh, tanh_backward),
}


def split_gates(a: Array, gates: int) -> Array:
    """Return (..., B, G H) as a view (..., G, B, H): one gate after another.

    Examples
    --------
    >>> import numpy as np
    >>> split_gates(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), 2)
    array([[[1, 2],
            [5, 6]],
    <BLANKLINE>
           [[3, 4],
            [7, 8]]])
    """
    xp = array_module(a)
    *front, B, width = a.shape
    axes = tuple(range(len(front)))
    return xp.transpose(a.reshape(*front, B, gates, width // gates), (*axes, len(axes) + 1, len(axes), len(axes) + 2))


def join_gates(*gates: Array) -> Array:
    """Return arrays (B, H), one for each gate, side by side: (B, G H)."""
    return array_module(gates[0]).concatenate(gates, axis=1)


def rows(h: Array) -> Array:
    """Return (T, B, H) as (T B, H), for one product over all steps."""
    return h.reshape(-1, h.shape[-1])


def add_bias(z: Array, b: Array) -> Array:
    """Return z + b, in the memory of z where the dtype stays the same."""
    xp = array_module(z)
    if can_fuse(z, "biased") and z.dtype == b.dtype:
        y: Array = fused_kernels(z).biased(z, b, "linear")[0]
        return y
    return xp.add(z, b, out=z if z.dtype == xp.result_type(z, b) else None)


def sum_rows(dz: Array, out: Array) -> Array:
    """Write the sums down the columns of rows (N, O) into `out` (O,), and return it."""
    sums: Array = fused_kernels(dz).column_sums(dz, out) if can_fuse(dz, "column_sums") else dz.sum(axis=0, out=out)
    return sums
