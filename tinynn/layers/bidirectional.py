"""Bidirectional: two recurrent layers, one of which reads the sequence from its end."""

from __future__ import annotations

import copy
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer
from tinynn.layers.recurrent import Recurrent, one_array_only

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

    Both get the mask. As in Keras, with return_sequences a masked step's output is zero here, and not the one before it
    again.

    Shapes   x (B, T, F), y (B, 2 H) or (B, T, 2 H) with "concat", else (B, H) or (B, T, H)
    Backward dx = dx of the forward layer + dx of the backward layer     (Schuster & Paliwal 1997)

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        The layer that reads forward. It must not have weights yet. With its `return_state` the output is a list: y, the
        states of the forward layer, those of the backward layer; `initial_state` of forward is a list of both.
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

    takes_mask = True

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
        for option in ("return_sequences", "return_state"):
            mine, other = getattr(layer, option), getattr(backward_layer, option)
            if mine != other:
                raise ValueError(
                    f"{self.label}: layer has {option}={mine}, backward_layer {other}. Both must have the same."
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
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        layer.zero_output_for_mask = backward_layer.zero_output_for_mask = True

    def build(self, input_shape: Shape) -> Shape:
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.dtype = self.dtype
            if layer.rng is None:
                layer.rng = self.random
        *front, units = self.forward_layer.build_for(input_shape)
        others = self.backward_layer.build_for(input_shape)[-1]
        return (*front, units + others if self.merge_mode == "concat" else units)

    def forward(
        self, x: Array, training: bool = False, mask: Array | None = None, initial_state: Any = None
    ) -> Any:
        """Return the merged outputs; with return_state a list of them and the last states of both layers."""
        xp = array_module(x)
        start, start_backward = self.halves(initial_state)
        u, *u_last = self.as_list(self.forward_layer.forward(x, training, mask, start))   # (B, H) or (B, T, H)
        w, *w_last = self.as_list(self.backward_layer.forward(x, training, mask, start_backward))
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
        return [y, *u_last, *w_last] if self.return_state else y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """Write the gradients of both layers, return dx.

        With return_state `dy` is the list of the gradients by y and the last states; None among them is zero.
        """
        dy, du_last, dw_last = self.check_gradients(dy)
        cache = self.take_cache()
        du: Any = None
        dv: Any = None
        if dy is None:                                    # only the last states were used
            pass
        elif self.merge_mode == "concat":
            H = self.forward_layer.units
            du, dv = dy[..., :H], dy[..., H:]             # y = [u, v]
        elif self.merge_mode == "mul":
            u, v = cache
            du, dv = dy * v, dy * u                       # y = u * v
        elif self.merge_mode == "ave":
            du = dv = dy / 2                              # y = (u + v) / 2
        else:
            du, dv = dy, dy                               # y = u + v
        dw: Any = None if dv is None else self.turn(dv)   # v = w turned
        if self.return_state:
            du, dw = [du, *du_last], [dw, *dw_last]
        dx_backward = self.backward_layer.backward(dw, need_dx)   # w = backward_layer(x)
        dx_forward = self.forward_layer.backward(du, need_dx)     # u = forward_layer(x)
        if not need_dx:
            return None
        dx = dx_forward + dx_backward                     # x goes into both
        return dx

    @property
    def dinitial_state(self) -> list[Array] | None:
        """After backward: the gradients by `initial_state`, where forward was given one."""
        first, second = self.forward_layer.dinitial_state, self.backward_layer.dinitial_state
        return None if first is None or second is None else [*first, *second]

    def compute_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Return the mask with return_sequences, else None."""
        return mask if self.return_sequences else None

    def refuse_states(self) -> None:
        """Raise ValueError if the layer stands in a container and would hand on a list."""
        if self.return_state:
            raise one_array_only(self.label, [*self.forward_layer.states, *self.backward_layer.states])

    def halves(self, initial_state: Any) -> tuple[Any, Any]:
        """Return the first states of the forward and of the backward layer."""
        if initial_state is None:
            return None, None
        first, second = len(self.forward_layer.states), len(self.backward_layer.states)
        if not isinstance(initial_state, list | tuple) or len(initial_state) != first + second:
            got = len(initial_state) if isinstance(initial_state, list | tuple) else type(initial_state).__name__
            raise ValueError(
                f"{self.label} expected initial_state as a list of {first + second} arrays, those of the forward "
                f"layer and then those of the backward layer, got {got}."
            )
        return initial_state[:first], initial_state[first:]

    def check_gradients(self, dy: Any) -> tuple[Any, list[Any], list[Any]]:
        """Return the gradients by y, by the forward layer's last states and by the backward layer's."""
        if not self.return_state:
            return dy, [], []
        first, second = len(self.forward_layer.states), len(self.backward_layer.states)
        if not isinstance(dy, list | tuple) or len(dy) != 1 + first + second:
            got = f"{len(dy)} of them" if isinstance(dy, list | tuple) else f"{dy!r:.60}"
            raise ValueError(
                f"{self.label}: with return_state=True backward expected a list of {1 + first + second} gradients, by "
                f"y and by the last states of both layers, got {got}. None stands for an output that was not used."
            )
        return dy[0], list(dy[1 : 1 + first]), list(dy[1 + first :])

    def as_list(self, output: Any) -> list[Any]:
        """Return what a layer returned as a list, which it is with return_state."""
        return output if self.return_state else [output]

    def turn(self, w: Array) -> Array:
        """Return w turned round in time, where it has time."""
        return w[:, ::-1] if self.return_sequences else w
