"""The base class of the callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynn.training import Trainer

Logs = dict[str, float]


class Callback:
    """Base class of the callbacks; one's own overrides the moments it wants.

    Attributes
    ----------
    model : Trainer
        The model being trained. Setting ``self.model.stop_training = True`` stops it after the batch.
    params : dict
        ``epochs``, ``steps`` (batches an epoch), ``samples`` and ``verbose``.

    Examples
    --------
    >>> class StopWhenGood(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         if logs["accuracy"] > 0.98:
    ...             self.model.stop_training = True
    """

    model: Trainer
    params: dict[str, Any]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when fit begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when fit ends, also after Ctrl-C and after an error, with the logs of the last whole epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before an epoch; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch with the mean loss and the metrics of it, and ``val_...`` of the validation data."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch; `batch` counts from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch with the loss and metrics of the epoch so far."""

    def on_not_finite(self, error: FloatingPointError) -> bool:
        """Called when the loss or the weights became NaN or infinite; True ends the training without an error.

        Where no callback returns True, fit raises the error.
        """
        return False
