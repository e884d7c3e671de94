"""tinynn: neural networks with hand-written, proven backward passes, on NumPy and CuPy."""

from tinynn import (
    backend,
    callbacks,
    check,
    data,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
)
from tinynn.data import to_categorical
from tinynn.layers import Input
from tinynn.sequential import Sequential

__version__ = "0.1.0"

__all__ = [
    "Input",
    "Sequential",
    "backend",
    "callbacks",
    "check",
    "data",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "to_categorical",
]
