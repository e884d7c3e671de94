"""The curves of a training: loss and metrics over the epochs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tinynn.plots.common import TEXT, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tinynn.callbacks import History


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
    alone = ("loss", "learning_rate")  # they share no scale with anything
    metrics = [name for name in names if name not in alone]
    panels = [panel for panel in (["loss"], metrics, ["learning_rate"]) if panel and panel[0] in names]
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
