"""Checkpoints: files of a model in a folder, from the newest whole one of which a training goes on."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.arguments import check_count
from tinynn.config import to_plain
from tinynn.io.atomic import path_of, remove
from tinynn.io.files import Contents, Reading, write_file
from tinynn.io.model_file import WHAT, arrays_of, describe, read_model_file
from tinynn.io.weights import about

if TYPE_CHECKING:
    from tinynn.compiled import Compiled

LEFT_SECONDS = 60  # a younger one may be of another process, which still writes it
KEPT = 2  # the newest, and one more in case that one is damaged
NAME = re.compile(r"checkpoint-(\d+)\.tinynn")
LEFT_BEHIND = re.compile(r"\.checkpoint-\d+\.tinynn\.[0-9a-f]+\.tmp")  # by a process that was killed while it wrote


class CheckpointWarning(UserWarning):
    """A checkpoint could not be read or written; the training goes on, and the message says how."""


class Checkpoints:
    """The checkpoints of one training: a folder, and how often one is made.

    Each is a file as of ``model.save``, with where the training stands beside it: `tinynn.load_model` reads it too. A
    thread writes it from copies while the training goes on, for the disk takes its time; the next one waits for it.

    Parameters
    ----------
    folder : str or path-like
        Made if it is not there. Only the two newest checkpoints are kept in it.
    freq : int or "epoch"
        After how many batches one is made, or after each epoch.
    resume : bool
        Whether to go on from what the folder holds.

    Raises
    ------
    FileExistsError
        If the folder has checkpoints and `resume` is False: they would be mixed with, and removed for, the new ones.
    OSError
        If the folder cannot be made.

    Examples
    --------
    >>> import tempfile, tinynn
    >>> model = tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> model.build()
    (2,)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder, "epoch", resume=False)
    ...     for number in (0, 10, 20):
    ...         checkpoints.begin(model, {"epoch": number}, number)
    ...     checkpoints.finish()
    ...     print(sorted(os.listdir(folder)))
    ['checkpoint-0000000010.tinynn', 'checkpoint-0000000020.tinynn']
    """

    def __init__(self, folder: Any, freq: int | str, resume: bool) -> None:
        self.folder = path_of(folder, "fit: checkpoint_dir")
        if freq != "epoch":
            if isinstance(freq, str):
                raise ValueError(f"fit: checkpoint_freq must be 'epoch' or a number of batches, got {freq!r}.")
            check_count(freq, "fit: checkpoint_freq")
        self.freq = freq
        self.described: dict[str, Any] | None = None
        self.copies: dict[str, np.ndarray] = {}
        self.writer = ThreadPoolExecutor(1, "checkpoints", give_way)
        self.writing: Future[None] | None = None
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            reason = "a file has this name" if isinstance(error, FileExistsError) else error.strerror
            raise OSError(
                error.errno, f"fit: checkpoint_dir: the folder {self.folder} cannot be made ({reason})"
            ) from None
        if self.numbers() and not resume:
            raise FileExistsError(
                f"fit: checkpoint_dir: {self.folder} has checkpoints of a training already. Go on with it by "
                "resume=True, or give the new training another folder."
            )

    def due(self, step: int) -> bool:
        """Whether one is to be made after so many batches of an epoch."""
        return self.freq != "epoch" and step % int(self.freq) == 0

    def begin(self, model: Compiled, state: Any, number: int) -> None:
        """Begin to write a checkpoint; when it is whole, all but the newest ones are removed.

        Parameters
        ----------
        model : Compiled
        state : object
            Where the training stands: plain data and arrays.
        number : int
            Of the checkpoint: how many batches the training has seen.
        """
        who = "fit: checkpoint_dir"
        self.finish()
        if self.described is None:
            self.described = describe(model, who)
        arrays = arrays_of(model, who)
        document = self.described | {"state": to_plain(state, "state", arrays)}
        for name, array in arrays.items():
            if name not in self.copies or self.copies[name].shape != array.shape:
                self.copies[name] = np.empty_like(array)
            self.copies[name][...] = array
        copies = {name: self.copies[name] for name in arrays}
        self.writing = self.writer.submit(self.write, number, copies, about(model), document, f"{model.label}: {who}")

    def write(self, number: int, *contents: Any) -> None:
        """Write a checkpoint, and remove the old ones."""
        write_file(self.path(number), *contents)
        for old in self.numbers()[:-KEPT]:
            remove(self.path(old))

    def finish(self) -> None:
        """Wait for the checkpoint that is being written.

        Raises
        ------
        OSError
            If it cannot be written. Those that were there are as they were.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the thread, when the last checkpoint is written."""
        self.writer.shutdown(wait=True)

    def newest(self) -> tuple[str, Contents] | None:
        """Return the path and the contents of the newest whole checkpoint, None where the folder has none at all.

        Warns
        -----
        CheckpointWarning
            For each newer one that is damaged.

        Raises
        ------
        ValueError
            If there are some, and all are damaged.
        """
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if LEFT_BEHIND.fullmatch(name) and time.time() - os.stat(path).st_mtime > LEFT_SECONDS:
                remove(path)
        numbers = self.numbers()
        faults = []
        for number in reversed(numbers):
            path = self.path(number)
            try:
                with Reading(path, "fit: resume", WHAT) as reading:
                    contents = read_model_file(reading)
            except (ValueError, OSError) as error:
                faults.append(str(error))
                continue
            for fault in faults:
                warnings.warn(f"{fault} An older checkpoint, {path}, is used.", CheckpointWarning, stacklevel=3)
            return path, contents
        if faults:
            raise ValueError(
                f"fit: resume: none of the {len(faults)} checkpoints in {self.folder} is whole. Take them from another "
                f"copy, or start anew in another folder. {faults[0]}"
            )
        return None

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints in the folder, in order."""
        found = (NAME.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def path(self, number: int) -> str:
        """Return the path of a checkpoint."""
        return os.path.join(self.folder, f"checkpoint-{number:010d}.tinynn")


def give_way() -> None:
    """Let this thread work when the others wait: those of a matrix product wait for the slowest of them."""
    if sys.platform == "linux":  # elsewhere a process has one priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
