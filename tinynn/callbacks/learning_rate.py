"""ReduceLROnPlateau and LearningRateScheduler: callbacks that set the learning rate between epochs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tinynn.arguments import check_count, check_number
from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.monitor import MonitorCallback
from tinynn.optimizers import Optimizer


class ReduceLROnPlateau(MonitorCallback):
    """Make the learning rate smaller when a number of the logs has stopped to become better.

    The logs get ``learning_rate``, that of the epoch just done, and with them the History.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The number to watch: the loss or a metric, with ``val_`` that of the validation data.
    factor : float, default 0.1
        What the learning rate is multiplied with; below 1.
    patience : int, default 10
        It becomes smaller after this many epochs, one at least, that were not better.
    verbose : {0, 1}, default 0
        Whether to say what was done.
    mode : {"auto", "min", "max"}, default "auto"
        Whether small or large is better; "auto" asks the metric.
    min_delta : float, default 1e-4
        How much better a value must be to count as better.
    cooldown : int, default 0
        How many epochs after a change are not counted.
    min_lr : float, default 0
        The learning rate does not become smaller than this.

    Attributes
    ----------
    best : float or None
        The best value so far.
    wait : int
        How many epochs since the last better one, or the last change.
    cooldown_counter : int
        How many epochs of the cooldown are left.

    Raises
    ------
    ValueError
        In fit, if there is nothing of the name `monitor` in the logs, or "auto" does not know which way is better.
    TypeError
        In fit, if the optimizer follows a schedule.

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    >>> model.compile(tinynn.SGD(0.5), "mse")
    >>> slower = ReduceLROnPlateau("loss", factor=0.5, patience=2, verbose=1, cooldown=50)
    >>> history = model.fit(x, 2 * x, epochs=30, verbose=0, callbacks=[slower])
    Epoch 14: ReduceLROnPlateau reducing learning rate to 0.25.
    >>> history.history["learning_rate"][13:15]
    [0.5, 0.25]
    """

    state_names = ("best", "cooldown_counter", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = check_number(factor, "ReduceLROnPlateau: factor", 0, 1, below=True)
        self.patience = check_count(patience, "ReduceLROnPlateau: patience", 0)
        self.verbose = verbose
        self.cooldown = check_count(cooldown, "ReduceLROnPlateau: cooldown", 0)
        self.min_lr = check_number(min_lr, "ReduceLROnPlateau: min_lr", 0)
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the last training; the learning rate stays as that left it."""
        super().on_train_begin(logs)
        optimizer_of(self)
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look whether the epoch was better, and reduce the learning rate if too many were not."""
        log_learning_rate(self, logs)
        current = self.monitored(logs)
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience:
                self.reduce(epoch)

    def reduce(self, epoch: int) -> None:
        """Make the learning rate smaller, if it may become smaller still."""
        optimizer = optimizer_of(self)
        if optimizer.learning_rate <= self.min_lr:
            return
        optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {optimizer.learning_rate}.")


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch to what a function says.

    The logs get ``learning_rate``, and with them the History. For a rate that changes at every step give the
    optimizer a schedule, see `tinynn.schedules`.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)``, or ``schedule(epoch)``, returns the new rate; epochs count from 0. Those of
        `tinynn.schedules` will do: they then count epochs.
    verbose : {0, 1}, default 0
        Whether to print the rate.

    Raises
    ------
    TypeError
        If `schedule` cannot be called so; in fit, if the optimizer follows a schedule of its own.
    ValueError
        In fit, if what it returns is no number from 0 up.

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> x = np.ones((8, 2))
    >>> model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    >>> model.compile(tinynn.SGD(0.5), "mse")
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    >>> model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[halve]).history["learning_rate"]
    [0.5, 0.25, 0.125]
    """

    state_names = ()  # the rate is the optimizer's to remember

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function, got {schedule!r:.60}.")
        self.schedule = schedule
        self.verbose = verbose
        # Keras calls it with both and, on any TypeError, with the epoch alone; which hides a TypeError inside.
        self.takes_rate = can_call(schedule, 0, 0.1)
        if not self.takes_rate and not can_call(schedule, 0):
            raise TypeError(
                "LearningRateScheduler: schedule is called as schedule(epoch, learning_rate) or schedule(epoch), "
                f"and has the parameters {inspect.signature(schedule)}."
            )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look whether the learning rate may be set."""
        optimizer_of(self)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate."""
        optimizer = optimizer_of(self)
        rate = self.schedule(epoch, optimizer.learning_rate) if self.takes_rate else self.schedule(epoch)
        rate = check_number(rate, f"LearningRateScheduler: what schedule returns for epoch {epoch}", 0)
        optimizer.learning_rate = rate
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the learning rate into the logs."""
        log_learning_rate(self, logs)


def optimizer_of(callback: Callback) -> Optimizer:
    """Return the optimizer whose learning rate a callback may set.

    Raises
    ------
    TypeError
        If it follows a schedule: the callback would end it, or the schedule undo what the callback does.
    """
    who = type(callback).__name__
    optimizer, _ = callback.model.need_compiled(who)
    if optimizer.schedule is not None:
        raise TypeError(
            f"{who} sets the learning rate, and the optimizer follows the schedule {optimizer.schedule!r}; use one of "
            "the two: compile with a number for learning_rate, or leave the callback out."
        )
    return optimizer


def log_learning_rate(callback: Callback, logs: Logs | None) -> None:
    """Write the learning rate of the epoch just done into its logs, for the callbacks after this one."""
    if logs is not None:
        logs["learning_rate"] = optimizer_of(callback).learning_rate


def can_call(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function takes these arguments; one that does not tell is taken to."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some that are written in C
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
