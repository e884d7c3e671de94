"""Batch and group normalization, whose means are taken down the columns; and the base of all normalizations.

What they have in common, and those whose means are taken along the rows, is in normalization.py.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number
from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, can_fuse, fused_kernels
from tinynn.layers.base import Layer, ShapeError, show_shape


class Normalization(Layer):
    """Base of the normalizations: looks at x as rows with the axes of `axis` as columns, makes gamma and beta."""

    gamma: Array
    dgamma: Array
    beta: Array
    dbeta: Array
    takes_many_axes = True

    def __init__(
        self, axis: Any = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones",
        beta_regularizer: Any = None, gamma_regularizer: Any = None, **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axes = tuple(axis) if self.takes_many_axes and isinstance(axis, tuple | list) else (axis,)
        if not self.axes or not all(isinstance(one, int) and not isinstance(one, bool) for one in self.axes):
            wanted = "a whole number or a tuple of them" if self.takes_many_axes else "a whole number"
            raise ValueError(f"{self.label}: axis must be {wanted}, got {axis!r}. -1 is the last axis.")
        self.epsilon = check_number(epsilon, f"{self.label}: epsilon", 0)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> Shape:
        """Find the axes, make gamma and beta."""
        count = len(input_shape) + 1
        columns = sorted({axis % count for axis in self.axes if -count <= axis < count})
        if len(columns) != len(self.axes) or columns[0] == 0:
            raise ShapeError(
                f"{self.label}: axis {', '.join(map(str, self.axes))} must name axes of an input of shape "
                f"{show_shape(input_shape)}, each once and not the batch axis: 1 to {count - 1}, or -1 to {1 - count}."
            )
        sizes = tuple(input_shape[axis - 1] for axis in columns)
        self.features = math.prod(sizes)
        self.order = (*(axis for axis in range(count) if axis not in columns), *columns)
        if self.scale:
            self.add_weight("gamma", sizes, self.gamma_initializer, regularizer=self.gamma_regularizer)
        if self.center:
            self.add_weight("beta", sizes, self.beta_initializer, regularizer=self.beta_regularizer)
        return input_shape

    def rows(self, x: Array) -> Array:
        """Return x as rows, the axes of `axis` as columns: (N, F)."""
        return x.transpose(self.order).reshape(-1, self.features)

    def unrows(self, x2: Array, shape: Shape) -> Array:
        """Return rows in the shape that x had."""
        back = [self.order.index(axis) for axis in range(len(shape))]
        return x2.reshape([shape[axis] for axis in self.order]).transpose(back)

    @property
    def factors(self) -> tuple[Array | None, Array | None]:
        """Gamma and beta, as far as there are such."""
        return self.gamma if self.scale else None, self.beta if self.center else None

    def scaled(self, xhat: Array) -> Array:
        """Return gamma xhat + beta, as far as there are such."""
        g = xhat * self.gamma.reshape(-1) if self.scale else xhat
        return g + self.beta.reshape(-1) if self.center else g


class BatchNormalization(Normalization):
    """Every channel with mean 0 and variance 1 over the batch, then its own scale and centre (Ioffe & Szegedy 2015).

    y = gamma xhat + beta,   xhat = (x - mean) inv,   inv = 1 / sqrt(var + epsilon)

    In training, mean and var are those of the batch: of each channel over all samples and places, var divided by N and
    not N - 1. Running averages of them are kept, moving = momentum moving + (1 - momentum) batch, and take their place
    when not training; then y is a fixed linear function of x. A batch of one row, xhat = 0, teaches nothing but beta.

    Shapes   x (batch, ..., C), gamma, beta, moving_mean, moving_variance (C,)     N numbers a channel, C channels
    Starts   gamma and moving_variance one, beta and moving_mean zero
    Backward dbeta = sum dy, dgamma = sum dy xhat, dxhat = gamma dy
             dinv = sum dxhat xc, dvar = -inv^3 dinv / 2, dmean = -inv sum dxhat      xc = x - mean
             dx = inv dxhat + 2 xc dvar / N + dmean / N        not training: dx = inv dxhat

    Parameters
    ----------
    axis : int, default -1
        The axis of the channels.
    momentum : float, default 0.99
        How slowly the running averages move.
    epsilon : float, default 1e-3
        Keeps the root away from zero.
    center, scale : bool, default True
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
    moving_mean_initializer, moving_variance_initializer : str or Initializer, default "zeros" and "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        If `momentum` is not from 0 to 1 or `epsilon` negative; if `axis` is no axis of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNormalization(epsilon=0)
    >>> layer(np.array([[1.0, 10.0], [3.0, 30.0]]), training=True)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.moving_mean
    array([0.02, 0.2 ], dtype=float32)
    """

    kernel = "moments"

    moving_mean: Array
    moving_variance: Array
    takes_many_axes = False

    def __init__(
        self, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros", moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None, gamma_regularizer: Any = None, **options: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer,
                         beta_regularizer, gamma_regularizer, **options)
        self.momentum = check_number(momentum, f"{self.label}: momentum", 0, 1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Shape) -> Shape:
        """Make gamma, beta and the running averages."""
        super().build(input_shape)
        self.add_weight("moving_mean", (self.features,), self.moving_mean_initializer, trainable=False)
        self.add_weight("moving_variance", (self.features,), self.moving_variance_initializer, trainable=False)
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat + beta; in training, move the running averages."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        x2 = self.rows(x)                         # (batch, ..., C) -> (N, C)
        N = len(x2)
        if training:
            mean = xp.einsum("nc->c", x2) / N
            xc = x2 - mean
            var = xp.einsum("nc,nc->c", xc, xc) / N
            self.moving_mean[...] = self.momentum * self.moving_mean + (1 - self.momentum) * mean
            self.moving_variance[...] = self.momentum * self.moving_variance + (1 - self.momentum) * var
        else:
            xc = x2 - self.moving_mean
            var = self.moving_variance
        inv = 1 / xp.sqrt(var + self.epsilon)
        xhat = xc * inv
        y2 = self.scaled(xhat)                    # gamma xhat + beta
        y = self.unrows(y2, x.shape)              # (N, C) -> (batch, ..., C)
        self.cache = xhat, inv, x.shape, training
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dgamma and dbeta, return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        xhat, inv, shape, training = self.take_cache()
        dy2 = self.rows(dy)
        N = len(dy2)
        gamma = self.gamma if self.scale else 1
        sum_dy = xp.einsum("nc->c", dy2)
        sum_dy_xhat = xp.einsum("nc,nc->c", dy2, xhat)
        if self.center:
            self.dbeta[...] = sum_dy              # y2 = gamma xhat + beta
        if self.scale:
            self.dgamma[...] = sum_dy_xhat        # y2 = gamma xhat + beta
        if not need_dx:
            return None
        slope = gamma * inv                       # one for each column, so that sums over dy2 serve for dxhat too
        dxc_xhat = dy2 * slope                    # xhat = xc inv, y2 = gamma xhat + beta: dxhat = gamma dy2
        if not training:
            dx2 = dxc_xhat                        # xc = x2 - moving_mean
            dx = self.unrows(dx2, shape)          # x2 = x in rows
            return dx
        dinv = gamma * sum_dy_xhat / inv          # xhat = xc inv: sum dxhat xc, xc = xhat / inv
        dvar = -0.5 * inv * inv * inv * dinv      # inv = (var + epsilon)^(-1/2)
        dmean = -slope * sum_dy                   # xc = x2 - mean: - sum dxc, and sum xc = 0
        dxc = dxc_xhat + xhat * (2 / N * dvar / inv)  # xhat = xc inv, var = sum xc^2 / N
        dx2 = dxc + dmean / N                     # xc = x2 - mean, mean = sum x2 / N
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, in two passes over x."""
        x3 = self.rows(x)[None]
        mean, var = self.moving_mean[None], self.moving_variance[None]
        if training:
            mean, var = fused_kernels(x3).moments(x3)
            self.move_averages(mean[0], var[0])
        inv = (var + self.epsilon) ** -0.5
        y3 = fused_kernels(x3).columns_forward(x3, mean, inv, *self.factors)
        self.cache = Kept([x3, mean, inv, x.shape, training])
        return self.unrows(y3, x.shape)

    def move_averages(self, mean: Array, var: Array) -> None:
        """Move the running averages, as forward does."""
        if can_fuse(mean, "move_averages"):
            averages = (self.moving_mean, self.moving_variance)
            fused_kernels(mean).move_averages(*averages, mean, var, self.momentum)
            return
        self.moving_mean[...] = self.momentum * self.moving_mean + (1 - self.momentum) * mean
        self.moving_variance[...] = self.momentum * self.moving_variance + (1 - self.momentum) * var

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, in two passes over dy and x."""
        x3, mean, inv, shape, training = self.take_cache()
        dy3 = self.rows(dy)[None]
        N = x3.shape[1]
        gamma = self.gamma if self.scale else 1
        dbeta, dgamma = fused_kernels(dy3).columns_sums(dy3, x3, mean, inv)
        if self.center:
            self.dbeta[...] = dbeta[0]
        if self.scale:
            self.dgamma[...] = dgamma[0]
        if not need_dx:
            return None
        means = (gamma * dbeta / N, gamma * dgamma / N) if training else (0 * dbeta, 0 * dgamma)
        dx3 = fused_kernels(dy3).columns_backward(dy3, x3, mean, inv, self.factors[0], means)
        return self.unrows(dx3, shape)


class GroupNormalization(Normalization):
    """Some channels of a sample together with mean 0 and variance 1, then scale and centre (Wu & He 2018).

    y = gamma xhat + beta,   xhat = (x - mean) inv,   inv = 1 / sqrt(var + epsilon)

    Mean and var are those of one sample's group: its C / groups neighbouring channels, at all places.

    Shapes   x (B, ..., C), gamma, beta (C,), mean, var (B, 1, C)        B batch, S places, C channels
    Starts   gamma one, beta zero
    Backward dbeta = sum dy, dgamma = sum dy xhat (over samples and places), dxhat = gamma dy
             dinv = sum dxhat xc, dvar = -inv^3 dinv / 2, dmean = -inv sum dxhat (over a group)     xc = x - mean
             dx = inv dxhat + 2 xc dvar / n + dmean / n        n = S C / groups, the numbers of a group

    Parameters
    ----------
    groups : int, default 32
        How many groups; -1 means that every channel is one (instance normalization).
    axis : int, default -1
        The axis of the channels.
    epsilon : float, default 1e-3
        Keeps the root away from zero.
    center, scale : bool, default True
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer : str or Initializer, default "zeros" and "ones"
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        If an argument is out of its range; if `axis` is no axis of a sample, or `groups` does not divide the channels.

    Examples
    --------
    >>> import numpy as np
    >>> GroupNormalization(groups=2, epsilon=0)(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -1.,  1.]])
    """

    kernel = "moments"

    takes_many_axes = False

    def __init__(
        self, groups: int = 32, axis: int = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones",
        beta_regularizer: Any = None, gamma_regularizer: Any = None, **options: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer,
                         beta_regularizer, gamma_regularizer, **options)
        self.groups = -1 if groups == -1 else check_count(groups, f"{self.label}: groups")

    def build(self, input_shape: Shape) -> Shape:
        """Make gamma and beta."""
        super().build(input_shape)
        C = self.features
        self.group_size = 1 if self.groups == -1 else C // self.groups
        if self.groups != -1 and C % self.groups != 0:
            divisors = ", ".join(str(count) for count in range(1, C + 1) if C % count == 0)
            raise ShapeError(
                f"{self.label}: groups={self.groups} does not divide the {C} channels of an input of shape "
                f"{show_shape(input_shape)}. Choose one of {divisors}."
            )
        return input_shape

    def over_group(self, sums: Array) -> Array:
        """Return, for every channel, the sum over the channels of its group: (B, C) -> (B, 1, C)."""
        xp = array_module(sums)
        groups = sums.reshape(len(sums), -1, self.group_size).sum(axis=2)  # (B, C) -> (B, groups)
        return xp.repeat(groups, self.group_size, axis=1)[:, None]

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat + beta."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        x3 = self.rows(x).reshape(len(x), -1, self.features)  # (B, ..., C) -> (B, S, C)
        n = x3.shape[1] * self.group_size
        mean = self.over_group(xp.einsum("bsc->bc", x3)) / n
        xc = x3 - mean
        var = self.over_group(xp.einsum("bsc,bsc->bc", xc, xc)) / n
        inv = 1 / xp.sqrt(var + self.epsilon)     # (B, 1, C)
        xhat = xc * inv
        y3 = self.scaled(xhat)                    # gamma xhat + beta
        y = self.unrows(y3, x.shape)              # (B, S, C) -> (B, ..., C)
        self.cache = xhat, inv, x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dgamma and dbeta, return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        xhat, inv, shape = self.take_cache()
        dy3 = self.rows(dy).reshape(xhat.shape)
        n = dy3.shape[1] * self.group_size
        gamma = self.gamma if self.scale else 1
        sum_dy = xp.einsum("bsc->bc", dy3)
        sum_dy_xhat = xp.einsum("bsc,bsc->bc", dy3, xhat)
        if self.center:
            dbeta = sum_dy.sum(axis=0, out=self.dbeta)  # y3 = gamma xhat + beta
        if self.scale:
            dgamma = sum_dy_xhat.sum(axis=0, out=self.dgamma)  # y3 = gamma xhat + beta
        if not need_dx:
            return None
        slope = gamma * inv
        dxc_xhat = dy3 * slope                    # xhat = xc inv, y3 = gamma xhat + beta: dxhat = gamma dy3
        dinv = (gamma * sum_dy_xhat)[:, None] / inv  # xhat = xc inv, so xc = xhat / inv
        dvar = -0.5 * inv * inv * inv * dinv      # inv = (var + epsilon)^(-1/2)
        group_var = self.over_group(dvar[:, 0])   # dvar and -dmean of a whole group; in the latter sum xc = 0
        group_mean = self.over_group(slope[:, 0] * sum_dy)
        dxc = dxc_xhat + xhat * (2 / n * group_var / inv)  # xhat = xc inv, var = sum xc^2 / n
        dx3 = dxc - group_mean / n                # xc = x3 - mean, mean = sum x3 / n
        dx = self.unrows(dx3, shape)              # x3 = x in rows
        return dx

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, in two passes over x."""
        x3 = self.rows(x).reshape(len(x), -1, self.features)
        column_mean, column_var = fused_kernels(x3).moments(x3)
        mean = self.over_group(column_mean)[:, 0] / self.group_size
        var = self.over_group(column_var + (column_mean - mean) ** 2)[:, 0] / self.group_size
        inv = (var + self.epsilon) ** -0.5
        y3 = fused_kernels(x3).columns_forward(x3, mean, inv, *self.factors)
        self.cache = Kept([x3, mean, inv, x.shape])
        return self.unrows(y3, x.shape)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, in two passes over dy and x."""
        x3, mean, inv, shape = self.take_cache()
        dy3 = self.rows(dy).reshape(x3.shape)
        n = x3.shape[1] * self.group_size
        gamma = self.gamma if self.scale else 1
        sum_dy, sum_dy_xhat = fused_kernels(dy3).columns_sums(dy3, x3, mean, inv)
        if self.center:
            self.dbeta[...] = sum_dy.sum(axis=0)
        if self.scale:
            self.dgamma[...] = sum_dy_xhat.sum(axis=0)
        if not need_dx:
            return None
        means = tuple(self.over_group(gamma * sums)[:, 0] / n for sums in (sum_dy, sum_dy_xhat))
        dx3 = fused_kernels(dy3).columns_backward(dy3, x3, mean, inv, self.factors[0], means)
        return self.unrows(dx3, shape)
