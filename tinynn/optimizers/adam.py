"""Adam and its family: steps from the running mean of the gradient, divided by its running size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels
from tinynn.optimizers.base import Optimizer, average
from tinynn.schedules import LearningRateSchedule


class Moments(Optimizer):
    """Base class of Adam and its relatives: the running mean m and a running size, with Adam's settings."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        who = type(self).__name__
        self.beta_1 = check_number(beta_1, f"{who}: beta_1", 0, 1, below=True)
        self.beta_2 = check_number(beta_2, f"{who}: beta_2", 0, 1, below=True)
        self.epsilon = check_number(epsilon, f"{who}: epsilon", 0)

    def update_moments(self, m: Array, v: Array, dw: Array, scratch: Array, root_bias: Any) -> Array:
        """Take dw into its running mean m and mean square v; return sqrt(v / (1 - b2^t)) + eps, in `scratch`.

        `root_bias` is sqrt(1 - b2^t).
        """
        xp = array_module(m)
        average(m, dw, self.beta_1, scratch)
        average(v, xp.multiply(dw, dw, out=scratch), self.beta_2, scratch)
        root = xp.sqrt(v, out=scratch)
        root /= root_bias
        root += self.epsilon
        return root


class Adam(Moments):
    """Adaptive moments (Kingma & Ba 2015).

    m = b1 m + (1 - b1) dw              the gradient's recent mean
    v = b2 v + (1 - b2) dw^2            and mean square
    w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)      t counts the steps
    AMSGrad: the largest v so far in place of v                  (Reddi, Kale & Kumar 2018)

    The slots hold M = m / (1 - b1) and V = v / (1 - b2), the same averages without their last factor, which moves
    into the step: ``M = b1 M + dw`` is two passes over memory, where ``m`` takes three.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    beta_1 : float, default 0.9
    beta_2 : float, default 0.999
    epsilon : float, default 1e-7
    amsgrad : bool, default False
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    The first step is lr in every direction, however large the gradient:

    >>> import numpy as np
    >>> adam = Adam()
    >>> adam.iterations = 1
    >>> w, M, V = np.zeros(2), np.zeros(2), np.zeros(2)
    >>> adam.update(w, np.array([1e-3, 5.0]), np.empty(2), M, V)
    >>> w.round(5)
    array([-0.001, -0.001])
    """

    slot_names: tuple[str, ...] = ("M", "V")
    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = amsgrad
        if amsgrad:
            self.slot_names = ("M", "V", "V_max")

    def step_numbers(self) -> tuple[float, ...]:
        """Return the one number that changes from step to step, how far this one goes."""
        t = self.iterations
        unbias = math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        unscale = (1 - self.beta_1) / math.sqrt(1 - self.beta_2)
        return (self.learning_rate * unbias * unscale,)

    def fuses(self, w: Array) -> bool:
        """Whether `update` runs the fused kernel."""
        return not self.plain and not self.amsgrad and can_fuse(w, "adam")

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        M, V = slots[:2]
        (rate,) = self.numbers
        epsilon = self.epsilon / math.sqrt(1 - self.beta_2)
        if self.fuses(w):
            fused_kernels(w).adam(w, dw, M, V, self.beta_1, self.beta_2, epsilon, rate)
            return

        M *= self.beta_1
        M += dw
        V *= self.beta_2
        V += xp.multiply(dw, dw, out=scratch)
        if self.amsgrad:
            V_max = slots[2]
            V = xp.maximum(V_max, V, out=V_max)
        root = xp.sqrt(V, out=scratch)
        root += epsilon
        step = xp.divide(M, root, out=scratch)
        step *= rate
        w -= step


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= lr decay w before each step (Loshchilov & Hutter 2019).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    weight_decay : float, default 0.004
        Applied to every parameter, as Keras does.
    beta_1, beta_2, epsilon, amsgrad, **options
        As in `Adam`.

    Examples
    --------
    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        decay = check_number(weight_decay, f"{type(self).__name__}: weight_decay", 0)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=decay, **options)


class Adamax(Moments):
    """Adam with the largest recent gradient in place of the mean square (Kingma & Ba 2015, section 7).

    m = b1 m + (1 - b1) dw
    u = max(b2 u, |dw|)
    w -= lr / (1 - b1^t) m / (u + eps)          t counts the steps

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
    >>> Adamax().slot_names
    ('m', 'u')
    """

    slot_names = ("m", "u")
    reads_numbers = True

    def step_numbers(self) -> tuple[float, ...]:
        """Return the one number that changes from step to step."""
        return (self.learning_rate / (1 - self.beta_1**self.iterations),)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        m, u = slots
        average(m, dw, self.beta_1, scratch)
        u *= self.beta_2
        xp.maximum(u, xp.absolute(dw, out=scratch), out=u)
        size = xp.add(u, self.epsilon, out=scratch)
        step = xp.divide(m, size, out=scratch)
        (rate,) = self.numbers
        step *= rate
        w -= step


# How much of the momentum Nadam has let in by step t: the product of 1 - 0.96^i / 2 for i = 1 ... t. Beyond a
# thousand its factors are 1 to the last bit.
LET_IN = np.cumprod(1 - 0.5 * 0.96 ** np.arange(1, 1001))


class Nadam(Moments):
    """Adam with Nesterov's momentum: the step already looks with the next mean (Dozat 2016).

    m = b1 m + (1 - b1) dw,  v = b2 v + (1 - b2) dw^2
    a_t = b1 (1 - 0.96^t / 2),  A_t = a_1 a_2 ... a_t            momentum, warming up; t counts the steps
    n = a_(t+1) m / (1 - A_(t+1)) + (1 - a_t) dw / (1 - A_t)
    w -= lr n / (sqrt(v / (1 - b2^t)) + eps)

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
    >>> Nadam().slot_names
    ('m', 'v')
    """

    slot_names = ("m", "v")
    reads_numbers = True

    def step_numbers(self) -> tuple[float, ...]:
        """Return the factors of m and dw, sqrt(1 - b2^t), and the rate."""
        t = self.iterations
        of_m = self.momentum(t + 1) / (1 - self.momenta(t + 1))
        of_dw = (1 - self.momentum(t)) / (1 - self.momenta(t))
        return of_m, of_dw, math.sqrt(1 - self.beta_2**t), self.learning_rate

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        m, v = slots
        of_m, of_dw, root_bias, rate = self.numbers
        root = self.update_moments(m, v, dw, scratch, root_bias)
        n = m * of_m
        n += dw * of_dw
        n /= root
        n *= rate
        w -= n

    def momentum(self, t: int) -> float:
        """Return a_t."""
        return float(self.beta_1 * (1 - 0.5 * 0.96**t))

    def momenta(self, t: int) -> float:
        """Return A_t, the product of a_1 to a_t."""
        return float(self.beta_1**t * LET_IN[min(t, len(LET_IN)) - 1])
