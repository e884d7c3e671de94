"""Smooth activations: those with a derivative everywhere.

Shapes   x, y, dx, dy all (batch, ...): they work on every number by itself, but for GLU, which halves one axis.

Each is computed from exp(-|x|), or another exponential that cannot overflow; |x| is written max(x, -x), for abs has
no complex derivative, and the gradient check takes complex steps. Cases are sums of terms that are 0 in the other
case: with signs at random, xp.where takes NumPy ten times as long as a product.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.activation_function import ActivationFunction
from tinynn.layers.base import ShapeError, show_shape


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow and keeps the small values exact.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([0.0, -1e4, 1e4]))
    array([0.5, 0. , 1. ])
    """
    xp = array_module(x)
    e = xp.exp(xp.minimum(x, -x))                 # exp(-|x|)
    n = xp.exp(xp.clip(x, -xp.inf, 0))            # exp(min(x, 0))
    return n / (1 + e)                            # x >= 0: 1 / (1 + e)   x < 0: e / (1 + e)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which cannot overflow.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.array([-1e4, 0.0, 1e4])).round(4).tolist()
    [0.0, 0.6931, 10000.0]
    """
    xp = array_module(x)
    e = xp.exp(xp.minimum(x, -x))                 # exp(-|x|)
    return xp.clip(x, 0, xp.inf) + xp.log1p(e)


# Hart et al. 1968, "Computer Approximations", ERFC 5666; the highest power first.
ABOVE = (
    0.0352624965998911, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931,
    220.206867912376,
)
BELOW = (
    0.0883883476483184, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831,
    793.826512519948, 440.413735824752,
)


def normal(x: Array) -> tuple[Array, Array]:
    """Return how much of the standard normal distribution lies below x, P(x), and its density at x, p(x).

    P(x) = (1 + erf(x / sqrt(2))) / 2, but NumPy has no erf. With u = |x|, what lies above u is exp(-u^2 / 2) times a
    fraction of two polynomials in u (Hart et al. 1968; West 2005), exact to 2e-16; P(-u) is that, and P(u) the rest.

    Examples
    --------
    >>> import numpy as np
    >>> below, density = normal(np.array([-1e4, 0.0, 1.96]))
    >>> below.round(3), density.round(3)
    (array([0.   , 0.5  , 0.975]), array([0.   , 0.399, 0.058]))
    """
    xp = array_module(x)
    u = xp.clip(xp.maximum(x, -x), 0, 40)         # |x|; beyond 40 nothing is left, and u^7 could overflow
    above = ABOVE[0] * u + ABOVE[1]               # Horner's scheme
    for c in ABOVE[2:]:
        above *= u
        above += c
    below = BELOW[0] * u + BELOW[1]
    for c in BELOW[2:]:
        below *= u
        below += c
    e = xp.exp(-0.5 * u * u)
    q = e * above / below                         # P(-u)
    P = q + (x > 0) * (1 - 2 * q)                 # x <= 0: q   x > 0: 1 - q
    p = e / math.sqrt(2 * math.pi)
    return P, p


class GELU(ActivationFunction):
    """y = x P(x), P(x) the share of a standard normal distribution below x (Hendrycks & Gimpel 2016).

    With `approximate`, P(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which is off by 2e-4 at most.

    Backward dx = dy (P(x) + x p(x)), p = P' the normal density, exp(-x^2 / 2) / sqrt(2 pi)

    Parameters
    ----------
    approximate : bool, default False
        The formula with tanh, as GPT-2 and BERT have it, in place of the exact one.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[-1e4, -1.0, 0.0, 1.0, 1e4]])
    >>> GELU()(x).round(4).tolist()
    [[-0.0, -0.1587, 0.0, 0.8413, 10000.0]]
    >>> GELU(approximate=True)(x).round(4).tolist()
    [[-0.0, -0.1588, 0.0, 0.8412, 10000.0]]
    """

    kernel = "gelu"

    def __init__(self, approximate: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.approximate = approximate
        self.kernel = "gelu_tanh" if approximate else "gelu"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x P(x)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        if self.approximate:
            k = math.sqrt(2 / math.pi)
            z = k * (x + 0.044715 * x * x * x)
            t = xp.tanh(z)
            P = 0.5 * (1 + t)
            p = 0.5 * k * (1 - t * t) * (1 + 3 * 0.044715 * x * x)  # P' by the chain rule
        else:
            P, p = normal(x)
        y = x * P
        self.cache = (x, P, p)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x, P, p = self.take_cache()
        dP = dy * x                               # y = x P
        dx = dy * P + dP * p                      # y = x P, P = P(x)
        return dx

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return the polynomials of the exact formula."""
        return () if self.approximate else (ABOVE, BELOW)


class SiLU(ActivationFunction):
    """y = x s, s = sigmoid(x); also called swish (Elfwing, Uchibe & Doya 2017; Ramachandran, Zoph & Le 2017).

    Backward ds = dy x; dx = dy s + ds s (1 - s)

    Examples
    --------
    >>> import numpy as np
    >>> SiLU()(np.array([[-1e4, 0.0, 1e4]])).tolist()
    [[-0.0, 0.0, 10000.0]]
    """

    kernel = "silu"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x sigmoid(x)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        s = sigmoid(x)
        y = x * s
        self.cache = (x, s)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x, s = self.take_cache()
        ds = dy * x                               # y = x s
        dx = dy * s + ds * s * (1 - s)            # y = x s, s = sigmoid(x)
        return dx


Swish = SiLU  # its other name


class Mish(ActivationFunction):
    """y = x t, t = tanh(a), a = log(1 + exp(x)) (Misra 2019).

    Backward dt = dy x; da = dt (1 - t^2); dx = dy t + da sigmoid(x)

    Examples
    --------
    >>> import numpy as np
    >>> Mish()(np.array([[-1e4, 0.0, 1e4]])).tolist()
    [[-0.0, 0.0, 10000.0]]
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x tanh(softplus(x))."""
        xp = array_module(x)
        a = softplus(x)
        t = xp.tanh(a)
        y = x * t
        self.cache = (x, t)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        x, t = self.take_cache()
        dt = dy * x                               # y = x t
        da = dt * (1 - t * t)                     # t = tanh(a)
        dx = dy * t + da * sigmoid(x)             # y = x t, a = softplus(x)
        return dx


class Softplus(ActivationFunction):
    """y = log(1 + exp(x)): a ReLU with a round corner (Dugas et al. 2001).

    Backward dx = dy (1 - exp(-y)), which is dy sigmoid(x)

    Examples
    --------
    >>> import numpy as np
    >>> Softplus()(np.array([[0.0, 1e4]])).round(4).tolist()
    [[0.6931, 10000.0]]
    """

    kernel, kernel_keeps = "softplus", "y"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return log(1 + exp(x))."""
        if self.fused(x):
            return self.forward_fused(x, training)
        y = softplus(x)
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        y = self.take_cache()
        dx = -dy * xp.expm1(-y)                   # y = log(1 + exp(x))
        return dx


class LogSigmoid(ActivationFunction):
    """y = log(sigmoid(x)) = -log(1 + exp(-x)).

    Backward dx = dy (1 - exp(y)), which is dy (1 - sigmoid(x))

    Examples
    --------
    >>> import numpy as np
    >>> LogSigmoid()(np.array([[-1e4, 0.0, 1e4]])).round(4).tolist()
    [[-10000.0, -0.6931, -0.0]]
    """

    kernel, kernel_keeps = "log_sigmoid", "y"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return log(sigmoid(x))."""
        if self.fused(x):
            return self.forward_fused(x, training)
        y = -softplus(-x)
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        y = self.take_cache()
        dx = -dy * xp.expm1(y)                    # y = -log(1 + exp(-x))
        return dx


class Softsign(ActivationFunction):
    """y = x / (1 + |x|), between -1 and 1; it flattens more slowly than tanh (Bergstra et al. 2009).

    Backward dx = dy / (1 + |x|)^2

    Examples
    --------
    >>> import numpy as np
    >>> Softsign()(np.array([[-1.0, 0.0, 3.0]]))
    array([[-0.5 ,  0.  ,  0.75]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x / (1 + |x|)."""
        xp = array_module(x)
        r = 1 / (1 + xp.maximum(x, -x))           # 1 / (1 + |x|)
        y = x * r
        self.cache = r
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        r = self.take_cache()
        dx = dy * r * r                           # y = x / (1 + |x|)
        return dx


class Exponential(ActivationFunction):
    """y = exp(x): positive, such as a rate or a variance. Too large a number for float32 above x = 88.

    Backward dx = dy y

    Examples
    --------
    >>> import numpy as np
    >>> Exponential()(np.array([[-1e4, 0.0, 1.0]])).round(4)
    array([[0.    , 1.    , 2.7183]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return exp(x)."""
        xp = array_module(x)
        y = xp.exp(x)
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        y = self.take_cache()
        dx = dy * y                               # y = exp(x)
        return dx


class GLU(ActivationFunction):
    """y = a sigmoid(b), a and b the two halves of x along one axis: b is the gate of a (Dauphin et al. 2017).

    Shapes   x (..., 2 N, ...), a, b, y (..., N, ...)
    Backward s = sigmoid(b); da = dy s; ds = dy a; db = ds s (1 - s); dx = da and db side by side

    Parameters
    ----------
    axis : int, default -1
        The axis that is halved.

    Raises
    ------
    ShapeError
        If the input has no such axis, or its size is odd.

    Examples
    --------
    >>> import numpy as np
    >>> GLU()(np.array([[3.0, 5.0, 0.0, 1e4]]))
    array([[1.5, 5. ]])
    """

    kernel = "glu"

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape with one axis halved."""
        self.check_axis(self.axis, input_shape)
        shape = [0, *input_shape]
        size = shape[self.axis]
        if size % 2:
            raise ShapeError(
                f"{self.label} halves axis {self.axis}, whose size must be even, got {size} in an input of shape "
                f"{show_shape(input_shape)}."
            )
        shape[self.axis] = size // 2
        return tuple(shape[1:])

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return a sigmoid(b)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        n = x.shape[self.axis] // 2
        before = (slice(None),) * (self.axis % x.ndim)
        a = x[(*before, slice(None, n))]          # (..., 2 N, ...) -> (..., N, ...)
        b = x[(*before, slice(n, None))]          # (..., 2 N, ...) -> (..., N, ...)
        s = sigmoid(b)
        y = a * s
        self.cache = (a, s)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        a, s = self.take_cache()
        da = dy * s                               # y = a s
        ds = dy * a                               # y = a s
        db = ds * s * (1 - s)                     # s = sigmoid(b)
        dx = xp.concatenate([da, db], axis=self.axis)  # a and b are the halves of x
        return dx

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, which works along the last axis only."""
        return self.axis in (-1, x.ndim - 1) and super().fused(x)
