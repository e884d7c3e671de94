"""What a row of the table of layers holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinynn.layers import Layer

Shape = tuple[int, ...]


def shapes(least: int = 1, most: int = 3, size: int = 5) -> st.SearchStrategy[Shape]:
    """Draw shapes of one sample."""
    return st.lists(st.integers(1, size), min_size=least, max_size=most).map(tuple)


@dataclass(frozen=True)
class Row:
    """One layer in one setting.

    Attributes
    ----------
    name : str
        The test's id.
    make : function
        Makes the layer.
    shape : strategy
        Shapes of one sample it takes.
    keras : function or None
        Makes the same layer in Keras, given the module; None where Keras has none (then say in `unlike_keras` why).
    kinks : tuple of float
        Inputs at which the derivative jumps; gradient checks stay away from them.
    example : tuple of int
        One shape of a sample, for tests that draw none.
    parity_shapes : tuple of shapes
        Shapes compared with Keras.
    training : bool
        Whether forward is called with ``training=True``.
    one_by_one : bool
        False where samples of a batch meet (batch statistics) or the layer is random.
    method : str
        How the gradient is checked; "central differences" where forward is not analytic.
    tokens : int
        Not 0: the inputs are whole numbers below this, and there is no dx.
    """

    name: str
    make: Callable[[], Layer]
    shape: st.SearchStrategy[Shape]
    keras: Callable[[Any], Any] | None
    kinks: tuple[float, ...] = ()
    example: Shape = (4,)
    parity_shapes: tuple[Shape, ...] = ((4,), (3, 5))
    training: bool = False
    one_by_one: bool = True
    method: str = "complex step"
    unlike_keras: str = ""
    tokens: int = 0

    def __str__(self) -> str:
        return self.name

    def sample(self, shape: Shape, seed: int) -> np.ndarray:
        """Return random inputs, the batch axis first, that stay away from the layer's kinks."""
        rng = np.random.default_rng([seed, 1])  # not the stream of the upstream gradients
        if self.tokens:
            return rng.integers(self.tokens, size=shape)
        x = rng.normal(size=shape)
        for kink in self.kinks:
            x += np.where(np.abs(x - kink) < 0.01, 0.05, 0.0)
        return x

    def run(self, layer: Layer, x: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return the layer's output; a random layer gets the same random numbers every time."""
        layer(x, self.training)  # builds it
        for index, inner in enumerate(layer.walk()):
            inner.rng = np.random.default_rng([seed, index])
        return layer(x, self.training)

    def cast(self, x: np.ndarray, dtype: str) -> np.ndarray:
        """Return inputs in a dtype; tokens stay whole."""
        return x if self.tokens else x.astype(dtype)
