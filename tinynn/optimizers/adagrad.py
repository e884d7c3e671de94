"""Adagrad and Adadelta: steps divided by the size of all gradients so far, or of the recent ones."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.optimizers.base import Optimizer
from tinynn.schedules import LearningRateSchedule


class Adagrad(Optimizer):
    """Steps divided by the size of all gradients so far (Duchi, Hazan & Singer 2011).

    a = a + dw^2,  w -= lr dw / sqrt(a0 + a + eps)

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    initial_accumulator_value : float, default 0.1
        a0, what the sum starts from.
    epsilon : float, default 1e-7
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> w, a = np.array([1.0]), np.zeros(1)
    >>> Adagrad(0.5, initial_accumulator_value=0, epsilon=0).update(w, np.array([3.0]), np.empty(1), a)
    >>> w
    array([0.5])
    """

    slot_names = ("a",)
    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = check_number(
            initial_accumulator_value, "Adagrad: initial_accumulator_value", 0
        )
        self.epsilon = check_number(epsilon, "Adagrad: epsilon", 0)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        (a,) = slots
        a += xp.multiply(dw, dw, out=scratch)
        root = xp.add(a, self.initial_accumulator_value + self.epsilon, out=scratch)
        xp.sqrt(root, out=root)
        step = xp.divide(dw, root, out=scratch)
        (rate,) = self.numbers
        step *= rate
        w -= step


class Adadelta(Optimizer):
    """Steps in the units of w: the gradient times the size of recent steps over that of recent gradients.

    a = rho a + (1 - rho) dw^2
    s = sqrt(d + eps) / sqrt(a + eps) dw
    d = rho d + (1 - rho) s^2,  w -= lr s                       (Zeiler 2012)

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
        1 in the paper.
    rho : float, default 0.95
    epsilon : float, default 1e-7
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> Adadelta().slot_names
    ('a', 'd')
    """

    slot_names = ("a", "d")
    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = check_number(rho, "Adadelta: rho", 0, 1)
        self.epsilon = check_number(epsilon, "Adadelta: epsilon", 0)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        a, d = slots
        square = xp.multiply(dw, dw, out=scratch)
        square *= 1 - self.rho
        a *= self.rho
        a += square
        s = xp.add(d, self.epsilon, out=scratch)
        s /= a + self.epsilon
        xp.sqrt(s, out=s)
        s *= dw
        d *= self.rho
        d += (1 - self.rho) * (s * s)
        (rate,) = self.numbers
        s *= rate
        w -= s
