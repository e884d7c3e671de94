"""LossScaleOptimizer: what makes training in half precision possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinynn.arguments import check_count, check_number
from tinynn.backend import Array
from tinynn.config import Configured
from tinynn.optimizers.base import Optimizer, check_above_0
from tinynn.parameter import Arena
from tinynn.schedules import LearningRateSchedule


class LossScaleOptimizer(Optimizer):
    """An optimizer around another one: scales the loss, so that small gradients do not become 0 in half precision.

    Numbers of 16 bits end at 6e-8, and many gradients are smaller. So the gradient of the loss is multiplied by a
    scale before backward, and the gradients are divided by it after (Micikevicius et al. 2018). If one of them is
    infinite, the scale was too large: the step is left out and the scale halved. After many good steps it is doubled.

    A model of dtype ``"mixed_float16"`` puts one around the optimizer it is compiled with.

    Parameters
    ----------
    inner_optimizer : Optimizer
        What makes the steps.
    initial_scale : float, default 32768.0
    dynamic_growth_steps : int, default 2000
        After how many good steps the scale is doubled.

    Attributes
    ----------
    scale : float
        What the loss is multiplied with now.
    good_steps : int
        How many steps were made since the scale changed.

    Raises
    ------
    TypeError
        If the inner optimizer is none, or scales the loss already.

    Examples
    --------
    >>> from tinynn.optimizers import Adam
    >>> LossScaleOptimizer(Adam(0.01)).learning_rate
    0.01
    """

    def __init__(self, inner_optimizer: Any, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000) -> None:
        if not isinstance(inner_optimizer, Optimizer) or isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(
                "LossScaleOptimizer: inner_optimizer must be an optimizer that does not scale the loss already, "
                f"such as Adam(), got {inner_optimizer!r:.60}."
            )
        self.inner_optimizer = inner_optimizer
        self.scale = check_above_0(initial_scale, "LossScaleOptimizer: initial_scale")
        self.dynamic_growth_steps = check_count(dynamic_growth_steps, "LossScaleOptimizer: dynamic_growth_steps")
        self.good_steps = 0

    def get_config(self) -> dict[str, Any]:
        """Return the arguments with which another one like this is made."""
        return Configured.get_config(self)

    def step(self, arena: Arena) -> None:
        """Make a step with the gradients in the arena, or leave it out if one of them is not finite.

        Whether one is, has to be known on the host: on a GPU each step waits for the one before it.
        """
        if not bool(arena.xp.isfinite(arena.grads).all()):
            self.scale = max(self.scale / 2, 1.0)
            self.good_steps = 0
            return
        self.inner_optimizer.step(arena)
        arena.refresh()
        self.good_steps += 1
        if self.good_steps == self.dynamic_growth_steps:
            self.scale *= 2
            self.good_steps = 0

    def finish(self, arena: Arena) -> None:
        """End a training; see `Optimizer.finish`."""
        self.inner_optimizer.finish(arena)
        arena.refresh()

    def get_state(self) -> dict[str, Any]:
        """Return all that a training remembers here."""
        return {"inner": self.inner_optimizer.get_state(), "scale": self.scale, "good_steps": self.good_steps}

    def set_state(self, arena: Arena, state: Mapping[str, Any]) -> None:
        """Go on where another optimizer with the same settings stood; see `Optimizer.set_state`."""
        scale = check_number(state["scale"], "LossScaleOptimizer: scale", 1)
        good_steps = check_count(state["good_steps"], "LossScaleOptimizer: good_steps", 0)
        self.inner_optimizer.set_state(arena, state["inner"])
        self.scale, self.good_steps = scale, good_steps

    # What else is asked of an optimizer, the inner one answers.

    @property
    def learning_rate(self) -> float:
        """The rate of the inner optimizer; it may be set."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | LearningRateSchedule) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def schedule(self) -> LearningRateSchedule | None:  # type: ignore[override]
        """The schedule that the inner optimizer follows."""
        return self.inner_optimizer.schedule

    @property
    def iterations(self) -> int:  # type: ignore[override]
        """How many steps the inner optimizer has made."""
        return self.inner_optimizer.iterations

    @property
    def waiting(self) -> int:  # type: ignore[override]
        """How many batches' gradients wait for their step."""
        return self.inner_optimizer.waiting

    @property
    def slots(self) -> dict[str, Array]:  # type: ignore[override]
        """The memory of the inner optimizer."""
        return self.inner_optimizer.slots

    @property
    def arena(self) -> Arena | None:  # type: ignore[override]
        """The arena of the inner optimizer."""
        return self.inner_optimizer.arena

    def __repr__(self) -> str:
        return f"LossScaleOptimizer({self.inner_optimizer!r}, scale={self.scale})"
