"""Pictures made of small images: the worst mistakes, and the weights of a first layer."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.arguments import check_count, check_shape
from tinynn.backend import Array, to_host
from tinynn.data import check_array, class_numbers
from tinynn.plots.common import (
    TEXT,
    TITLE,
    check_same_length,
    finish,
    names_of_classes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mistakes(
    x: Any,
    y_true: Any,
    y_pred: Any,
    path: str | os.PathLike[str] | None = None,
    count: int = 25,
    image_shape: tuple[int, ...] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    r"""Draw the images the model got wrong, the worst first: those where it was surest of its wrong answer.

    Parameters
    ----------
    x : array, shape (samples, ...)
        The images: (samples, height, width), also with a last axis of 1 (grey) or 3 (red, green, blue), or flat.
    y_true : array
        Class numbers, or one-hot rows.
    y_pred : array, shape (samples, classes)
        Probabilities, as ``model.predict`` returns them where the model ends in softmax.
    path : str or path-like, optional
        Where to write the picture; its ending chooses the format, such as ``.png``.
    count : int, default 25
        How many images to draw at most.
    image_shape : tuple of int, optional
        (height, width) or (height, width, 3) of flat images; by default a square.
    class_names : sequence of str, optional
        By default the class numbers.

    Returns
    -------
    matplotlib.figure.Figure
        One axes an image. Where there are no mistakes, the title says so and there is no image.

    Raises
    ------
    ValueError
        If the lengths differ, `y_pred` are no probabilities, or `x` are no images of `image_shape`.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).random((3, 16))                # three images of 4 x 4 pixels
    >>> figure = mistakes(x, [0, 1, 0], [[0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
    >>> [axes.get_title() for axes in figure.axes]
    ['said 1 (90.0%)\ntrue 0', 'said 1 (60.0%)\ntrue 0']
    """
    who = "plots.mistakes"
    count = check_count(count, f"{who}: count")
    probabilities = check_probabilities(y_pred, who)
    classes = probabilities.shape[1]
    images = as_images(x, image_shape, who)
    true, true_classes = class_numbers(y_true, who, "y_true")
    check_same_length(who, x=images, y_true=true, y_pred=probabilities)
    if true_classes > classes:
        raise ValueError(
            f"{who}: y_true has the class {true_classes - 1}, but y_pred has {classes} columns, for the classes 0 to "
            f"{classes - 1}."
        )
    names = names_of_classes(class_names, classes, who)

    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != true)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    captions = [f"said {names[said[i]]} ({sure[i]:.1%})\ntrue {names[true[i]]}" for i in worst]

    if len(worst) == 0:
        figure = new_figure(7, 1)
        figure.suptitle(f"No mistakes in {len(true):,} samples", fontsize=TITLE)
        return finish(figure, path)
    columns, rows = grid(len(worst))
    letters = max(len(line) for caption in captions for line in caption.split("\n"))
    side = max(1.75, 0.115 * letters)  # of an image, in inches; long names of classes must not run into each other
    figure = new_figure(max(side * columns, 7), 0.7 + (side + 0.5) * rows)
    figure.suptitle(f"{len(worst)} of {len(wrong):,} mistakes in {len(true):,} samples, worst first", fontsize=TITLE)
    shown = images[worst].astype(np.float64)
    low, high = shown.min(), shown.max()
    draw_images(figure, (shown - low) / (high - low or 1), captions, TEXT, cmap="gray", vmin=0, vmax=1)
    return finish(figure, path)


def weights(
    W: Any,
    path: str | os.PathLike[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
    count: int = 64,
) -> Figure:
    """Draw what the units of a first layer look for: the weights of each unit as an image of its inputs.

    Red weights speak for the unit, blue ones against it, white ones do not count. All images share one scale, which
    the largest half percent of the weights may pass. Drawn are the units with the largest weights (the largest
    norms), for these do most; the largest comes first.

    Parameters
    ----------
    W : array, shape (inputs, units)
        Such as ``model.layers[0].W``.
    path : str or path-like, optional
        Where to write the picture; its ending chooses the format, such as ``.png``.
    image_shape : tuple of int, optional
        (height, width) of the inputs; by default a square.
    count : int, default 64
        How many units to draw at most.

    Returns
    -------
    matplotlib.figure.Figure
        One axes a unit, and the last one for the colour bar.

    Raises
    ------
    ValueError
        If `W` is no matrix, or its columns are no images of `image_shape`.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.array([[0.0, 1.0], [0.1, -3.0], [0.2, 0.0], [0.3, 2.0]])         # 2 x 2 pixels, two units
    >>> figure = weights(W)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['unit 1', 'unit 0']
    """
    who = "plots.weights"
    count = check_count(count, f"{who}: count")
    W = to_host(check_array(W, who, "W"))
    if W.ndim != 2:
        raise ValueError(
            f"{who} expected the matrix of a first Dense layer, of shape (inputs, units), got the shape {W.shape}. "
            "Give model.layers[0].W."
        )
    images = as_images(W.T, image_shape, who)
    if images.ndim != 3:
        raise ValueError(
            f"{who}: image_shape must be (height, width), got {image_shape}: weights have a sign, which colours of "
            "their own cannot show. Draw one colour at a time: W[0::3] are the weights of the first of three."
        )
    largest = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:count]
    # The few largest weights of all may pass the ends of the scale: reaching them would leave the rest pale.
    limit = float(np.quantile(abs(W[:, largest]), 0.995)) or 1.0

    columns, rows = grid(len(largest))
    figure = new_figure(max(1.15 * columns + 1.5, 7), 0.7 + 1.4 * rows)
    figure.suptitle(f"{len(largest)} of {W.shape[1]:,} units, largest weights first", fontsize=TITLE)
    captions = [f"unit {unit}" for unit in largest]
    drawn = draw_images(figure, images[largest], captions, 12, cmap="RdBu_r", vmin=-limit, vmax=limit)
    bar = figure.colorbar(drawn[0], ax=figure.axes, shrink=0.8, extend="both")
    bar.set_label("weight", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    return finish(figure, path)


def grid(count: int) -> tuple[int, int]:
    """Return columns and rows for `count` images: more columns than rows, for screens are wide.

    Examples
    --------
    >>> grid(25), grid(3)
    ((7, 4), (3, 1))
    """
    columns = min(count, math.ceil(math.sqrt(1.6 * count)))
    return columns, math.ceil(count / columns)


def draw_images(figure: Figure, images: Array, captions: list[str], fontsize: int, **scale: Any) -> list[Any]:
    """Draw images in a grid, row by row, each under its caption; `scale` is how numbers become colours."""
    columns, rows = grid(len(images))
    drawn = []
    for place, (image, caption) in enumerate(zip(images, captions, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        drawn.append(axes.imshow(image, **scale))
        axes.set_title(caption, fontsize=fontsize)
        axes.set_xticks([])
        axes.set_yticks([])
    return drawn


def check_probabilities(y: Any, who: str) -> Array:
    """Return predictions of shape (samples, classes) between 0 and 1, or say what is wrong with them."""
    y = to_host(check_array(y, who, "y_pred"))
    if y.ndim != 2 or y.shape[1] < 2:
        hint = "Of one probability p a sample make two columns: numpy.hstack([1 - p, p])."
        if y.ndim == 1:
            hint = "Give what model.predict(x) returns, not class numbers."
        raise ValueError(
            f"{who}: y_pred must hold probabilities, of shape (samples, classes), got the shape {y.shape}. {hint}"
        )
    low, high = y.min(), y.max()
    if low < 0 or high > 1.001:  # rounding may lift a probability a little above 1
        raise ValueError(
            f"{who}: y_pred must hold probabilities, got numbers from {low:.3g} to {high:.3g}. If these are logits, "
            "send them through a softmax first: tinynn.Softmax()(logits)."
        )
    return y


def as_images(x: Any, image_shape: tuple[int, ...] | None, who: str) -> Array:
    """Return samples as images: (samples, height, width), or (samples, height, width, 3).

    Examples
    --------
    >>> as_images(np.zeros((5, 784)), None, "here").shape
    (5, 28, 28)
    """
    x = to_host(check_array(x, who, "x"))
    values = math.prod(x.shape[1:])
    if image_shape is not None:
        shape = check_shape(image_shape, f"{who}: image_shape")
    elif x.ndim == 2:
        side = math.isqrt(values)
        shape = (side, side)
    else:
        shape = x.shape[1:]
    drawable = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if not drawable or math.prod(shape) != values:
        tried = "a square" if image_shape is None and x.ndim == 2 else f"an image of shape {shape}"
        raise ValueError(
            f"{who}: {values} values cannot be drawn as {tried}. Give image_shape=(height, width), or "
            "(height, width, 3) for colours, with as many values in all."
        )
    return x.reshape(len(x), *(shape[:2] if shape[2:] == (1,) else shape))
