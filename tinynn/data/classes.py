"""Targets that are classes: numbers, one-hot rows, and what each class counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import check_number
from tinynn.backend import Array, to_host
from tinynn.data.arrays import check_array


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
