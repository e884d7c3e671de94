"""Convolution: the same small kernel at every place of a signal, an image or a volume."""

from __future__ import annotations

from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, fused_kernels, matmul
from tinynn.layers import activations
from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.windows import (
    Windows,
    check_axes,
    check_data_format,
    check_fit,
    check_holes,
    check_padding,
    check_sizes,
    join,
    parts,
    split,
)


class Convolution(Layer):
    """Base class of Conv1D, Conv2D and Conv3D; a subclass says how many axes the kernel has.

    y[o] = activation(b + sum_i x[s o + d i - p] W[i])       s stride, d dilation, p padding, i runs over the kernel

    What a window sees is laid out as a row of the matrix ``columns`` (im2col), and the convolution is one matrix
    product: as many rows as windows, as many columns as the kernel has inputs (Chellapilla, Puri & Simard 2006).

    Shapes   x (B, ..., C), W (*k, C/G, O), b (O,), y (B, ..., O)      C channels, O filters, G groups, k kernel
             columns (G, N, K), W2 (G, K, O/G), z2 (G, N, O/G)         N windows, K = k C/G numbers in each
    Starts   W Glorot uniform, b zero
    Backward da = dy activation'(a), db = sum da, dW2 = columns^T dz2, dcolumns = dz2 W2^T,
             dx = col2im(dcolumns): a number that several windows saw adds up what came back from each
    """

    keeps_steps = False
    kernel = "convolution"

    W: Array
    dW: Array
    b: Array
    db: Array
    rank: int
    paddings: tuple[str, ...] = ("valid", "same")
    ends_in_activation = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = check_count(filters, f"{self.label}: filters")
        self.kernel_size = check_sizes(kernel_size, self.rank, f"{self.label}: kernel_size")
        self.strides = check_sizes(strides, self.rank, f"{self.label}: strides")
        self.padding = check_padding(padding, self.paddings, self.label)
        check_data_format(data_format, self.label)
        self.dilation_rate = check_sizes(dilation_rate, self.rank, f"{self.label}: dilation_rate")
        self.groups = check_count(groups, f"{self.label}: groups")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        check_holes(self.strides, self.dilation_rate, self.label)
        if self.filters % self.groups:
            raise ValueError(
                f"{self.label}: {self.filters} filters cannot be divided into {self.groups} groups; "
                "filters must be a multiple of groups."
            )

    def windows(self, sizes: Shape) -> Windows:
        """Return where the kernel stands on an input of this size."""
        return Windows.on(sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate)

    def build(self, input_shape: Shape) -> Shape:
        """Make W and b."""
        check_axes(input_shape, self.rank, self.label)
        *sizes, channels = input_shape
        if channels % self.groups:
            raise ShapeError(
                f"{self.label}: {channels} input channels cannot be divided into {self.groups} groups; "
                "the channels must be a multiple of groups."
            )
        windows = self.windows(tuple(sizes))
        check_fit(windows, self.label, f"kernel_size {self.kernel_size} with dilation_rate {self.dilation_rate}")
        W_shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.add_weight("W", W_shape, self.kernel_initializer, regularizer=self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("b", (self.filters,), self.bias_initializer, regularizer=self.bias_regularizer)
        return self.activation.build_for((*windows.count, self.filters))

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(convolution of x and W, + b)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        windows = self.windows(x.shape[1:-1])
        W2 = split(self.W.reshape(-1, self.filters), self.groups)  # (*k, C/G, O) -> (G, K, O/G)
        z = xp.empty((len(x), *windows.count, self.filters), dtype=xp.result_type(x, self.W))
        columns = None
        for part in parts(len(x), windows.numbers * x.shape[-1]):
            columns = windows.im2col(x[part], self.groups, out=columns)  # (B, ..., C) -> (G, N, K)
            z2 = split(z[part].reshape(-1, self.filters), self.groups)  # (G, N, O/G), a view into z
            z2 = matmul(columns, W2, out=z2)                       # (G, N, K) (G, K, O/G) -> (G, N, O/G)
        a = z + self.b if self.use_bias else z
        y = self.activation.forward(a, training)
        self.cache = x                                             # dW needs the input
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW and db, return dx."""
        if self.was_fused:
            return self.backward_fused(dy, need_dx)
        xp = array_module(dy)
        x = self.take_cache()
        windows = self.windows(x.shape[1:-1])
        W2 = split(self.W.reshape(-1, self.filters), self.groups)
        da = self.activation.backward(dy)                          # y = activation(a)
        if self.use_bias:
            db = da.reshape(-1, self.filters).sum(axis=0, out=self.db)  # a = z + b: b reaches every window
        dz = da                                                    # a = z + b
        dW2 = xp.zeros(W2.shape, dtype=W2.dtype)
        dx: Any = xp.empty(x.shape, dtype=dz.dtype) if need_dx else None
        columns = None
        for part in parts(len(x), windows.numbers * x.shape[-1]):
            dz2 = split(dz[part].reshape(-1, self.filters), self.groups)  # z2 = a view into z
            columns = windows.im2col(x[part], self.groups, out=columns)  # again: to keep them takes k times x's memory
            dW2 += matmul(xp.moveaxis(columns, 1, 2), dz2)         # z2 = columns W2
            if need_dx:
                dcolumns = matmul(dz2, xp.moveaxis(W2, 1, 2), out=columns)     # z2 = columns W2; they are done with
                dx[part] = windows.col2im(dcolumns, self.groups)   # columns = im2col(x)
        self.dW[...] = join(dW2).reshape(self.W.shape)             # W2 = W in groups
        return dx

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, without im2col."""
        windows = self.windows(x.shape[1:-1])
        a = fused_kernels(x).convolution(x, self.W, self.b if self.use_bias else None, windows, self.groups)
        self.cache = Kept([x])
        return self.activation.forward(a, training)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, without im2col."""
        (x,) = self.take_cache()
        windows = self.windows(x.shape[1:-1])
        da = self.activation.backward(dy)
        if self.use_bias:
            da.sum(axis=0).reshape(-1, self.filters).sum(axis=0, out=self.db)  # ten times as fast as down long columns
        self.dW[...] = fused_kernels(da).convolution_weights(da, x, windows, self.groups)
        return fused_kernels(da).convolution_input(da, self.W, windows, self.groups) if need_dx else None


class Conv1D(Convolution):
    """Convolution of a sequence: y[o] = activation(b + sum_i x[s o + d i - p] W[i]).

    Shapes   x (B, steps, C), W (k, C/G, O), b (O,), y (B, windows, O)      C channels, O filters, G groups
    Starts   W Glorot uniform, b zero
    Backward see `Convolution`, where forward and backward stand for all numbers of axes

    Parameters
    ----------
    filters : int
        The number of outputs at each place, O.
    kernel_size : int
        How many steps a window sees, k.
    strides : int, default 1
        From window to window, s.
    padding : {"valid", "same", "causal"}, default "valid"
        ``"same"`` pads with zeros at both ends, so that there are ceil(steps / strides) windows; ``"causal"`` pads as
        much before the first step only, so that no output sees a later step (van den Oord et al. 2016).
    data_format : {"channels_last"}, optional
    dilation_rate : int, default 1
        From number to number within a window, d; only with strides of 1.
    groups : int, default 1
        Channels and filters come in this many groups; a filter sees its own group's channels.
    activation : str or Layer, optional
        None by default.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
        A penalty on W or b that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is no whole number from 1 up, strides and dilation are both above 1, the groups do not divide the
        filters or the channels, or a name is unknown.
    ShapeError
        If the input is no sequence, or shorter than the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> difference = Conv1D(1, 2)
    >>> x = np.array([[[1.0], [4.0], [9.0], [16.0]]])
    >>> y = difference(x)                          # builds it
    >>> difference.W[:, 0, 0] = [-1, 1]
    >>> difference(x).ravel()
    array([3., 5., 7.])
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(Convolution):
    """Convolution of an image: y[o] = activation(b + sum_i x[s o + d i - p] W[i]), o and i places in the plane.

    Shapes   x (B, height, width, C), W (*k, C/G, O), b (O,), y (B, rows, columns, O)   C channels, O filters
    Starts   W Glorot uniform, b zero
    Backward see `Convolution`, where forward and backward stand for all numbers of axes        (LeCun et al. 1989)

    Parameters
    ----------
    filters : int
        The number of outputs at each place, O.
    kernel_size : int or tuple of two int
        The window's height and width, k.
    strides : int or tuple of two int, default 1
        From window to window, s.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` pads with zeros, so that there are ceil(size / stride) windows along each axis.
    data_format : {"channels_last"}, optional
    dilation_rate : int or tuple of two int, default 1
        From number to number within a window, d; only with strides of 1.
    groups : int, default 1
        Channels and filters come in this many groups; a filter sees its own group's channels.
    activation : str or Layer, optional
        None by default.
    use_bias : bool, default True
    kernel_initializer : str or Initializer, default "glorot_uniform"
    bias_initializer : str or Initializer, default "zeros"
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
        A penalty on W or b that training adds to the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is no whole number from 1 up, strides and dilation are both above 1, the groups do not divide the
        filters or the channels, or a name is unknown.
    ShapeError
        If the input is no image with channels, or smaller than the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> conv = Conv2D(1, 3, padding="same", kernel_initializer="ones")      # the sum of every number's neighbourhood
    >>> conv(np.ones((1, 3, 4, 1)))[0, ..., 0]
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    >>> conv.backward(np.ones((1, 3, 4, 1))).shape, conv.dW.shape
    ((1, 3, 4, 1), (3, 3, 1, 1))
    """

    rank = 2


class Conv3D(Convolution):
    """Convolution of a volume or a film; as `Conv2D`, with one axis more.

    Shapes   x (B, depth, height, width, C), W (*k, C/G, O), b (O,), y (B, ..., O)

    Examples
    --------
    >>> import numpy as np
    >>> Conv3D(8, 3, strides=2, padding="same")(np.ones((1, 6, 5, 5, 2))).shape
    (1, 3, 3, 3, 8)
    """

    rank = 3
