"""Schedules: the learning rate as a function of the step, counted from 0.

    tinynn.SGD(tinynn.schedules.CosineDecay(0.1, decay_steps=1000))

Names, arguments and values are Keras's, but for `OneCycle`, which it has not.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from tinynn.arguments import check_count, check_number
from tinynn.config import Configured


class LearningRateSchedule(Configured):
    """Base class of the schedules.

    One's own schedule subclasses this and writes ``__call__``.

    Examples
    --------
    >>> class Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 / 2 ** (step // 1000)
    >>> Halving()(2500)
    0.025
    """

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; the first step has the number 0."""
        raise TypeError(f"{self.who} needs a method __call__(self, step) that returns the learning rate")

    @property
    def who(self) -> str:
        """The class's name, for messages."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self.who}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


class ExponentialDecay(LearningRateSchedule):
    """initial * decay_rate^(step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
        What is left of the rate after `decay_steps`.
    staircase : bool, default False
        Whether step / decay_steps is rounded down, so that the rate falls in stairs.

    Examples
    --------
    >>> ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)(200)
    0.025
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = check_number(initial_learning_rate, f"{self.who}: initial_learning_rate", 0)
        self.decay_steps = check_count(decay_steps, f"{self.who}: decay_steps")
        self.decay_rate = check_number(decay_rate, f"{self.who}: decay_rate", 0)
        self.staircase = staircase

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        p = step // self.decay_steps if self.staircase else step / self.decay_steps
        return float(self.initial_learning_rate * self.decay_rate**p)


class InverseTimeDecay(LearningRateSchedule):
    """initial / (1 + decay_rate * step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool, default False
        Whether step / decay_steps is rounded down.

    Examples
    --------
    >>> InverseTimeDecay(0.1, decay_steps=100, decay_rate=1.0)(300)
    0.025
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = check_number(initial_learning_rate, f"{self.who}: initial_learning_rate", 0)
        self.decay_steps = check_count(decay_steps, f"{self.who}: decay_steps")
        self.decay_rate = check_number(decay_rate, f"{self.who}: decay_rate", 0)
        self.staircase = staircase

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        p = step // self.decay_steps if self.staircase else step / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * p)


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and with step boundaries[0], then values[1] up to and with boundaries[1], and so on.

    Parameters
    ----------
    boundaries : sequence of int
        Steps, each larger than the one before.
    values : sequence of float
        The rates between them: one more.

    Examples
    --------
    >>> schedule = PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])
    >>> schedule(100), schedule(101), schedule(1000)
    (0.1, 0.01, 0.001)
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float]) -> None:
        self.boundaries = [check_number(boundary, f"{self.who}: boundaries", 0) for boundary in boundaries]
        self.values = [check_number(value, f"{self.who}: values", 0) for value in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"{self.who} expected one value more than boundaries, "
                f"got {len(self.values)} values and {len(self.boundaries)} boundaries."
            )
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"{self.who}: boundaries must grow, got {list(boundaries)!r}.")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """(initial - end) (1 - step / decay_steps)^power + end, and end from then on.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float, default 0.0001
    power : float, default 1.0
        1 is a straight line.
    cycle : bool, default False
        Whether the rate, at the end of `decay_steps`, starts again on a flatter curve to the next multiple of them.

    Examples
    --------
    >>> schedule = PolynomialDecay(0.1, decay_steps=100, end_learning_rate=0.0)
    >>> schedule(50), schedule(1000)
    (0.05, 0.0)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self.initial_learning_rate = check_number(initial_learning_rate, f"{self.who}: initial_learning_rate", 0)
        self.decay_steps = check_count(decay_steps, f"{self.who}: decay_steps")
        self.end_learning_rate = check_number(end_learning_rate, f"{self.who}: end_learning_rate", 0)
        self.power = check_number(power, f"{self.who}: power", 0)
        self.cycle = cycle

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        p = min(step, steps) / steps
        height = self.initial_learning_rate - self.end_learning_rate
        return float(height * (1 - p) ** self.power + self.end_learning_rate)


class CosineDecay(LearningRateSchedule):
    """Half a cosine wave from the initial rate down to alpha times it (Loshchilov & Hutter 2017).

    top * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha), and top * alpha from then on

    With a warm-up the rate first goes in a straight line from the initial rate to `warmup_target`, in `warmup_steps`;
    the wave then starts at the target, and its steps count from there.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    alpha : float, default 0.0
        The part of the highest rate that is left at the end.
    warmup_target : float, optional
        Without it there is no warm-up.
    warmup_steps : int, default 0

    Examples
    --------
    >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
    >>> [round(schedule(step), 6) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        *,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = check_number(initial_learning_rate, f"{self.who}: initial_learning_rate", 0)
        self.decay_steps = check_count(decay_steps, f"{self.who}: decay_steps")
        self.alpha = check_number(alpha, f"{self.who}: alpha", 0)
        self.warmup_target = warmup_target
        self.warmup_steps = 0
        if warmup_target is not None:
            self.warmup_target = check_number(warmup_target, f"{self.who}: warmup_target", 0)
            self.warmup_steps = check_count(warmup_steps, f"{self.who}: warmup_steps") if warmup_steps else 0
        elif warmup_steps:
            raise ValueError(f"{self.who}: warmup_steps={warmup_steps!r} needs a warmup_target, the rate to reach.")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        bottom, top = self.initial_learning_rate, self.warmup_target
        if top is None:
            top = bottom
        if step < self.warmup_steps:
            return bottom + (top - bottom) * step / self.warmup_steps
        p = min(step - self.warmup_steps, self.decay_steps) / self.decay_steps
        return top * half_wave(p, self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine wave again and again, each `t_mul` times as long and `m_mul` times as high as the last.

    initial * ((1 - alpha) m_mul^i (1 + cos(pi p)) / 2 + alpha), p the part of wave i that is done
    (SGDR, Loshchilov & Hutter 2017)

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
        The length of the first wave.
    t_mul : float, default 2.0
        From 1 up.
    m_mul : float, default 1.0
    alpha : float, default 0.0
        The lowest rate, as a part of the initial one.

    Examples
    --------
    >>> schedule = CosineDecayRestarts(0.1, first_decay_steps=100)
    >>> [round(schedule(step), 6) for step in (0, 50, 100, 200, 300)]
    [0.1, 0.05, 0.1, 0.05, 0.1]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.initial_learning_rate = check_number(initial_learning_rate, f"{self.who}: initial_learning_rate", 0)
        self.first_decay_steps = check_count(first_decay_steps, f"{self.who}: first_decay_steps")
        self.t_mul = check_number(t_mul, f"{self.who}: t_mul", 1)
        self.m_mul = check_number(m_mul, f"{self.who}: m_mul", 0)
        self.alpha = check_number(alpha, f"{self.who}: alpha", 0)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        length = float(self.first_decay_steps)
        wave, done = 0, float(step)
        if self.t_mul == 1:
            wave, done = step // self.first_decay_steps, float(step % self.first_decay_steps)
        while done >= length:  # a logarithm would do, and be off by one wave where it is rounded
            done -= length
            length *= self.t_mul
            wave += 1
        return float(self.initial_learning_rate * half_wave(done / length, self.alpha, self.m_mul**wave))


class OneCycle(LearningRateSchedule):
    """Up along half a cosine wave, then down along a longer one, far below the start (Smith & Topin 2018).

    From max / div_factor to max_learning_rate in the first `pct_start` of the steps, then to
    max / div_factor / final_div_factor at the last step, and there from then on. Arguments and values are those of
    PyTorch's OneCycleLR.

    Parameters
    ----------
    max_learning_rate : float
    total_steps : int
        Enough of them that `pct_start` is more than one step.
    pct_start : float, default 0.3
        The part of the steps that goes up, between 0 and 1.
    div_factor : float, default 25.0
    final_div_factor : float, default 10000.0

    Examples
    --------
    >>> schedule = OneCycle(0.1, total_steps=101, pct_start=0.3)
    >>> round(schedule(0), 6)
    0.004
    >>> round(max(schedule(step) for step in range(101)), 4)
    0.1
    >>> round(schedule(100), 9)
    4e-07
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_learning_rate = check_number(max_learning_rate, f"{self.who}: max_learning_rate", 0)
        self.total_steps = check_count(total_steps, f"{self.who}: total_steps")
        self.pct_start = check_number(pct_start, f"{self.who}: pct_start", 0, 1, below=True)
        self.div_factor = check_number(div_factor, f"{self.who}: div_factor", 1)
        self.final_div_factor = check_number(final_div_factor, f"{self.who}: final_div_factor", 1)
        if self.pct_start * self.total_steps <= 1:
            raise ValueError(
                f"{self.who}: pct_start of total_steps must be more than one step, "
                f"got {pct_start!r} of {total_steps!r}."
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        highest = self.max_learning_rate
        first = highest / self.div_factor
        last = first / self.final_div_factor
        summit, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step <= summit:
            return highest + (first - highest) * half_wave(step / summit)
        return last + (highest - last) * half_wave(min((step - summit) / (end - summit), 1))


def half_wave(p: float, alpha: float = 0.0, height: float = 1.0) -> float:
    """Return half a cosine wave from 1 at p = 0 down to `alpha` at p = 1.

    Examples
    --------
    >>> half_wave(0.5), half_wave(0.5, alpha=0.1)
    (0.5, 0.55)
    """
    return (1 - alpha) * height * (1 + math.cos(math.pi * p)) / 2 + alpha
