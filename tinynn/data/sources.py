"""Sources: what fit, evaluate and predict go through, batch by batch: the rows of arrays, or an iterable of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain, islice
from typing import Any

from tinynn.backend import Array, Device, to_device
from tinynn.data.arrays import kind_of
from tinynn.data.dataset import Dataset
from tinynn.data.samples import Samples, batches

Order = Callable[[int], Array]  # given how many samples there are, the order to take them in


class Source:
    """Batches of one kind, epoch after epoch.

    Attributes
    ----------
    steps, samples : int or None
        How many batches and samples an epoch has, None where nobody knows before its end.
    first : Samples
        Some samples, for whoever wants to know of what kind they are.
    """

    steps: int | None
    samples: int | None
    first: Samples

    def batches(self, epoch: int, skip: int, order: Order | None) -> Iterator[Samples]:
        """Yield the batches of an epoch from number `skip` on; those of arrays in an order, where one is given."""
        raise NotImplementedError


class ArraySource(Source):
    """The rows of arrays that are checked and on the device.

    Parameters
    ----------
    samples : Samples
    batch_size : int
        The last batch of an epoch may be smaller.
    rows : array of int, optional
        Which rows; by default all. They are not copied: `samples` may be memory maps larger than the memory.
    device : Device, optional
        Where the arrays are; by default the CPU.

    Examples
    --------
    >>> import numpy as np
    >>> source = ArraySource(Samples(np.arange(5), np.arange(5)), 2, rows=np.array([0, 1, 4]))
    >>> source.steps, [batch.x.tolist() for batch in source.batches(0, 0, None)]
    (2, [[0, 1], [4]])
    >>> [batch.x.tolist() for batch in source.batches(0, 1, lambda count: np.array([2, 1, 0]))]
    [[0]]
    """

    def __init__(
        self, samples: Samples, batch_size: int, rows: Array | None = None, device: Device | None = None
    ) -> None:
        self.first = samples
        self.batch_size = batch_size
        self.rows = rows if rows is None or device is None else to_device(rows, device)
        self.device = device
        self.count = len(samples.x) if rows is None else len(rows)
        self.samples = self.count
        self.steps = math.ceil(self.count / batch_size)

    def batches(self, epoch: int, skip: int, order: Order | None) -> Iterator[Samples]:
        """Yield the batches of an epoch from number `skip` on."""
        for chosen in islice(batches(self.count, self.batch_size, self.rows_in(order)), skip, None):
            yield self.first.rows(chosen)

    def rows_in(self, order: Order | None) -> Array | None:
        """Return the rows of an epoch one after another, in an order where one is given; None for all as they stand."""
        rows = self.rows
        if order is not None:
            order_of_rows = order(self.count)
            if self.device is not None:
                order_of_rows = to_device(order_of_rows, self.device)
            rows = order_of_rows if rows is None else rows[order_of_rows]
        return rows


class IterableSource(Source):
    """The batches of an iterable: a `Dataset`, a list of batches, a generator, a DataLoader of PyTorch.

    An iterable that can be gone through again, is, in every epoch. An iterator that cannot is gone on with, and
    `steps` must say how long an epoch is.

    Parameters
    ----------
    given : iterable
        Of tuples, one batch each.
    ready : callable
        Makes of such a tuple samples that are checked and on the device.
    steps : int or None
        How many batches an epoch has; None: until the iterable ends.
    who : str
        For messages: ``"fit"``.

    Attributes
    ----------
    epochs_before : int
        Of a `Dataset`: which of its epochs the first one here is.

    Examples
    --------
    >>> import numpy as np
    >>> source = IterableSource([(np.ones(2), np.zeros(2))] * 3, lambda batch: Samples(*batch), None, "fit")
    >>> source.steps, len(list(source.batches(0, 1, None)))
    (3, 2)
    """

    def __init__(self, given: Iterable[Any], ready: Callable[[Any], Samples], steps: int | None, who: str) -> None:
        self.given = given
        self.ready = ready
        self.samples = None
        self.who = who
        self.steps = length_of(given) if steps is None else steps
        self.given_steps = steps
        self.dataset = given if isinstance(given, Dataset) else None
        if steps is None and self.dataset is not None and self.dataset.stage.length == math.inf:
            name = {"fit": "steps_per_epoch", "fit: validation_data": "validation_steps"}.get(who, "steps")
            raise ValueError(
                f"{who}: this Dataset is repeated without end. Say with {name} how many batches to take, or leave "
                "repeat() out: fit goes through a Dataset once an epoch anyway."
            )
        self.epochs_before = 0 if self.dataset is None else self.dataset.epochs_begun
        self.once = isinstance(given, Iterator)
        self.taken = 0  # batches taken from an iterator that can be gone through once
        iterator = iter(given) if self.dataset is None else self.dataset.iterate(self.epochs_before)
        batch = next(iterator, None)
        if batch is None:
            raise ValueError(f"{who}: {kind_of(given)} has no batches: it ended before the first one.")
        self.first = ready(batch)
        self.begun: Iterator[Any] | None = chain([batch], iterator)  # the first epoch, or all there is

    def batches(self, epoch: int, skip: int, order: Order | None) -> Iterator[Samples]:
        """Yield the batches of an epoch from number `skip` on.

        Raises
        ------
        ValueError
            If the batches end where there should be one.
        """
        count = skip
        left = None if self.given_steps is None else self.given_steps - skip
        for batch in islice(self.epoch(epoch, skip), left):  # not one more, which would be of the next epoch
            self.taken += 1
            count += 1
            yield self.ready(batch)
        if count == 0 or (self.given_steps is not None and count < self.given_steps):
            wanted = "" if self.given_steps is None else f" of {self.given_steps}"
            advice = (
                "It can be gone through once; give a tinynn.data.Dataset.from_generator(function), or a list."
                if self.once
                else "Ask for fewer steps."
            )
            raise ValueError(
                f"{self.who}: {kind_of(self.given)} ended in epoch {epoch + 1} after {count}{wanted} batches. {advice}"
            )

    def epoch(self, epoch: int, skip: int) -> Iterator[Any]:
        """Return an iterator over what is left of an epoch, and what may come after it."""
        if self.dataset is not None:
            self.begun = None
            self.dataset.epochs_begun = self.epochs_before + epoch + 1
            return self.dataset.iterate(self.epochs_before + epoch, skip)
        begun = self.begun
        if self.once:
            assert begun is not None
            wanted = epoch * (self.given_steps or 0) + skip
            missing = wanted - self.taken
            self.taken = max(self.taken, wanted)
            return islice(begun, max(missing, 0), None)
        self.begun = None
        return islice(iter(self.given) if begun is None else begun, skip, None)

    def skip(self, count: int) -> None:
        """Go past the first `count` batches of an iterator that can be gone through once, where it has not yet."""
        if self.once and count > self.taken and self.begun is not None:
            self.begun = islice(self.begun, count - self.taken, None)
            self.taken = count


def length_of(given: Iterable[Any]) -> int | None:
    """Return how many batches there are, None where an iterable does not say."""
    try:
        return len(given) if isinstance(given, Sized) else None
    except TypeError:
        return None


def is_batches(x: Any) -> bool:
    """Whether something is an iterable of batches, and no array nor anything that becomes one.

    Examples
    --------
    >>> import numpy as np
    >>> is_batches(np.ones(3)), is_batches([1, 2]), is_batches(iter([1, 2])), is_batches([(np.ones(2), np.ones(2))])
    (False, False, True, True)
    """
    if isinstance(x, list | tuple):
        return len(x) > 0 and all(isinstance(batch, tuple) and is_tuple(batch) for batch in x)
    return not array_like(x) and isinstance(x, Iterable) and not isinstance(x, str | bytes | dict | range)


def is_tuple(batch: Any) -> bool:
    """Whether something is a tuple or list of arrays, ``(x, y)``, and not an array or a list of numbers."""
    return isinstance(batch, list | tuple) and len(batch) > 0 and all(array_like(entry) for entry in batch)


def array_like(x: Any) -> bool:
    """Whether something is an array with axes, or becomes one."""
    if hasattr(x, "shape"):
        return len(x.shape) > 0
    return any(hasattr(x, name) for name in ("__array__", "__dlpack__", "__cuda_array_interface__"))
