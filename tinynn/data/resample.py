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
    here = np.indices((height, width)).reshape(2, -1)  # (2, H W)
    there = matrices[:, :2, :2] @ here + matrices[:, :2, 2:]  # (B, 2, H W)
    calculated = working_dtype(images.dtype)
    pixels = images.reshape(count * height * width, -1).astype(calculated)  # (B H W, C)
    first = np.arange(count)[:, None] * (height * width)  # where each picture begins
    between = interpolation == "bilinear"
    by_row = neighbours(there[:, 0], height, fill_mode, between, calculated)
    by_column = neighbours(there[:, 1], width, fill_mode, between, calculated)
    result = np.zeros((count, height * width, pixels.shape[1]), calculated)
    found: Any = 0.0
    for row, of_row in by_row:
        for column, of_column in by_column:
            part = of_row * of_column  # (B, H W)
            result += part[..., None] * pixels.take(first + row * width + column, axis=0, mode="clip")
            found += part
    if fill_mode == "constant" and fill_value:
        result += ((1 - found) * calculated.type(fill_value))[..., None]
    return as_dtype(result, images.dtype).reshape(images.shape)


def neighbours(
    places: Array, size: int, fill_mode: str, between: bool, dtype: np.dtype[Any]
) -> list[tuple[Array, Array]]:
    """Return the pixels on an axis that make the value at a place, and the part that each of them has in it.

    Beyond the edges of ``"constant"`` a pixel has no part.

    Examples
    --------
    >>> neighbours(np.array([0.25, 1.5]), 2, "nearest", True, np.dtype(float))
    [(array([0, 1]), array([0.75, 0.5 ])), (array([1, 1]), array([0.25, 0.5 ]))]
    """
    lower = np.floor(places if between else places + 0.5)
    part = (places - lower).astype(dtype) if between else np.zeros(places.shape, dtype)
    pixel = lower.astype(np.intp)
    found = [(pixel, 1 - part), (pixel + 1, part)] if between else [(pixel, 1 - part)]
    if fill_mode == "constant":
        found = [(pixel, part * ((pixel >= 0) & (pixel < size))) for pixel, part in found]
    return [(inside(pixel, size, fill_mode), part) for pixel, part in found]


def inside(places: Array, size: int, fill_mode: str) -> Array:
    """Return where on an axis the pixel is that stands at a place, which may be beyond the edges."""
    if fill_mode == "reflect":
        if places.min() < -size or places.max() >= 2 * size:  # a division is slow, and seldom needed
            places = places % (2 * size)
        places = np.where(places < 0, -1 - places, places)
        return np.where(places < size, places, 2 * size - 1 - places)
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
