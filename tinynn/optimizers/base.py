"""What every optimizer is: a formula on flat vectors, and what is done to gradients and values before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinynn.arguments import check_count, check_number
from tinynn.backend import Array, array_module
from tinynn.config import Configured
from tinynn.parameter import Arena
from tinynn.schedules import LearningRateSchedule

# Averages of gradients that have become zero decay into numbers below 1e-38, which processors divide at half speed.
# Long before, they have stopped to matter beside epsilon; every so many steps what is below TINY becomes zero.
TINY = 1e-30
FLUSH_EVERY = 100
BLOCK = 2**18  # numbers of a slot that are looked at together


class Due(NamedTuple):
    """What of a step is due, which the count of steps decides.

    Attributes
    ----------
    waits : bool
        The gradients are put to those that wait, and that is all.
    first : bool
        The average starts.
    overwrites : bool
        The average takes the place of the values.
    flushes : bool
        What is tiny in the slots becomes zero.
    """

    waits: bool = False
    first: bool = False
    overwrites: bool = False
    flushes: bool = False


NOTHING = Due()


class Ahead(NamedTuple):
    """A step whose numbers stand on the device, where whoever captures it writes them before each replay.

    Attributes
    ----------
    due : Due
    decay : array of no axes
    numbers : tuple of array of no axes
        In place of those of `Optimizer.decay` and `Optimizer.numbers`.
    """

    due: Due
    decay: Array
    numbers: tuple[Array, ...]


class Optimizer(Configured):
    """Base class of the optimizers.

    One's own optimizer subclasses this, names its memory in `slot_names` and writes `update`. A step clips the
    gradients, then decays the values, then calls `update`, then averages; what is not asked for is not done.

    That a step can be captured (docs/gpu.md), its `update` must take what changes from step to step from `numbers`, and
    say so: ``reads_numbers = True`` in the same class.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        How far a step goes; a schedule says it for each step anew.
    weight_decay : float, optional
        Before each step w -= learning_rate weight_decay w, on every parameter, as in Keras.
    clipnorm : float, optional
        The gradient of each parameter is scaled down to this norm if it has a larger one.
    clipvalue : float, optional
        Every number of the gradients is held between minus and plus this.
    global_clipnorm : float, optional
        All gradients together are scaled down to this norm if they have a larger one. Only one of the three can be.
    use_ema : bool, default False
        Whether to keep an average of the values over the steps, a = momentum a + (1 - momentum) w, which takes their
        place at the end of the training: it often does better than the last values, which still jump about
        (Polyak & Juditsky 1992).
    ema_momentum : float, default 0.99
        How much of the average stays at each step; the first step's values start it.
    ema_overwrite_frequency : int, optional
        The average takes the place of the values after every so many steps too.
    gradient_accumulation_steps : int, optional
        The gradients of so many batches, 2 at least, are averaged, and make one step: as one batch would that holds
        all their samples, and which need not fit into the memory. A last batch that is smaller counts as the others.

    Attributes
    ----------
    iterations : int
        How many steps were made; in `update`, the number of this step, from 1.
    waiting : int
        How many batches' gradients wait for their step, with `gradient_accumulation_steps`.
    slots : dict of array
        The memory, a vector for each name in `slot_names`, with `use_ema` the ``"average"``, and the ``"accumulated"``
        gradients.
    pieces : list of slice
        Where each parameter lies in the flat vectors, for a formula that is not the same for all numbers.

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
    plain = False  # True: run the lines that are read in update where a fused kernel would run
    reads_numbers = False  # True beside an update that takes what changes from step to step from `numbers`
    ahead: Ahead | None = None  # while a step is captured

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
    ) -> None:
        who = type(self).__name__
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else check_number(weight_decay, f"{who}: weight_decay", 0)
        self.clipnorm = check_limit(clipnorm, f"{who}: clipnorm")
        self.clipvalue = check_limit(clipvalue, f"{who}: clipvalue")
        self.global_clipnorm = check_limit(global_clipnorm, f"{who}: global_clipnorm")
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = [f"{name}={limit}" for name, limit in limits.items() if limit is not None]
        if len(given) > 1:
            raise ValueError(f"{who}: clip the gradients in one way, got {' and '.join(given)}.")
        self.use_ema = use_ema
        self.ema_momentum = check_number(ema_momentum, f"{who}: ema_momentum", 0, 1)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        if ema_overwrite_frequency is not None:
            check_count(ema_overwrite_frequency, f"{who}: ema_overwrite_frequency")
            if not use_ema:
                raise ValueError(
                    f"{who}: ema_overwrite_frequency needs an average to overwrite with; set use_ema=True."
                )
        self.gradient_accumulation_steps = gradient_accumulation_steps
        if gradient_accumulation_steps is not None:
            check_count(gradient_accumulation_steps, f"{who}: gradient_accumulation_steps", 2)
        self.iterations = 0
        self.waiting = 0
        self.slots: dict[str, Array] = {}
        self.arena: Arena | None = None
        self.made_scratch: Array | None = None
        self.pieces = [slice(None)]

    @property
    def learning_rate(self) -> float:
        """The rate of the last step; before the first, the rate of that. It may be set, to a schedule as well."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | LearningRateSchedule) -> None:
        self.schedule: LearningRateSchedule | None = None
        if isinstance(learning_rate, LearningRateSchedule):
            self.schedule = learning_rate
            learning_rate = learning_rate(getattr(self, "iterations", 0))
        self._rate = check_number(learning_rate, f"{type(self).__name__}: learning_rate", 0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments with which another one like this is made; what came or went later counts."""
        config = super().get_config()
        if self.schedule is not None:
            config["learning_rate"] = self.schedule
        elif isinstance(config.get("learning_rate"), LearningRateSchedule):
            config["learning_rate"] = self.learning_rate
        for name in ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm"):
            if config.get(name) != getattr(self, name) and name in vars(self):
                config[name] = getattr(self, name)
        return config

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
            The values are changed in place, and the gradients where they are clipped. The first step makes the slots.
        """
        if self.arena is None:
            self.begin(arena)
        self.need_own(arena)
        due = self.advance() if self.ahead is None else self.ahead.due
        if self.gradient_accumulation_steps is not None:
            self.accumulate(arena, due)
        if due.waits:
            return
        self.clip(arena.grads)
        if self.weight_decay:
            w = arena.values
            w *= self.decay
        scratch = arena.values[:0] if self.fuses(arena.values) else self.scratch
        self.update(arena.values, arena.grads, scratch, *map(self.slots.__getitem__, self.slot_names))
        if self.use_ema:
            self.update_average(arena.values, due)
        if due.flushes:
            self.flush()

    def next_due(self) -> Due:
        """Return what the next step will do."""
        if self.gradient_accumulation_steps is not None and self.waiting + 1 < self.gradient_accumulation_steps:
            return Due(waits=True)
        t = self.iterations + 1
        if not self.use_ema and t % FLUSH_EVERY:
            return NOTHING
        every = self.ema_overwrite_frequency
        return Due(
            first=self.use_ema and t == 1,
            overwrites=every is not None and t % every == 0,
            flushes=bool(self.slots) and t % FLUSH_EVERY == 0,
        )

    def advance(self) -> Due:
        """Count a step, or a batch that waits for it, and return what it has to do."""
        due = self.next_due()
        if due.waits:
            self.waiting += 1
            return due
        self.waiting = 0
        if self.schedule is not None:
            self._rate = float(self.schedule(self.iterations))
        self.iterations += 1
        return due

    @property
    def decay(self) -> Any:
        """What the values are multiplied with before a step, with `weight_decay`."""
        return 1 - self.learning_rate * (self.weight_decay or 0) if self.ahead is None else self.ahead.decay

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What `update` takes the numbers from that change from step to step: floats, or arrays of no axes."""
        return self.step_numbers() if self.ahead is None else self.ahead.numbers

    def step_numbers(self) -> tuple[float, ...]:
        """Return the numbers of this step that change from step to step; by default the rate alone."""
        return (self.learning_rate,)

    @property
    def can_be_captured(self) -> bool:
        """Whether all that changes from step to step comes from `numbers`: see `reads_numbers`."""
        steps = ("update", "step", "accumulate", "clip", "update_average")
        kind = next(kind for kind in type(self).__mro__ if any(name in vars(kind) for name in steps))
        return bool(vars(kind).get("reads_numbers", False))

    def begin(self, arena: Arena) -> None:
        """Make the slots: what the first step does first."""
        self.arena = arena
        self.slots = self.make_slots(arena)
        if self.use_ema:
            self.slots["average"] = arena.new_slot()
        if self.gradient_accumulation_steps is not None:
            self.slots["accumulated"] = arena.new_slot()
        self.made_scratch = None
        self.pieces = pieces_of(arena)

    @property
    def scratch(self) -> Array:
        """A vector to work in, of the arena's size, made when it is first asked for."""
        if self.made_scratch is None:
            assert self.arena is not None
            self.made_scratch = self.arena.new_slot()
        return self.made_scratch

    def fuses(self, w: Array) -> bool:
        """Whether `update` runs a fused kernel on such values: one that needs no vector to work in."""
        return False

    def flush(self) -> None:
        """Make zeros of what is too small to matter, block by block."""
        for slot in self.slots.values():
            for start in range(0, len(slot), BLOCK):
                block = slot[start : start + BLOCK]
                block *= abs(block) >= TINY

    def accumulate(self, arena: Arena, due: Due) -> None:
        """Add a batch's gradients to those that wait; when they are enough, make them their mean."""
        G = self.slots["accumulated"]
        G += arena.grads
        if not due.waits:
            arena.xp.multiply(G, 1 / (self.gradient_accumulation_steps or 1), out=arena.grads)
            G[...] = 0

    def get_state(self) -> dict[str, Any]:
        """Return all that a training remembers here: to go on from it, give it to `set_state`."""
        return {
            "iterations": self.iterations,
            "waiting": self.waiting,
            "learning_rate": self.learning_rate,
            "slots": dict(self.slots),
        }

    def set_state(self, arena: Arena, state: Mapping[str, Any]) -> None:
        """Go on where another optimizer with the same settings stood.

        Parameters
        ----------
        arena : Arena
            The one to step from now on.
        state : mapping
            As `get_state` returns it. The slots are copied.

        Raises
        ------
        ValueError
            If it is not of an optimizer like this; nothing has been changed then.
        """
        who = type(self).__name__
        iterations = check_count(state["iterations"], f"{who}: iterations", 0)
        waiting = check_count(state["waiting"], f"{who}: waiting", 0)
        rate = check_number(state["learning_rate"], f"{who}: learning_rate", 0)
        given = state["slots"]
        twin = copy.copy(self)
        if iterations or given:
            twin.begin(arena)
        else:
            twin.arena, twin.slots = None, {}  # as before the first step, whatever this one has done since
        expected = {name: tuple(slot.shape) for name, slot in twin.slots.items()}
        shapes = {name: tuple(slot.shape) for name, slot in given.items()}
        if shapes != expected:
            raise ValueError(f"{who}: expected the slots {expected}, got {shapes}.")
        for name, slot in given.items():
            twin.slots[name][...] = arena.xp.asarray(slot, dtype=twin.slots[name].dtype)
        twin.iterations, twin.waiting = iterations, waiting
        twin._rate = rate
        vars(self).update(vars(twin))

    def make_slots(self, arena: Arena) -> dict[str, Array]:
        """Return the memory as it starts: zeros, a vector of the arena's size for each name in `slot_names`."""
        return {name: arena.new_slot() for name in self.slot_names}

    def need_own(self, arena: Arena) -> None:
        """Raise ValueError if this is not the arena of the first step."""
        if self.arena is not arena:
            raise ValueError(
                f"this {type(self).__name__} has trained another model and remembers its gradients; "
                "give each model an optimizer of its own."
            )

    def update_average(self, w: Array, due: Due) -> None:
        """Take the values after a step into their average, and put it in their place where that is due."""
        average(self.slots["average"], w, 0.0 if due.first else self.ema_momentum, self.scratch)
        if due.overwrites:
            w[...] = self.slots["average"]

    def finish(self, arena: Arena) -> None:
        """End a training: with `use_ema` the average takes the place of the values, else nothing happens.

        Parameters
        ----------
        arena : Arena
            The one that `step` has changed. A training may go on after it; the average goes on too.

        Examples
        --------
        >>> import numpy as np
        >>> from tinynn.layers import Dense
        >>> from tinynn.optimizers import SGD
        >>> dense = Dense(1, use_bias=False, kernel_initializer="zeros")
        >>> dense.build((1,))
        (1,)
        >>> arena = Arena(dense.parameters, "float32", np)
        >>> sgd = SGD(1.0, use_ema=True, ema_momentum=0.5)
        >>> for _ in range(2):
        ...     arena.grads[:] = -1
        ...     sgd.step(arena)
        >>> arena.values
        array([2.], dtype=float32)
        >>> sgd.finish(arena)
        >>> arena.values
        array([1.5], dtype=float32)
        """
        if self.use_ema and self.arena is not None:
            self.need_own(arena)
            arena.values[...] = self.slots["average"]

    def clip(self, dw: Array) -> None:
        """Make the gradients `dw` smaller in place, where they are larger than the limit that was given."""
        xp = array_module(dw)
        if self.clipvalue is not None:
            xp.clip(dw, -self.clipvalue, self.clipvalue, out=dw)
        limit = self.clipnorm if self.clipnorm is not None else self.global_clipnorm
        if limit is not None:
            for piece in self.pieces if self.clipnorm is not None else [slice(None)]:
                g = dw[piece]
                norm = xp.sqrt(xp.multiply(g, g, out=self.scratch[piece]).sum())
                g *= limit / xp.maximum(norm, limit)

    def __repr__(self) -> str:
        settings = {"learning_rate": self.schedule or self.learning_rate} | vars(self)
        hidden = [
            "_rate",
            "arena",
            "iterations",
            "pieces",
            "places",
            "schedule",
            "made_scratch",
            "slot_names",
            "slots",
            "waiting",
        ]
        hidden += [] if self.use_ema else ["use_ema", "ema_momentum"]
        arguments = [f"{key}={value!r}" for key, value in settings.items() if key not in hidden and value is not None]
        return f"{type(self).__name__}({', '.join(arguments)})"


def check_limit(limit: float | None, who: str) -> float | None:
    """Return a limit of the gradients if it is above 0; None is none."""
    return None if limit is None else check_above_0(limit, who, " Leave it out to clip nothing.")


def check_above_0(number: float, who: str, advice: str = "") -> float:
    """Return a number if it is above 0."""
    if check_number(number, who, 0) == 0:
        raise ValueError(f"{who} must be above 0, got {number!r}.{advice}")
    return float(number)


def average(m: Array, x: Array, beta: Any, scratch: Array, rest: Any = None) -> None:
    """Make m = beta m + (1 - beta) x in place, and work in `scratch`, which may be x; `rest` is 1 - beta, if known."""
    xp = array_module(m)
    m *= beta
    m += xp.multiply(x, 1 - beta if rest is None else rest, out=scratch)


def pieces_of(arena: Arena) -> list[slice]:
    """Return where each learned parameter lies in the arena's flat vectors."""
    pieces = []
    start = 0
    for parameter in arena.parameters:
        if parameter.trainable:
            pieces.append(slice(start, start + parameter.size))
            start += parameter.size
    return pieces
