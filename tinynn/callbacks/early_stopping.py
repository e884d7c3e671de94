"""EarlyStopping: no more epochs when they have stopped to help."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_count, check_number
from tinynn.backend import Array
from tinynn.callbacks.base import Logs
from tinynn.callbacks.monitor import MonitorCallback


class EarlyStopping(MonitorCallback):
    """Stop the training when a number of the logs has stopped to become better.

    With `restore_best_weights` the model ends with the weights of its best epoch however the training ends: stopped
    here, run to its last epoch, ended by Ctrl-C, by `TerminateOnNaN` or by an error. The optimizer keeps its memory.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The number to watch: the loss or a metric, with ``val_`` that of the validation data.
    min_delta : float, default 0
        How much better a value must be to count as better.
    patience : int, default 0
        The training ends after this many epochs, one at least, that were not better.
    verbose : {0, 1}, default 0
        Whether to say what was done.
    mode : {"auto", "min", "max"}, default "auto"
        Whether small or large is better; "auto" asks the metric.
    baseline : float, optional
        Epochs that are not better than this count as not better, too.
    restore_best_weights : bool, default False
        Whether to end with the weights of the best epoch; the last ones otherwise. The best is the best of all, also
        where none is better than `baseline`.
    start_from_epoch : int, default 0
        Epochs, counted from 0, before this one are not looked at.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int
        Its epoch, from 0.
    best_weights : list of array or None
        The weights after it, as of `Model.get_weights`, with `restore_best_weights`.
    stopped_epoch : int
        The epoch after which the training was stopped, from 0; 0 if it was not.
    wait : int
        How many epochs since the last better one.

    Raises
    ------
    ValueError
        In fit, if there is nothing of the name `monitor` in the logs, or "auto" does not know which way is better.

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = tinynn.Sequential([tinynn.Dense(1)], seed=0)
    >>> model.compile(tinynn.SGD(0.5), "mse")
    >>> stop = EarlyStopping("loss", min_delta=1e-3, patience=2, verbose=1, restore_best_weights=True)
    >>> history = model.fit(x, 2 * x, epochs=100, verbose=0, callbacks=[stop])
    Epoch 13: early stopping
    Restoring model weights from the end of the best epoch: 11.
    >>> len(history.epoch)
    13
    """

    state_names = ("best", "best_epoch", "best_weights", "stopped_epoch", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_count(patience, "EarlyStopping: patience", 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else check_number(baseline, "EarlyStopping: baseline", -float("inf"))
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = check_count(start_from_epoch, "EarlyStopping: start_from_epoch", 0)
        self.training = False
        self.forget()

    def forget(self) -> None:
        """Forget the last training: one instance may serve several."""
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights: list[Array] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the last training."""
        super().on_train_begin(logs)
        self.forget()
        self.training = True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look whether the epoch was better, and stop if too many were not."""
        current = self.monitored(logs)
        if epoch < self.start_from_epoch:
            return
        better = self.is_improvement(current, self.best)
        if self.restore_best_weights and (better or self.best_weights is None):
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if better:
            self.best = current
            self.best_epoch = epoch
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring the best weights back."""
        if not self.training:
            return  # another callback failed before this training began: the weights kept are those of an older one
        self.training = False
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def set_state(self, state: dict[str, Any]) -> None:
        """Remember; a training that this has stopped stays so, unless the patience has grown since then."""
        super().set_state(state)
        if self.stopped_epoch > 0:
            self.model.stop_training = self.wait >= self.patience
            if not self.model.stop_training:
                self.stopped_epoch = 0
