"""The fused kernels: loops that numba compiles. Import this module where numba is installed only.

A kernel is called by the ``forward_fused`` and ``backward_fused`` of a layer, whose ``forward`` and ``backward`` are
its reference. The functions without an underscore take arrays as they come; the loops take them flat or as rows.
"""

from tinynn.kernels.fused.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    glu,
    glu_backward,
    hard_sigmoid,
    hard_sigmoid_backward,
    hard_swish,
    hard_swish_backward,
    hard_tanh,
    hard_tanh_backward,
    leaky_relu,
    leaky_relu_backward,
    log_sigmoid,
    log_sigmoid_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softplus,
    softplus_backward,
)
from tinynn.kernels.fused.biased import ACTIVATIONS, biased, biased_backward, column_sums
from tinynn.kernels.fused.convolution import convolution, convolution_input, convolution_weights
from tinynn.kernels.fused.depthwise import depthwise, depthwise_backward
from tinynn.kernels.fused.gather import gather
from tinynn.kernels.fused.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
    sparse_categorical_crossentropy_backward,
)
from tinynn.kernels.fused.lstm import lstm_backward, lstm_forward
from tinynn.kernels.fused.memory import release
from tinynn.kernels.fused.normalization import (
    columns_backward,
    columns_forward,
    columns_sums,
    moments,
    rows_backward,
    rows_forward,
)
from tinynn.kernels.fused.optimizers import adam
from tinynn.kernels.fused.pooling import max_pooling, max_pooling_backward
from tinynn.kernels.fused.products import matmul
from tinynn.kernels.fused.softmax import (
    log_softmax,
    log_softmax_backward,
    masked_softmax,
    softmax,
    softmax_backward,
)

__all__ = [
    "ACTIVATIONS",
    "adam",
    "biased",
    "biased_backward",
    "binary_crossentropy",
    "categorical_crossentropy",
    "column_sums",
    "columns_backward",
    "columns_forward",
    "columns_sums",
    "convolution",
    "convolution_input",
    "convolution_weights",
    "depthwise",
    "depthwise_backward",
    "elu",
    "elu_backward",
    "gather",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "glu",
    "glu_backward",
    "hard_sigmoid",
    "hard_sigmoid_backward",
    "hard_swish",
    "hard_swish_backward",
    "hard_tanh",
    "hard_tanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "log_softmax",
    "log_softmax_backward",
    "lstm_backward",
    "lstm_forward",
    "masked_softmax",
    "matmul",
    "max_pooling",
    "max_pooling_backward",
    "moments",
    "release",
    "relu",
    "relu_backward",
    "rows_backward",
    "rows_forward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "sparse_categorical_crossentropy",
    "sparse_categorical_crossentropy_backward",
]

LEAST = dict.fromkeys(__all__, 0) | {"biased": 2**13}  # numbers that are worth a kernel
