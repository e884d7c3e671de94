"""Normalization: layers that bring numbers to mean 0 and variance 1 (or to length 1) before they go on.

The middle of each is xhat = xc inv, xc = x - mean, inv = 1 / sqrt(var + epsilon). They differ in what the mean is taken
over: all samples of one channel (batch), all features of one sample (layer), some channels of one sample (group). The
axes that `axis` names are moved to the end and x is looked at as N rows of F columns; a mean is then a sum down the
columns or along the rows, written as an einsum, which makes no array of the products that it sums.

x reaches xhat on three ways: as itself, through the mean and through the variance, and dx is the sum of the three. What
comes through the variance is a multiple of xc, whose sum is zero, so that it adds nothing to dmean.
"""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, einsum, fused_kernels
from tinynn.layers.batch_normalization import BatchNormalization as BatchNormalization
from tinynn.layers.batch_normalization import GroupNormalization as GroupNormalization
from tinynn.layers.batch_normalization import Normalization


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

    kernel = "rows_forward"

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat + beta."""
        if self.fused(x):
            return self.forward_fused(x, training)
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
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
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

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, row by row."""
        x2 = self.rows(x)
        y2, mean, inv = fused_kernels(x2).rows_forward(x2, *self.factors, self.epsilon, centered=True)
        self.cache = Kept([x2, mean, inv, x.shape])
        return self.unrows(y2, x.shape)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, row by row."""
        x2, mean, inv, shape = self.take_cache()
        gamma, _ = self.factors
        dgamma, dbeta, dx2 = fused_kernels(dy).rows_backward(
            self.rows(dy), x2, gamma, mean, inv, centered=True, need_dx=need_dx
        )
        if self.center:
            self.dbeta[...] = dbeta.reshape(self.dbeta.shape)
        if self.scale:
            self.dgamma[...] = dgamma.reshape(self.dgamma.shape)
        return self.unrows(dx2, shape) if need_dx else None


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

    kernel = "rows_forward"

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(axis, epsilon, center=False, **options)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return gamma xhat."""
        if self.fused(x):
            return self.forward_fused(x, training)
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
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
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

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, row by row."""
        x2 = self.rows(x)
        y2, mean, inv = fused_kernels(x2).rows_forward(x2, *self.factors, self.epsilon, centered=False)
        self.cache = Kept([x2, mean, inv, x.shape])
        return self.unrows(y2, x.shape)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, row by row."""
        x2, mean, inv, shape = self.take_cache()
        gamma, _ = self.factors
        dgamma, dbeta, dx2 = fused_kernels(dy).rows_backward(
            self.rows(dy), x2, gamma, mean, inv, centered=False, need_dx=need_dx
        )
        if self.center:
            self.dbeta[...] = dbeta.reshape(self.dbeta.shape)
        if self.scale:
            self.dgamma[...] = dgamma.reshape(self.dgamma.shape)
        return self.unrows(dx2, shape) if need_dx else None


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
        n2 = einsum("nf,nf->n", x2, x2)[:, None]
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
        dnorm = -einsum("nf,nf->n", dy2, y2)[:, None] / norm  # y2 = x2 / norm
        dx2 = dy2 / norm + y2 * (dnorm * long)    # y2 = x2 / norm, norm = |x2| where it is long enough
        dx = self.unrows(dx2, shape)              # x2 = x in rows
        return dx
