"""MNIST: 70,000 handwritten digits (LeCun, Cortes & Burges), in the package, never downloaded.

Licence and credit: ``tinynn/datasets/files/LICENSE.md``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tinynn.backend import Array
from tinynn.datasets.idx import load_idx

FILES = Path(__file__).parent / "files"

# The SHA-256 of each array's bytes with its IDX header: of the canonical files, unzipped.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the digits as Keras does.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images of shape (60000, 28, 28) and (10000, 28, 28), uint8 from 0 (paper) to 255 (ink); labels of shape
        (60000,) and (10000,), uint8 from 0 to 9.

    Raises
    ------
    ValueError
        If a file in the package is not the original, by its SHA-256.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, x_train.dtype, y_test[:5]
    ((60000, 28, 28), dtype('uint8'), array([7, 2, 1, 0, 4], dtype=uint8))
    """
    return (
        (read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte")),
        (read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")),
    )


def read(name: str, folder: Path = FILES) -> Array:
    """Read one of the four files and check it against its hash."""
    array = load_idx(folder / f"{name}.gz")
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    digest = hashlib.sha256(header)
    digest.update(array.data)
    if digest.hexdigest() != SHA256[name]:
        raise ValueError(
            f"{folder / name}.gz is not the original MNIST file: its SHA-256 is {digest.hexdigest()}, expected "
            f"{SHA256[name]}. Install tinynn again."
        )
    return array
