"""Pictures turned, moved and stretched: one affine resampling of a batch, each picture by a matrix of its own.

The pixel at (row, column) of the new picture is what the old one has at A (row, column, 1)^T, between its pixels by
bilinear interpolation, and beyond its edges by one of four fill modes, those of Keras:

=========  =====================  ==========================
constant   k k k | a b c | k k k  one value, `fill_value`
nearest    a a a | a b c | c c c  the pixel at the edge
reflect    c b a | a b c | c b a  the picture in a mirror
wrap       a b c | a b c | a b c  the picture once more
=========  =====================  ==========================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")


def resample(
    images: Array,
    matrices: Array,
    fill_mode: str = "reflect",
    interpolation: str = "bilinear",
    fill_value: float = 0.0,
) -> Array:
    """Return pictures resampled, in their dtype.

    Parameters
    ----------
    images : array, shape (B, H, W) or (B, H, W, C)
    matrices : array, shape (B, 3, 3)
        From (row, column, 1) in the new picture to (row, column, 1) in the old one.
    fill_mode : {"reflect", "constant", "nearest", "wrap"}, default "reflect"
        What is beyond the edges.
    interpolation : {"bilinear", "nearest"}, default "bilinear"
    fill_value : float, default 0.0
        For ``"constant"``.

    Examples
    --------
    >>> image = np.arange(9.0).reshape(1, 3, 3)
    >>> down_a_row = np.array([[[1, 0, -1], [0, 1, 0], [0, 0, 1]]])
    >>> resample(image, down_a_row, "constant")
    array([[[0., 0., 0.],
            [0., 1., 2.],
            [3., 4., 5.]]])
    """
    count, height, width = images.shape[:3]
    pixels = images.reshape(count * height * width, -1)  # (B H W, C)
    here = np.indices((height, width)).reshape(2, -1)  # (2, H W)
    there = matrices[:, :2, :2] @ here + matrices[:, :2, 2:]  # (B, 2, H W)
    rows, columns = there[:, 0], there[:, 1]  # (B, H W)
    first = np.arange(count)[:, None] * (height * width)  # where each picture begins

    def pixels_at(r: Array, c: Array) -> Array:
        """Return the old pictures' pixels at whole numbers, (B, H W, C)."""
        found = pixels[first + inside(r, height, fill_mode) * width + inside(c, width, fill_mode)]
        if fill_mode == "constant":
            beyond = (r < 0) | (r >= height) | (c < 0) | (c >= width)
            found = np.where(beyond[..., None], calculated.type(fill_value), found)
        return found

    calculated = working_dtype(images.dtype)
    if interpolation == "nearest":
        result = pixels_at(np.floor(rows + 0.5).astype(np.intp), np.floor(columns + 0.5).astype(np.intp))
    else:
        top, left = np.floor(rows), np.floor(columns)
        down, right = ((a - b).astype(calculated)[..., None] for a, b in ((rows, top), (columns, left)))
        r, c = top.astype(np.intp), left.astype(np.intp)
        upper = pixels_at(r, c) * (1 - right) + pixels_at(r, c + 1) * right
        lower = pixels_at(r + 1, c) * (1 - right) + pixels_at(r + 1, c + 1) * right
        result = upper * (1 - down) + lower * down
    return as_dtype(result, images.dtype).reshape(images.shape)


def inside(places: Array, size: int, fill_mode: str) -> Array:
    """Return where on an axis the pixel is that stands at a place, which may be beyond the edges."""
    if fill_mode == "reflect":
        turned = places % (2 * size)
        return np.minimum(turned, 2 * size - 1 - turned)
    if fill_mode == "wrap":
        return places % size
    return places.clip(0, size - 1)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype to calculate with: one that holds all numbers of `dtype`."""
    return np.result_type(dtype, np.float32)


def as_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values in a dtype: whole numbers are rounded, and cut off where the dtype ends.

    Examples
    --------
    >>> as_dtype(np.array([-3.0, 1.6, 300.0]), np.dtype("uint8"))
    array([  0,   2, 255], dtype=uint8)
    """
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)
