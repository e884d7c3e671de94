"""A penalty on what a layer puts out, beside those on weights (`tinynn.regularizers`)."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array
from tinynn.layers.base import Layer
from tinynn.regularizers import L1L2


class ActivityRegularization(Layer):
    """y = x, and the loss grows by the size of x: the layers before it learn to put out small numbers, or few.

    P = (l1 sum |x| + l2 sum x^2) / B counts to the loss, in training and in `evaluate`

    Shapes   x, y, dx, dy all (B, ...)                                     B batch
    Backward dx = dy + (l1 sign(x) + 2 l2 x) / B

    Parameters
    ----------
    l1 : float, default 0.0
        Pushes small numbers to 0: few units are active at a time.
    l2 : float, default 0.0
        Keeps large numbers small.

    Attributes
    ----------
    activity_penalty : array of no axes
        P of the last forward. A layer of one's own that sets it in forward, and has a number there from the start (a
        class attribute ``activity_penalty = 0.0``), counts to the loss likewise.

    Raises
    ------
    ValueError
        If `l1` or `l2` is negative or no number.

    Examples
    --------
    >>> import numpy as np
    >>> layer = ActivityRegularization(l1=0.1, l2=0.01)
    >>> layer(np.array([[1.0, -2.0], [0.0, 3.0]]))
    array([[ 1., -2.],
           [ 0.,  3.]])
    >>> print(layer.activity_penalty.round(4))
    0.37
    >>> layer.backward(np.zeros((2, 2)))
    array([[ 0.06, -0.07],
           [ 0.  ,  0.08]])
    """

    activity_penalty = 0.0

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.l1 = check_number(l1, f"{self.label}: l1", 0)
        self.l2 = check_number(l2, f"{self.label}: l2", 0)
        self.regularizer = L1L2(self.l1, self.l2)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, and note the penalty."""
        P = self.regularizer(x) / len(x)
        y = x
        self.activity_penalty = P
        self.cache = x  # dx needs the input
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        x = self.take_cache()
        slope = self.regularizer.gradient(x) / len(x)
        dx = dy + slope  # y = x, and P, which counts to the loss
        return dx
