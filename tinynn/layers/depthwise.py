"""Depthwise convolution: every channel has kernels of its own. Separable convolution: then the channels are mixed."""

from __future__ import annotations

import math
from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, fused_kernels
from tinynn.layers import activations
from tinynn.layers.base import Layer
from tinynn.layers.convolution import Conv2D
from tinynn.layers.windows import (
    Windows,
    check_axes,
    check_data_format,
    check_fit,
    check_holes,
    check_padding,
    check_sizes,
    errors_of,
    parts,
)


class DepthwiseConv2D(Layer):
    """Convolution of each channel by itself: y[o, c M + m] = activation(b + sum_i x[s o + d i - p, c] W[i, c, m]).

    Shapes   x (B, height, width, C), W (*k, C, M), b (C M,), y (B, rows, columns, C M)    k kernel, M depth_multiplier
             z (B, rows, columns, C, M)
    Starts   W Glorot uniform, b zero
    Backward da = dy activation'(a), db = sum da, dW[i] = sum x_i dz, dx_i = sum_m dz W[i], where x_i is what all
             windows see at the offset i of the kernel; the dx_i of all offsets add up               (Chollet 2017)

    Parameters
    ----------
    kernel_size : int or tuple of two int
        The window's height and width, k.
    strides : int or tuple of two int, default 1
        From window to window, s.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` pads with zeros, so that there are ceil(size / stride) windows along each axis.
    depth_multiplier : int, default 1
        How many outputs each channel gets, M.
    data_format : {"channels_last"}, optional
    dilation_rate : int or tuple of two int, default 1
        From number to number within a window, d; only with strides of 1.
    activation : str or Layer, optional
        None by default.
    use_bias : bool, default True
    depthwise_initializer : str or Initializer, default "glorot_uniform"
    bias_initializer : str or Initializer, default "zeros"
    depthwise_regularizer, bias_regularizer : str or Regularizer, optional
        A penalty on W or b that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is no whole number from 1 up, strides and dilation are both above 1, or a name is unknown.
    ShapeError
        If the input is no image with channels, or smaller than the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> conv = DepthwiseConv2D(2, depthwise_initializer="ones")            # the sum of each channel's window
    >>> conv(np.arange(8.0).reshape(1, 2, 2, 2)).ravel()
    array([12., 16.])
    """

    kernel = "depthwise"

    keeps_steps = False

    W: Array
    dW: Array
    b: Array
    db: Array
    ends_in_activation = True

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kernel_size = check_sizes(kernel_size, 2, f"{self.label}: kernel_size")
        self.strides = check_sizes(strides, 2, f"{self.label}: strides")
        self.padding = check_padding(padding, ("valid", "same"), self.label)
        self.depth_multiplier = check_count(depth_multiplier, f"{self.label}: depth_multiplier")
        check_data_format(data_format, self.label)
        self.dilation_rate = check_sizes(dilation_rate, 2, f"{self.label}: dilation_rate")
        check_holes(self.strides, self.dilation_rate, self.label)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def windows(self, sizes: Shape) -> Windows:
        """Return where the kernel stands on an input of this size."""
        return Windows.on(sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate)

    def build(self, input_shape: Shape) -> Shape:
        """Make W and b."""
        check_axes(input_shape, 2, self.label)
        windows = self.windows(input_shape[:-1])
        check_fit(windows, self.label, f"kernel_size {self.kernel_size} with dilation_rate {self.dilation_rate}")
        C, M = input_shape[-1], self.depth_multiplier
        self.add_weight(
            "W", (*self.kernel_size, C, M), self.depthwise_initializer, regularizer=self.depthwise_regularizer
        )
        if self.use_bias:
            self.add_weight("b", (C * M,), self.bias_initializer, regularizer=self.bias_regularizer)
        return self.activation.build_for((*windows.count, C * M))

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(depthwise convolution of x and W, + b)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        windows = self.windows(x.shape[1:-1])
        C, M = self.W.shape[-2:]
        W2 = self.W.reshape(-1, C, M)             # (*k, C, M) -> (offsets, C, M)
        z = xp.zeros((len(x), *windows.count, C, M), dtype=xp.result_type(x, self.W))
        for part in parts(len(x), math.prod(z.shape[1:])):
            x_padded = windows.pad(x[part])
            for i, seen in enumerate(windows.views(x_padded)):
                z[part] += seen[..., None] * W2[i]                 # (B, ..., C, 1) (C, M)
        z2 = z.reshape(*z.shape[:-2], C * M)      # (B, ..., C, M) -> (B, ..., C M)
        a = z2 + self.b if self.use_bias else z2
        y = self.activation.forward(a, training)
        self.cache = x                            # dW needs the input
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW and db, return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        x = self.take_cache()
        windows = self.windows(x.shape[1:-1])
        C, M = self.W.shape[-2:]
        W2 = self.W.reshape(-1, C, M)
        da = self.activation.backward(dy)         # y = activation(a)
        if self.use_bias:
            db = da.reshape(-1, C * M).sum(axis=0, out=self.db)    # a = z2 + b: b reaches every window
        dz2 = da                                  # a = z2 + b
        dz = dz2.reshape(*dz2.shape[:-1], C, M)   # z2 = z with (C, M) as one axis
        dW2 = xp.zeros(W2.shape, dtype=W2.dtype)
        dx: Any = xp.empty(x.shape, dtype=dz.dtype) if need_dx else None
        for part in parts(len(x), math.prod(dz.shape[1:])):
            x_padded = windows.pad(x[part])
            for i, seen in enumerate(windows.views(x_padded)):
                dW2[i] += (seen[..., None] * dz[part]).reshape(-1, C, M).sum(axis=0)  # z += seen W[i]
            if need_dx:
                dx_padded = windows.pad(xp.zeros(x[part].shape, dtype=dz.dtype))
                for i, dseen in enumerate(windows.views(dx_padded)):
                    dseen += (dz[part] * W2[i]).sum(axis=-1)       # z += seen W[i]; dseen is a view into dx_padded
                dx[part] = windows.crop(dx_padded)                 # x_padded = x in its padding
        self.dW[...] = dW2.reshape(self.W.shape)  # W2 = W with *k as one axis
        return dx

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, which makes one output of each channel."""
        return self.depth_multiplier == 1 and super().fused(x)

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, row by row of the windows."""
        windows = self.windows(x.shape[1:-1])
        x_padded = windows.pad(x)
        a = fused_kernels(x_padded).depthwise(x_padded, self.W, self.b if self.use_bias else None, windows)
        self.cache = Kept([x_padded, windows])
        return self.activation.forward(a, training)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, row by row of the windows."""
        x_padded, windows = self.take_cache()
        da = self.activation.backward(dy)
        if self.use_bias:
            da.sum(axis=0).reshape(-1, self.b.size).sum(axis=0, out=self.db)
        dW, dx_padded = fused_kernels(da).depthwise_backward(da, x_padded, self.W, windows, need_dx)
        self.dW[...] = dW
        return windows.crop(dx_padded) if need_dx else None


class SeparableConv2D(Layer):
    """A depthwise convolution, then one of 1 x 1 that mixes the channels: far fewer weights than Conv2D (Chollet 2017).

    y = activation(pointwise(depthwise(x)))

    Shapes   x (B, height, width, C), depthwise W (*k, C, M), pointwise W (1, 1, C M, O), b (O,), y (B, ..., O)
    Starts   both W Glorot uniform, b zero
    Backward through the activation, the 1 x 1 convolution and the depthwise one, each by its own backward

    Parameters
    ----------
    filters : int
        The number of outputs at each place, O.
    kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier
        As in `DepthwiseConv2D`.
    activation : str or Layer, optional
        None by default.
    use_bias : bool, default True
    depthwise_initializer, pointwise_initializer : str or Initializer, default "glorot_uniform"
    bias_initializer : str or Initializer, default "zeros"
    depthwise_regularizer, pointwise_regularizer, bias_regularizer : str or Regularizer, optional
        A penalty on the weights that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is no whole number from 1 up, strides and dilation are both above 1, or a name is unknown.
    ShapeError
        If the input is no image with channels, or smaller than the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> conv = SeparableConv2D(32, 3, padding="same")
    >>> conv(np.ones((1, 8, 8, 16))).shape, conv.count_params()           # Conv2D has 4,640
    ((1, 8, 8, 32), 688)
    """

    keeps_steps = False

    ends_in_activation = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        with errors_of(self.label):
            self.depthwise = DepthwiseConv2D(
                kernel_size,
                strides,
                padding,
                depth_multiplier,
                data_format,
                dilation_rate,
                use_bias=False,
                depthwise_initializer=depthwise_initializer,
                depthwise_regularizer=depthwise_regularizer,
                name="depthwise",
            )
            self.pointwise = Conv2D(
                filters,
                1,
                use_bias=use_bias,
                kernel_initializer=pointwise_initializer,
                bias_initializer=bias_initializer,
                kernel_regularizer=pointwise_regularizer,
                bias_regularizer=bias_regularizer,
                name="pointwise",
            )
        self.activation = activations.get(activation)

    def build(self, input_shape: Shape) -> Shape:
        """Build both convolutions."""
        check_axes(input_shape, 2, self.label)
        for inner in (self.depthwise, self.pointwise):
            inner.dtype = self.dtype
        with errors_of(self.label):
            z_shape = self.depthwise.build_for(input_shape)
            a_shape = self.pointwise.build_for(z_shape)
        return self.activation.build_for(a_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(pointwise(depthwise(x)))."""
        z = self.depthwise.forward(x, training)   # (B, ..., C) -> (B, ..., C M)
        a = self.pointwise.forward(z, training)   # (B, ..., C M) -> (B, ..., O)
        y = self.activation.forward(a, training)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Have both convolutions write their gradients, return dx."""
        self.take_cache()
        da = self.activation.backward(dy)         # y = activation(a)
        dz = self.pointwise.backward(da)          # a = pointwise(z)
        dx = self.depthwise.backward(dz, need_dx)  # z = depthwise(x)
        return dx
