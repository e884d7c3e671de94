"""Samples: inputs, targets and weights that belong together; how they are split and cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinynn.backend import Array
from tinynn.data.arrays import check_array, kind_of, native
from tinynn.kernels import gather


class Samples(NamedTuple):
    """Inputs, targets, and how much each sample counts, or each step of it; None where all count the same."""

    x: Array
    y: Array
    sample_weight: Array | None = None

    def rows(self, rows: Any) -> Samples:
        """Return some of the samples, in the machine's byte order."""
        sample_weight = self.sample_weight
        x, y = native(gather(self.x, rows)), native(self.y[rows])
        return Samples(x, y, None if sample_weight is None else native(sample_weight[rows]))


def check_samples(x: Any, y: Any, sample_weight: Any, who: str) -> Samples:
    """Return inputs, targets and weights as arrays, or say what is wrong with them.

    Parameters
    ----------
    x, y : array_like
        One sample a row.
    sample_weight : array_like, optional
        One number a sample, or one for each of its steps.
    who : str
        For the message: ``"fit"``, ``"fit: validation_data"``.
    """
    x, y = check_array(x, who, "x"), check_array(y, who, "y")
    if sample_weight is None:
        check_lengths({"x": x, "y": y}, who)
        return Samples(x, y)
    if isinstance(sample_weight, dict):
        raise TypeError(f"{who}: sample_weight must be an array with one number a sample; is class_weight meant?")
    sample_weight = check_array(sample_weight, who, "sample_weight")
    check_lengths({"x": x, "y": y, "sample_weight": sample_weight}, who)
    lowest = sample_weight.min()
    if bool(lowest < 0):
        raise ValueError(
            f"{who}: sample_weight must hold numbers from 0 up, got {float(lowest)}: with a negative weight the "
            "training would make the loss of a sample larger. Use 0 for a sample that shall not count."
        )
    return Samples(x, y, sample_weight)


def check_lengths(arrays: Mapping[str, Any], who: str) -> None:
    """Raise an error if arrays have not as many samples as the first of them.

    Examples
    --------
    >>> check_lengths({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: x has 3 samples and y has 4; each sample needs one target. The shapes are (3, 2) and (4,).
    """
    x = arrays["x"]
    for name, array in arrays.items():
        if len(array) != len(x):
            raise ValueError(
                f"{who}: x has {len(x)} samples and {name} has {len(array)}; each sample needs one "
                f"{'target' if name == 'y' else 'weight'}. The shapes are {tuple(x.shape)} and {tuple(array.shape)}."
            )


def batch_samples(batch: Any, who: str) -> Samples:
    """Return a batch that a user's iterable gave as arrays, or say what is wrong with it.

    Examples
    --------
    >>> batch_samples(np.ones(3), "fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: each batch must be a tuple (x, y) or (x, y, sample_weight), got numpy.ndarray.
    """
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        got = f"{len(batch)} entries" if isinstance(batch, tuple | list) else kind_of(batch)
        raise ValueError(f"{who}: each batch must be a tuple (x, y) or (x, y, sample_weight), got {got}.")
    x, y = batch[:2]
    if is_row(x) and is_row(y) and len(x) != len(y):
        raise ValueError(
            f"{who}: a batch has {len(x)} samples and {len(y)} targets: their shapes are {x.shape} and {y.shape}. "
            "If that is one sample, make batches first: a Dataset by batch(32), a DataLoader by batch_size."
        )
    return check_samples(x, y, batch[2] if len(batch) == 3 else None, who)


def is_row(x: Any) -> bool:
    """Whether something is an array of one axis, as a single sample is."""
    return len(getattr(x, "shape", ())) == 1


def split(size: int, part: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split off a random part for validation.

    Parameters
    ----------
    size : int
        How many samples there are.
    part : float
        Between 0 and 1: how much goes to validation.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    training, validation : array of int
        The rows of each, in order.

    Raises
    ------
    ValueError
        If `part` is not between 0 and 1 or leaves one side empty.

    Examples
    --------
    >>> training, validation = split(10, 0.2, np.random.default_rng(0))
    >>> len(training), len(validation)
    (8, 2)
    """
    if not isinstance(part, int | float | np.floating) or not 0 < part < 1:
        raise ValueError(f"fit: validation_split must lie between 0 and 1, got {part!r}.")
    count = round(size * part)
    if count in (0, size):
        raise ValueError(
            f"fit: validation_split={part} of {size} samples leaves {size - count} to train on and {count} to "
            "validate; give more samples or another part."
        )
    order = rng.permutation(size)
    return np.sort(order[count:]), np.sort(order[:count])


def batches(count: int, batch_size: int, order: Array | None = None) -> Iterator[Any]:
    """Yield the rows of one batch after another; the last one may be smaller.

    Parameters
    ----------
    count : int
        How many samples there are.
    batch_size : int
        How many a batch has.
    order : array of int, optional
        The order to take the samples in. By default they are taken as they stand, without copying them.

    Examples
    --------
    >>> x = np.array([10, 11, 12])
    >>> [x[rows] for rows in batches(3, 2)]
    [array([10, 11]), array([12])]
    >>> [x[rows] for rows in batches(3, 2, np.array([2, 0, 1]))]
    [array([12, 10]), array([11])]
    """
    for start in range(0, count, batch_size):
        rows = slice(start, start + batch_size)
        yield rows if order is None else order[rows]
