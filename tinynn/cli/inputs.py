"""What a model is to say something about: pictures, IDX files, .npy files, as batches of the model's input shape."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.cli import arrays, pictures
from tinynn.cli.mistakes import Mistake, told
from tinynn.datasets import load_idx
from tinynn.layers.base import show_shape

HELP = """\
INPUT is one of
  .png, .jpg   a picture (needs the extra 'images'): made grey if the model
               takes one number a pixel, and as large as the model's pictures.
               MNIST is light on dark: for dark ink on light paper give --invert
  .idx         an IDX file of samples, as MNIST's, gzipped or not; also a name
               that ends in -ubyte
  .npy         a NumPy array: samples in rows, or one sample"""


class Batch(NamedTuple):
    """Samples for the model, and what each is called."""

    x: Array
    names: list[str]


def load(path: str, shape: Shape, invert: bool) -> Batch:
    """Return the samples in a file.

    Parameters
    ----------
    path : str
    shape : tuple of int
        Of one sample, as the model takes it.
    invert : bool
        Whether to turn dark into light.

    Raises
    ------
    Mistake
        If the file cannot be read, or does not fit the model.
    """
    name = path.lower().removesuffix(".gz")
    if name.endswith(pictures.ENDINGS):
        arrays.need_file(path)
        return Batch(pictures.load(path, shape, invert)[None], [path])
    if name.endswith((".idx", "-ubyte")):
        arrays.need_file(path)
        with told(ValueError, OSError):
            x = load_idx(path)
        x = arrays.samples(x, path)
    elif path.lower().endswith(".npy"):
        x = arrays.load_npy(path)
    else:
        kinds = f"{', '.join(pictures.ENDINGS)}, .idx, .idx.gz or .npy"
        if not os.path.exists(path):
            raise Mistake(f"there is no file {path!r}.")
        raise Mistake(f"{path}: what this is must be seen from the end of its name: {kinds}.")
    x = fitted(x, shape, path)
    if invert:
        if x.dtype != "uint8":
            raise Mistake(f"{path}: --invert is for pictures, of uint8, and these are numbers of {x.dtype}.")
        x = 255 - x
    return Batch(x, [path] if len(x) == 1 else [f"{path}[{row}]" for row in range(len(x))])


def fitted(x: Array, shape: Shape, path: str) -> Array:
    """Return samples in the model's shape: one becomes a batch, images become rows where the model takes rows."""
    if x.shape == shape:
        return x[None]
    if x.shape[1:] == shape:
        return x
    if x.ndim > 1 and math.prod(x.shape[1:]) == math.prod(shape):
        return x.reshape(len(x), *shape)
    raise Mistake(f"{path} holds an array of shape {np.shape(x)}, and the model takes {show_shape(shape)}.")
