"""Elements of a `Dataset`: one array, or a tuple of arrays that belong together; how they are gathered and stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.data.arrays import converted, native

Numbers = range | Array  # which elements: a range where they stand together


def moved(numbers: Numbers, by: int) -> Numbers:
    """Return numbers, each larger by so much."""
    return range(numbers.start + by, numbers.stop + by) if isinstance(numbers, range) else numbers + by


class StoredRows:
    """Rows of an array in a file, as h5py and zarr have them: read when they are wanted, in an order they take."""

    def __init__(self, stored: Any) -> None:
        self.stored = stored
        self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        if not isinstance(key, np.ndarray):
            return np.asarray(self.stored[key])
        rows, places = np.unique(key, return_inverse=True)  # h5py wants them in order, each once
        return np.asarray(self.stored[rows])[places]


def is_stored(x: Any) -> bool:
    """Return whether `x` is an array in a file of h5py or zarr."""
    return type(x).__module__.partition(".")[0] in ("h5py", "zarr") and bool(getattr(x, "shape", ()))


def gathered(array: Array | StoredRows, numbers: Numbers) -> Array:
    """Return a copy of some rows, in the machine's byte order."""
    if isinstance(array, StoredRows):
        return native(array[slice(numbers.start, numbers.stop) if isinstance(numbers, range) else numbers])
    if isinstance(numbers, range):
        part = array[numbers.start : numbers.stop]
        return part.copy() if part.dtype.isnative else native(part)
    return native(array[array_module(array).asarray(numbers)])


def one_or_tuple(entries: list[Any]) -> Any:
    """Return the entries as an element: a single one stands alone."""
    return entries[0] if len(entries) == 1 else tuple(entries)


def stack(elements: Sequence[Any]) -> Any:
    """Return elements as one, each entry with a new first axis.

    Raises
    ------
    ValueError
        If they differ in shape or in the number of entries, or are no numbers.

    Examples
    --------
    >>> stack([(np.zeros(2), 5), (np.ones(2), 7)])
    (array([[0., 0.],
           [1., 1.]]), array([5, 7]))
    """
    first = elements[0]
    if not isinstance(first, tuple):
        return stack_entries(elements, "")
    for number, element in enumerate(elements):
        if not isinstance(element, tuple) or len(element) != len(first):
            raise ValueError(
                f"Dataset.batch: element {number} is no tuple of {len(first)} entries, but the first one is."
            )
    return tuple(stack_entries(entries, f"[{i}]") for i, entries in enumerate(zip(*elements, strict=True)))


def stack_entries(entries: Sequence[Any], place: str) -> Array:
    """Return entries stacked, or say which one does not fit."""
    arrays = [entry_as_array(entry, place) for entry in entries]
    shape = tuple(arrays[0].shape)
    for number, array in enumerate(arrays):
        if tuple(array.shape) != shape:
            raise ValueError(
                f"Dataset.batch: element {number}{place} of the batch has the shape {tuple(array.shape)}, the first "
                f"one {shape}. Make them alike with map, for example by padding."
            )
    stacked: Array = array_module(arrays[0]).stack(arrays)
    return stacked


def entry_as_array(entry: Any, place: str) -> Array:
    """Return what a generator or a function made as an array; plain numbers too."""
    who, name = "Dataset.batch", f"an element{place}"
    array = np.asarray(entry) if isinstance(entry, int | float | np.generic) else converted(entry, who, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{who}: {name} must hold numbers, got dtype {array.dtype}.")
    return array


def joined(elements: Sequence[Any]) -> Any:
    """Return batches one after another as one."""
    if isinstance(elements[0], tuple):
        return tuple(array_module(entries[0]).concatenate(entries) for entries in zip(*elements, strict=True))
    return array_module(elements[0]).concatenate(elements)
