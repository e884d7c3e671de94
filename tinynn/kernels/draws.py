"""Draws: random numbers for layers that disturb the signal, the same ones on every device.

They are a function of a key, of which draw it is, and of the number's place (Philox4x64-10, a random function of a
counter). So nothing has to be drawn on the host and moved, and nothing goes from one number to the next: every thread
of a device makes its own, and a captured step, which is always the same, draws anew at every replay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels import fused_kernels


class Draws:
    """One layer's random numbers.

    Parameters
    ----------
    key : two int
        From 0 to 2^64 - 1: where all comes from.
    drawn : int, default 0
        How many draws were made.

    Examples
    --------
    >>> draws = Draws((1, 2))
    >>> draws.kept((5,), 0.5, 2.0, np.zeros(1))
    array([2., 0., 0., 0., 0.])
    >>> draws.drawn
    1
    """

    def __init__(self, key: Any, drawn: int = 0) -> None:
        self.key = np.array([int(part) for part in key], dtype=np.uint64)
        self.on_host = drawn
        self.on_device: Any = None  # the count there, and how many blocks of threads have read it, once it was used

    @property
    def drawn(self) -> int:
        """How many draws were made; on a device, the host waits for it."""
        return self.on_host if self.on_device is None else int(self.on_device[0])

    def uniform(self, shape: Sequence[int]) -> Array:
        """Return the numbers of the next draw, from 0 to below 1, on the host and in float32; it does not count yet."""
        philox = np.random.Philox(key=self.key, counter=[0, self.drawn, 0, 0])
        return np.random.Generator(philox).random(shape, dtype=np.float32)

    def moved(self, numbers: Array, like: Array) -> Array:
        """Return what was drawn on the host where another array is, and count the draw, if nothing has refused it."""
        on_device: Array = array_module(like).asarray(numbers)
        self.on_host, self.on_device = self.drawn + 1, None
        return on_device

    def kept(self, shape: Sequence[int], rate: float, scale: float, like: Array) -> Array:
        """Draw 0 with probability `rate` and `scale` elsewhere, as an array like another."""
        kernels = self.kernels(like)
        if kernels is None:
            m = (self.uniform(shape) >= rate).astype(like.dtype)
            m *= scale
            return self.moved(m, like)
        on_device: Array = array_module(like).empty(shape, dtype=like.dtype)
        kernels.draw_kept(self.state(like), self.key, rate, scale, on_device)
        return on_device

    def normal(self, shape: Sequence[int], like: Array) -> Array:
        """Draw normal numbers of mean 0 and variance 1 in float32, as an array like another.

        Two of two even ones (Box & Muller 1958); a device's logarithms and sines may differ in the last place.
        """
        kernels = self.kernels(like)
        if kernels is None:
            size = math.prod(shape)
            uv = self.uniform((-(-size // 2), 2))
            r, angle = np.sqrt(np.float32(-2) * np.log(1 - uv[:, 0])), np.float32(2 * math.pi) * uv[:, 1]
            np.multiply(r, np.cos(angle), out=uv[:, 0])
            np.multiply(r, np.sin(angle), out=uv[:, 1])
            return self.moved(uv.reshape(-1)[:size].reshape(shape).astype(like.dtype, copy=False), like)
        on_device: Array = array_module(like).empty(shape, dtype=like.dtype)
        kernels.draw_normal(self.state(like), self.key, on_device)
        return on_device

    def kernels(self, like: Array) -> Any:
        """Return the kernels that draw where `like` is, None where NumPy draws."""
        kernels = fused_kernels(like) if like.dtype.char in "fd" else None
        return kernels if hasattr(kernels, "draw_kept") else None

    def state(self, like: Array) -> Array:
        """Return where the count lies on the device of `like`."""
        if self.on_device is None:
            self.on_device = array_module(like).asarray(np.array([self.on_host, 0], dtype=np.uint64))
        state: Array = self.on_device
        return state

    def get_state(self) -> dict[str, Any]:
        """Return what `from_state` makes the same draws of, as plain data."""
        return {"key": [int(part) for part in self.key], "drawn": self.drawn}

    @classmethod
    def from_state(cls, state: Any) -> Draws:
        """Return the draws that go on where others stood.

        Examples
        --------
        >>> Draws.from_state({"key": [1, 2], "drawn": 3}).drawn
        3
        """
        return cls(state["key"], state["drawn"])
