"""Arrays in, batches out: what is checked before training sees it, how data are split, shuffled and cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinynn.arguments import check_number
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


class Samples(NamedTuple):
    """Inputs, targets, and how much each sample counts, or each step of it; None where all count the same."""

    x: Array
    y: Array
    sample_weight: Array | None = None

    def rows(self, rows: Any) -> Samples:
        """Return some of the samples."""
        sample_weight = self.sample_weight
        return Samples(self.x[rows], self.y[rows], None if sample_weight is None else sample_weight[rows])


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
    if len(x) != len(y):
        raise ValueError(
            f"{who}: x has {len(x)} samples and y has {len(y)}; each sample needs one target. "
            f"The shapes are {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if sample_weight is None:
        return Samples(x, y)
    if isinstance(sample_weight, dict):
        raise TypeError(f"{who}: sample_weight must be an array with one number a sample; is class_weight meant?")
    sample_weight = check_array(sample_weight, who, "sample_weight")
    if len(x) != len(sample_weight):
        raise ValueError(
            f"{who}: x has {len(x)} samples and sample_weight has {len(sample_weight)}; each sample needs one weight. "
            f"The shapes are {tuple(x.shape)} and {tuple(sample_weight.shape)}."
        )
    lowest = sample_weight.min()
    if bool(lowest < 0):
        raise ValueError(
            f"{who}: sample_weight must hold numbers from 0 up, got {float(lowest)}: with a negative weight the "
            "training would make the loss of a sample larger. Use 0 for a sample that shall not count."
        )
    return Samples(x, y, sample_weight)


def weights_of_classes(y: Array, class_weight: Any, prediction_shape: tuple[int, ...], who: str) -> Array:
    """Return the weight of the class of each sample, or of each step of sequences.

    Parameters
    ----------
    y : array
        Targets on the host: class numbers, one-hot rows, or one column of 0 and 1 (or -1 and 1).
    class_weight : dict of int to float
        A weight for every class in `y`.
    prediction_shape : tuple of int
        The shape of the predictions for `y`.
    who : str
        For the message: ``"fit: class_weight"``.

    Raises
    ------
    TypeError
        If `class_weight` is no dictionary.
    ValueError
        If the targets are no classes, or the classes have no weights, or the weights no classes.

    Examples
    --------
    >>> weights_of_classes(np.array([0, 2, 2]), {0: 1.0, 1: 1.0, 2: 0.5}, (3, 3), "fit: class_weight")
    array([1. , 0.5, 0.5])
    """
    if not isinstance(class_weight, dict):
        raise TypeError(
            f"{who} must be a dictionary of class numbers and weights, such as {{0: 1.0, 1: 5.0}}, "
            f"got {type(class_weight).__name__}."
        )
    outputs, given = prediction_shape[-1], tuple(y.shape)
    classes = list(range(outputs))
    if given == prediction_shape and outputs > 1:
        one_of_them = y.min() >= 0 and abs(y.sum(axis=-1) - 1).max() < 1e-3
        numbers = y.argmax(axis=-1) if one_of_them else None
    elif given == prediction_shape:
        classes = [-1, 1] if y.min() < 0 else [0, 1]
        numbers = y[..., 0] if np.isin(y, classes).all() else None
    else:
        numbers = y if given == prediction_shape[:-1] and y.dtype.kind in "iu" else None
    if numbers is None:
        raise ValueError(
            f"{who} needs targets that are classes: class numbers, one-hot rows, or a column of 0 and 1; got the shape "
            f"{given} of {y.dtype} with values from {y.min()} to {y.max()}. For other targets use sample_weight."
        )
    unknown = [number for number in class_weight if number not in classes]
    if unknown:
        raise ValueError(f"{who} has a weight for {unknown[0]!r}, but the classes are {classes[0]} to {classes[-1]}.")
    missing = [int(number) for number in np.unique(numbers) if number not in class_weight]
    if missing:
        raise ValueError(
            f"{who} has no weight for the class {missing[0]}, which is among the targets. Give every class one, such "
            f"as {missing[0]}: 1.0."
        )
    known = sorted(class_weight)
    weights = np.array([check_number(class_weight[number], f"{who}[{number}]", 0) for number in known])
    return weights[np.searchsorted(known, numbers)]


def class_numbers(y: Any, who: str, name: str) -> tuple[Array, int]:
    """Return class numbers, shape (samples,), and how many classes there must be.

    Examples
    --------
    >>> class_numbers([[0, 0, 1], [1, 0, 0]], "here", "y")
    (array([2, 0]), 3)
    """
    y = to_host(check_array(y, who, name))
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(axis=1), y.shape[1]
    if y.ndim == 2:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"{who}: {name} must be class numbers, of shape (samples,), or one-hot rows or probabilities, of shape "
            f"(samples, classes); got the shape {y.shape}."
        )
    wrong = y[(y < 0) | (y != np.floor(y))]
    if wrong.size:
        raise ValueError(
            f"{who}: {name} must hold class numbers 0, 1, 2, ..., or a row of probabilities a sample; got {wrong[0]}. "
            "Of one probability a sample make class numbers with (p > 0.5).astype(int)."
        )
    numbers = y.astype(np.int64)
    return numbers, int(numbers.max()) + 1


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


def split(samples: Samples, part: float, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Split off a random part for validation.

    Parameters
    ----------
    samples : Samples
    part : float
        Between 0 and 1: how much goes to validation.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    training, validation : Samples

    Raises
    ------
    ValueError
        If `part` is not between 0 and 1 or leaves one side empty.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> training, validation = split(Samples(x, x), 0.2, np.random.default_rng(0))
    >>> len(training.x), len(validation.x)
    (8, 2)
    """
    if not isinstance(part, int | float | np.floating) or not 0 < part < 1:
        raise ValueError(f"fit: validation_split must lie between 0 and 1, got {part!r}.")
    size = len(samples.x)
    count = round(size * part)
    if count in (0, size):
        raise ValueError(
            f"fit: validation_split={part} of {size} samples leaves {size - count} to train on and {count} to "
            "validate; give more samples or another part."
        )
    order = rng.permutation(size)
    return samples.rows(np.sort(order[count:])), samples.rows(np.sort(order[:count]))


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
