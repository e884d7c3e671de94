"""Pictures of training: history, confusion matrix, mistakes, weights. Needs the extra ``viz`` (matplotlib).

Each function returns a matplotlib Figure and, given a path, writes it there. A notebook shows a Figure at the end of
a cell once ``%matplotlib inline`` was run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backend import Array, to_host
from tinynn.data import check_array, check_count
from tinynn.layers.base import check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tinynn.callbacks import History

# Sizes of text in points, large enough to be read from the last row of a classroom.
TEXT, TITLE = 13, 15
DOTS_PER_INCH = 150
MOST_CLASSES = 50  # a larger confusion matrix fits no screen


def need_matplotlib() -> None:
    """Raise ImportError if matplotlib is missing; call it before a long training whose pictures are wanted.

    Raises
    ------
    ImportError
        The message says what to install.

    Examples
    --------
    >>> need_matplotlib()
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib, which could not be imported: install tinynn with the extra 'viz' "
            "(pip install 'tinynn[viz]')."
        ) from error


def history(history: History, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the loss and the metrics over the epochs, training and validation together.

    The training values are means over an epoch during which the model still improves, and the validation values are
    taken at its end. So in the first epochs validation often looks the better of the two.

    Parameters
    ----------
    history : History
        What ``fit`` returned.
    path : str or path-like, optional
        Where to write the picture; its ending chooses the format, such as ``.png``.

    Returns
    -------
    matplotlib.figure.Figure
        One axes with the loss and, if there are metrics, one with all of them.

    Raises
    ------
    TypeError
        If `history` is not what fit returns.
    ValueError
        If no epoch was finished.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from tinynn.callbacks import History
    >>> trained = History()
    >>> trained.on_epoch_end(0, {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.9})
    >>> trained.on_epoch_end(1, {"loss": 0.3, "accuracy": 0.9, "val_loss": 0.4, "val_accuracy": 0.8})
    >>> figure = history(trained)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    values = getattr(history, "history", None)
    if not isinstance(values, dict):
        raise TypeError(
            f"plots.history expected the History that fit returns, got {type(history).__name__}. "
            "Write history = model.fit(...) and plots.history(history)."
        )
    if not any(values.values()):
        raise ValueError("plots.history: this History has no finished epoch to draw; train at least one epoch first.")
    names = list(dict.fromkeys(key.removeprefix("val_") for key in values))
    metrics = [name for name in names if name != "loss"]
    panels = [panel for panel in (["loss"] if "loss" in names else [], metrics) if panel]
    figure = new_figure(1 + 5.5 * len(panels), 4.5)
    for place, panel in enumerate(panels, 1):
        draw_curves(figure.add_subplot(1, len(panels), place), panel, values)
    return finish(figure, path)


def draw_curves(axes: Axes, names: list[str], values: dict[str, list[float]]) -> None:
    """Draw the named quantities of a History: a full line for training, a dashed one for validation."""
    from matplotlib.ticker import MaxNLocator

    for name in names:
        for key, role, line in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
            if key in values:
                epochs = range(1, len(values[key]) + 1)
                label = role if len(names) == 1 else f"{role} {name}"
                # Points show where the epochs are (a single epoch is nothing but a point); many points are a smear.
                marker = "o" if len(epochs) <= 30 else ""
                axes.plot(epochs, values[key], line, marker=marker, linewidth=2.5, label=label)
    longest = max(len(column) for column in values.values())
    axes.set_xlim(0.5, longest + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel(names[0] if len(names) == 1 else "metrics", fontsize=TEXT)
    axes.ticklabel_format(axis="y", useOffset=False)  # 0.981, not 0.001 with "+9.8e-1" in a corner
    axes.tick_params(labelsize=TEXT)
    axes.grid(color="0.9")
    axes.legend(fontsize=TEXT)


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
    counts = np.bincount(classes * true + said, minlength=classes * classes).reshape(classes, classes)

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


# Drawing ---------------------------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches. It belongs to nobody but the caller: pyplot would keep it in a list."""
    need_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Enough room between rows of images to see that a caption belongs to the image under it.
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.05, compress=True))


def finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure to `path`, if there is one, and return it."""
    if path is not None:
        figure.savefig(path, dpi=DOTS_PER_INCH)
    return figure


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


# Checking --------------------------------------------------------------------------------------------------------


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


def check_same_length(who: str, **arrays: Array) -> None:
    """Raise ValueError if the arrays, given by their names, differ in length."""
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"{who}: each sample needs one entry in every array, but the lengths differ: {lengths}.")


def names_of_classes(class_names: Sequence[str] | None, classes: int, who: str) -> list[str]:
    """Return a name for every class, its number by default."""
    if class_names is None:
        return [str(number) for number in range(classes)]
    if len(class_names) < classes:
        raise ValueError(f"{who}: class_names has {len(class_names)} names for {classes} classes; give one for each.")
    return [str(name) for name in class_names]


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
