"""Optimizers, a formula a line."""

from __future__ import annotations

import numpy as np

from tinynn.backend import Array


class Momentum:
    """Gradient descent with momentum: a ball that rolls downhill and keeps part of its speed.

    Update   m = momentum m - learning_rate dw, w = w + m
    """

    def __init__(self, learning_rate: float = 0.1, momentum: float = 0.9) -> None:
        self.learning_rate, self.momentum = learning_rate, momentum
        self.m: Array = np.zeros(())  # the last step; none yet

    def update(self, w: Array, dw: Array) -> Array:
        """Return w after a step; dw is the gradient of the loss by w."""
        self.m = self.momentum * self.m - self.learning_rate * dw  # the step: part of the last one, and downhill
        w = w + self.m  # take it
        return w


class Adam:
    """Adaptive moments: the recent mean of the gradient, divided by its recent size (Kingma & Ba 2015).

    Update   t = t + 1, m = beta_1 m + (1 - beta_1) dw, v = beta_2 v + (1 - beta_2) dw^2
             m_hat = m / (1 - beta_1^t), v_hat = v / (1 - beta_2^t)      m and v begin at 0, and are too small at first
             w = w - learning_rate m_hat / (sqrt(v_hat) + epsilon)
    """

    def __init__(
        self, learning_rate: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.99, epsilon: float = 1e-3
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon
        self.t = 0  # how many steps have been taken
        self.m: Array = np.zeros(())
        self.v: Array = np.zeros(())

    def update(self, w: Array, dw: Array) -> Array:
        """Return w after a step; dw is the gradient of the loss by w."""
        self.t = self.t + 1  # count the step
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * dw  # the gradient's recent mean
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * dw * dw  # and mean square
        m_hat = self.m / (1 - self.beta_1**self.t)  # without the zeros they began with
        v_hat = self.v / (1 - self.beta_2**self.t)  # likewise
        w = w - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)  # downhill, by the mean over the size
        return w
