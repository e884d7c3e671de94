"""Hard activations: straight lines in place of a curve, which are cheap. The other rectifiers are in rectifiers.py.

Shapes   x, y, dx, dy all (batch, ...): they work on every number by itself.
"""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.layers.activation_function import ActivationFunction


class HardSigmoid(ActivationFunction):
    """y = min(max(x + 3, 0), 6) / 6: three straight lines in place of the sigmoid (Courbariaux et al. 2015).

    Backward dx = dy / 6 where -3 < x < 3, else 0
    Kinks    0 at x = -3 and at x = 3

    Examples
    --------
    >>> import numpy as np
    >>> HardSigmoid()(np.array([[-4.0, 0.0, 1.5, 4.0]]))
    array([[0.  , 0.5 , 0.75, 1.  ]])
    """

    kernel, kernel_keeps = "hard_sigmoid", "y"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the hard sigmoid of x."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        z = xp.clip(x + 3, 0, 6)
        y = z / 6
        self.cache = z
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        z = self.take_cache()
        dz = dy / 6                               # y = z / 6
        dx = dz * ((z > 0) & (z < 6))             # z = min(max(x + 3, 0), 6)
        return dx


class HardSwish(ActivationFunction):
    """y = x min(max(x + 3, 0), 6) / 6: x times its hard sigmoid (Howard et al. 2019). Also called hard SiLU.

    Backward dx = dy (2 x + 3) / 6 where -3 < x < 3, dy where x >= 3, else 0
    Kinks    0 at x = -3 and 1 at x = 3

    Examples
    --------
    >>> import numpy as np
    >>> HardSwish()(np.array([[-4.0, 0.0, 3.0, 4.0]]))
    array([[-0.,  0.,  3.,  4.]])
    """

    kernel = "hard_swish"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x times its hard sigmoid."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        z = xp.clip(x + 3, 0, 6)
        h = z / 6
        y = x * h
        self.cache = (x, z, h)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x, z, h = self.take_cache()
        dh = dy * x                               # y = x h
        dz = dh / 6                               # h = z / 6
        dx = dy * h + dz * ((z > 0) & (z < 6))    # y = x h, z = min(max(x + 3, 0), 6)
        return dx


class HardTanh(ActivationFunction):
    """y = min(max(x, -1), 1): three straight lines in place of tanh (Collobert 2004).

    Backward dx = dy where -1 <= x <= 1, else 0
    Kinks    1 at x = -1 and at x = 1

    Examples
    --------
    >>> import numpy as np
    >>> HardTanh()(np.array([[-4.0, 0.5, 4.0]]))
    array([[-1. ,  0.5,  1. ]])
    """

    kernel = "hard_tanh"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, at least -1 and at most 1."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        y = xp.clip(x, -1, 1)
        self.cache = x
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x = self.take_cache()
        dx = dy * ((x >= -1) & (x <= 1))          # y = min(max(x, -1), 1)
        return dx
