"""The base class of the callbacks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tinynn.callbacks.memory import NotPlain, as_it_was, plain

if TYPE_CHECKING:
    from tinynn.training import Trainer

Logs = dict[str, float]


class Callback:
    """Base class of the callbacks; one's own overrides the moments it wants.

    A checkpoint holds what each callback remembers, so that a training that was killed and is resumed goes on as if
    nothing had been. For that one's own needs to write nothing, if all it remembers are attributes of plain kinds:
    see `get_state`.

    Attributes
    ----------
    model : Trainer
        The model being trained. Setting ``self.model.stop_training = True`` stops it after the batch.
    params : dict
        ``epochs``, ``steps`` (batches an epoch; None where nobody knows), ``samples`` (likewise) and ``verbose``.
    state_names : tuple of str or None
        Of the class: the attributes that a checkpoint holds. None, the default, is all that it can hold. The callbacks
        of tinynn name theirs; a subclass of one that remembers more names them all,
        ``state_names = (*EarlyStopping.state_names, "more")``.

    Examples
    --------
    >>> class StopWhenGood(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         if logs["accuracy"] > 0.98:
    ...             self.model.stop_training = True
    """

    model: Trainer
    params: dict[str, Any]
    state_names: tuple[str, ...] | None = None

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
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch with the loss and metrics of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Do what `on_train_batch_begin` should do, under its shorter name."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Do what `on_train_batch_end` should do, under its shorter name."""

    def wants_batch(self) -> bool:
        """Whether `on_train_batch_end` is to be called for the batch just done, if this callback has one of its own.

        To work out the loss and metrics so far takes time, on a GPU the most, so who needs them seldom says so here.
        """
        return True

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when an evaluation begins: evaluate's, or that of the validation data in fit."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when an evaluation ends, with its loss and metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of an evaluation with the loss and metrics so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when predict begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when predict ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch in predict."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch in predict, with its ``outputs``, a NumPy array."""

    def on_not_finite(self, error: FloatingPointError) -> bool:
        """Called when the loss or the weights became NaN or infinite; True ends the training without an error.

        Where no callback returns True, fit raises the error.
        """
        return False

    def get_state(self) -> dict[str, Any]:
        """Return a copy of what this callback remembers, for a checkpoint.

        Returns
        -------
        dict
            The attributes in `state_names`. Where that is None: all that are None, bool, int, float, str, NumPy
            arrays and scalars, or lists, tuples and dicts (keys of str) of these; not `model` and `params`, and not
            what is of another kind, such as functions, files, sets and CuPy arrays. Settings from the constructor are
            among them, and the resumed training has those of the checkpoint; so are large arrays that never change,
            which every checkpoint writes anew. Who names in `state_names` what changes in a training keeps that alone.

        Examples
        --------
        >>> class Counts(Callback):
        ...     def __init__(self, every, show=print):
        ...         self.every, self.show, self.batches = every, show, 0
        >>> Counts(10).get_state()
        {'every': 10, 'batches': 0}
        >>> Counts.state_names = ("batches",)
        >>> Counts(10).get_state()
        {'batches': 0}
        """
        if self.state_names is not None:
            given: Any = self.state_names
            if isinstance(given, str):
                example = f"state_names = ({given!r},)"
                raise TypeError(f"{type(self).__name__}: state_names must be a tuple of names, as in {example}.")
            return {name: self.plain_attribute(name) for name in self.state_names}
        state = {}
        for name, value in vars(self).items():
            if name not in ("model", "params"):
                with suppress(NotPlain):
                    state[name] = plain(value)
        return state

    def plain_attribute(self, name: str) -> Any:
        """Return an attribute in `state_names` as a checkpoint can hold it."""
        if not hasattr(self, name):
            raise AttributeError(
                f"{type(self).__name__}: {name!r} stands in state_names, and the callback has no such attribute; give "
                "it one in __init__."
            )
        try:
            return plain(getattr(self, name))
        except NotPlain as error:
            raise TypeError(
                f"{type(self).__name__}: {name!r} stands in state_names, and a checkpoint cannot hold it, for it is or "
                f"has in it a {error}; see Callback.get_state for what it can hold."
            ) from None

    def set_state(self, state: dict[str, Any]) -> None:
        """Remember what `get_state` returned.

        A training that is resumed calls this right after `on_train_begin`, which forgets.

        Examples
        --------
        >>> callback = Callback()
        >>> callback.set_state({"batches": 3})
        >>> callback.batches
        3
        """
        for name, value in state.items():
            setattr(self, name, as_it_was(value))
