"""Transposed convolution: a convolution run backward, which makes images larger."""

from __future__ import annotations

from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array, array_module
from tinynn.kernels import Kept, fused_kernels, matmul
from tinynn.layers import activations
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.windows import (
    Windows,
    check_axes,
    check_data_format,
    check_holes,
    check_padding,
    check_sizes,
    parts,
)


class TransposedConvolution(Layer):
    """Base class of Conv1DTranspose and Conv2DTranspose; a subclass says how many axes the kernel has.

    Every place of x adds its number times the kernel to a window of y, and the windows overlap:

    y[s o + d i - p] += x[o] W[i]^T                          s stride, d dilation, p padding, i runs over the kernel

    That is what `Convolution` does to dy to find dx: the windows stand on the output here, and forward and backward
    have changed places.

    Shapes   x (B, ..., C), W (*k, O, C), b (O,), y (B, ..., O)      C channels, O filters, k kernel
             x2 (N, C), W2 (K, C), columns (N, K)                    N places of x, K = k O numbers in each window
    Starts   W Glorot uniform, b zero
    Backward da = dy activation'(a), db = sum da, dcolumns = im2col(dz), dW2 = dcolumns^T x2, dx2 = dcolumns W2
    """

    kernel = "convolution_input"

    keeps_steps = False

    W: Array
    dW: Array
    b: Array
    db: Array
    rank: int
    ends_in_activation = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        self.padding = check_padding(padding, ("valid", "same"), self.label)
        self.output_padding: tuple[int | None, ...] = (None,) * self.rank
        if output_padding is not None:
            self.output_padding = check_sizes(output_padding, self.rank, f"{self.label}: output_padding", least=0)
            if any(more >= s for more, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(
                    f"{self.label}: output_padding must be below the strides {self.strides}, got {output_padding!r}."
                )
        check_data_format(data_format, self.label)
        self.dilation_rate = check_sizes(dilation_rate, self.rank, f"{self.label}: dilation_rate")
        check_holes(self.strides, self.dilation_rate, self.label)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def windows(self, count: Shape) -> Windows:
        """Return where the windows stand on the output, for an input of this size; the padding is cut off there."""
        sizes, pads = [], []
        for n, k, s, d, more in zip(
            count, self.kernel_size, self.strides, self.dilation_rate, self.output_padding, strict=True
        ):
            extent = d * (k - 1) + 1
            if self.padding == "valid":
                more = max(s - extent, 0) if more is None else more
                size, before = (n - 1) * s + extent + more, 0
            else:
                odd = extent % 2
                more = s - odd if more is None else more           # makes n s
                size, before = (n - 1) * s + odd + more, max((extent - odd - more) // 2, 0)
            sizes.append(size)
            pads.append((before, max((n - 1) * s + extent - before - size, 0)))
        return Windows(self.kernel_size, self.strides, self.dilation_rate, tuple(sizes), tuple(pads), count)

    def build(self, input_shape: Shape) -> Shape:
        """Make W and b."""
        check_axes(input_shape, self.rank, self.label)
        windows = self.windows(input_shape[:-1])
        if min(windows.sizes) < 1:
            raise ShapeError(
                f"{self.label}: an input of shape {show_shape(input_shape)} makes an output of size {windows.sizes}. "
                "Leave out output_padding, or raise it."
            )
        W_shape = (*self.kernel_size, self.filters, input_shape[-1])
        self.add_weight("W", W_shape, self.kernel_initializer, regularizer=self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("b", (self.filters,), self.bias_initializer, regularizer=self.bias_regularizer)
        return self.activation.build_for((*windows.sizes, self.filters))

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return activation(transposed convolution of x and W, + b)."""
        if self.fused(x):
            return self.forward_fused(x, training)
        xp = array_module(x)
        windows = self.windows(x.shape[1:-1])
        W2 = self.W.reshape(-1, x.shape[-1])                       # (*k, O, C) -> (K, C)
        z = xp.empty((len(x), *windows.sizes, self.filters), dtype=xp.result_type(x, self.W))
        for part in parts(len(x), windows.numbers * self.filters):
            x2 = x[part].reshape(-1, x.shape[-1])                  # (B, ..., C) -> (N, C)
            columns = matmul(x2, W2.T)                             # (N, C) (C, K) -> (N, K)
            z[part] = windows.col2im(columns[None])                # (N, K) -> (B, ..., O)
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
        W2 = self.W.reshape(-1, x.shape[-1])
        da = self.activation.backward(dy)                          # y = activation(a)
        if self.use_bias:
            db = da.reshape(-1, self.filters).sum(axis=0, out=self.db)  # a = z + b: b reaches every place
        dz = da                                                    # a = z + b
        dW2 = xp.zeros(W2.shape, dtype=W2.dtype)
        dx: Any = xp.empty(x.shape, dtype=dz.dtype) if need_dx else None
        dcolumns = None
        for part in parts(len(x), windows.numbers * self.filters):
            x2 = x[part].reshape(-1, x.shape[-1])
            dcolumns = windows.im2col(dz[part], out=dcolumns)      # z = col2im(columns)
            dW2 += matmul(dcolumns[0].T, x2)                       # columns = x2 W2^T
            if need_dx:
                dx2 = matmul(dcolumns[0], W2)                         # columns = x2 W2^T
                dx[part] = dx2.reshape(x[part].shape)              # x2 = x in rows
        self.dW[...] = dW2.reshape(self.W.shape)                   # W2 = W in rows
        return dx

    def forward_fused(self, x: Array, training: bool = False) -> Array:
        """Do what forward does, without columns: it is what a convolution does backward."""
        windows = self.windows(x.shape[1:-1])
        a = fused_kernels(x).convolution_input(x, self.W, windows, 1)
        if self.use_bias:
            a += self.b
        self.cache = Kept([x])
        return self.activation.forward(a, training)

    def backward_fused(self, dy: Array, need_dx: bool = True) -> Any:
        """Do what backward does, without columns: it is what a convolution does forward."""
        (x,) = self.take_cache()
        windows = self.windows(x.shape[1:-1])
        da = self.activation.backward(dy)
        if self.use_bias:
            da.sum(axis=0).reshape(-1, self.filters).sum(axis=0, out=self.db)
        self.dW[...] = fused_kernels(x).convolution_weights(x, da, windows, 1)
        return fused_kernels(da).convolution(da, self.W, None, windows, 1) if need_dx else None


class Conv1DTranspose(TransposedConvolution):
    """Transposed convolution of a sequence: a convolution run backward, y[s o + d i - p] += x[o] W[i]^T.

    Shapes   x (B, steps, C), W (k, O, C), b (O,), y (B, longer, O)      C channels, O filters
    Starts   W Glorot uniform, b zero
    Backward see `TransposedConvolution`

    Parameters
    ----------
    filters : int
        The number of outputs at each place, O.
    kernel_size : int
        How many places of y a step of x adds to, k.
    strides : int, default 1
        How far apart two steps of x stand in y, s.
    padding : {"valid", "same"}, default "valid"
        ``"valid"`` keeps all, (steps - 1) strides + max(kernel_size, strides); ``"same"`` makes steps * strides.
    output_padding : int, optional
        Below strides. With it y has (steps - 1) strides + output_padding places, and kernel_size more ("valid") or one
        more if kernel_size is odd ("same").
    data_format : {"channels_last"}, optional
    dilation_rate : int, default 1
        From number to number within a window, d; only with strides of 1.
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
        If a size is no whole number from 1 up, strides and dilation are both above 1, output_padding is not below the
        strides, or a name is unknown.
    ShapeError
        If the input is no sequence.

    Examples
    --------
    >>> import numpy as np
    >>> spread = Conv1DTranspose(1, 3, strides=2, kernel_initializer="ones")
    >>> spread(np.array([[[1.0], [10.0]]])).ravel()
    array([ 1.,  1., 11., 10., 10.])
    """

    rank = 1


class Conv2DTranspose(TransposedConvolution):
    """Transposed convolution of an image, as `Conv1DTranspose` with one axis more (Zeiler et al. 2010).

    Shapes   x (B, height, width, C), W (*k, O, C), b (O,), y (B, higher, wider, O)      C channels, O filters
    Starts   W Glorot uniform, b zero
    Backward see `TransposedConvolution`

    Sizes may be given for both axes at once, ``strides=2``, or for each, ``strides=(2, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> Conv2DTranspose(8, 3, strides=2, padding="same")(np.ones((1, 7, 7, 16))).shape
    (1, 14, 14, 8)
    """

    rank = 2
