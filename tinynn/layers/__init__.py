"""The layers: one file per family, each a forward pass and the hand-written backward pass under it."""

from tinynn.layers.activations import Activation, Linear, ReLU, Sigmoid, Softmax, Tanh
from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.dense import Dense
from tinynn.layers.input import Input
from tinynn.layers.shape import Flatten

__all__ = [
    "Activation",
    "Dense",
    "Flatten",
    "Input",
    "Layer",
    "Linear",
    "ReLU",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
