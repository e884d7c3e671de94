"""Arrays in, batches out: what is checked before training sees it, how data are split, shuffled and cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host


def to_categorical(x: Any, num_classes: int | None = None) -> Array:
    """Return class numbers as one-hot rows.

    Parameters
    ----------
    x : array of int
        Class numbers from 0; a last axis of size 1 is dropped.
    num_classes : int, optional
        The number of columns; by default the largest class number + 1.

    Returns
    -------
    array of float32, shape (*x.shape, num_classes)

    Raises
    ------
    ValueError
        If `x` is not whole numbers from 0 to num_classes - 1.

    Examples
    --------
    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    numbers = to_host(x)
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]  # a column of class numbers, as Keras takes it
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"to_categorical expected whole class numbers, got {numbers.dtype}.")
    if numbers.size == 0:
        raise ValueError("to_categorical got no class numbers: the array is empty.")
    low, high = int(numbers.min()), int(numbers.max())
    classes = high + 1 if num_classes is None else num_classes
    if low < 0 or high >= classes:
        raise ValueError(
            f"to_categorical expected class numbers from 0 to {classes - 1}, got {low if low < 0 else high}."
        )
    return (numbers[..., None] == np.arange(classes)).astype(np.float32)


def check_pair(x: Any, y: Any, who: str) -> tuple[Array, Array]:
    """Return inputs and targets as arrays, or say what is wrong with them.

    Parameters
    ----------
    x, y : array_like
        One sample a row.
    who : str
        For the message: ``"fit"``, ``"fit: validation_data"``.
    """
    x, y = check_array(x, who, "x"), check_array(y, who, "y")
    if len(x) != len(y):
        raise ValueError(
            f"{who}: x has {len(x)} samples and y has {len(y)}; each sample needs one target. "
            f"The shapes are {tuple(x.shape)} and {tuple(y.shape)}."
        )
    return x, y


def check_array(x: Any, who: str, name: str) -> Array:
    """Return `x` as an array of at least one sample of finite numbers, or say what is wrong with it."""
    if isinstance(x, list | tuple):
        x = np.asarray(x)
    try:
        xp = array_module(x)
    except TypeError as error:
        raise TypeError(f"{who}: {name}: {error}") from None
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{who}: {name} must hold numbers, got dtype {x.dtype}.")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{who}: {name} is empty: its shape is {tuple(x.shape)}. Give at least one sample.")
    # A sum is not finite if a number in it is not: a quick look at all of them, and a slow one only in doubt.
    if x.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not bool(xp.isfinite(x.sum()))
        if suspicious and not bool(xp.isfinite(x).all()):
            wrong = to_host(~xp.isfinite(x))
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{who}: {name} holds {int(wrong.sum())} NaN or infinite values, the first at {name}[{place}] "
                f"= {float(x[place])}. Clean the data first, for example with numpy.nan_to_num."
            )
    return x


def split(x: Array, y: Array, part: float, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Split off a random part for validation.

    Parameters
    ----------
    x, y : array
        One sample a row.
    part : float
        Between 0 and 1: how much goes to validation.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    (x_train, y_train), (x_validation, y_validation)

    Raises
    ------
    ValueError
        If `part` is not between 0 and 1 or leaves one side empty.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> (x_train, _), (x_validation, _) = split(x, x, 0.2, np.random.default_rng(0))
    >>> len(x_train), len(x_validation)
    (8, 2)
    """
    if not isinstance(part, int | float | np.floating) or not 0 < part < 1:
        raise ValueError(f"fit: validation_split must lie between 0 and 1, got {part!r}.")
    count = round(len(x) * part)
    if count in (0, len(x)):
        raise ValueError(
            f"fit: validation_split={part} of {len(x)} samples leaves {len(x) - count} to train on and {count} to "
            "validate; give more samples or another part."
        )
    order = rng.permutation(len(x))
    kept, held_out = np.sort(order[count:]), np.sort(order[:count])
    return (x[kept], y[kept]), (x[held_out], y[held_out])


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
