"""LambdaCallback: a callback of functions, in place of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynn.arguments import find
from tinynn.callbacks.base import Callback

MOMENTS = [name for name in vars(Callback) if name.startswith("on_")]


class LambdaCallback(Callback):
    """A callback made of functions; those that are not given do nothing.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Called as ``f(epoch, logs)``; epochs count from 0.
    on_train_begin, on_train_end : callable, optional
        Called as ``f(logs)``.
    on_train_batch_begin, on_train_batch_end : callable, optional
        Called as ``f(batch, logs)``; batches count from 0 in each epoch.
    **kwargs : callable
        Any other method of `Callback`.

    Raises
    ------
    ValueError
        For a name that is no method of `Callback`.
    TypeError
        For what is no function.

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> model = tinynn.Sequential([tinynn.Dense(1, kernel_initializer="zeros")])
    >>> model.compile(tinynn.SGD(0.0), "mse")
    >>> show = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0, callbacks=[show])
    0 1.0
    1 1.0
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any],
    ) -> None:
        functions = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in functions.items():
            find("moment for LambdaCallback", name, dict.fromkeys(MOMENTS))
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, got {function!r:.60}.")
            setattr(self, name, function)
