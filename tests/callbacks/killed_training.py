"""A training with every callback that writes or remembers, which kills itself after some batches: see test_killed.

Run as ``python killed_training.py FOLDER BATCHES``; 0 is not at all. It goes on from where the last one was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import numpy as np

import tinynn

x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
y = x[:, :1] * x[:, 1:2]


class Mine(tinynn.Callback):
    """What a user writes, who has not heard of memories."""

    def __init__(self) -> None:
        self.batches = 0
        self.losses: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(np.float32(logs["loss"]))


class Kill(tinynn.Callback):
    """Stands last: all others have written what they write after the batch, and no checkpoint knows of it."""

    state_names = ()

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, after: int) -> None:
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    model = tinynn.Sequential([tinynn.Input((4,)), tinynn.Dense(6, activation="tanh"), tinynn.Dense(1)], seed=0)
    model.compile(tinynn.Adam(0.05), "mse", metrics=["mae"])
    mine = Mine()
    stop = tinynn.EarlyStopping("loss", patience=9, restore_best_weights=True)
    callbacks = [
        tinynn.ReduceLROnPlateau("loss", patience=1, min_delta=0.05, cooldown=1),
        mine,
        stop,
        tinynn.CSVLogger("log.csv"),
        tinynn.TensorBoard("logs", histogram_freq=1, update_freq=4),
        tinynn.ModelCheckpoint("{epoch}-{batch}-{loss:.3f}.tinynn", "loss", save_freq=4, save_best_only=True),
        Kill(after),
    ]
    history = model.fit(
        x,
        y,
        batch_size=10,
        epochs=4,
        verbose=0,
        validation_split=0.2,
        callbacks=callbacks,
        checkpoint_dir="checkpoints",
        checkpoint_freq=3,
        resume=True,
    )
    weights = [weight.tobytes().hex() for weight in model.get_weights()]
    result = [weights, history.epoch, history.history, mine.batches, list(map(float, mine.losses)), stop.best_epoch]
    with open("result.json", "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
