"""Dense: the fully connected layer."""

from __future__ import annotations

from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array
from tinynn.kernels import Kept, matmul
from tinynn.layers import activations
from tinynn.layers.activation_function import backward_biased, forward_biased
from tinynn.layers.base import Layer


class Dense(Layer):
    """Fully connected layer: y = activation(x W + b).

    Shapes   x (..., I), W (I, O), b (O,), y (..., O)       I inputs, O outputs
    Starts   W Glorot uniform, b zero
    Backward da = dy activation'(a), db = sum da, dW = x^T da, dx = da W^T
             sums run over the batch and every other axis but the last     (Rumelhart, Hinton & Williams 1986)

    Parameters
    ----------
    units : int
        The number of outputs, O.
    activation : str or Layer, optional
        ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"softmax"``, or an activation layer; none by default.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
        ``"l1"``, ``"l2"``, or an instance: a penalty on W or b that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `units` is not a whole number from 1 up, or a name is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> dense = Dense(2, kernel_initializer="ones")
    >>> x = np.array([[1.0, 2.0, 3.0]])
    >>> dense(x)
    array([[6., 6.]])
    >>> dense.backward(np.array([[1.0, 10.0]]))
    array([[11., 11., 11.]])
    >>> dense.dW
    array([[ 1., 10.],
           [ 2., 20.],
           [ 3., 30.]], dtype=float32)
    """

    kernel = "biased"

    W: Array
    dW: Array
    b: Array
    db: Array
    ends_in_activation = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = check_count(units, f"{self.label}: units")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> Shape:
        """Make W and b."""
        self.need_axes(input_shape, 1, "(batch, ..., inputs)")
        W_shape = (input_shape[-1], self.units)
        self.add_weight("W", W_shape, self.kernel_initializer, regularizer=self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("b", (self.units,), self.bias_initializer, regularizer=self.bias_regularizer)
        return self.activation.build_for((*input_shape[:-1], self.units))

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(x W + b)."""
        x2 = x.reshape(-1, x.shape[-1])           # (..., I) -> (N, I): one product, however many axes
        z2 = matmul(x2, self.W)                   # (N, I) (I, O) -> (N, O)
        if self.use_bias and self.fused(z2):
            return self.forward_fused(x, z2, training)
        a2 = z2 + self.b if self.use_bias else z2
        a = a2.reshape(*x.shape[:-1], self.units)  # (N, O) -> (..., O)
        y = self.activation.forward(a, training)
        self.cache = x                            # dW needs the input
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW and db, return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        x = self.take_cache()
        x2 = x.reshape(-1, x.shape[-1])
        da = self.activation.backward(dy)         # y = activation(a)
        da2 = da.reshape(-1, self.units)          # a = a2 in the shape of y
        if self.use_bias:
            db = da2.sum(axis=0, out=self.db)     # a2 = z2 + b: b reaches every row
        dz2 = da2                                 # a2 = z2 + b
        dW = matmul(x2.T, dz2, out=self.dW)       # z2 = x2 W
        if not need_dx:
            return None
        dx2 = matmul(dz2, self.W.T)               # z2 = x2 W
        dx = dx2.reshape(x.shape)                 # x2 = x in rows
        return dx

    def forward_fused(self, x: Array, z2: Array, training: bool) -> Array:
        """Do what forward does after the product, bias and activation in one pass."""
        self.cache = Kept([x])
        return forward_biased(self.activation, z2.reshape(*x.shape[:-1], self.units), self.b, training)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, activation and bias in one pass."""
        (x,) = self.take_cache()
        dz2 = backward_biased(self.activation, dy, self.db).reshape(-1, self.units)
        matmul(x.reshape(-1, x.shape[-1]).T, dz2, out=self.dW)
        return matmul(dz2, self.W.T).reshape(x.shape) if need_dx else None
