"""Optimizers: how a gradient becomes a step.

All parameters of a model are one flat vector w, all gradients another, dw, so an optimizer is a formula on flat
vectors, written in `update`. Where the plain formula would make new vectors for what lies between, it works in
``scratch``, one vector that is there already: an epoch of the article's network takes a tenth less time for it
(``python benchmarks/adam.py``).

Names, defaults and the formulas themselves are Keras's.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import check_number, resolve
from tinynn.backend import Array, array_module
from tinynn.parameter import Arena

# Averages of gradients that have become zero decay into numbers below 1e-38, which processors divide at half speed.
# Long before, they have stopped to matter beside epsilon; every so many steps what is below TINY becomes zero.
TINY = 1e-30
FLUSH_EVERY = 100


class Optimizer:
    """Base class of the optimizers.

    One's own optimizer subclasses this, names its memory in `slot_names` and writes `update`.

    Parameters
    ----------
    learning_rate : float
        How far a step goes.

    Attributes
    ----------
    iterations : int
        How many steps were made.
    slots : dict of array
        The memory, one vector of the arena's size for each name in `slot_names`.

    Examples
    --------
    >>> import numpy as np
    >>> class SignDescent(Optimizer):
    ...     def update(self, w, dw, scratch):
    ...         w -= self.learning_rate * np.sign(dw)
    >>> SignDescent(0.1).learning_rate
    0.1
    """

    slot_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_number(learning_rate, f"{type(self).__name__}: learning_rate", 0)
        self.iterations = 0
        self.slots: dict[str, Array] = {}
        self.arena: Arena | None = None

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change the values `w` and the slots in place.

        Parameters
        ----------
        w, dw : array
            All values and all gradients, as flat vectors.
        scratch : array
            A vector of the same size to work in; what it holds does not matter.
        *slots : array
            The memory, in the order of `slot_names`.
        """
        raise TypeError(f"{type(self).__name__} needs a method update(self, w, dw, scratch, *slots) that changes w")

    def step(self, arena: Arena) -> None:
        """Make one step with the gradients in the arena.

        Parameters
        ----------
        arena : Arena
            The values are changed in place. The first step makes the slots and the scratch vector.
        """
        if self.arena is None:
            self.arena = arena
            self.slots = {name: arena.new_slot() for name in self.slot_names}
            self.scratch = arena.new_slot()
        elif self.arena is not arena:
            raise ValueError(
                f"this {type(self).__name__} has trained another model and remembers its gradients; "
                "give each model an optimizer of its own."
            )
        self.iterations += 1
        self.update(arena.values, arena.grads, self.scratch, *self.slots.values())
        if self.iterations % FLUSH_EVERY == 0:
            for slot in self.slots.values():
                slot *= abs(slot) >= TINY

    def __repr__(self) -> str:
        hidden = ("arena", "iterations", "scratch", "slot_names", "slots")
        arguments = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if key not in hidden)
        return f"{type(self).__name__}({arguments})"


class SGD(Optimizer):
    """Gradient descent: w -= lr dw.

    With momentum   m = momentum m - lr dw,  w += m
    With Nesterov   m as above,  w += momentum m - lr dw        (Sutskever et al. 2013)

    Parameters
    ----------
    learning_rate : float, default 0.01
    momentum : float, default 0.0
        How much of the last step goes on.
    nesterov : bool, default False

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0])
    >>> SGD(0.5).update(w, np.array([1.0]), np.empty(1))
    >>> w
    array([0.5])
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = check_number(momentum, "SGD: momentum", 0, 1)
        self.nesterov = nesterov
        self.slot_names = ("m",) if momentum else ()

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        step = xp.multiply(dw, self.learning_rate, out=scratch)
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
    learning_rate : float, default 0.001
    rho : float, default 0.9
    momentum : float, default 0.0
    epsilon : float, default 1e-7
    centered : bool, default False

    Examples
    --------
    >>> RMSprop().rho
    0.9
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
    ) -> None:
        super().__init__(learning_rate)
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
        step *= self.learning_rate
        if self.momentum > 0:
            m = slot["m"]
            m *= self.momentum
            m += step
            step = m
        w -= step


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba 2015).

    m = b1 m + (1 - b1) dw              the gradient's recent mean
    v = b2 v + (1 - b2) dw^2            and mean square
    w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)      t counts the steps

    The slots hold M = m / (1 - b1) and V = v / (1 - b2), the same averages without their last factor, which moves
    into the step: ``M = b1 M + dw`` is two passes over memory, where ``m`` takes three.

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta_1 : float, default 0.9
    beta_2 : float, default 0.999
    epsilon : float, default 1e-7

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

    slot_names = ("M", "V")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        who = type(self).__name__
        self.beta_1 = check_number(beta_1, f"{who}: beta_1", 0, 1, below=True)
        self.beta_2 = check_number(beta_2, f"{who}: beta_2", 0, 1, below=True)
        self.epsilon = check_number(epsilon, f"{who}: epsilon", 0)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        xp = array_module(w)
        M, V = slots
        t = self.iterations
        unbias = math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        unscale = (1 - self.beta_1) / math.sqrt(1 - self.beta_2)
        epsilon = self.epsilon / math.sqrt(1 - self.beta_2)

        M *= self.beta_1
        M += dw
        V *= self.beta_2
        V += xp.multiply(dw, dw, out=scratch)
        root = xp.sqrt(V, out=scratch)
        root += epsilon
        step = xp.divide(M, root, out=scratch)
        step *= self.learning_rate * unbias * unscale
        w -= step


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= lr decay w before each step (Loshchilov & Hutter 2019).

    Parameters
    ----------
    learning_rate : float, default 0.001
    weight_decay : float, default 0.004
        Applied to every parameter, as Keras does.
    beta_1, beta_2, epsilon : float
        As in `Adam`.

    Examples
    --------
    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.weight_decay = check_number(weight_decay, "AdamW: weight_decay", 0)

    def update(self, w: Array, dw: Array, scratch: Array, *slots: Array) -> None:
        """Change w."""
        w *= 1 - self.learning_rate * self.weight_decay
        super().update(w, dw, scratch, *slots)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "sgd": SGD,
}


def get(optimizer: Any) -> Optimizer:
    """Return the optimizer for a name, a class or an instance.

    Examples
    --------
    >>> get("sgd")
    SGD(learning_rate=0.01, momentum=0.0, nesterov=False)
    """
    if isinstance(optimizer, str):
        optimizer = optimizer.lower()
    result: Optimizer = resolve("optimizer", optimizer, Optimizer, OPTIMIZERS)
    return result
