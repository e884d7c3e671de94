"""Activations: the bends between the products. Each is a layer, and a name for ``activation="..."``.

Shapes   x, y, dx, dy all (batch, ...): an activation works on every number by itself, but for Softmax, which works
along one axis.
"""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape, resolve
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError, show_shape


class ActivationFunction(Layer):
    """Base class of the activations: the output has the input's shape, and there is nothing to learn."""

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


class Linear(ActivationFunction):
    """y = x: no activation.

    Backward dx = dy

    Examples
    --------
    >>> import numpy as np
    >>> Linear()(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.]])
    """

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

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return tanh(x)."""
        xp = array_module(x)
        y = xp.tanh(x)
        self.cache = y                            # the derivative is a function of y alone
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
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

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the sigmoid of x."""
        xp = array_module(x)
        e = xp.exp(xp.minimum(x, -x))             # exp(-|x|); minimum, because |x| has no complex derivative
        n = xp.where(x >= 0, 1, e)                # x >= 0: 1 / (1 + e)   x < 0: e / (1 + e)
        y = n / (1 + e)
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        y = self.take_cache()
        dx = dy * y * (1 - y)                     # y = 1 / (1 + exp(-x))
        return dx


class ReLU(ActivationFunction):
    """y = max(x, 0) (Nair & Hinton 2010).

    Backward dx = dy where x > 0, else 0. At the kink, x = 0, the derivative is taken as 0, as Keras does.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([[-2.0, 0.0, 3.0]]))
    array([[0., 0., 3.]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return max(x, 0)."""
        xp = array_module(x)
        y = xp.clip(x, 0, xp.inf)                 # max(x, 0); NumPy's maximum with a number takes three times as long
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        y = self.take_cache()
        dx = dy * (y > 0)                         # y = max(x, 0): y > 0 where x > 0
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

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        axes = len(input_shape) + 1
        if not -axes <= self.axis < axes or self.axis % axes == 0:
            raise ShapeError(
                f"{self.label}: axis {self.axis} is none of the {axes - 1} axes after the batch axis of an input of "
                f"shape {show_shape(input_shape)}."
            )
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the softmax of x."""
        xp = array_module(x)
        z = x - x.max(axis=self.axis, keepdims=True)
        e = xp.exp(z)
        s = e.sum(axis=self.axis, keepdims=True)  # (..., 1)
        y = e / s
        self.cache = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        y = self.take_cache()
        c = (dy * y).sum(axis=self.axis, keepdims=True)
        dx = y * (dy - c)                         # y = exp(x) / sum exp(x)
        return dx


ACTIVATIONS: dict[str, type[Layer]] = {
    "linear": Linear,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
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
        ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"softmax"``, ``"linear"``, or an activation layer.

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
