"""Rectifiers: activations that are bent or cut at a point. Most are straight lines on both sides of it.

Shapes   x, y, dx, dy all (batch, ...): a rectifier works on every number by itself.

A bend has no derivative. Each class says which one it takes there; it is the one that Keras's gradient takes.

Cases are sums of terms that are 0 in the other case: with signs at random, xp.where takes NumPy ten times as long as
a product.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number
from tinynn.backend import Array, array_module
from tinynn.layers.activation_function import ActivationFunction
from tinynn.layers.base import ShapeError, show_shape
from tinynn.layers.hard import HardSigmoid as HardSigmoid
from tinynn.layers.hard import HardSwish as HardSwish
from tinynn.layers.hard import HardTanh as HardTanh


class ReLU(ActivationFunction):
    """y = max(x, 0) (Nair & Hinton 2010).

    With all parameters, a = x where x > threshold, else negative_slope (x - threshold); y = min(a, max_value).

    Backward dx = dy where x > 0, else 0
             with all parameters, da = dy where a < max_value, else 0; dx = da where x > threshold,
             negative_slope da where x < threshold
    Kinks    0 at x = threshold; only where negative_slope is all that is given, 1 at x = 0, as for `LeakyReLU`.
             0 at x = max_value: so Keras has it for 6, for others on JAX a half

    Parameters
    ----------
    max_value : float, optional
        The largest y; none by default.
    negative_slope : float, default 0.0
        The slope below the threshold.
    threshold : float, default 0.0
        Up to here x does not pass.

    Raises
    ------
    ValueError
        If a parameter is negative or no number.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([[-2.0, 0.0, 3.0]]))
    array([[0., 0., 3.]])
    >>> ReLU(max_value=10, negative_slope=0.5)(np.array([[-10.0, -5.0, 5.0, 20.0]]))
    array([[-5. , -2.5,  5. , 10. ]])
    """

    kernel, kernel_keeps = "relu", "y"

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.max_value = math.inf if max_value is None else check_number(max_value, f"{self.label}: max_value", 0)
        self.negative_slope = check_number(negative_slope, f"{self.label}: negative_slope", 0)
        self.threshold = check_number(threshold, f"{self.label}: threshold", 0)
        self.leaky = self.negative_slope > 0 and self.threshold == 0 and max_value is None

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return max(x, 0)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        if self.negative_slope == self.threshold == 0:
            y = xp.clip(x, 0, self.max_value)     # max(x, 0); NumPy's maximum with a number takes three times as long
            self.cache = y
            return y
        n = xp.clip(x - self.threshold, -xp.inf, 0)  # min(x - threshold, 0)
        a = x * (x > self.threshold) + self.negative_slope * n
        y = xp.clip(a, -xp.inf, self.max_value)   # min(a, max_value)
        self.cache = (x, a)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        if self.negative_slope == self.threshold == 0:
            y = self.take_cache()
            passed = y > 0 if self.max_value == math.inf else (y > 0) & (y < self.max_value)
            dx = dy * passed                      # y = max(x, 0): y > 0 where x > 0
            return dx
        x, a = self.take_cache()
        da = dy * (a < self.max_value)            # y = min(a, max_value)
        dn = self.negative_slope * da             # a = x (x > threshold) + negative_slope n
        passed = x >= self.threshold if self.leaky else x > self.threshold
        dx = da * passed + dn * (x < self.threshold)  # a = x (x > threshold) + ..., n = min(x - threshold, 0)
        return dx

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, which knows no slope and no threshold."""
        return self.negative_slope == self.threshold == 0 and super().fused(x)

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return what the kernels need."""
        return (self.max_value,)


class ReLU6(ReLU):
    """y = min(max(x, 0), 6), for numbers of few bits (Krizhevsky 2010).

    Backward dx = dy where 0 < x < 6, else 0
    Kinks    0 at x = 0 and at x = 6

    Examples
    --------
    >>> import numpy as np
    >>> ReLU6()(np.array([[-2.0, 3.0, 7.0]]))
    array([[0., 3., 6.]])
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(max_value=6.0, **options)


class LeakyReLU(ActivationFunction):
    """y = x where x >= 0, else negative_slope x (Maas, Hannun & Ng 2013).

    The name ``activation="leaky_relu"`` means a slope of 0.2, this layer's default is 0.3: so it is in Keras.

    Backward dx = dy where x >= 0, else negative_slope dy
    Kinks    1 at x = 0

    Parameters
    ----------
    negative_slope : float, default 0.3

    Raises
    ------
    ValueError
        If `negative_slope` is negative or no number.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.5)(np.array([[-10.0, 0.0, 5.0]]))
    array([[-5.,  0.,  5.]])
    """

    kernel = "leaky_relu"

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = check_number(negative_slope, f"{self.label}: negative_slope", 0)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, or less of it where it is negative."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        p = xp.clip(x, 0, xp.inf)                 # max(x, 0)
        n = xp.clip(x, -xp.inf, 0)                # min(x, 0)
        y = p + self.negative_slope * n
        self.cache = x
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x = self.take_cache()
        dp = dy                                   # y = p + negative_slope n
        dn = self.negative_slope * dy             # y = p + negative_slope n
        dx = dp * (x >= 0) + dn * (x < 0)         # p = max(x, 0), n = min(x, 0)
        return dx

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return the slope."""
        return (self.negative_slope,)


class PReLU(ActivationFunction):
    """y = max(x, 0) + alpha min(x, 0): a leaky ReLU that learns its slopes (He et al. 2015).

    Shapes   x (batch, ...), alpha x's shape without the batch axis, 1 along every shared axis
    Starts   alpha zero
    Backward dx = dy where x > 0, alpha dy where x < 0; dalpha = sum dy min(x, 0), over the batch and the shared axes
    Kinks    0 at x = 0

    Parameters
    ----------
    alpha_initializer : str or Initializer, default "zeros"
    alpha_regularizer : str or Regularizer, optional
    shared_axes : int or sequence of int, optional
        The axes, counted with the batch axis as 0, along which all numbers share one slope: ``[1, 2]`` for images,
        so that every channel has one. None by default.

    Raises
    ------
    ValueError
        If a shared axis is no whole number from 1 up.
    ShapeError
        If the input does not have a shared axis.

    Examples
    --------
    >>> import numpy as np
    >>> prelu = PReLU(alpha_initializer="ones", shared_axes=1)
    >>> prelu(np.array([[-2.0, 3.0]]))
    array([[-2.,  3.]])
    >>> prelu.backward(np.array([[5.0, 5.0]]))
    array([[5., 5.]])
    >>> prelu.dalpha
    array([-10.], dtype=float32)
    """

    alpha: Array
    dalpha: Array

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        shared_axes: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        axes = () if shared_axes is None else shared_axes
        axes = axes if isinstance(axes, list | tuple) else (axes,)
        self.shared_axes = tuple(check_count(axis, f"{self.label}: every one of shared_axes") for axis in axes)

    def build(self, input_shape: Shape) -> Shape:
        """Make alpha."""
        axes = len(input_shape)
        if any(axis > axes for axis in self.shared_axes):
            raise ShapeError(
                f"{self.label}: shared_axes {list(self.shared_axes)} must be among the axes 1 to {axes} of an input "
                f"of shape {show_shape(input_shape)}; axis 0 is the batch."
            )
        alpha_shape = tuple(1 if axis in self.shared_axes else size for axis, size in enumerate(input_shape, start=1))
        self.add_weight("alpha", alpha_shape, self.alpha_initializer, regularizer=self.alpha_regularizer)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return max(x, 0) + alpha min(x, 0)."""
        xp = array_module(x)
        p = xp.clip(x, 0, xp.inf)                 # max(x, 0)
        n = xp.clip(x, -xp.inf, 0)                # min(x, 0)
        y = p + self.alpha * n
        self.cache = (p, n)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dalpha, return dx."""
        p, n = self.take_cache()
        shared = (0, *self.shared_axes)
        dalpha = (dy * n).sum(axis=shared)        # y = p + alpha n: alpha reaches the batch and the shared axes
        self.dalpha[...] = dalpha.reshape(self.alpha.shape)
        if not need_dx:
            return None
        dp = dy                                   # y = p + alpha n
        dn = dy * self.alpha                      # y = p + alpha n
        dx = dp * (p > 0) + dn * (n < 0)          # p = max(x, 0), n = min(x, 0)
        return dx


class ELU(ActivationFunction):
    """y = x where x > 0, else alpha (exp(x) - 1): it ends smoothly at -alpha (Clevert, Unterthiner & Hochreiter 2016).

    Backward dx = dy where x > 0, else alpha exp(x) dy
    Kinks    alpha at x = 0

    Parameters
    ----------
    alpha : float, default 1.0

    Raises
    ------
    ValueError
        If `alpha` is negative or no number.

    Examples
    --------
    >>> import numpy as np
    >>> ELU()(np.array([[-1e4, 0.0, 2.0]]))
    array([[-1.,  0.,  2.]])
    """

    kernel, kernel_keeps = "elu", "y"

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = check_number(alpha, f"{self.label}: alpha", 0)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, or alpha (exp(x) - 1) where it is negative."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        p = xp.clip(x, 0, xp.inf)                 # max(x, 0)
        n = xp.clip(x, -xp.inf, 0)                # min(x, 0)
        e = self.alpha * xp.expm1(n)              # alpha (exp(n) - 1), exact for small n; 0 where x > 0
        y = p + e
        self.cache = (p, e)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        p, e = self.take_cache()
        dp = dy                                   # y = p + e
        de = dy                                   # y = p + e
        dn = de * (e + self.alpha)                # e = alpha (exp(n) - 1): alpha exp(n) is e + alpha
        dx = dp * (p > 0) + dn * (p == 0)         # p = max(x, 0), n = min(x, 0)
        return dx

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return scale, alpha, and the rate that x is multiplied by."""
        return 1.0, self.alpha, 1.0


class SELU(ActivationFunction):
    """y = scale x where x > 0, else scale alpha (exp(x) - 1) (Klambauer et al. 2017).

    With scale 1.0507 and alpha 1.6733 signals of mean 0 and variance 1 stay so from layer to layer. It goes with the
    initialiser ``"lecun_normal"`` and with `AlphaDropout`.

    Backward dx = scale dy where x > 0, else scale alpha exp(x) dy
    Kinks    scale alpha, 1.758, at x = 0

    Examples
    --------
    >>> import numpy as np
    >>> SELU()(np.array([[-1e4, 0.0, 1.0]])).round(4)
    array([[-1.7581,  0.    ,  1.0507]])
    """

    kernel, kernel_keeps = "elu", "y"
    ALPHA = 1.6732632423543772848170429916717
    SCALE = 1.0507009873554804934193349852946

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return scale x, or scale alpha (exp(x) - 1) where x is negative."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        p = xp.clip(x, 0, xp.inf)                 # max(x, 0)
        n = xp.clip(x, -xp.inf, 0)                # min(x, 0)
        e = self.ALPHA * xp.expm1(n)              # alpha (exp(n) - 1), exact for small n; 0 where x > 0
        y = self.SCALE * (p + e)
        self.cache = (p, e)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        p, e = self.take_cache()
        dp = self.SCALE * dy                      # y = scale (p + e)
        de = self.SCALE * dy                      # y = scale (p + e)
        dn = de * (e + self.ALPHA)                # e = alpha (exp(n) - 1): alpha exp(n) is e + alpha
        dx = dp * (p > 0) + dn * (p == 0)         # p = max(x, 0), n = min(x, 0)
        return dx

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return scale, alpha, and the rate that x is multiplied by."""
        return self.SCALE, self.ALPHA, 1.0


class CELU(ActivationFunction):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1): an ELU without a kink (Barron 2017).

    Backward dx = dy where x > 0, else exp(x / alpha) dy

    Parameters
    ----------
    alpha : float, default 1.0

    Raises
    ------
    ValueError
        If `alpha` is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> CELU(2.0)(np.array([[-1e4, 0.0, 2.0]]))
    array([[-2.,  0.,  2.]])
    """

    kernel, kernel_keeps = "elu", "y"

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = check_number(alpha, f"{self.label}: alpha", 0)
        if self.alpha == 0:
            raise ValueError(f"{self.label}: alpha must be above 0, for x is divided by it, got {alpha!r}.")

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, or alpha (exp(x / alpha) - 1) where it is negative."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        p = xp.clip(x, 0, xp.inf)                 # max(x, 0)
        n = xp.clip(x, -xp.inf, 0)                # min(x, 0)
        e = xp.expm1(n / self.alpha)              # exp(n / alpha) - 1, exact for small n; 0 where x > 0
        y = p + self.alpha * e
        self.cache = e
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        e = self.take_cache()
        dx = dy * (e + 1)                         # y = x, or alpha (exp(x / alpha) - 1): e + 1 is 1, or exp(x / alpha)
        return dx

    def kernel_numbers(self) -> tuple[Any, ...]:
        """Return scale, alpha, and the rate that x is multiplied by."""
        return 1.0, self.alpha, 1 / self.alpha
