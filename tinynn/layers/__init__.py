"""The layers: one file per family, each a forward pass and the hand-written backward pass under it."""

from tinynn.layers.activations import (
    Activation,
    Linear,
    LogSoftmax,
    Sigmoid,
    Softmax,
    Tanh,
)
from tinynn.layers.activity import (
    ActivityRegularization,
)
from tinynn.layers.attention import (
    MultiHeadAttention,
)
from tinynn.layers.base import (
    Layer,
    ShapeError,
)
from tinynn.layers.bidirectional import (
    Bidirectional,
)
from tinynn.layers.branches import (
    Add,
    Average,
    Concatenate,
    Multiply,
)
from tinynn.layers.combine import (
    Residual,
    TimeDistributed,
)
from tinynn.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv3D,
)
from tinynn.layers.dense import (
    Dense,
)
from tinynn.layers.depthwise import (
    DepthwiseConv2D,
    SeparableConv2D,
)
from tinynn.layers.embedding import (
    Embedding,
)
from tinynn.layers.global_pooling import (
    AdaptiveAveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
)
from tinynn.layers.gru import (
    GRU,
)
from tinynn.layers.input import (
    Input,
)
from tinynn.layers.lstm import (
    LSTM,
)
from tinynn.layers.masking import (
    Masking,
)
from tinynn.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from tinynn.layers.padding import (
    Cropping1D,
    Cropping2D,
    ZeroPadding1D,
    ZeroPadding2D,
)
from tinynn.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from tinynn.layers.position import (
    PositionEmbedding,
    RotaryEmbedding,
    SinePositionEncoding,
)
from tinynn.layers.rectifiers import (
    CELU,
    ELU,
    SELU,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
)
from tinynn.layers.recurrent import (
    SimpleRNN,
)
from tinynn.layers.regularization import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
)
from tinynn.layers.rescaling import (
    Rescaling,
)
from tinynn.layers.shape import (
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    UpSampling2D,
)
from tinynn.layers.smooth import (
    GELU,
    GLU,
    Exponential,
    LogSigmoid,
    Mish,
    SiLU,
    Softplus,
    Softsign,
    Swish,
)
from tinynn.layers.transformer import (
    TransformerBlock,
)
from tinynn.layers.transposed import (
    Conv1DTranspose,
    Conv2DTranspose,
)

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "ActivityRegularization",
    "AdaptiveAveragePooling2D",
    "Add",
    "AlphaDropout",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Exponential",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Mish",
    "MultiHeadAttention",
    "Multiply",
    "PReLU",
    "Permute",
    "PositionEmbedding",
    "RMSNormalization",
    "ReLU",
    "ReLU6",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Residual",
    "RotaryEmbedding",
    "SeparableConv2D",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "SinePositionEncoding",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "Swish",
    "Tanh",
    "TimeDistributed",
    "TransformerBlock",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
]
