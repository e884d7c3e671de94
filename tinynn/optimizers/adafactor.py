"""Adafactor: Adam's divisor, remembered for a matrix by its rows and its columns only."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tinynn.arguments import Shape, check_number
from tinynn.backend import Array, array_module
from tinynn.optimizers.base import Optimizer, average, check_above_0, pieces_of
from tinynn.parameter import Arena
from tinynn.schedules import LearningRateSchedule


class Places(NamedTuple):
    """Where one parameter lies in the arena, and its memory in each of the slots r, c and v."""

    shape: Shape
    w: slice
    r: slice
    c: slice
    v: slice


class Adafactor(Optimizer):
    """Adam's step without m, with little memory and measured by the parameter it changes (Shazeer & Stern 2018).

    b = 1 - t^d                                 t counts the steps
    r = b r + (1 - b) mean of dw^2 + e1 over each row        and c likewise over each column
    u = dw / sqrt(r c / mean of r)              the mean square of dw, if all rows were alike up to a factor
    u = u / max(1, rms(u) / clip)               rms(x) = sqrt(mean of x^2)
    w -= min(lr, 1 / sqrt(t)) max(e2, rms(w)) u              for each parameter

    A matrix of R rows and C columns is remembered in R + C numbers, where Adam has 2 R C. With more than two axes each
    matrix of the last two has its own r and c; with less, v = b v + (1 - b) (dw^2 + e1) and u = dw / sqrt(v).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
        0.01 in the paper.
    beta_2_decay : float, default -0.8
        d, from -1 to 0: how fast b goes to 1.
    epsilon_1 : float, default 1e-30
        e1, above 0.
    epsilon_2 : float, default 1e-3
        e2: a parameter smaller than this can still leave 0.
    clip_threshold : float, default 1.0
        clip, above 0.
    relative_step : bool, default True
        Keras's name for the limit 1 / sqrt(t). Keras sets the limit with False as well, and so does this.
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    For 50,000 weights of a layer and its bias it remembers less than a thousand numbers:

    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> dense = Dense(100)
    >>> dense.build((500,))
    (100,)
    >>> adafactor = Adafactor()
    >>> adafactor.step(Arena(dense.parameters, "float32", np))
    >>> {name: slot.size for name, slot in adafactor.slots.items()}
    {'r': 500, 'c': 100, 'v': 100}
    """

    slot_names = ("r", "c", "v")
    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_2_decay = check_number(beta_2_decay, "Adafactor: beta_2_decay", -1, 0)
        self.epsilon_1 = check_above_0(epsilon_1, "Adafactor: epsilon_1")
        self.epsilon_2 = check_number(epsilon_2, "Adafactor: epsilon_2", 0)
        self.clip_threshold = check_above_0(clip_threshold, "Adafactor: clip_threshold")
        self.relative_step = relative_step
        self.places: list[Places] = []

    def make_slots(self, arena: Arena) -> dict[str, Array]:
        """Return r and c of all matrices and v of all else, each a flat vector, and note where what lies."""
        learned = [parameter for parameter in arena.parameters if parameter.trainable]
        sizes = {"r": 0, "c": 0, "v": 0}
        self.places = []
        for parameter, piece in zip(learned, pieces_of(arena), strict=True):
            *others, last = parameter.shape or (1,)
            size = parameter.size
            needed = {"r": size // last, "c": size // others[-1], "v": 0} if others else {"r": 0, "c": 0, "v": size}
            slices = {name: slice(sizes[name], sizes[name] + count) for name, count in needed.items()}
            sizes = {name: sizes[name] + count for name, count in needed.items()}
            self.places.append(Places(parameter.shape, piece, **slices))
        return {name: arena.xp.zeros(size, dtype=arena.values.dtype) for name, size in sizes.items()}

    def step_numbers(self) -> tuple[float, ...]:
        """Return b, 1 - b and the rate."""
        t = self.iterations
        b = 1 - t**self.beta_2_decay
        return b, 1 - b, min(self.learning_rate, 1 / math.sqrt(t))

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        all_r, all_c, all_v = slots
        b, rest, rate = self.numbers
        squares = xp.multiply(dw, dw, out=scratch)
        squares += self.epsilon_1
        for shape, piece, r_place, c_place, v_place in self.places:
            u = dw[piece].reshape(shape)
            square = squares[piece].reshape(shape)
            if len(shape) >= 2:
                r = all_r[r_place].reshape(shape[:-1])
                c = all_c[c_place].reshape((*shape[:-2], shape[-1]))
                row, column = square.mean(axis=-1), square.mean(axis=-2)
                average(r, row, b, row, rest)
                average(c, column, b, column, rest)
                # One root at a time: where a row and a column never had a gradient, r c is 0 in float32, and 0 / 0 NaN.
                u = u / xp.sqrt(r / r.mean(axis=-1, keepdims=True))[..., None]
                u /= xp.sqrt(c)[..., None, :]
            else:
                v = all_v[v_place].reshape(shape)
                average(v, square, b, square, rest)
                u = u / xp.sqrt(v)
            rms_u = xp.sqrt((u * u).mean())
            rms_w = xp.sqrt((w[piece] * w[piece]).mean())
            u *= rate * xp.maximum(rms_w, self.epsilon_2) / xp.maximum(rms_u / self.clip_threshold, 1)
            w[piece] -= u.reshape(-1)
