"""Masking: which steps of a sequence count, and which are padding."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError


class Masking(Layer):
    """Takes steps whose features all have one value for padding: sets them to zero, and masks them for what follows.

    mask = any(x != mask_value) over the features; y = x where the mask is true, else 0

    Sequences of different lengths make one array if the shorter ones are filled up. The mask tells the layers behind
    (SimpleRNN, LSTM, GRU, Bidirectional, GlobalAveragePooling1D, attention) to skip what was filled in; layers that
    work on every step by itself hand it on.

    Shapes   x (B, T, ..., F), y as x, the mask (B, T, ...)       B batch, T steps, F features
    Backward dx = dy where the mask is true, else 0

    Parameters
    ----------
    mask_value : float, default 0.0
        What padding is filled with. A step counts as soon as one of its features differs, so a value that data cannot
        have is safer than 0.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If `mask_value` is no number.
    ShapeError
        If the input is no sequence.

    Examples
    --------
    >>> import numpy as np
    >>> masking = Masking(mask_value=-1.0)
    >>> x = np.array([[[3.0, 4.0], [5.0, -1.0], [-1.0, -1.0]]])
    >>> masking(x)
    array([[[ 3.,  4.],
            [ 5., -1.],
            [ 0.,  0.]]])
    >>> masking.compute_mask(x)
    array([[ True,  True, False]])
    """

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = check_number(mask_value, f"{self.label}: mask_value", float("-inf"))

    def build(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        self.need_axes(input_shape, 2, "(batch, steps, features)")
        return input_shape

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x with the padding set to zero."""
        xp = array_module(x)
        mask = self.compute_mask(x)[..., None]    # (B, T, 1): one for all features of a step
        y = xp.where(mask, x, 0)
        self.cache = mask
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Return dx."""
        xp = array_module(dy)
        mask = self.take_cache()
        dx = xp.where(mask, dy, 0)                # y = where(mask, x, 0)
        return dx

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array:
        """Return which steps of `x` count. As in Keras a mask that comes from before is replaced."""
        return (x != self.mask_value).any(axis=-1)


def check_mask(mask: Any, x: Array, who: str) -> None:
    """Raise an error unless `mask` says for every step of `x` whether it counts.

    Raises
    ------
    ValueError
        If it is no array of bool, or on another device than `x`.
    ShapeError
        If it is not (batch, steps).

    Examples
    --------
    >>> import numpy as np
    >>> check_mask(np.ones((5, 2), dtype=bool), np.zeros((2, 5, 3)), "LSTM")
    Traceback (most recent call last):
    ...
    tinynn.layers.base.ShapeError: LSTM expected a mask of shape (batch, steps), here (2, 5), got (5, 2). It is turned
    round: give mask.T.
    """
    if not hasattr(mask, "dtype") or array_module(mask) is not array_module(x):
        raise ValueError(
            f"{who} expected a mask that is an array as x is, {type(x).__name__}, got {type(mask).__name__}. "
            "Make it one with array_module(x).asarray(mask)."
        )
    if mask.dtype.kind != "b":
        raise ValueError(
            f"{who} expected a mask of bool, True where a step counts, got {mask.dtype}. Write mask != 0."
        )
    if mask.shape == x.shape[:2]:
        return
    message = f"{who} expected a mask of shape (batch, steps), here {tuple(x.shape[:2])}, got {tuple(mask.shape)}."
    if mask.shape == x.shape[1::-1]:
        message += " It is turned round: give mask.T."
    elif mask.ndim == 1:
        message += " Give one row for every sample of the batch."
    elif mask.ndim > 2:
        message += " A step counts or does not, with all its features: give mask.any(axis=-1), say."
    raise ShapeError(message)
