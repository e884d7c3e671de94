"""Windows: where a kernel stands on its input. What convolution and pooling have in common.

A kernel of k numbers along an axis, spread by the dilation d, starts at every s-th place (s the stride) of the input
with its padding p. Window o sees at its offset i the place

    s o + d i - p        o = 0 ... O - 1,   i = 0 ... k - 1

So one offset of *all* windows is one strided slice of the input, and work on windows is a loop over the few offsets of
the kernel; the many windows are NumPy's work. Two windows never meet in the same place at the same offset, so adding to
the slice in the backward pass is plain and comes out the same every time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.base import ShapeError, show_shape

AXES = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}
NUMBERS_AT_ONCE = 2**20  # as many numbers as stay in a processor's cache from one step to the next


@dataclass(frozen=True)
class Windows:
    """The windows of a kernel on inputs of one size; one entry in each tuple for each axis of the kernel.

    Attributes
    ----------
    kernel, strides, dilation : tuple of int
        How many numbers a window sees, how far it is to the next window, how far it is from number to number.
    sizes : tuple of int
        The input's size.
    padding : tuple of (int, int)
        How much is added to the input before and after.
    count : tuple of int
        How many windows there are: the output's size.

    Examples
    --------
    >>> windows = Windows.on((5,), kernel=(3,), strides=(2,), padding="same")
    >>> windows.padding, windows.count
    (((1, 1),), (3,))
    """

    kernel: Shape
    strides: Shape
    dilation: Shape
    sizes: Shape
    padding: tuple[tuple[int, int], ...]
    count: Shape

    @classmethod
    def on(
        cls, sizes: Shape, kernel: Shape, strides: Shape, padding: str = "valid", dilation: Shape | None = None
    ) -> Windows:
        """Place windows on an input, with Keras's padding.

        ``"valid"`` is none; ``"same"`` makes ceil(size / stride) windows and pads as much as they need, the odd one
        after; ``"causal"`` pads before only, so that no window sees what comes later.
        """
        dilation = dilation or (1,) * len(sizes)
        pads, count = [], []
        for size, k, s, d in zip(sizes, kernel, strides, dilation, strict=True):
            extent = d * (k - 1) + 1
            if padding == "valid":
                pad = (0, 0)
            elif padding == "causal":
                pad = (extent - 1, 0)
            else:
                total = max((math.ceil(size / s) - 1) * s + extent - size, 0)
                pad = (total // 2, total - total // 2)
            pads.append(pad)
            count.append((size + sum(pad) - extent) // s + 1)
        return cls(kernel, strides, dilation, sizes, tuple(pads), tuple(count))

    @property
    def extent(self) -> Shape:
        """From the first to the last number of a window."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def numbers(self) -> int:
        """How many numbers the windows of one sample and one channel see, counted as often as they are seen."""
        return math.prod(self.count) * math.prod(self.kernel)

    def offsets(self) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
        """Yield every offset in the kernel, and the slice of the padded input that all windows see there."""
        for offset in itertools.product(*map(range, self.kernel)):
            starts = [i * d for i, d in zip(offset, self.dilation, strict=True)]
            steps = zip(starts, self.strides, self.count, strict=True)
            yield offset, tuple(slice(start, start + s * (n - 1) + 1, s) for start, s, n in steps)

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Return x (B, ..., C) with its padding; x itself if there is none."""
        if not any(map(sum, self.padding)):
            return x
        xp = array_module(x)
        sizes = [before + n + after for n, (before, after) in zip(x.shape[1:-1], self.padding, strict=True)]
        padded = xp.full((len(x), *sizes, x.shape[-1]), value, dtype=x.dtype)
        self.crop(padded)[...] = x
        return padded

    def crop(self, padded: Array) -> Array:
        """Return the view of a padded array (B, ..., C) without its padding."""
        inner = [slice(before, before + n) for n, (before, _) in zip(self.sizes, self.padding, strict=True)]
        return padded[(slice(None), *inner)]

    def views(self, x_padded: Array) -> Iterator[Array]:
        """Yield, for every offset in the kernel, the view (B, ..., C) of what all windows see there."""
        for _, at in self.offsets():
            yield x_padded[(slice(None), *at)]

    def im2col(self, x: Array, groups: int = 1, out: Any = None) -> Any:
        """Return what every window sees, a row a window: (B, ..., C) to (G, B windows, kernel C/G).

        `out` takes columns that are done with, of as many samples or more: to write into the same memory again, while
        it is in the cache, is twice as fast as to ask for new memory.
        """
        xp = array_module(x)
        x_padded = split(self.pad(x), groups)     # (G, B, ..., C/G), a view
        channels, N = x_padded.shape[-1], len(x) * math.prod(self.count)
        if out is None:
            out = xp.empty((groups, N, math.prod(self.kernel) * channels), dtype=x.dtype)
        columns = out[:, :N]
        view = columns.reshape(groups, len(x), *self.count, *self.kernel, channels)
        for offset, at in self.offsets():
            view[(..., *offset, slice(None))] = x_padded[(..., *at, slice(None))]
        return columns

    def col2im(self, dcolumns: Array, groups: int = 1) -> Array:
        """Return the gradient of im2col's input: every number adds up what came back from the windows that saw it."""
        xp = array_module(dcolumns)
        channels = dcolumns.shape[-1] // math.prod(self.kernel)
        batch = dcolumns.shape[1] // math.prod(self.count)
        back: Any = dcolumns.reshape(groups, batch, *self.count, *self.kernel, channels)
        sizes = [before + n + after for n, (before, after) in zip(self.sizes, self.padding, strict=True)]
        dx_padded = xp.zeros((batch, *sizes, groups * channels), dtype=dcolumns.dtype)
        view = split(dx_padded, groups)
        for offset, at in self.offsets():
            view[(..., *at, slice(None))] += back[(..., *offset, slice(None))]
        return self.crop(dx_padded)


def split(x: Array, groups: int) -> Any:
    """Return a view of x with its channels in groups, the groups first: (..., C) to (G, ..., C/G)."""
    xp = array_module(x)
    return xp.moveaxis(x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups), -2, 0)


def join(x: Array) -> Any:
    """Undo `split`: (G, ..., C/G) to (..., C)."""
    xp = array_module(x)
    return xp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], x.shape[0] * x.shape[-1])


def parts(samples: int, numbers: int) -> Iterator[slice]:
    """Yield slices of the batch, so that a part has about `NUMBERS_AT_ONCE` numbers, given those of one sample.

    The columns of a 3 x 3 kernel are nine times the input. Made for a few samples at a time they stay in the cache, and
    are never all in memory.
    """
    size = max(1, NUMBERS_AT_ONCE // numbers)
    for start in range(0, samples, size):
        yield slice(start, start + size)


@contextmanager
def errors_of(who: str) -> Iterator[None]:
    """Put the name of an outer layer before the errors of the layers inside it."""
    try:
        yield
    except ValueError as error:
        raise type(error)(f"{who}: {error}") from None


def check_sizes(value: Any, rank: int, who: str, least: int = 1) -> Shape:
    """Return one whole number, from `least` up, for each of `rank` axes; one for all may be given.

    Examples
    --------
    >>> check_sizes(3, 2, "Conv2D: kernel_size"), check_sizes((1, 5), 2, "Conv2D: kernel_size")
    ((3, 3), (1, 5))
    """
    sizes = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    whole = all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= least for size in sizes)
    if len(sizes) != rank or not whole:
        several = f", or a tuple of {rank}" if rank > 1 else ""
        raise ValueError(f"{who} must be a whole number from {least} up{several}, got {value!r}.")
    return tuple(int(size) for size in sizes)


def check_padding(padding: Any, names: tuple[str, ...], who: str) -> str:
    """Return the padding's name in lower case, if it is one of `names`."""
    if not isinstance(padding, str) or padding.lower() not in names:
        raise ValueError(f"{who}: padding must be one of {', '.join(map(repr, names))}, got {padding!r}.")
    return padding.lower()


def check_data_format(data_format: Any, who: str) -> None:
    """Raise ValueError unless the channels are the last axis."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"{who}: data_format must be 'channels_last', got {data_format!r}. "
            "Move the channels to the end, with numpy.moveaxis(x, 1, -1)."
        )


def check_axes(input_shape: Shape, rank: int, who: str) -> None:
    """Raise ShapeError unless a sample has `rank` axes and the channels."""
    if len(input_shape) == rank + 1:
        return
    message = f"{who} expected an input of shape (batch, {', '.join(AXES[rank])}, channels), "
    message += f"got {show_shape(input_shape)}."
    if len(input_shape) == rank:
        message += " If it has one channel, give it a channel axis with x[..., None]."
    raise ShapeError(message)


def check_holes(strides: Shape, dilation: Shape, who: str) -> None:
    """Raise ValueError where windows would be both apart and full of holes, which Keras refuses too."""
    if max(strides) > 1 and max(dilation) > 1:
        raise ValueError(
            f"{who}: strides {strides} and dilation_rate {dilation} are both above 1, which would leave out most of "
            "the input; one of them must be 1."
        )


def check_fit(windows: Windows, who: str, what: str) -> None:
    """Raise ShapeError if a window does not fit on the input."""
    if min(windows.count) < 1:
        raise ShapeError(
            f"{who}: {what} covers {windows.extent}, which is larger than the input, {windows.sizes}. "
            "Make it smaller, or use padding='same'."
        )
