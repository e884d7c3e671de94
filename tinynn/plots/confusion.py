"""The confusion matrix: which class was taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import metrics
from tinynn.backend import Array
from tinynn.data import class_numbers
from tinynn.plots.common import (
    TEXT,
    TITLE,
    check_same_length,
    finish,
    names_of_classes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 50  # a larger confusion matrix fits no screen


def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    path: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw which class was taken for which: the true class chooses the row, the answer the column.

    The cells hold counts. Most answers of a good model are right, so a colour for the count would show the diagonal
    and nothing else. Here the diagonal is plain grey, and the colour is the part of the row that went wrong there.

    Parameters
    ----------
    y_true, y_pred : array
        What is true and what was said: class numbers, or rows of one-hot values or probabilities, of which the
        largest counts.
    path : str or path-like, optional
        Where to write the picture; its ending chooses the format, such as ``.png``.
    class_names : sequence of str, optional
        By default the class numbers.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the two have different lengths, hold no class numbers, or more classes than can be drawn or have a name.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> figure = confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], class_names=["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '', '2']
    """
    who = "plots.confusion_matrix"
    true, true_classes = class_numbers(y_true, who, "y_true")
    said, said_classes = class_numbers(y_pred, who, "y_pred")
    check_same_length(who, y_true=true, y_pred=said)
    classes = max(true_classes, said_classes, len(class_names or ()))
    if classes > MOST_CLASSES:
        raise ValueError(
            f"{who} draws at most {MOST_CLASSES} classes, got {classes}; keep the samples of the classes you want to "
            "compare, and number these from 0."
        )
    names = names_of_classes(class_names, classes, who)
    counts = metrics.confusion_matrix(true, said, classes)

    samples = counts.sum(axis=1, keepdims=True)
    rates = 100 * counts / np.maximum(samples, 1)  # in percent of the row; a class without samples has no mistakes
    rates[np.diag_indices(classes)] = np.nan  # what is right has no colour of the scale

    cell = max(0.65, 0.17 * len(str(counts.max())))  # in inches; the longest number must fit
    figure = new_figure(max(3 + cell * classes, 7), max(2 + cell * classes, 5.5))
    axes = figure.add_subplot()
    image = draw_cells(axes, counts, rates, names)
    axes.set_xlabel("said", fontsize=TITLE)
    axes.set_ylabel("true", fontsize=TITLE)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("mistakes, % of the true class", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    wrong = int((true != said).sum())
    axes.set_title(f"{wrong:,} of {len(true):,} wrong, accuracy {1 - wrong / len(true):.4f}", fontsize=TITLE)
    return finish(figure, path)


def draw_cells(axes: Axes, counts: Array, rates: Array, names: list[str]) -> Any:
    """Draw the cells of a confusion matrix: `counts` are their numbers, `rates` their colours, NaN on the diagonal."""
    import matplotlib

    worst = float(np.nanmax(rates, initial=0.0)) or 100.0
    colours = matplotlib.colormaps["Oranges"].with_extremes(bad="0.88")
    image = axes.imshow(rates, cmap=colours, vmin=0, vmax=worst)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column,
            row,
            str(count) if count or row == column else "",  # an empty cell is quicker to read than a 0
            ha="center",
            va="center",
            fontsize=TITLE,
            color="white" if rates[row, column] > 0.75 * worst else "black",
        )
    places = np.arange(len(names))
    axes.set_xticks(places, names, fontsize=TEXT)
    axes.set_yticks(places, names, fontsize=TEXT)
    if max(map(len, names)) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    # Lines between the cells, at ticks that have no length.
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="0.8", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    return image
