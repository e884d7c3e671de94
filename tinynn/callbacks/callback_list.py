"""CallbackList: how fit speaks to its callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tinynn.arguments import guess
from tinynn.backend import Array
from tinynn.callbacks.base import Callback, Logs
from tinynn.callbacks.memory import NotPlain, plain
from tinynn.callbacks.progress import ProgressBar

if TYPE_CHECKING:
    from tinynn.scores import Scores
    from tinynn.training import Trainer


class CallbackList:
    """All callbacks of one fit, evaluate or predict, called together; batches only for those that look at batches."""

    def __init__(self, callbacks: Iterable[Any], who: str = "fit") -> None:
        callbacks = list(callbacks)
        self.last_logs: Logs = {}
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"{who}: callbacks must be instances of tinynn.callbacks.Callback, got {callback!r:.60}."
                    f"{advice_for(callback)}"
                )
            warn_of_strangers(callback)
        self.all: list[Callback] = callbacks
        self.bars = [callback for callback in self.all if isinstance(callback, ProgressBar)][-1:]
        # One bar is enough: the user's, which stands after that of fit.
        self.all = [
            callback for callback in callbacks if not isinstance(callback, ProgressBar) or callback in self.bars
        ]
        self.at_batch_begin = [c for c in self.all if overrides(c, "on_train_batch_begin", "on_batch_begin")]
        self.at_batch_end = [c for c in self.all if overrides(c, "on_train_batch_end", "on_batch_end")]
        self.at_test_batch_begin = [c for c in self.all if overrides(c, "on_test_batch_begin")]
        self.at_test_batch_end = [c for c in self.all if overrides(c, "on_test_batch_end")]

    @property
    def may_change_settings(self) -> bool:
        """Whether somebody looks at batches who may change a setting there: all but the bars."""
        return any(callback not in self.bars for callback in (*self.at_batch_begin, *self.at_batch_end))

    def attach(self, model: Trainer, params: dict[str, Any]) -> None:
        """Tell them the model; all that evaluate and predict need."""
        for callback in self.all:
            callback.model, callback.params = model, params

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

    def get_states(self) -> dict[str, dict[str, Any]]:
        """Return what the callbacks remember, but the bars, by their names in `named`."""
        states = {}
        for name, callback in self.named():
            state = callback.get_state()
            if overrides(callback, "get_state"):
                check_state(state, callback)
            states[name] = state
        return states

    def set_states(self, states: dict[str, dict[str, Any]]) -> list[str]:
        """Give the callbacks what `get_states` returned, after `begin`.

        Returns
        -------
        list of str
            What the user should know: a sentence for each kind of callback that came or went since then.
        """
        named = self.named()
        for name, callback in named:
            if name in states:
                callback.set_state(states[name])
        new = [name for name, _ in named if name not in states]
        gone = [name for name in states if name not in dict(named)]
        told = [f"callbacks that the checkpoint does not know start afresh: {', '.join(new)}."] if new else []
        return told + ([f"callbacks of the checkpoint are missing now: {', '.join(gone)}."] if gone else [])

    def named(self) -> list[tuple[str, Callback]]:
        """Return the callbacks, but the bars, with the name of their class; the second of a class is ``Name_1``."""
        found: list[tuple[str, Callback]] = []
        count: dict[str, int] = {}
        for callback in self.all:
            if callback not in self.bars:
                kind = type(callback).__name__
                number = count[kind] = count.get(kind, -1) + 1
                found.append((f"{kind}_{number}" if number else kind, callback))
        return found

    def epoch_begin(self, epoch: int, resumed: bool = False) -> None:
        """Tell them that an epoch begins; the bars alone, where a training is resumed in the midst of it."""
        for callback in self.bars if resumed else self.all:
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
        """Tell those that want to know of this batch; the scores are worked out only if anybody does."""
        watching = [callback for callback in self.at_batch_end if callback.wants_batch()]
        if watching:
            logs = scores.result()
            for callback in watching:
                callback.on_train_batch_end(batch, logs)

    def test_begin(self) -> None:
        """Tell them that an evaluation begins."""
        for callback in self.all:
            callback.on_test_begin({})

    def test_batch_begin(self, batch: int) -> None:
        """Tell those that look at batches of evaluations."""
        for callback in self.at_test_batch_begin:
            callback.on_test_batch_begin(batch, {})

    def test_batch_end(self, batch: int, scores: Scores) -> None:
        """Tell those that look at batches of evaluations; the scores are worked out only if anybody does."""
        if self.at_test_batch_end:
            logs = scores.result()
            for callback in self.at_test_batch_end:
                callback.on_test_batch_end(batch, logs)

    def test_end(self, logs: Logs) -> None:
        """Tell them how an evaluation went."""
        for callback in self.all:
            callback.on_test_end(dict(logs))

    def predict_begin(self) -> None:
        """Tell them that predict begins."""
        for callback in self.all:
            callback.on_predict_begin({})

    def predict_batch_begin(self, batch: int) -> None:
        """Tell them that a batch in predict begins."""
        for callback in self.all:
            callback.on_predict_batch_begin(batch, {})

    def predict_batch_end(self, batch: int, outputs: Array) -> None:
        """Tell them what came out of a batch in predict."""
        for callback in self.all:
            callback.on_predict_batch_end(batch, {"outputs": outputs})

    def predict_end(self) -> None:
        """Tell them that predict ends."""
        for callback in self.all:
            callback.on_predict_end({})

    def not_finite(self, error: FloatingPointError) -> bool:
        """Tell all of them of a NaN, and whether one of them ends the training in place of the error."""
        answers = [callback.on_not_finite(error) for callback in self.all]
        return any(answers)


def warn_of_strangers(callback: Callback) -> None:
    """Warn of methods whose names are nearly those of a moment, for nobody would ever call them."""
    moments = [name for name in dir(Callback) if name.startswith("on_")]
    for name in dir(type(callback)):
        if name.startswith("on_") and name not in moments:
            meant = guess(name, moments, least=0.85)
            if meant:
                warnings.warn(
                    f"{type(callback).__name__} has a method {name!r}, which fit does not call.{meant}", stacklevel=5
                )


def advice_for(given: Any) -> str:
    """Return what to give in place of something that is no callback, as a sentence to follow another; or nothing."""
    if isinstance(given, type) and issubclass(given, Callback):
        return f" Make one of the class: {given.__name__}(...)."
    if callable(given):
        return " A function goes into one: LambdaCallback(on_epoch_end=...)."
    return ""


def check_list(callbacks: Any, who: str = "fit") -> list[Any]:
    """Return the callbacks that a user gave as a list; None is none.

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
    raise TypeError(f"{who}: callbacks must be a list{example}, got {callbacks!r:.60}.")


def check_state(state: Any, callback: Callback) -> None:
    """Raise TypeError if a callback's own get_state returned what a checkpoint cannot hold."""
    kind = type(callback).__name__
    if not isinstance(state, dict):
        raise TypeError(f"{kind}: get_state must return a dict, got {state!r:.60}.")
    try:
        plain(state)
    except NotPlain as error:
        raise TypeError(
            f"{kind}: get_state returned a {error}, which a checkpoint cannot hold; see Callback.get_state for what it "
            "can hold."
        ) from None


def overrides(callback: Callback, *methods: str) -> bool:
    """Whether a callback has one of the methods of its own, by its class or given to it, in place of Callback's."""
    return any(getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name) for name in methods)
