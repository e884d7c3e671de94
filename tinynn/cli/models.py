"""Models: the one place where the commands save, load and test them."""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatch
from typing import Any

import tinynn
from tinynn.cli import dataset
from tinynn.cli.mistakes import Mistake, told
from tinynn.io.weights import read_metadata


def load(path: str, device: str | None) -> Any:
    """Return the model in a file."""
    with told(ValueError, OSError, RuntimeError, without="load_model: "):
        return tinynn.load_model(path, device=device)


def describe(path: str) -> dict[str, str]:
    """Return what a model file says about itself, without the document that describes the network."""
    with told(ValueError, OSError, without="read_metadata: "):
        facts = read_metadata(path)
    return {name: value for name, value in facts.items() if name != "document"}


def save(model: Any, path: str) -> None:
    """Write a model file."""
    with told(ValueError, OSError):
        model.save(path)


def targets(model: Any, y: Any) -> Any:
    """Return targets in the form that the model's loss wants."""
    return dataset.targets_for(y, model.loss, model.output_shape[-1])


def score(model: Any, samples: dataset.Samples, batch_size: int = 1024) -> dict[str, float]:
    """Return loss and metrics on samples."""
    with told(ValueError, before="the test samples do not fit the model: "):
        found: dict[str, float] = model.evaluate(
            samples.x, targets(model, samples.y), batch_size=batch_size, verbose=0, return_dict=True
        )
    return found


def need_no_checkpoints(folder: str) -> None:
    """Raise Mistake if a folder has checkpoints of a training that is not to be resumed."""
    with suppress(FileNotFoundError):
        if any(fnmatch(name, "checkpoint-*.tinynn") for name in os.listdir(folder)):
            raise Mistake(
                f"--checkpoint-dir: {folder} has checkpoints of a training already. Go on with it by --resume, or give "
                "the new training another folder."
            )


def need_place(path: str, option: str) -> None:
    """Raise Mistake if no file can be written there: said before the training and not after it.

    A device or a pipe is refused: a file that is written whole or not at all would take its place.
    """
    if not path:
        raise Mistake(f"{option}: give the name of a file; what was given is empty.")
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise Mistake(f"{option}: {path} is a folder; give the name of a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise Mistake(f"{option}: {path} is a device or a pipe; give the name of a file.")
    if not os.path.isdir(folder):
        raise Mistake(f"{option}: there is no folder {folder}; make it first.")
    if not os.access(folder, os.W_OK):
        raise Mistake(f"{option}: you may not write into the folder {folder}; give another one.")
