"""Ctrl-C during training: stop after the batch at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tinynn.callbacks import History

if TYPE_CHECKING:
    from tinynn.training import Trainer


@contextmanager
def interrupt_after_batch(model: Trainer, history: History) -> Iterator[None]:
    """Make Ctrl-C stop `model` after the batch at hand, so that no step is left half done.

    Only the main thread gets signals, and a program's own handler is left alone. A second Ctrl-C raises at once.
    """
    mine = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not mine:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        model.stop_training = True
        history.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
