"""TerminateOnNaN: a loss that is no number ends the training, not the program."""

from __future__ import annotations

import math

from tinynn.callbacks.base import Callback, Logs


class TerminateOnNaN(Callback):
    """End the training when the loss becomes NaN or infinite, and let fit return.

    Without this callback fit raises FloatingPointError. With it the message is printed, fit returns the History, and
    the program goes on, as it does in Keras; what differs from Keras, for the better:

    - On the CPU the step is not made: the weights are the last good ones. On a GPU the step is made before its loss is
      seen; `EarlyStopping` with ``restore_best_weights=True`` brings good weights back.
    - The epoch that was cut short is no epoch: it is not in the History, and no callback sees a mean with NaN in it.
    - Weights that become NaN in the last step of an epoch, which no loss tells, end the training too.

    On a GPU looking at each loss waits for each step; without this callback there is one look an epoch.

    Parameters
    ----------
    raise_error : bool, default False
        Whether to raise RuntimeError in place of ending the training in peace. (In Keras the other callbacks'
        ``on_train_end`` is not called then; here it always is.)

    Attributes
    ----------
    error : Exception or None
        What ended the last training, with the epoch and the batch; None if nothing did.

    Examples
    --------
    >>> import numpy as np, tinynn
    >>> model = tinynn.Sequential([tinynn.Dense(1, kernel_initializer="ones")])
    >>> model.compile(tinynn.SGD(1e30), "mse")
    >>> stop = TerminateOnNaN()
    >>> with np.errstate(over="ignore"):
    ...     history = model.fit(np.ones((64, 1)), np.zeros((64, 1)), epochs=9, verbose=0, callbacks=[stop])
    Training terminated: the loss became inf at epoch 1, batch 2 (...
    >>> history.epoch, stop.error is None
    ([], False)
    """

    state_names = ()

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error
        self.error: Exception | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the last training."""
        self.error = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss; that somebody looks is why fit fetches it from a GPU."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self.on_not_finite(FloatingPointError(f"the loss became {loss} at batch {batch + 1}."))

    def on_not_finite(self, error: FloatingPointError) -> bool:
        """End the training."""
        self.error = error
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: {error}") from error
        self.model.stop_training = True
        print(f"Training terminated: {error}")
        return True
