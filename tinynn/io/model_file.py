"""A whole model in one file: its architecture, weights, how it was compiled, and where its training stands.

The arrays are the weights, by their names, and the optimizer's memory. All else is the document::

    {"model": ..., "input_shape": [784], "compiled": {"optimizer": ..., "loss": ..., "metrics": [...]}, "state": ...}

See `tinynn.config` for how layers are written down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backend import Device, choose_device, to_host
from tinynn.config import ASIDE, FAULTS, from_plain, to_plain
from tinynn.io.files import Contents, Reading, differences_of_format, read_contents, write_file
from tinynn.io.safetensors import DamagedFile, read_header
from tinynn.io.weights import about, compare, parameters_by_name, write_parameters

if TYPE_CHECKING:
    from tinynn.compiled import Compiled

WHAT = "file of a model"
MOST_THINGS = 10_000  # with classes; to make more of them takes longer than a second


def describe(model: Compiled, who: str) -> dict[str, Any]:
    """Return what a model is made of and how it was compiled, as plain data.

    Raises
    ------
    TypeError
        If a layer was made with something that is no plain data, such as a function; the message says which.
    ValueError
        If it has more layers than a file may have.
    """
    try:
        found = {
            "model": to_plain(model, "the model"),
            "input_shape": list(model.input_shape or ()),
            "compiled": to_plain(model.get_compile_config(), "compile"),
        }
    except TypeError as error:
        raise TypeError(f"{model.label}: {who}: {error}") from None
    if json.dumps(found).count('"class"') > MOST_THINGS:
        raise ValueError(
            f"{model.label}: {who}: it has more than {MOST_THINGS:,} layers, and no file may; save_weights can"
        )
    return found


def save_model(model: Compiled, path: Any, described: dict[str, Any], state: Any, who: str) -> None:
    """Write a model to a file; see `Compiled.save`.

    Parameters
    ----------
    model : Compiled
        It must be built.
    path : str or path-like
    described : dict
        As `describe` returns it.
    state : object
        Where its training stands: plain data and arrays; None to leave it out.
    who : str
        Who writes, for the messages: ``"save"``.
    """
    arrays = arrays_of(model, who)
    document = described | {"state": to_plain(state, "state", arrays)}
    write_file(path, arrays, about(model), document, f"{model.label}: {who}")


def arrays_of(model: Compiled, who: str) -> dict[str, np.ndarray]:
    """Return the weights on the host, by their names; not copied where they are there already."""
    return {name: to_host(parameter.value) for name, parameter in parameters_by_name(model, who).items()}


def load_model(
    path: Any,
    custom_objects: Mapping[str, type] | None = None,
    compile: bool = True,
    *,
    device: str | Device | None = None,
) -> Any:
    """Return the model that a file holds, as its `save` wrote it: training can go on from there.

    Nothing in the file is run as code. It can only name classes: tinynn's own, those that were registered with
    `tinynn.register`, and those in `custom_objects`.

    Parameters
    ----------
    path : str or path-like
    custom_objects : dict of str to type, optional
        Classes of one's own by their names, where they were not registered.
    compile : bool, default True
        Whether to compile the model as it was, with the optimizer's memory. Without it, a loss or an optimizer of
        one's own may be unknown.
    device : {"auto", "cpu", "cuda"} or Device, optional
        Where the model shall live, wherever it lived before.

    Returns
    -------
    Sequential

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds no model, or a class in it is unknown; the message has its name.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, tinynn
    >>> model = tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(4, activation="relu"), tinynn.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x = np.ones((1, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.tinynn")
    ...     model.save(path)
    ...     twin = tinynn.load_model(path)
    >>> twin, twin.optimizer
    (<Sequential (3,) -> (1,)>, Adam(learning_rate=0.001, ...))
    >>> bool((twin.predict(x) == model.predict(x)).all())
    True
    """
    choose_device(device)
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(f"load_model: custom_objects must be a dictionary of classes, got {custom_objects!r:.60}.")
    with Reading(path, "load_model", WHAT) as reading:
        contents = read_model_file(reading)
        document = contents.document
        try:
            model = from_plain(document["model"], custom_objects)
            compiled = from_plain(document["compiled"], custom_objects) if compile else None
        except ValueError as error:
            raise ValueError(f"load_model: {reading.path}: {error}") from None
        fill(model, contents, device)
        if compiled is not None:
            try:
                model.compile(**compiled)
                state = from_plain(document["state"], None, contents.aside())
                if state is not None and state["training"] is not None:  # a part of another model has none
                    model.set_training_state(state["training"])
            except FAULTS as error:
                raise DamagedFile(f"it does not say how to train ({type(error).__name__}: {error!s:.200})") from None
    return model


def read_model_file(reading: Reading) -> Contents:
    """Read an open file whole, if it is one of a model."""
    header = read_header(reading.file)
    for difference in differences_of_format(header):
        raise DamagedFile(difference)
    if "document" not in header.metadata:
        raise ValueError(
            f"{reading.who}: {reading.path} is no {reading.what}: it holds weights alone; make the model, and read "
            "them with its load_weights(path)."
        )
    if header.metadata["document"].count('"class"') > MOST_THINGS:
        raise DamagedFile(f"it has more than {MOST_THINGS:,} layers and other things")
    contents = read_contents(reading, header)
    document = contents.document
    if not isinstance(document, dict) or not {"model", "input_shape", "compiled", "state"} <= set(document):
        raise DamagedFile("its document does not describe a model")
    return contents


def fill(model: Any, contents: Contents, device: str | Device | None) -> None:
    """Build a new model, with no more memory than the file has numbers, and write its weights."""
    from tinynn.compiled import Compiled

    if not isinstance(model, Compiled):
        raise DamagedFile(f"it describes no model, but {model!r:.60}")
    model.device = choose_device(device)
    room = Room(contents)
    try:
        input_shape = contents.document["input_shape"]
        if not isinstance(input_shape, list) or not all(type(size) is int for size in input_shape):
            raise ValueError(f"no input shape: {input_shape!r:.60}")
        model.need_weights("load_model", tuple(input_shape), room)
        if model.input_shape != tuple(input_shape):
            raise ValueError(f"inputs of shape {input_shape}, but its first layer takes {model.input_shape}")
        parameters = parameters_by_name(model, "load_model")
    except FAULTS as error:
        raise DamagedFile(f"its model cannot be built ({type(error).__name__}: {error!s:.200})") from None
    differences = compare(contents.header, parameters)
    if differences:
        raise DamagedFile(f"its weights are not those of its model ({'; '.join(differences)})")
    write_parameters(parameters, contents)
    model.refresh()


class Room:
    """What makes the arrays of a model that a file will fill: zeros, and not more of them than the file has numbers."""

    def __init__(self, contents: Contents) -> None:
        entries = contents.header.entries.items()
        self.left = sum(math.prod(entry.shape) for name, entry in entries if not name.startswith(ASIDE))

    def __call__(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return zeros of this shape."""
        self.left -= math.prod(shape)
        if self.left < 0:
            raise ValueError("its layers have more weights than it has numbers")
        return np.zeros(shape, dtype=dtype)
