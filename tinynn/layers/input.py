"""Input: says what one sample looks like."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_shape
from tinynn.config import Configured


class Input(Configured):
    """The shape of one sample, as the first entry of a model.

    It is a declaration, not a layer: it computes nothing and does not stand in ``model.layers``, as in Keras.

    Parameters
    ----------
    shape : tuple of int
        Without the batch axis.

    Raises
    ------
    ValueError
        If `shape` is no tuple of whole numbers from 1 up.

    Examples
    --------
    >>> from tinynn import Sequential
    >>> from tinynn.layers import Dense
    >>> Sequential([Input((784,)), Dense(10)]).build()
    (10,)
    """

    def __init__(self, shape: Any) -> None:
        self.shape = check_shape(shape, "Input: shape")

    def __repr__(self) -> str:
        return f"Input({self.shape})"
