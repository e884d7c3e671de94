"""What the commands print: JSON that every program can read, notes, versions."""

from __future__ import annotations

import json
import math
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynn import __version__
from tinynn.io.checkpoints import CheckpointWarning


def print_json(data: Any) -> None:
    """Print one JSON document. NaN and infinity, which JSON has not, become null."""
    print(json.dumps(without_nan(data), indent=2, allow_nan=False))


def without_nan(data: Any) -> Any:
    """Return data for JSON, with None for every number that is not finite.

    Examples
    --------
    >>> without_nan({"loss": [0.5, float("nan")]})
    {'loss': [0.5, None]}
    """
    if isinstance(data, dict):
        return {key: without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def note(command: str, message: str) -> None:
    """Tell people something on standard error, where it does not disturb what another program reads."""
    print(f"tinynn {command}: note: {message}", file=sys.stderr)


@contextmanager
def notes_of_checkpoints(command: str) -> Iterator[None]:
    """Tell warnings that a checkpoint could not be read or written as notes; others stay warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, CheckpointWarning):
                note(command, " ".join(str(message).split()))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = tell
        yield


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"tinynn": __version__, "numpy": np.__version__, "python": platform.python_version()}


def show_scores(scores: dict[str, float], samples: int) -> str:
    """Return loss and metrics in one line, the loss last.

    Examples
    --------
    >>> show_scores({"loss": 0.0592, "accuracy": 0.9806}, 10000)
    'test accuracy 0.9806 - test loss 0.0592  (10,000 samples)'
    """
    names = [*(name for name in scores if name != "loss"), "loss"]
    return " - ".join(f"test {name} {scores[name]:.4f}" for name in names) + f"  ({samples:,} samples)"
