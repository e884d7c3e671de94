"""Lion: every number moves by the learning rate, up or down."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.optimizers.base import Optimizer
from tinynn.schedules import LearningRateSchedule


class Lion(Optimizer):
    """Evolved sign momentum: w -= lr sign(b1 m + (1 - b1) dw), then m = b2 m + (1 - b2) dw (Chen et al. 2023).

    It wants a learning rate 3 to 10 times smaller than Adam's, and a weight decay as many times larger.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1 : float, default 0.9
    beta_2 : float, default 0.99
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> w, m = np.zeros(2), np.zeros(2)
    >>> Lion(0.5).update(w, np.array([1e-3, -5.0]), np.empty(2), m)
    >>> w
    array([-0.5,  0.5])
    """

    slot_names = ("m",)
    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = check_number(beta_1, "Lion: beta_1", 0, 1)
        self.beta_2 = check_number(beta_2, "Lion: beta_2", 0, 1)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        (m,) = slots
        step = xp.multiply(dw, 1 - self.beta_1, out=scratch)
        step += self.beta_1 * m
        xp.sign(step, out=step)
        (rate,) = self.numbers
        step *= rate
        w -= step
        m *= self.beta_2
        m += xp.multiply(dw, 1 - self.beta_2, out=scratch)
