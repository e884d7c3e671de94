"""Gradient descent, with momentum or divided by the size of recent gradients."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_number
from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels
from tinynn.optimizers.base import Optimizer
from tinynn.schedules import LearningRateSchedule


class SGD(Optimizer):
    """Gradient descent: w -= lr dw.

    With momentum   m = momentum m - lr dw,  w += m
    With Nesterov   m as above,  w += momentum m - lr dw        (Sutskever et al. 2013)

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.01
    momentum : float, default 0.0
        How much of the last step goes on.
    nesterov : bool, default False
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0])
    >>> SGD(0.5).update(w, np.array([1.0]), np.empty(1))
    >>> w
    array([0.5])
    """

    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = check_number(momentum, "SGD: momentum", 0, 1)
        self.nesterov = nesterov
        self.slot_names = ("m",) if momentum else ()

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        (rate,) = self.numbers
        if not self.plain and can_fuse(w, "momentum"):
            kernels = fused_kernels(w)
            if self.momentum:
                kernels.momentum(w, dw, *slots, self.momentum, self.nesterov, rate)
            else:
                kernels.sgd(w, dw, rate)
            return
        step = xp.multiply(dw, rate, out=scratch)
        if not self.momentum:
            w -= step
            return
        (m,) = slots
        m *= self.momentum
        m -= step
        w += self.momentum * m - step if self.nesterov else m


class RMSprop(Optimizer):
    """Steps divided by the recent size of the gradient: v = rho v + (1 - rho) dw^2,  w -= lr dw / sqrt(v + eps).

    Centered        v - a^2 in the root, where a = rho a + (1 - rho) dw
    With momentum   m = momentum m + the step,  w -= m          (Tieleman & Hinton 2012)

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule, default 0.001
    rho : float, default 0.9
    momentum : float, default 0.0
    epsilon : float, default 1e-7
    centered : bool, default False
    **options
        ``weight_decay``, a limit of the gradients, an average of the values: as for every `Optimizer`.

    Examples
    --------
    >>> RMSprop().rho
    0.9
    """

    reads_numbers = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = check_number(rho, "RMSprop: rho", 0, 1)
        self.momentum = check_number(momentum, "RMSprop: momentum", 0, 1)
        self.epsilon = check_number(epsilon, "RMSprop: epsilon", 0)
        self.centered = centered
        self.slot_names = ("v",) + ("a",) * centered + ("m",) * (momentum > 0)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        slot = dict(zip(self.slot_names, slots, strict=True))
        v = slot["v"]
        if not self.plain and can_fuse(w, "rmsprop"):
            settings = (self.rho, self.momentum, self.epsilon)
            fused_kernels(w).rmsprop(w, dw, v, slot.get("a"), slot.get("m"), *settings, *self.numbers)
            return
        square = xp.multiply(dw, dw, out=scratch)
        square *= 1 - self.rho
        v *= self.rho
        v += square
        variance = v
        if self.centered:
            a = slot["a"]
            a *= self.rho
            a += (1 - self.rho) * dw
            variance = xp.maximum(v - a * a, 0)  # rounding may take it below
        root = xp.add(variance, self.epsilon, out=scratch)
        xp.sqrt(root, out=root)
        step = xp.divide(dw, root, out=scratch)
        (rate,) = self.numbers
        step *= rate
        if self.momentum > 0:
            m = slot["m"]
            m *= self.momentum
            m += step
            step = m
        w -= step
