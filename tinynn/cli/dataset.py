"""DATASET: mnist, a folder of four IDX files, or a .npz file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynn.backend import Array
from tinynn.cli.arrays import load_npz
from tinynn.cli.mistakes import Mistake, told
from tinynn.data import to_categorical
from tinynn.datasets import load_idx, mnist
from tinynn.losses import Loss

HELP = """\
DATASET is one of
  mnist      60,000 digits to train on and 10,000 to test, 28 x 28 pixels; it is
             in the package
  a folder   of IDX files with MNIST's names, gzipped or not, as Fashion-MNIST:
             train-images-idx3-ubyte, train-labels-idx1-ubyte,
             t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte
  a .npz     of the arrays x_train, y_train, x_test, y_test, as np.savez writes
             it: one sample a row; the targets are class numbers from 0, one-hot
             rows, or numbers to predict"""


class Samples(NamedTuple):
    """Inputs and targets, one a row."""

    x: Array
    y: Array


def load(where: str, part: str, limit: int | None = None) -> Samples:
    """Return the samples of a data set to train on, or those to test with.

    Parameters
    ----------
    where : str
        What the user gave as DATASET.
    part : {"train", "test"}
    limit : int, optional
        How many to take at most, drawn at random, the same ones every time.

    Raises
    ------
    Mistake
        If there are none.
    """
    if where == "mnist":
        with told(ValueError, OSError):
            samples = Samples(*mnist.load_data()[part == "test"])
    elif os.path.isdir(where):
        samples = from_folder(Path(where), "train" if part == "train" else "t10k")
    elif where.endswith(".npz"):
        samples = Samples(*load_npz(where, [f"x_{part}", f"y_{part}"]))
    else:
        raise Mistake(f"there is no data set {where!r:.200}: give mnist, a folder of IDX files, or a .npz file.")
    if len(samples.x) != len(samples.y):
        raise Mistake(
            f"{where}: the {part} part has {len(samples.x):,} samples and {len(samples.y):,} targets; each sample "
            "needs one."
        )
    if samples.x.ndim == 1:
        raise Mistake(f"{where}: x_{part} has one axis; make every sample a row, with x[:, None].")
    if limit is not None and limit < len(samples.x):
        rows = np.sort(np.random.default_rng(0).permutation(len(samples.x))[:limit])
        samples = Samples(samples.x[rows], samples.y[rows])
    return samples


def from_folder(folder: Path, part: str) -> Samples:
    """Return the images and labels of one part from a folder of IDX files."""
    found = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        if path is None:
            raise Mistake(f"the folder {folder} has no file {name} and no {name}.gz; see tinynn train --help.")
        with told(ValueError, OSError):
            found.append(load_idx(path))
    return Samples(*found)


def is_class_numbers(y: Array) -> bool:
    """Return whether targets are the numbers of classes, one a sample."""
    return y.dtype.kind in "iub" and (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1))


def targets_for(y: Array, loss: Loss, outputs: int) -> Any:
    """Return targets in the form that the loss wants; what does not fit is left for the loss to refuse.

    Examples
    --------
    >>> from tinynn import losses
    >>> targets_for(np.array([0, 2]), losses.get("categorical_crossentropy"), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    if is_class_numbers(y):
        y = y.reshape(-1).astype(np.int64)
        if loss.target_kind == "int":
            return y
        if outputs > 1 and y.min() >= 0 and y.max() < outputs:
            return to_categorical(y, outputs)
    if loss.target_kind == "int" and y.ndim == 2 and y.shape[1] == outputs:
        return y.argmax(axis=1)
    return y.reshape(-1, 1) if y.ndim == 1 else y
