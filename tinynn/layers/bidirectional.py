"""Bidirectional: two recurrent layers, one of which reads the sequence from its end."""

from __future__ import annotations

import copy
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer
from tinynn.layers.recurrent import Recurrent

MERGE_MODES = ("concat", "sum", "mul", "ave")


class Bidirectional(Layer):
    """Reads a sequence in both directions and merges what the two layers return.

    With u the forward layer's output and v the backward layer's, the latter turned round in time where all steps are
    returned, so that both speak of the same step, in the order in which `layer` reads them:

    ========  =============  ==========================
    concat    y = [u, v]     du, dv = the halves of dy
    sum       y = u + v      du = dv = dy
    mul       y = u v        du = dy v, dv = dy u
    ave       y = (u + v)/2  du = dv = dy / 2
    ========  =============  ==========================

    Shapes   x (B, T, F), y (B, 2 H) or (B, T, 2 H) with "concat", else (B, H) or (B, T, H)
    Backward dx = dx of the forward layer + dx of the backward layer     (Schuster & Paliwal 1997)

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        The layer that reads forward. It must not have weights yet.
    merge_mode : {"concat", "sum", "mul", "ave"}, default "concat"
    backward_layer : SimpleRNN, LSTM or GRU, optional
        The layer that reads the other way; by default a copy of `layer` with `go_backwards` the other way round, and
        weights of its own.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError
        If a layer is not a recurrent one.
    ValueError
        If the merge mode is unknown, the two layers read in the same direction, do not fit each other, or are one,
        or `layer` has weights that a copy would share.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers.lstm import LSTM
    >>> both = Bidirectional(LSTM(3, return_sequences=True))
    >>> both(np.ones((2, 5, 4))).shape
    (2, 5, 6)
    """

    def __init__(
        self, layer: Any, merge_mode: str = "concat", backward_layer: Any = None, **options: Any
    ) -> None:
        super().__init__(**options)
        for given in (layer, *(() if backward_layer is None else (backward_layer,))):
            if not isinstance(given, Recurrent):
                raise TypeError(
                    f"{self.label}: expected a recurrent layer (SimpleRNN, LSTM, GRU), got {given!r:.60}."
                )
        if merge_mode not in MERGE_MODES:
            raise ValueError(f"{self.label}: merge_mode must be one of {', '.join(MERGE_MODES)}, got {merge_mode!r}.")
        if backward_layer is None:
            if layer.input_shape is not None:
                raise ValueError(
                    f"{self.label}: {layer.label} has weights already, and its copy would start with the same ones. "
                    "Give a layer that has not been used, or a backward_layer."
                )
            backward_layer = copy.deepcopy(layer)
            backward_layer.go_backwards = not layer.go_backwards
            backward_layer.name = None
        if backward_layer is layer:
            raise ValueError(
                f"{self.label}: layer and backward_layer are one layer, {layer.label}. It keeps one cache and one "
                "gradient; make a second layer, or leave backward_layer out."
            )
        if layer.go_backwards == backward_layer.go_backwards:
            raise ValueError(
                f"{self.label}: layer and backward_layer both have go_backwards={layer.go_backwards}. One of them must "
                "read the other way."
            )
        if layer.return_sequences != backward_layer.return_sequences:
            raise ValueError(
                f"{self.label}: layer has return_sequences={layer.return_sequences}, backward_layer "
                f"{backward_layer.return_sequences}. Both must have the same."
            )
        if merge_mode != "concat" and layer.units != backward_layer.units:
            raise ValueError(
                f"{self.label}: merge_mode {merge_mode!r} needs as many units in both layers, got {layer.units} and "
                f"{backward_layer.units}. Use 'concat', or the same units."
            )
        # Named as in Keras, so that the names of the weights differ.
        base = layer.name or layer.default_name
        layer.name = f"forward_{base.removeprefix('forward_')}"
        backward_layer.name = backward_layer.name or f"backward_{base.removeprefix('forward_')}"
        self.merge_mode = merge_mode
        self.forward_layer = layer
        self.backward_layer = backward_layer

    def build(self, input_shape: Shape) -> Shape:
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.dtype = self.dtype
            if layer.rng is None:
                layer.rng = self.random
        *front, units = self.forward_layer.build_for(input_shape)
        others = self.backward_layer.build_for(input_shape)[-1]
        return (*front, units + others if self.merge_mode == "concat" else units)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the merged outputs."""
        xp = array_module(x)
        u = self.forward_layer.forward(x, training)       # (B, H) or (B, T, H)
        w = self.backward_layer.forward(x, training)
        v = self.turn(w)
        if self.merge_mode == "concat":
            y = xp.concatenate([u, v], axis=-1)
        elif self.merge_mode == "mul":
            y = u * v
        else:
            y = u + v
        if self.merge_mode == "ave":
            y = y / 2
        self.cache = (u, v) if self.merge_mode == "mul" else ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of both layers, return dx."""
        cache = self.take_cache()
        if self.merge_mode == "ave":
            dy = dy / 2                                   # y = y / 2
        if self.merge_mode == "concat":
            H = self.forward_layer.units
            du, dv = dy[..., :H], dy[..., H:]             # y = [u, v]
        elif self.merge_mode == "mul":
            u, v = cache
            du, dv = dy * v, dy * u                       # y = u * v
        else:
            du, dv = dy, dy                               # y = u + v
        dw = self.turn(dv)                                # v = w turned
        dx_backward = self.backward_layer.backward(dw, need_dx)   # w = backward_layer(x)
        dx_forward = self.forward_layer.backward(du, need_dx)     # u = forward_layer(x)
        if not need_dx:
            return None
        dx = dx_forward + dx_backward                     # x goes into both
        return dx

    def turn(self, w: Array) -> Array:
        """Return w turned round in time, where it has time."""
        return w[:, ::-1] if self.forward_layer.return_sequences else w
