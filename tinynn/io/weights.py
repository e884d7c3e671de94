"""Weights to a file and back: checked before anything is changed, all or none."""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backend import array_module, to_host
from tinynn.interrupt import on_first_interrupt
from tinynn.io.atomic import path_of, write_atomically
from tinynn.io.safetensors import (
    DamagedFile,
    Header,
    as_stored,
    encode,
    open_to_read,
    read_exactly,
    read_header,
)

if TYPE_CHECKING:
    from tinynn.layers.base import Layer
    from tinynn.parameter import Parameter

FORMAT = "1"  # of the metadata; a file of a higher one is refused


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
    from tinynn import __version__

    parameters = parameters_by_name(layer, "save_weights")
    try:
        arrays = {name: as_stored(to_host(parameter.value)) for name, parameter in parameters.items()}
        metadata = {
            "tinynn_format": FORMAT,
            "tinynn_version": __version__,
            "numpy_version": np.__version__,
            "python_version": platform.python_version(),
            "dtype": layer.dtype,
            "crc32": checksum(arrays.values()),
        }
        seed = getattr(layer, "seed", None)
        if seed is not None:
            metadata["seed"] = str(seed)
        parts = encode(arrays, metadata)
    except ValueError as error:
        raise ValueError(f"{layer.label}: save_weights: {error}. Nothing was written.") from None
    write_atomically(path, parts, f"{layer.label}: save_weights")


def load_weights(layer: Layer, path: Any) -> None:
    """Write the parameters from a file that `save_weights` made: all of them or none.

    Everything is checked before the first number is changed: that the file is whole, that its numbers have the
    checksum they had, and that names, shapes and dtypes are the layer's. Nothing in the file is run as code.

    Parameters
    ----------
    layer : Layer
        It must be built, with the layers, names and dtype it had when it was saved.
    path : str or path-like

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
    with Reading(path, who) as reading:
        header = read_header(reading.file)
        differences = compare(header, parameters)
        if differences:
            raise Misfit(differences)
        numbers = read_exactly(reading.file, header.size)
        if header.metadata.get("crc32") != checksum([numbers]):
            raise DamagedFile("its numbers are not those that were saved: the checksum differs")
    new = []
    for name, parameter in parameters.items():
        entry = header.entries[name]
        array = numbers[entry.begin : entry.end].view(np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
        new.append(array_module(parameter.value).asarray(array, dtype=parameter.value.dtype))
    interrupted: list[bool] = []
    with on_first_interrupt(lambda: interrupted.append(True)):  # from here on nothing can fail, nor come between
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
    with Reading(path, "read_metadata") as reading:
        return read_header(reading.file).metadata


class Misfit(Exception):
    """A whole file, but of another model: a list of what differs."""


class Reading:
    """An open file whose errors are told with its name."""

    def __init__(self, path: Any, who: str) -> None:
        self.path = path_of(path, who)
        self.who = who

    def __enter__(self) -> Reading:
        """Open the file."""
        try:
            self.file = open_to_read(self.path, self.who)
        except FileNotFoundError as error:
            where = os.path.abspath(self.path)
            raise FileNotFoundError(error.errno, f"{self.who}: there is no file {where}") from None
        except OSError as error:
            raise OSError(error.errno, f"{self.who}: could not open {self.path} ({error.strerror})") from None
        except ValueError as error:
            raise self.told(error) from None
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Close the file; put its name into the error, if there is one."""
        self.file.close()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"{self.who}: could not read {self.path} ({error.strerror})") from None
        if isinstance(error, DamagedFile):
            raise self.told(error) from None
        if isinstance(error, Misfit):
            lines = "".join(f"\n  {line}" for line in error.args[0])
            raise ValueError(
                f"{self.who}: the weights in {self.path} do not fit:{lines}\nNo weight was changed. The layers, their "
                "names and the dtype must be those of the model that was saved."
            ) from None

    def told(self, error: ValueError) -> ValueError:
        """Return the error as the user sees it."""
        return ValueError(
            f"{self.who}: {self.path} is not a whole file of weights: {error}. Nothing was changed; take another copy "
            "of the file, or save it again."
        )


def parameters_by_name(layer: Layer, who: str) -> dict[str, Parameter]:
    """Return a built layer's parameters, if their names differ."""
    if layer.input_shape is None:
        raise RuntimeError(f"{layer.label} has no weights yet, and {who} needs them: build it first.")
    named = layer.named_parameters()
    found = dict(named)
    names = [name for name, _ in named]
    twice = sorted({name for name in found if names.count(name) > 1} if len(found) < len(names) else ())
    if twice or "__metadata__" in found:
        raise ValueError(
            f"{layer.label}: {who}: parameters need names of their own in a file; give the layers inside a name=... "
            f"each. The names at fault: {listed([repr(name) for name in twice or ['__metadata__']])}."
        )
    return found


def compare(header: Header, parameters: dict[str, Parameter]) -> list[str]:
    """Return what differs between a file and a layer, a line for each kind; empty where the file fits."""
    lines = []
    version = header.metadata.get("tinynn_format")
    if version is None:
        lines.append("format: the file does not say that tinynn wrote it (its metadata have no tinynn_format)")
    elif version != FORMAT:
        by = header.metadata.get("tinynn_version")
        lines.append(f"format: the file has format {version!r:.20} (tinynn {by!r:.20}), this tinynn reads {FORMAT!r}")
    entries = header.entries
    both = [(name, entries[name], parameter) for name, parameter in parameters.items() if name in entries]
    shapes = [(name, entry.shape, p.shape) for name, entry, p in both if entry.shape != p.shape]
    dtypes = [(name, entry.dtype, str(p.value.dtype)) for name, entry, p in both if entry.dtype != str(p.value.dtype)]
    for what, found in (
        ("missing in the file", [f"{name!r:.60}" for name in parameters if name not in entries]),
        ("unexpected in the file", [f"{name!r:.60}" for name in entries if name not in parameters]),
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


def checksum(arrays: Iterable[np.ndarray]) -> str:
    """Return the CRC-32 of the bytes of arrays, one after another."""
    total = 0
    for array in arrays:
        total = zlib.crc32(array.reshape(-1).view("uint8").data, total)
    return f"{total:08x}"
