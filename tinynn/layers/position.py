"""Position: layers that tell the steps of a sequence apart, for attention alone does not know their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number
from tinynn.backend import Array, array_module
from tinynn.kernels.tables import length_for, table
from tinynn.layers.base import Layer, ShapeError, show_shape


def check_steps(layer: Layer, input_shape: Shape) -> None:
    """Raise ShapeError unless a sample is steps of features, with at least one step."""
    if len(input_shape) != 2 or input_shape[0] == 0:
        raise ShapeError(
            f"{layer.label} expected an input of shape (batch, steps, features) with at least one step, "
            f"got {show_shape(input_shape)}."
        )


def angles(steps: int, features: int, max_wavelength: float) -> Any:
    """Return an angle for each step and each pair of features, (steps, features / 2): step / max_wavelength^(2 i / D).

    The first pair turns by one radian a step, each later one more slowly, the last about once in max_wavelength steps.
    """
    frequencies = max_wavelength ** (-np.arange(0, features, 2) / features)
    return np.arange(steps)[:, None] * frequencies


def cosines(steps: int, features: int, max_wavelength: float) -> Array:
    """Return the cosines of the angles."""
    return np.cos(angles(steps, features, max_wavelength))


def sines(steps: int, features: int, max_wavelength: float) -> Array:
    """Return the sines of the angles."""
    return np.sin(angles(steps, features, max_wavelength))


def sines_and_cosines(steps: int, features: int, max_wavelength: float) -> Array:
    """Return them by turns, a sine and a cosine of each angle, as many as there are features."""
    angle = angles(steps, features, max_wavelength)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(steps, -1)[:, :features]


class PositionEmbedding(Layer):
    """Adds a learned vector to every step: y_t = x_t + W_t.

    (keras_hub's layer of this name returns the second term alone, for its user to add.)

    Shapes   x (B, T, D), W (L, D), y (B, T, D)              B batch, T steps, L longest sequence, D features
    Starts   W Glorot uniform
    Backward dW_t = sum_B dy_t for the T steps there are, 0 for the others; dx = dy     (Gehring et al. 2017)

    Parameters
    ----------
    sequence_length : int
        The longest sequence, L.
    initializer : str or Initializer, default "glorot_uniform"
    regularizer : str or Regularizer, optional
        A penalty on W that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `sequence_length` is not a whole number from 1 up.
    ShapeError
        If the input is not (batch, steps, features), or has more steps than `sequence_length`.

    Examples
    --------
    >>> import numpy as np
    >>> positions = PositionEmbedding(10, initializer="ones")
    >>> positions(np.zeros((1, 2, 3)))
    array([[[1., 1., 1.],
            [1., 1., 1.]]])
    """

    W: Array
    dW: Array

    def __init__(
        self, sequence_length: int, initializer: Any = "glorot_uniform", regularizer: Any = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.sequence_length = check_count(sequence_length, f"{self.label}: sequence_length")
        self.initializer = initializers.get(initializer)
        self.regularizer = regularizers.get(regularizer)

    def build(self, input_shape: Shape) -> Shape:
        """Make W."""
        check_steps(self, input_shape)
        if input_shape[0] > self.sequence_length:
            raise ShapeError(
                f"{self.label} has positions for {self.sequence_length} steps, got {show_shape(input_shape)}. "
                f"Make it with sequence_length={input_shape[0]} or more, or cut the sequences."
            )
        self.add_weight("W", (self.sequence_length, input_shape[1]), self.initializer, regularizer=self.regularizer)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with a vector added to every step."""
        T = x.shape[1]
        y = x + self.W[:T]                        # (B, T, D) + (T, D)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW, return dx."""
        self.take_cache()
        T = dy.shape[1]
        dy.sum(axis=0, out=self.dW[:T])           # y = x + W[:T]: each vector reaches its step in every sample
        self.dW[T:] = 0                           # the others reach nothing
        dx = dy                                   # y = x + W[:T]
        return dx


class SinePositionEncoding(Layer):
    """Adds a fixed pattern of waves to every step, each pair of features a wave of its own length.

    y[t, 2i] = x[t, 2i] + sin(t / max_wavelength^(2i / D)),   y[t, 2i + 1] = x[t, 2i + 1] + cos(of the same)

    (keras_hub's layer of this name returns the second term alone, for its user to add.)

    Shapes   x (B, T, D), y (B, T, D)                        B batch, T steps, D features
    Backward dx = dy     (Vaswani et al. 2017)

    Parameters
    ----------
    max_wavelength : float, default 10000
        The longest wave takes 2 pi times this many steps.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `max_wavelength` is not a number from 1 up.
    ShapeError
        If the input is not (batch, steps, features).

    Examples
    --------
    >>> import numpy as np
    >>> SinePositionEncoding()(np.zeros((1, 2, 2))).round(3)
    array([[[0.   , 1.   ],
            [0.841, 0.54 ]]])
    """

    def __init__(self, max_wavelength: float = 10000, **options: Any) -> None:
        super().__init__(**options)
        self.max_wavelength = check_number(max_wavelength, f"{self.label}: max_wavelength", 1)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        check_steps(self, input_shape)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with the waves added."""
        _, T, D = x.shape
        waves = table(x, sines_and_cosines, length_for(T), D, self.max_wavelength)[:T]    # (T, D)
        y = x + waves
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy                                   # y = x + waves
        return dx


class RotaryEmbedding(Layer):
    """Turns every pair of features by an angle that grows with the step (Su et al. 2021).

    Where q and k are turned so, their product q_t k_s depends on t - s alone: attention sees distances, not places.
    Feature i and feature i + D / 2 are a pair: with c = cos(t / max_wavelength^(2i / D)) and s = the sine of it

        y_i = x_i c - x_(i + D/2) s,   y_(i + D/2) = x_(i + D/2) c + x_i s

    Shapes   x (B, T, D) or (B, heads, T, D), y the same     B batch, T steps, D features, an even number
    Backward the same turned back, by -t:
             dx_i = dy_i c + dy_(i + D/2) s,   dx_(i + D/2) = dy_(i + D/2) c - dy_i s

    Parameters
    ----------
    max_wavelength : float, default 10000
        The slowest pair takes about 2 pi times this many steps for one turn.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `max_wavelength` is not a number from 1 up.
    ShapeError
        If a sample is not steps of features, or the number of features is odd.

    Examples
    --------
    >>> import numpy as np
    >>> RotaryEmbedding()(np.array([[[1.0, 0.0], [1.0, 0.0]]])).round(3)   # step 1 is turned by one radian
    array([[[1.   , 0.   ],
            [0.54 , 0.841]]])
    """

    def __init__(self, max_wavelength: float = 10000, **options: Any) -> None:
        super().__init__(**options)
        self.max_wavelength = check_number(max_wavelength, f"{self.label}: max_wavelength", 1)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        if len(input_shape) not in (2, 3) or 0 in input_shape:
            raise ShapeError(
                f"{self.label} expected an input of shape (batch, steps, features) or (batch, heads, steps, features), "
                f"got {show_shape(input_shape)}."
            )
        if input_shape[-1] % 2:
            raise ShapeError(
                f"{self.label} turns pairs of features and needs an even number of them, got {show_shape(input_shape)}."
            )
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, turned."""
        xp = array_module(x)
        T, D = x.shape[-2:]
        c = table(x, cosines, length_for(T), D, self.max_wavelength)[:T]   # (T, D / 2)
        s = table(x, sines, length_for(T), D, self.max_wavelength)[:T]
        x1 = x[..., : D // 2]
        x2 = x[..., D // 2 :]
        y1 = x1 * c - x2 * s
        y2 = x2 * c + x1 * s
        y = xp.concatenate([y1, y2], axis=-1)
        self.cache = (c, s)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        c, s = self.take_cache()
        D = dy.shape[-1]
        dy1 = dy[..., : D // 2]                   # y = y1 beside y2
        dy2 = dy[..., D // 2 :]                   # y = y1 beside y2
        dx1 = dy1 * c + dy2 * s                   # y1 = x1 c - x2 s, y2 = x2 c + x1 s
        dx2 = dy2 * c - dy1 * s                   # y1 = x1 c - x2 s, y2 = x2 c + x1 s
        dx = xp.concatenate([dx1, dx2], axis=-1)  # x1 and x2 are the halves of x
        return dx
