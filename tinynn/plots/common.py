"""What all pictures share: figures, sizes, and checks of what is to be drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinynn.backend import Array
from tinynn.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sizes of text in points, large enough to be read from the last row of a classroom.
TEXT, TITLE = 13, 15
DOTS_PER_INCH = 150


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
    need("tinynn.plots", "matplotlib", "viz")


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
