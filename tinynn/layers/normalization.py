"""Normalization: layers that bring numbers to mean 0 and variance 1 (or to length 1) before they go on.

The middle of each is xhat = xc inv, xc = x - mean, inv = 1 / sqrt(var + epsilon). They differ in what the mean is taken
over: all samples of one channel (batch), all features of one sample (layer), some channels of one sample (group). The
axes that `axis` names are moved to the end and x is looked at as N rows of F columns; a mean is then a sum down the
columns or along the rows, written as an einsum, which makes no array of the products that it sums.

x reaches xhat on three ways: as itself, through the mean and through the variance, and dx is the sum of the three. What
comes through the variance is a multiple of xc, whose sum is zero, so that it adds nothing to dmean.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count, check_number
from tinynn.backend import Array, array_module
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
        xp = array_module(dy)
        xhat, inv, shape, training = self.take_cache()
        dy2 = self.rows(dy)
        N = len(dy2)
        gamma = self.gamma if self.scale else 1
        dbeta = xp.einsum("nc->c", dy2)           # y2 = gamma xhat + beta
        dgamma = xp.einsum("nc,nc->c", dy2, xhat)  # y2 = gamma xhat + beta
        if self.center:
            self.dbeta[...] = dbeta
        if self.scale:
            self.dgamma[...] = dgamma
        if not need_dx:
            return None
        slope = gamma * inv                       # one for each column, so that sums over dy2 serve for dxhat too
        dxhat_inv = dy2 * slope                   # y2 = gamma xhat + beta: dxhat = gamma dy2
        if not training:
            return self.unrows(dxhat_inv, shape)  # xhat = (x2 - moving_mean) inv
        dinv = gamma * dgamma / inv               # xhat = xc inv: sum dxhat xc, xc = xhat / inv
        dvar = -0.5 * inv * inv * inv * dinv      # inv = (var + epsilon)^(-1/2)
        dmean = -slope * dbeta                    # xc = x2 - mean: - sum dxc, and sum xc = 0
        dxc = dxhat_inv + xhat * (2 / N * dvar / inv)  # xhat = xc inv, var = sum xc^2 / N
        dx2 = dxc + dmean / N                     # xc = x2 - mean, mean = sum x2 / N
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx


class LayerNormalization(Normalization):
    """Every sample with mean 0 and variance 1 over its features, then a scale and a centre (Ba, Kiros & Hinton 2016).

    y = gamma xhat + beta,   xhat = (x - mean) inv,   inv = 1 / sqrt(var + epsilon)

    Shapes   x (..., F), gamma, beta (F,), mean, var (..., 1), those of a row        F features
    Starts   gamma one, beta zero
    Backward dbeta = sum dy, dgamma = sum dy xhat (over rows), dxhat = gamma dy
             dinv = sum dxhat xc, dvar = -inv^3 dinv / 2, dmean = -inv sum dxhat (along a row)     xc = x - mean
             dx = inv dxhat + 2 xc dvar / F + dmean / F

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes of the features.
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
        If `epsilon` is negative or a name is unknown; if `axis` names no axes of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNormalization(epsilon=0)(np.array([[1.0, 3.0], [10.0, 30.0]]))
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat + beta."""
        xp = array_module(x)
        x2 = self.rows(x)                         # (..., F) -> (N, F)
        F = self.features
        mean = xp.einsum("nf->n", x2)[:, None] / F
        xc = x2 - mean
        var = xp.einsum("nf,nf->n", xc, xc)[:, None] / F
        inv = 1 / xp.sqrt(var + self.epsilon)     # (N, 1)
        xhat = xc * inv
        y2 = self.scaled(xhat)                    # gamma xhat + beta
        y = self.unrows(y2, x.shape)              # (N, F) -> (..., F)
        self.cache = xhat, inv, x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dgamma and dbeta, return dx."""
        xp = array_module(dy)
        xhat, inv, shape = self.take_cache()
        dy2 = self.rows(dy)
        F = self.features
        if self.center:                           # y2 = gamma xhat + beta
            self.dbeta[...] = xp.einsum("nf->f", dy2).reshape(self.dbeta.shape)
        if self.scale:                            # y2 = gamma xhat + beta
            self.dgamma[...] = xp.einsum("nf,nf->f", dy2, xhat).reshape(self.dgamma.shape)
        if not need_dx:
            return None
        dxhat = dy2 * self.gamma.reshape(-1) if self.scale else dy2  # y2 = gamma xhat + beta
        dinv = xp.einsum("nf,nf->n", dxhat, xhat)[:, None] / inv  # xhat = xc inv, so xc = xhat / inv
        dvar = -0.5 * inv * inv * inv * dinv      # inv = (var + epsilon)^(-1/2)
        dmean = -inv * xp.einsum("nf->n", dxhat)[:, None]  # xc = x2 - mean: - sum dxc, and sum xc = 0
        dxc = dxhat * inv + xhat * (2 / F * dvar / inv)  # xhat = xc inv, var = sum xc^2 / F
        dx2 = dxc + dmean / F                     # xc = x2 - mean, mean = sum x2 / F
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx


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
        dxhat_inv = dy3 * slope                   # y3 = gamma xhat + beta: dxhat = gamma dy3
        dinv = self.over_group(gamma * sum_dy_xhat) / inv  # xhat = xc inv, so xc = xhat / inv
        dvar = -0.5 * inv * inv * inv * dinv      # inv = (var + epsilon)^(-1/2)
        dmean = -self.over_group(slope[:, 0] * sum_dy)  # xc = x3 - mean: - sum dxc, and sum xc = 0
        dxc = dxhat_inv + xhat * (2 / n * dvar / inv)  # xhat = xc inv, var = sum xc^2 / n
        dx3 = dxc + dmean / n                     # xc = x3 - mean, mean = sum x3 / n
        dx = self.unrows(dx3, shape)              # x3 = x in rows
        return dx


class RMSNormalization(Normalization):
    """Every sample divided by the root of its mean square, then a scale (Zhang & Sennrich 2019).

    y = gamma xhat,   xhat = x inv,   inv = 1 / sqrt(ms + epsilon),   ms = mean x^2

    `LayerNormalization` without the mean, which is cheaper and serves as well in transformers.

    Shapes   x (..., F), gamma (F,), which starts at one, ms (..., 1)        F features
    Backward dgamma = sum dy xhat (over rows), dxhat = gamma dy
             dinv = sum dxhat x (along a row), dms = -inv^3 dinv / 2
             dx = inv dxhat + 2 x dms / F

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes of the features.
    epsilon : float, default 1e-6
        Keeps the root away from zero.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        If `axis` is no whole number or tuple of such, or `epsilon` is negative; if `axis` names no axes of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> RMSNormalization(epsilon=0)(np.array([[3.0, 3.0], [-5.0, 5.0]]))
    array([[ 1.,  1.],
           [-1.,  1.]])
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(axis, epsilon, center=False, **options)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat."""
        xp = array_module(x)
        x2 = self.rows(x)                         # (..., F) -> (N, F)
        ms = xp.einsum("nf,nf->n", x2, x2)[:, None] / self.features
        inv = 1 / xp.sqrt(ms + self.epsilon)      # (N, 1)
        xhat = x2 * inv
        y2 = self.scaled(xhat)                    # gamma xhat
        y = self.unrows(y2, x.shape)              # (N, F) -> (..., F)
        self.cache = xhat, inv, x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dgamma, return dx."""
        xp = array_module(dy)
        xhat, inv, shape = self.take_cache()
        dy2 = self.rows(dy)
        self.dgamma[...] = xp.einsum("nf,nf->f", dy2, xhat).reshape(self.dgamma.shape)  # y2 = gamma xhat
        if not need_dx:
            return None
        dxhat = dy2 * self.gamma.reshape(-1)      # y2 = gamma xhat
        dinv = xp.einsum("nf,nf->n", dxhat, xhat)[:, None] / inv  # xhat = x2 inv, so x2 = xhat / inv
        dms = -0.5 * inv * inv * inv * dinv       # inv = (ms + epsilon)^(-1/2)
        dx2 = dxhat * inv + xhat * (2 / self.features * dms / inv)  # xhat = x2 inv, ms = sum x2^2 / F
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx


class UnitNormalization(Normalization):
    """Every sample divided by its length: y = x / max(|x|, 1e-12), |x| the root of the sum of squares.

    Shapes   x (..., F), y (..., F), norm (..., 1)        F features
    Backward dnorm = -sum dy y / norm (along a row), dx = dy / norm + y dnorm        norm = |x|, whose gradient is y
             A row shorter than 1e-12, such as one of zeros, is divided by 1e-12, a constant: dx = dy / 1e-12.

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes along which the length is taken.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError, ShapeError
        If `axis` is no whole number or tuple of such; if `axis` names no axes of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> UnitNormalization()(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(axis, epsilon=1e-12, center=False, scale=False, **options)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x / max(|x|, 1e-12)."""
        xp = array_module(x)
        x2 = self.rows(x)                         # (..., F) -> (N, F)
        n2 = xp.einsum("nf,nf->n", x2, x2)[:, None]
        norm = xp.sqrt(xp.clip(n2, self.epsilon**2, xp.inf))  # (N, 1)
        y2 = x2 / norm
        y = self.unrows(y2, x.shape)              # (N, F) -> (..., F)
        self.cache = y2, norm, n2 > self.epsilon**2, x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        y2, norm, long, shape = self.take_cache()
        dy2 = self.rows(dy)
        dnorm = -xp.einsum("nf,nf->n", dy2, y2)[:, None] / norm  # y2 = x2 / norm
        dx2 = dy2 / norm + y2 * (dnorm * long)    # y2 = x2 / norm, norm = |x2| where it is long enough
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx
