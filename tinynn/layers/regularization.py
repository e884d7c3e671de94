"""Regularization: layers that disturb the signal in training, so that the network cannot rely on any one number.

Shapes   x, y, dx, dy all (batch, ...)

Without ``training=True`` each is y = x. What is random is drawn in float32 whatever the model's dtype, from a counter
(tinynn/kernels/draws.py): one seed gives the same noise on every device and in every dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array
from tinynn.layers.base import ShapeError, show_shape
from tinynn.layers.drawing import Drawing
from tinynn.layers.rectifiers import SELU


class Noise(Drawing):
    """Base class of the layers that are random in training: the output has the input's shape, nothing is learned.

    Parameters
    ----------
    seed : int, optional
        Where the random numbers come from; by default the model's seed and the layer's place in it.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if seed is not None and (not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0):
            raise ValueError(f"{self.label}: seed must be a whole number from 0 up, or None, got {seed!r}.")
        self.seed = seed

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        if self.seed is not None:
            self.rng = np.random.default_rng(self.seed)
        return input_shape


class Dropout(Noise):
    """y = x m, in training: every number is dropped with probability `rate` (Srivastava et al. 2014).

    m is 0 where a number is dropped and 1 / (1 - rate) where it is kept, so that the mean of y is x, and nothing has
    to be done at inference, where m = 1.

    Backward dx = dy m

    Parameters
    ----------
    rate : float
        The share that is dropped, from 0 to 1.
    noise_shape : sequence of int or None, optional
        The shape of m, the batch axis first: 1 along an axis where all are dropped or kept together, None or the
        input's size elsewhere. ``(None, 1, None)`` drops whole features of a sequence, the same at every step.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `rate` is not from 0 to 1, `noise_shape` no tuple of whole numbers and None, or `seed` no whole number.
    ShapeError
        If `noise_shape` does not fit the input.

    Examples
    --------
    >>> import numpy as np
    >>> dropout = Dropout(0.5, seed=0)
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> dropout(x, training=True)
    array([[0., 4., 6., 8.]])
    >>> dropout.backward(np.array([[5.0, 5.0, 5.0, 5.0]]))
    array([[ 0., 10., 10., 10.]])
    >>> dropout(x)
    array([[1., 2., 3., 4.]])
    """

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed=seed, **options)
        self.rate = check_number(rate, f"{self.label}: rate", 0, 1)
        self.noise_shape = None if noise_shape is None else self.check_noise_shape(noise_shape)

    def check_noise_shape(self, noise_shape: Any) -> tuple[int | None, ...]:
        """Return `noise_shape` as a tuple, or say what is wrong with it."""
        if not isinstance(noise_shape, tuple | list) or not all(
            size is None or (isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1)
            for size in noise_shape
        ):
            raise ValueError(
                f"{self.label}: noise_shape must be a tuple of whole numbers from 1 up and None, the batch axis "
                f"first, such as (None, 1, None), got {noise_shape!r}."
            )
        return tuple(None if size is None else int(size) for size in noise_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        given = self.noise_shape
        if given is not None and (
            len(given) != len(input_shape) + 1
            or any(size not in (None, 1, whole) for size, whole in zip(given[1:], input_shape, strict=True))
        ):
            raise ShapeError(
                f"{self.label}: noise_shape {given} does not fit an input of shape {show_shape(input_shape)}: it must "
                "have an entry for every axis, the batch axis first, each None, 1 or the input's size."
            )
        return super().build(input_shape)

    def draw_kept(self, x: Array, scale: float = 1.0) -> Array:
        """Return `scale` where a number is kept and 0 where it is dropped, in x's dtype."""
        given = self.noise_shape or (None,) * x.ndim
        if given[0] not in (None, 1, len(x)):
            raise ShapeError(
                f"{self.label}: noise_shape {given} is for batches of {given[0]} samples, got {len(x)}. "
                "None in its first place fits every batch."
            )
        shape = tuple(whole if size is None else size for size, whole in zip(given, x.shape, strict=True))
        return self.draws.kept(shape, self.rate, scale, x)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x m."""
        if not training or self.rate == 0:
            self.cache = 1                        # m = 1
            return x
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0  # rate 1 drops all, and there is nothing to scale up
        m = self.draw_kept(x, scale)
        y = x * m
        self.cache = m
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        m = self.take_cache()
        dx = dy * m                               # y = x m
        return dx


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of a sequence: a channel is dropped at every step or at none (Tompson et al. 2015).

    Neighbouring steps are much alike, and a number that is dropped alone can be guessed from its neighbours.

    Shapes   x, y (batch, steps, channels), m (batch, 1, channels)
    Backward dx = dy m

    Parameters
    ----------
    rate : float
        The share of channels that is dropped, from 0 to 1.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `rate` is not from 0 to 1, or `seed` is no whole number.
    ShapeError
        If the input does not have these axes.

    Examples
    --------
    >>> import numpy as np
    >>> SpatialDropout1D(0.5, seed=4)(np.ones((1, 2, 4)), training=True)
    array([[[2., 0., 0., 0.],
            [2., 0., 0., 0.]]])
    """

    axes = "(batch, steps, channels)"
    spatial_noise_shape: tuple[int | None, ...] = (None, 1, None)

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, noise_shape=self.spatial_noise_shape, seed=seed, **options)

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        if len(input_shape) + 1 != len(self.spatial_noise_shape):
            raise ShapeError(
                f"{self.label} expected an input of shape {self.axes}, got {show_shape(input_shape)}."
            )
        return super().build(input_shape)


class SpatialDropout2D(SpatialDropout1D):
    """Dropout of whole channels of an image: a channel is dropped at every pixel or at none (Tompson et al. 2015).

    Shapes   x, y (batch, height, width, channels), m (batch, 1, 1, channels)
    Backward dx = dy m

    Parameters
    ----------
    rate : float
        The share of channels that is dropped, from 0 to 1.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `rate` is not from 0 to 1, or `seed` is no whole number.
    ShapeError
        If the input does not have these axes.

    Examples
    --------
    >>> import numpy as np
    >>> SpatialDropout2D(0.5, seed=4)(np.ones((1, 1, 2, 4)), training=True)
    array([[[[2., 0., 0., 0.],
             [2., 0., 0., 0.]]]])
    """

    axes = "(batch, height, width, channels)"
    spatial_noise_shape = (None, 1, 1, None)


class AlphaDropout(Dropout):
    """Dropout for `SELU`: it keeps mean 0 and variance 1 as they are (Klambauer et al. 2017).

    z = x k + low (1 - k), y = a z + b: what is dropped is set to the number that SELU ends at, low = -scale alpha,
    then all is shrunk and shifted. k is 1 where a number is kept, else 0;
    a = 1 / sqrt((1 - rate) (1 + rate low^2)), b = -a rate low.

    Backward dx = dy a k

    Parameters
    ----------
    rate : float
        The share that is dropped, from 0 to below 1.
    noise_shape : sequence of int or None, optional
        The shape of k, as for `Dropout`.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `rate` is not from 0 to below 1, `noise_shape` no tuple of whole numbers and None, or `seed` no whole
        number.
    ShapeError
        If `noise_shape` does not fit the input.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((1, 100_000))
    >>> y = AlphaDropout(0.3, seed=1)(x, training=True)
    >>> print(abs(y.mean().round(2)), y.var().round(2))
    0.0 1.0
    """

    LOW = -SELU.SCALE * SELU.ALPHA

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(rate, noise_shape, seed, **options)
        check_number(rate, f"{self.label}: rate", 0, 1, below=True)  # 1 would leave no variance to keep

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return a (x k + low (1 - k)) + b."""
        if not training or self.rate == 0:
            self.cache = (1, 1)                   # a = 1, k = 1
            return x
        a = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * self.LOW**2))
        b = -a * self.rate * self.LOW
        k = self.draw_kept(x)
        z = x * k + self.LOW * (1 - k)
        y = a * z + b
        self.cache = (a, k)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        a, k = self.take_cache()
        dz = a * dy                               # y = a z + b
        dx = dz * k                               # z = x k + low (1 - k)
        return dx


class GaussianNoise(Noise):
    """y = x + n, in training: n is normal with mean 0.

    Backward dx = dy

    Parameters
    ----------
    stddev : float
        The standard deviation of n.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `stddev` is negative or no number, or `seed` is no whole number.

    Examples
    --------
    >>> import numpy as np
    >>> y = GaussianNoise(0.1, seed=1)(np.ones((1, 100_000)), training=True)
    >>> print(y.mean().round(2), y.std().round(2))
    1.0 0.1
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self.stddev = check_number(stddev, f"{self.label}: stddev", 0)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x + n."""
        self.cache = ()
        if not training or self.stddev == 0:
            return x
        n = self.draws.normal(x.shape, x)
        y = x + self.stddev * n
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        self.take_cache()
        dx = dy                                   # y = x + stddev n
        return dx


class GaussianDropout(Noise):
    """y = x m, in training: m is normal with mean 1 and the variance of `Dropout`'s m (Srivastava et al. 2014).

    m = 1 + sqrt(rate / (1 - rate)) n, n standard normal.

    Backward dx = dy m

    Parameters
    ----------
    rate : float
        What `Dropout` would drop, from 0 to below 1.
    seed : int, optional
        By default the model's seed and the layer's place decide.

    Raises
    ------
    ValueError
        If `rate` is not from 0 to below 1, or `seed` is no whole number.

    Examples
    --------
    >>> import numpy as np
    >>> y = GaussianDropout(0.5, seed=1)(np.full((1, 100_000), 2.0), training=True)
    >>> print(y.mean().round(1), y.std().round(1))
    2.0 2.0
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self.rate = check_number(rate, f"{self.label}: rate", 0, 1, below=True)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x m."""
        if not training or self.rate == 0:
            self.cache = 1                        # m = 1
            return x
        n = self.draws.normal(x.shape, x)
        m = 1 + math.sqrt(self.rate / (1 - self.rate)) * n
        y = x * m
        self.cache = m
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        m = self.take_cache()
        dx = dy * m                               # y = x m
        return dx
