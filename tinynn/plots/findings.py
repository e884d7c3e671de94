"""What `tinynn.doctor` measured: learning rates, one batch learned by heart, gradients and steps by layer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tinynn.diagnose import limits
from tinynn.plots.common import TEXT, TITLE, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tinynn.diagnose.report import DoctorReport

MOST_LAYERS = 40  # more names cannot be read
LONGEST_NAME = 30


def examination(report: DoctorReport, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the trials and the layers of an examination.

    Parameters
    ----------
    report : DoctorReport
        What ``tinynn.doctor`` returned.
    path : str or path-like, optional
        Where to write the picture; its ending chooses the format, such as ``.png``.

    Returns
    -------
    matplotlib.figure.Figure
        Four axes: the loss as learning rates rise, the loss on one batch, the gradients and the steps by layer.

    Raises
    ------
    TypeError
        If `report` is not what doctor returns.
    ValueError
        If the loss was not finite, so that nothing could be measured.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import tinynn
    >>> model = tinynn.Sequential([tinynn.Dense(4, activation="tanh"), tinynn.Dense(1)], seed=0)
    >>> model.compile("adam", "mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> figure = examination(tinynn.doctor(model, x, x[:, :1], verbose=0))
    >>> [axes.get_title() for axes in figure.axes]
    ['learning rates', 'one batch of 16', 'gradients', 'one step']
    """
    layers = getattr(report, "layers", None)
    if layers is None or not hasattr(report, "range_test"):
        raise TypeError(
            f"plots.examination expected the report that doctor returns, got {type(report).__name__}. "
            "Write report = tinynn.doctor(model, x, y) and plots.examination(report)."
        )
    if report.range_test is None:
        raise ValueError("plots.examination: the loss was not finite, so there is nothing to draw; see the findings.")
    shown = [fact for fact in layers if fact.gradient is not None][:MOST_LAYERS]
    names = [short(fact.layer) for fact in shown]
    figure = new_figure(14, 5.5 + max(0.3 * len(names), 3.0))
    draw_range(figure.add_subplot(2, 2, 1), report)
    draw_batch(figure.add_subplot(2, 2, 2), report)
    axes = figure.add_subplot(2, 2, 3)
    draw_layers(axes, names, [fact.gradient for fact in shown], among=(shown[-1].gradient or 1.0) if shown else 1.0)
    decorate(axes, "norm of the gradient by the output", "", "gradients")
    axes = figure.add_subplot(2, 2, 4)
    draw_layers(axes, names, [fact.update for fact in shown], among=limits.UPDATE_GOOD)
    axes.axvline(limits.UPDATE_GOOD, color="C2", linestyle="--", linewidth=2, label=f"usual {limits.UPDATE_GOOD:g}")
    decorate(axes, "size of a step / size of the weights", "", "one step")
    axes.legend(fontsize=TEXT)
    return finish(figure, path)


def short(name: str) -> str:
    """Return the end of a name that is too long for a picture.

    Examples
    --------
    >>> short("transformer_block > attention > multi_head_attention")
    '...tion > multi_head_attention'
    """
    return name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"


def draw_range(axes: Axes, report: DoctorReport) -> None:
    """Draw the loss while the learning rate rises, and where the rates in question lie."""
    test = report.range_test
    assert test is not None
    axes.plot(test.rates, test.losses, linewidth=2.5)
    axes.set_xscale("log")
    highest = 2 * max(abs(test.losses[0]), abs(min(test.losses)))
    axes.set_ylim(top=min(max(test.losses), test.losses[0] + highest))  # where it diverges it leaves the picture
    marks: list[tuple[str, float | None, str, str]] = [("the optimizer's", report.learning_rate, "black", ":")]
    marks += [("suggested", test.suggested, "C2", "--"), ("diverges", test.diverges, "C3", "-")]
    for label, rate, color, line in marks:
        if rate:
            axes.axvline(rate, color=color, linestyle=line, linewidth=2, label=f"{label} {rate:.2g}")
    decorate(axes, "learning rate", "loss, smoothed", "learning rates")
    axes.legend(fontsize=TEXT)


def draw_batch(axes: Axes, report: DoctorReport) -> None:
    """Draw the loss while a single batch is learned."""
    trial = report.overfit
    if trial is None:
        axes.text(0.5, 0.5, "one answer is right for all samples", ha="center", va="center", fontsize=TEXT)
        axes.set_axis_off()
        return
    axes.plot(range(len(trial.losses)), trial.losses, linewidth=2.5, label=f"Adam({trial.rate:g})")
    if trial.constant is not None:
        axes.axhline(trial.constant, color="black", linestyle=":", linewidth=2, label="best constant answer")
        axes.set_ylim(bottom=0)
    decorate(axes, "step", "loss", f"one batch of {trial.samples}")
    axes.legend(fontsize=TEXT)


def draw_layers(axes: Axes, names: list[str], values: list[float | None], among: float) -> None:
    """Draw a number for each layer as a point on a scale of powers of ten that holds `among`; a 0 stands at its end."""
    points = [(value, i) for i, value in enumerate(values) if value]
    numbers = [among, *(value for value, _ in points)]
    axes.set_xscale("log")
    axes.set_xlim(min(numbers) / 20, 20 * max(numbers))
    axes.plot([value for value, _ in points], [i for _, i in points], "o", markersize=9)
    for i, value in enumerate(values):
        if value == 0:
            axes.text(min(numbers) / 15, i, "0", va="center", fontsize=TEXT)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first layer on top


def decorate(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    """Name an axes and its axes, in sizes that can be read."""
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(y_label, fontsize=TEXT)
    axes.set_title(title, fontsize=TITLE)
    axes.tick_params(labelsize=TEXT)
    axes.grid(color="0.9")
