"""CallbackList: how fit speaks to its callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.progress import ProgressBar

if TYPE_CHECKING:
    from tinynn.scores import Scores
    from tinynn.training import Trainer


class CallbackList:
    """All callbacks of one fit, called together; batches only for those that look at batches."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        callbacks = list(callbacks)
        self.last_logs: Logs = {}
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"fit: callbacks must be instances of tinynn.callbacks.Callback, got {callback!r:.60}.")
        self.all: list[Callback] = callbacks
        self.bars = [callback for callback in self.all if isinstance(callback, ProgressBar)]
        others = [callback for callback in self.all if not isinstance(callback, ProgressBar)]
        self.at_batch_begin = [callback for callback in others if overrides(callback, "on_train_batch_begin")]
        self.at_batch_end = [callback for callback in others if overrides(callback, "on_train_batch_end")]

    def begin(self, model: Trainer, params: dict[str, Any]) -> None:
        """Tell them the model and that training begins."""
        for callback in self.all:
            callback.model, callback.params = model, params
            callback.on_train_begin({})

    def end(self) -> None:
        """Tell all of them that training ends, also those after one that raises."""
        with ExitStack() as stack:
            for callback in reversed(self.all):
                stack.callback(callback.on_train_end, self.last_logs)

    def epoch_begin(self, epoch: int) -> None:
        """Tell them that an epoch begins."""
        for callback in self.all:
            callback.on_epoch_begin(epoch, {})

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        """Tell them how an epoch went; what one adds to the logs, those after it see."""
        self.last_logs = logs
        for callback in self.all:
            callback.on_epoch_end(epoch, logs)

    def batch_begin(self, batch: int) -> None:
        """Tell those that look at batches."""
        for callback in self.at_batch_begin:
            callback.on_train_batch_begin(batch, {})

    def batch_end(self, batch: int, scores: Scores) -> None:
        """Tell those that look at batches; the scores are worked out only if anybody does."""
        watching = [*self.at_batch_end, *(bar for bar in self.bars if bar.wants_batch())]
        if watching:
            logs = scores.result()
            for callback in watching:
                callback.on_train_batch_end(batch, logs)

    def not_finite(self, error: FloatingPointError) -> bool:
        """Tell all of them of a NaN, and whether one of them ends the training in place of the error."""
        answers = [callback.on_not_finite(error) for callback in self.all]
        return any(answers)


def check_list(callbacks: Any) -> list[Any]:
    """Return the callbacks that a user gave to fit as a list; None is none.

    Raises
    ------
    TypeError
        If they are not in a list.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, str | bytes | Mapping):
        return list(callbacks)
    name = callbacks.__name__ if isinstance(callbacks, type) else type(callbacks).__name__
    example = f", such as [{name}(...)]" if isinstance(callbacks, type | Callback) else ""
    raise TypeError(f"fit: callbacks must be a list{example}, got {callbacks!r:.60}.")


def overrides(callback: Callback, method: str) -> bool:
    """Whether a callback has a method of its own, by its class or given to it, in place of Callback's."""
    return getattr(getattr(callback, method), "__func__", None) is not getattr(Callback, method)
