"""What layers share that draw random numbers in forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.kernels.draws import Draws
from tinynn.layers.base import Layer


class Drawing(Layer):
    """Base class of the layers that are random in training: what they draw is the same on every device.

    The key of the draws is drawn from ``self.random``; a generator that is set as ``self.rng`` makes them begin anew.

    Examples
    --------
    >>> class Coin(Drawing):
    ...     def forward(self, x, training=False):
    ...         return self.draws.kept(x.shape, 0.5, 1.0, x)
    >>> coin = Coin()
    >>> coin.rng = np.random.default_rng(0)
    >>> coin(np.zeros((1, 5)))
    array([[1., 1., 0., 1., 0.]])
    """

    _draws: tuple[np.random.Generator, Draws] | None = None  # and the generator that their key is from

    @property
    def draws(self) -> Draws:
        """The random numbers of this layer."""
        if self._draws is None or self._draws[0] is not self.rng:
            self._draws = self.random, Draws(self.random.integers(2**64, size=2, dtype=np.uint64))
        return self._draws[1]

    def get_draws_state(self) -> dict[str, Any] | None:
        """Return what `set_draws_state` goes on from, as plain data; None where nothing was drawn yet."""
        return None if self._draws is None or self._draws[0] is not self.rng else self.draws.get_state()

    def set_draws_state(self, state: Any) -> None:
        """Go on where another layer's draws stood."""
        self._draws = None if state is None else (self.random, Draws.from_state(state))

    def forget_draws(self) -> None:
        """Let the draws begin anew, with a key that the generator draws next."""
        self._draws = None
