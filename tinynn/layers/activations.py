"""Activations: the bends between the products. Each is a layer, and a name for ``activation="..."``.

Here are the classical ones and the table of all names; ReLU and its relatives are in rectifiers.py and hard.py, GELU
and its in smooth.py.

Shapes   x, y, dx, dy all (batch, ...): an activation works on every number by itself, but for Softmax and LogSoftmax,
which work along one axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tinynn.arguments import Shape, resolve
from tinynn.backend import Array, array_module
from tinynn.layers.activation_function import ActivationFunction as ActivationFunction
from tinynn.layers.base import Layer
from tinynn.layers.rectifiers import CELU, ELU, SELU, HardSigmoid, HardSwish, HardTanh, LeakyReLU, ReLU6
from tinynn.layers.rectifiers import ReLU as ReLU
from tinynn.layers.smooth import (
    GELU,
    GLU,
    Exponential,
    LogSigmoid,
    Mish,
    SiLU,
    Softplus,
    Softsign,
    sigmoid,
)


class Linear(ActivationFunction):
    """y = x: no activation.

    Backward dx = dy

    Examples
    --------
    >>> import numpy as np
    >>> Linear()(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.]])
    """

    kernel = "linear"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x."""
        y = x
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy                                   # y = x
        return dx


class Tanh(ActivationFunction):
    """y = tanh(x), between -1 and 1.

    Backward dx = dy (1 - y^2)

    Examples
    --------
    >>> import numpy as np
    >>> Tanh()(np.array([[0.0, 100.0]]))
    array([[0., 1.]])
    """

    kernel, kernel_keeps = "tanh", "y"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return tanh(x)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        y = xp.tanh(x)
        self.cache = y                            # the derivative is a function of y alone
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        y = self.take_cache()
        dx = dy * (1 - y * y)                     # y = tanh(x)
        return dx


class Sigmoid(ActivationFunction):
    """y = 1 / (1 + exp(-x)), between 0 and 1.

    Computed from exp(-|x|), which cannot overflow and keeps the small outputs exact.

    Backward dx = dy y (1 - y)

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid()(np.array([[0.0, -1e4, 1e4]]))
    array([[0.5, 0. , 1. ]])
    """

    kernel, kernel_keeps = "sigmoid", "y"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the sigmoid of x."""
        if self.fused(x):
            return self.forward_fused(x, training)
        y = sigmoid(x)
        self.cache = y                            # the derivative is a function of y alone
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        y = self.take_cache()
        dx = dy * y * (1 - y)                     # y = 1 / (1 + exp(-x))
        return dx


class Softmax(ActivationFunction):
    """y_i = exp(x_i) / sum_j exp(x_j): probabilities that sum to 1 along one axis.

    The largest x is taken off first, which changes nothing in exact numbers and keeps exp from overflowing.

    Backward dx_i = y_i (dy_i - sum_j dy_j y_j)      the true Jacobian diag(y) - y y^T, times dy

    A model that ends in Softmax and trains with cross-entropy does not come this way: compile sets the softmax aside
    and takes the loss from the logits x, where the gradient is y - target (see docs/architecture.md).

    Parameters
    ----------
    axis : int, default -1
        The axis that sums to 1.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax()(np.array([[0.0, 0.0], [1e4, -1e4]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    kernel, kernel_keeps = "softmax", "y"

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        self.check_axis(self.axis, input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the softmax of x."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        z = x - x.max(axis=self.axis, keepdims=True)
        e = xp.exp(z)
        s = e.sum(axis=self.axis, keepdims=True)  # (..., 1)
        y = e / s
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        y = self.take_cache()
        c = (dy * y).sum(axis=self.axis, keepdims=True)
        dx = y * (dy - c)                         # y = exp(x) / sum exp(x)
        return dx

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, which works along the last axis only."""
        return self.axis in (-1, x.ndim - 1) and super().fused(x)


class LogSoftmax(ActivationFunction):
    """y_i = x_i - log(sum_j exp(x_j)): the logarithm of `Softmax`, exact where the probability is too small to hold.

    Backward dx_i = dy_i - exp(y_i) sum_j dy_j

    Parameters
    ----------
    axis : int, default -1
        The axis whose exponentials sum to 1.

    Raises
    ------
    ShapeError
        If the input has no such axis, or it is the batch axis.

    Examples
    --------
    >>> import numpy as np
    >>> LogSoftmax()(np.array([[0.0, 0.0], [1e4, -1e4]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [ 0.000e+00, -2.000e+04]])
    """

    kernel, kernel_keeps = "log_softmax", "y"

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        self.check_axis(self.axis, input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the logarithm of the softmax of x."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        z = x - x.max(axis=self.axis, keepdims=True)
        s = xp.exp(z).sum(axis=self.axis, keepdims=True)  # (..., 1)
        y = z - xp.log(s)
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        y = self.take_cache()
        c = dy.sum(axis=self.axis, keepdims=True)
        dx = dy - xp.exp(y) * c                   # y = x - log(sum exp(x))
        return dx

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, which works along the last axis only."""
        return self.axis in (-1, x.ndim - 1) and super().fused(x)


ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "celu": CELU,
    "elu": ELU,
    "exponential": Exponential,
    "gelu": GELU,
    "glu": GLU,
    "hard_sigmoid": HardSigmoid,
    "hard_silu": HardSwish,
    "hard_swish": HardSwish,
    "hard_tanh": HardTanh,
    "leaky_relu": partial(LeakyReLU, negative_slope=0.2),  # Keras's function has 0.2, its layer 0.3
    "linear": Linear,
    "log_sigmoid": LogSigmoid,
    "log_softmax": LogSoftmax,
    "mish": Mish,
    "relu": ReLU,
    "relu6": ReLU6,
    "selu": SELU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softmax": Softmax,
    "softplus": Softplus,
    "softsign": Softsign,
    "swish": SiLU,
    "tanh": Tanh,
}


def get(activation: Any) -> Layer:
    """Return the activation layer for a name, a class or an instance; None means `Linear`.

    Examples
    --------
    >>> get("tanh")
    <Tanh>
    """
    if activation is None:
        return Linear()
    result: Layer = resolve("activation", activation, Layer, ACTIVATIONS)
    return result


class Activation(Layer):
    """An activation as a layer, by its name.

    Parameters
    ----------
    activation : str or Layer
        A name in `ACTIVATIONS`, such as ``"relu"``, ``"tanh"`` or ``"gelu"``, or an activation layer.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> Activation("relu")(np.array([[-2.0, 3.0]]))
    array([[0., 3.]])
    """

    ends_in_activation = True

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = get(activation)

    def build(self, input_shape: Shape) -> Shape:
        """Build the activation."""
        return self.activation.build_for(input_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(x)."""
        y = self.activation.forward(x, training)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = self.activation.backward(dy)         # y = activation(x)
        return dx
