"""Weights to a file and back: checked before anything is changed, all or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinynn.backend import array_module, to_host
from tinynn.config import ASIDE
from tinynn.interrupt import on_first_interrupt
from tinynn.io.files import Contents, Misfit, Reading, differences_of_format, read_contents, write_file
from tinynn.io.safetensors import Header, read_header

if TYPE_CHECKING:
    from tinynn.layers.base import Layer
    from tinynn.parameter import Parameter


def save_weights(layer: Layer, path: Any) -> None:
    """Write all parameters of a layer or model, also those it does not learn, to a safetensors file.

    The file is whole or not there: a kill at any moment leaves the old file or the new one. The names are those of
    `Layer.named_parameters`; beside them stand the format's version, tinynn's, NumPy's and Python's, the seed, the
    dtype, and a checksum of the numbers.

    Parameters
    ----------
    layer : Layer
        It must be built.
    path : str or path-like
        By custom it ends in ``.safetensors``. A file that is there is replaced.

    Raises
    ------
    RuntimeError
        If the layer has no weights yet.
    ValueError
        If two parameters have the same name.
    OSError
        If the file cannot be written, with the reason and what to do; the old file is as it was.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> first, second = Dense(2), Dense(2)
    >>> x = np.ones((1, 3), dtype="float32")
    >>> y = first(x), second(x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "dense.safetensors")
    ...     save_weights(first, path)
    ...     load_weights(second, path)
    >>> bool((first(x) == second(x)).all())
    True
    """
    who = f"{layer.label}: save_weights"
    parameters = parameters_by_name(layer, "save_weights")
    arrays = {name: to_host(parameter.value) for name, parameter in parameters.items()}
    write_file(path, arrays, about(layer), None, who)


def about(layer: Layer) -> dict[str, str]:
    """Return what a file says about a layer beside its weights: the dtype, and a model's seed."""
    seed = getattr(layer, "seed", None)
    return {"dtype": layer.dtype} | ({} if seed is None else {"seed": str(seed)})


def load_weights(layer: Layer, path: Any) -> None:
    """Write the parameters from a file that `save_weights` made: all of them or none.

    Everything is checked before the first number is changed: that the file is whole, that its numbers have the
    checksum they had, and that names, shapes and dtypes are the layer's. Nothing in the file is run as code.

    Parameters
    ----------
    layer : Layer
        It must be built, with the layers, names and dtype it had when it was saved.
    path : str or path-like
        A file that `Model.save` made will do too: its weights are taken.

    Raises
    ------
    RuntimeError
        If the layer has no weights yet.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or does not fit; then the message has everything that differs.

    Examples
    --------
    >>> import os, tempfile
    >>> import tinynn
    >>> def network(units):
    ...     return tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(units), tinynn.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "network.safetensors")
    ...     network(4).save_weights(path)
    ...     network(5).load_weights(path)
    Traceback (most recent call last):
    ...
    ValueError: Sequential: load_weights: the weights in ...network.safetensors do not fit:
      other shape: 'dense.W' is (3, 4) in the file and (3, 5) here, 'dense.b' is (4,) in the file and (5,) here, ...
    No weight was changed. The layers, their names and the dtype must be those of the model that was saved.
    """
    who = f"{layer.label}: load_weights"
    parameters = parameters_by_name(layer, "load_weights")
    with Reading(path, who, "file of weights") as reading:
        header = read_header(reading.file)
        differences = compare(header, parameters)
        if differences:
            raise Misfit(differences)
        contents = read_contents(reading, header)
    write_parameters(parameters, contents)


def write_parameters(parameters: Mapping[str, Parameter], contents: Contents) -> None:
    """Write values from a file that fits into the parameters; neither an error nor Ctrl-C can come between two."""
    new = [
        array_module(parameter.value).asarray(contents.array(name), dtype=parameter.value.dtype)
        for name, parameter in parameters.items()
    ]
    interrupted: list[bool] = []
    with on_first_interrupt(lambda: interrupted.append(True)):
        for parameter, array in zip(parameters.values(), new, strict=True):
            parameter.value[...] = array
    if interrupted:
        raise KeyboardInterrupt


def read_metadata(path: Any) -> dict[str, str]:
    """Return what a file of weights says about itself: versions, seed, dtype.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged. The numbers themselves are not looked at.

    Examples
    --------
    >>> import os, tempfile
    >>> import tinynn
    >>> model = tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(4)], seed=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save_weights(path)
    ...     print(read_metadata(path)["seed"])
    7
    """
    with Reading(path, "read_metadata", "file of tinynn") as reading:
        return read_header(reading.file).metadata


def parameters_by_name(layer: Layer, who: str) -> dict[str, Parameter]:
    """Return a built layer's parameters, if their names differ."""
    if layer.input_shape is None:
        raise RuntimeError(f"{layer.label} has no weights yet, and {who} needs them: build it first.")
    named = layer.named_parameters()
    found = dict(named)
    names = [name for name, _ in named]
    wrong = sorted({name for name in found if names.count(name) > 1} if len(found) < len(names) else ())
    wrong += [name for name in found if name == "__metadata__" or name.startswith(ASIDE)]
    if wrong:
        raise ValueError(
            f"{layer.label}: {who}: parameters need names of their own in a file; give the layers inside a name=... "
            f"each. The names at fault: {listed([repr(name) for name in wrong])}."
        )
    return found


def compare(header: Header, parameters: Mapping[str, Parameter]) -> list[str]:
    """Return what differs between a file and a layer, a line for each kind; empty where the file fits."""
    lines = differences_of_format(header)
    entries = header.entries
    both = [(name, entries[name], parameter) for name, parameter in parameters.items() if name in entries]
    others = [name for name in entries if name not in parameters and not name.startswith(ASIDE)]
    shapes = [(name, entry.shape, p.shape) for name, entry, p in both if entry.shape != p.shape]
    dtypes = [(name, entry.dtype, str(p.value.dtype)) for name, entry, p in both if entry.dtype != str(p.value.dtype)]
    for what, found in (
        ("missing in the file", [f"{name!r:.60}" for name in parameters if name not in entries]),
        ("unexpected in the file", [f"{name!r:.60}" for name in others]),
        ("other shape", [f"{name!r:.60} is {there} in the file and {here} here" for name, there, here in shapes]),
        ("other dtype", [f"{name!r:.60} is {there} in the file and {here} here" for name, there, here in dtypes]),
    ):
        if found:
            lines.append(f"{what}: {listed(found)}")
    return lines


def listed(items: list[str], most: int = 10) -> str:
    """Return the first of many.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
