"""LAMB: Adam, with steps measured by the parameter they change."""

from __future__ import annotations

import math

from tinynn.backend import Array, array_module
from tinynn.optimizers.adam import Moments
from tinynn.optimizers.base import TINY


class Lamb(Moments):
    """Adam whose step for each parameter is as long, times lr, as the parameter itself: for large batches.

    m = b1 m + (1 - b1) dw,  v = b2 v + (1 - b2) dw^2
    s = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)            t counts the steps
    w -= lr |w| / |s| s            for each parameter; without |w| / |s| where one of them is 0   (You et al. 2020)

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1 : float, default 0.9
    beta_2 : float, default 0.999
    epsilon : float, default 1e-7
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> Lamb().slot_names
    ('m', 'v')
    """

    slot_names = ("m", "v")
    reads_numbers = True

    def step_numbers(self) -> tuple[float, ...]:
        """Return the numbers that change from step to step."""
        t = self.iterations
        return 1 - self.beta_1**t, math.sqrt(1 - self.beta_2**t), self.learning_rate

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        m, v = slots
        bias_m, root_bias_v, rate = self.numbers
        root = self.update_moments(m, v, dw, scratch, root_bias_v)
        s = xp.divide(m, root, out=scratch)
        s /= bias_m
        for piece in self.pieces:
            w_length = xp.sqrt((w[piece] * w[piece]).sum())
            s_length = xp.sqrt((s[piece] * s[piece]).sum())
            ratio = w_length / xp.maximum(s_length, TINY)
            w[piece] -= rate * xp.where(w_length * s_length > 0, ratio, 1) * s[piece]
