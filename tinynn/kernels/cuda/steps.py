"""What a captured step does beside the model's own work: gather its batch, note its loss, take numbers from the host.

Each is an elementwise kernel of CuPy's: a thread for each number that is written (``i`` is which), and CuPy chooses
the launch shape. What changes from step to step stands in arrays on the device: a captured launch is always the same.

    gather          y[b, c] = x[order[place + b], c]
                    twin: ``y[...] = x[order[place : place + len(y)]]``
    note_loss       losses[number] = L, and place and number go on to the next step
                    twin: ``losses[number] = L; place += taken; number += 1``
    write_numbers   out[k] = number k
                    twin: ``out[...] = numbers``
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tinynn.backend import Array


@functools.cache
def gather_kernel(xp: Any) -> Any:
    """Return the kernel of `gather`."""
    return xp.ElementwiseKernel(
        "raw T x, raw int64 order, raw int64 place, int64 width",
        "T y",
        "y = x[order[place[0] + i / width] * width + i % width]",
        "gather",
    )


def gather(xp: Any, x: Array, order: Array, place: Array, y: Array) -> None:
    """Write the rows of x that come next in an order into y.

    Parameters
    ----------
    xp : module
        CuPy.
    x : array, shape (N, ...)
        Its numbers lie row after row.
    order : array of int64, shape (n,)
        Which row of x comes when.
    place : array of int64, shape (1,) or more
        The first number says how many have been taken.
    y : array, shape (B, ...)
    """
    gather_kernel(xp)(x, order, place, max(y.size // len(y), 1), y)


@functools.cache
def note_loss_kernel(xp: Any) -> Any:
    """Return the kernel of `note_loss`."""
    return xp.ElementwiseKernel(
        "raw S loss, int64 taken",
        "raw T losses, raw int64 place",
        "losses[place[1]] = loss[0]; place[0] += taken; place[1] += 1",
        "note_loss",
    )


def note_loss(xp: Any, L: Array, taken: int, losses: Array, place: Array) -> None:
    """Write the loss of a step where its place is, and move the place on.

    Parameters
    ----------
    xp : module
        CuPy.
    L : array of no axes
    taken : int
        How many samples the step took.
    losses : array, shape (steps,)
    place : array of int64, shape (2,)
        How many samples of an epoch have been taken, and how many losses written.
    """
    note_loss_kernel(xp)(L, taken, losses, place, size=1)


@functools.cache
def write_numbers_kernel(xp: Any, kinds: tuple[type, ...]) -> Any:
    """Return the kernel of `write_numbers` for numbers of these kinds, int or float."""
    return xp.ElementwiseKernel(
        ", ".join(f"{'int64' if kind is int else 'float64'} n{k}" for k, kind in enumerate(kinds)),
        "raw T out",
        "; ".join(f"out[{k}] = n{k}" for k in range(len(kinds))),
        "write_numbers",
    )


def write_numbers(xp: Any, numbers: Sequence[Any], out: Array) -> None:
    """Write a few numbers of the host into an array: one launch that carries them, and waits for nothing."""
    write_numbers_kernel(xp, tuple(map(type, numbers)))(*numbers, out, size=1)
