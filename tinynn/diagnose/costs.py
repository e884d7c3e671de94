"""What each layer of a model costs: time of both passes, FLOPs, and the memory it keeps between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.arguments import check_count
from tinynn.backend import Array, array_module, to_device, to_host
from tinynn.check.finite_check import copy_of
from tinynn.diagnose.counts import flops, total
from tinynn.layers.base import Layer
from tinynn.layers.embedding import Embedding
from tinynn.sequential import Sequential, show_bytes

REPEATS = 5  # timed, after one that is not: memory is taken then, and a kernel compiled


@dataclass(frozen=True)
class LayerProfile:
    """What one layer costs, for one batch where nothing else is said.

    Attributes
    ----------
    label : str
        The name, and the class where the name does not say it.
    output_shape : tuple of int
        Of one sample.
    parameters : int
    forward, backward : float
        Seconds, the median of several runs. backward is 0 for layers before the first that learns, which it does not
        reach.
    flops : int or None
        Of one forward pass of one sample, as `tinynn.diagnose.counts` counts; None where a layer of one's own does not
        say them.
    kept : int
        Bytes that the layer keeps from forward for backward, without weights; what an earlier layer keeps already
        counts there.
    """

    label: str
    output_shape: tuple[int, ...]
    parameters: int
    forward: float
    backward: float
    flops: int | None
    kept: int


def profile(model: Sequential, batch_size: int = 32) -> list[LayerProfile]:
    """Measure every layer of a model on a batch of random data, on a copy; the model stays as it is.

    Parameters
    ----------
    model : Sequential
    batch_size : int, default 32

    Returns
    -------
    list of LayerProfile
        One for each entry of ``model.layers``; what stands inside a layer counts to it.

    Examples
    --------
    >>> from tinynn.layers import Dense, Input
    >>> [dense] = profile(Sequential([Input((784,)), Dense(10)]), batch_size=8)
    >>> dense.flops, dense.kept                        # it keeps the batch: 8 x 784 numbers of 4 bytes
    (15690, 25088)
    """
    batch_size = check_count(batch_size, "summary: batch_size")
    model.need_weights("summary")
    twin = copy_of(model, "summary(profile=True)")
    x = random_batch(twin, batch_size)
    runs = [timed_step(twin, x) for _ in range(REPEATS + 1)][1:]
    seen: set[int] = {id(owner(parameter.value)) for parameter in twin.parameters}
    twin.forward(x, training=True)
    found = []
    for i, layer in enumerate(twin.layers):
        found.append(
            LayerProfile(
                short_label(layer),
                layer.output_shape or (),
                layer.count_params(),
                float(np.median([run[0][i] for run in runs])),
                float(np.median([run[1][i] for run in runs])),
                flops(layer),
                kept_bytes(layer, seen),
            )
        )
    return found


def short_label(layer: Layer) -> str:
    """Return a layer's name, and its class where the name does not say it.

    Examples
    --------
    >>> from tinynn.layers import Dense
    >>> short_label(Dense(1, name="dense_2")), short_label(Dense(1, name="encoder"))
    ('dense_2', 'encoder (Dense)')
    """
    told = layer.name is not None and layer.name.startswith(layer.default_name)
    return str(layer.name) if told else layer.label


def random_batch(model: Sequential, batch_size: int) -> Array:
    """Return inputs that the model takes: normal numbers, or numbers of things that all its embeddings know."""
    rng = np.random.default_rng(0)
    shape = (batch_size, *(model.input_shape or ()))
    if not model.takes_integers:
        return to_device(rng.standard_normal(shape, dtype=np.float32).astype(model.dtype), model.device)
    known = [layer.input_dim for layer in model.walk() if isinstance(layer, Embedding)]
    return to_device(rng.integers(min(known, default=1), size=shape), model.device)


def timed_step(model: Sequential, x: Array) -> tuple[list[float], list[float]]:
    """Return the seconds of each layer in forward and in backward; as `Sequential` runs them in training."""
    forward, backward = [0.0] * len(model.layers), [0.0] * len(model.layers)
    mask: Any = None
    for i, layer in enumerate(model.layers):
        start = time.perf_counter()
        x, mask = layer.forward_with_mask(x, True, mask)
        wait_for(x)
        forward[i] = time.perf_counter() - start
    dy = x / x.size
    first = model.first_learning
    for i in reversed(range(first, len(model.layers))):
        start = time.perf_counter()
        dy = model.layers[i].backward(dy, i > first)
        wait_for(model.need_arena().grads if dy is None else dy)
        backward[i] = time.perf_counter() - start
    model.forget()
    return forward, backward


def wait_for(x: Array) -> None:
    """Return when a GPU has computed `x` and all before it; it works while the program goes on."""
    if array_module(x) is not np:
        to_host(x.reshape(-1)[:1])


def kept_bytes(layer: Any, seen: set[int]) -> int:
    """Return the bytes of the arrays that a layer and those in it keep, and note these arrays in `seen`.

    A view keeps the array alive that it is a view of, so that one counts.
    """
    count = 0
    for member in layer.walk():
        for array in arrays_in(member.cache):
            whole = owner(array)
            if id(whole) not in seen:
                seen.add(id(whole))
                count += whole.nbytes
    return count


def arrays_in(value: Any) -> Iterator[Any]:
    """Yield the arrays in a cache, also in tuples, lists, dictionaries and objects of tinynn."""
    module = type(value).__module__
    if isinstance(value, np.ndarray) or module.partition(".")[0] == "cupy":
        yield value
    elif isinstance(value, tuple | list):
        for member in value:
            yield from arrays_in(member)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))
    elif module.startswith("tinynn."):
        yield from arrays_in(list(getattr(value, "__dict__", {}).values()))


def owner(array: Any) -> Any:
    """Return the array whose memory `array` looks at, itself if it is its own."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


# The table -----------------------------------------------------------------------------------------------------------


def profile_table(rows: list[LayerProfile]) -> Any:
    """Return the table that `Sequential.summary` prints, no wider than 80 columns where names are of usual length."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    all_flops = total(row.flops for row in rows)
    known = show_flops(sum(row.flops or 0 for row in rows))
    table.add_column("Layer", footer="total", overflow="fold")
    table.add_column("Output", overflow="fold")
    for heading, footer in (
        ("Params", f"{sum(row.parameters for row in rows):,}"),
        ("Forward", show_time(sum(row.forward for row in rows))),
        ("Backward", show_time(sum(row.backward for row in rows))),
        ("FLOPs", known if all_flops is not None else f"> {known}"),
        ("Kept", show_bytes(sum(row.kept for row in rows))),
    ):
        table.add_column(heading, footer=footer, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.label,
            "x".join(map(str, row.output_shape)) or "1",
            f"{row.parameters:,}",
            show_time(row.forward),
            show_time(row.backward),
            "?" if row.flops is None else show_flops(row.flops),
            show_bytes(row.kept),
        )
    return table


def show_flops(count: float) -> str:
    """Return a number of FLOPs for people.

    Examples
    --------
    >>> show_flops(800), show_flops(15_690), show_flops(2_000_000_000)
    ('800', '15.7 k', '2.0 G')
    """
    unit = ""
    for bigger in ("k", "M", "G", "T"):
        if count < 1000:
            break
        count, unit = count / 1000, bigger
    return f"{count:.1f} {unit}" if unit else f"{count:.0f}"


def show_time(seconds: float) -> str:
    """Return a time for people, a dash if nothing was done.

    Examples
    --------
    >>> show_time(0.0000123), show_time(0.0123), show_time(2.5), show_time(0)
    ('12 µs', '12.3 ms', '2.5 s', '-')
    """
    if not seconds:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
