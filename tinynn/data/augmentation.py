"""Augmentation: pictures changed at random, batch by batch, so that a network never sees the same one twice.

Names and arguments are those of Keras's layers. Here they are functions of a batch and a random generator::

    dataset = Dataset.from_arrays(x, y).shuffle().batch(128).map(RandomRotation(0.05)).map(RandomTranslation(0.1, 0.1))

`Dataset.map` gives each batch a generator of its own, so that a run that is repeated, or resumed, sees the same
pictures. By hand it is ``RandomFlip()(images, rng=numpy.random.default_rng(0))``.

Pictures are NumPy arrays of shape (B, H, W) or (B, H, W, C). They are never changed in place, and keep their dtype:
whole numbers are rounded, and cut off at the ends of the dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.arguments import check_number, find
from tinynn.backend import Array
from tinynn.data.arrays import kind_of
from tinynn.data.resample import FILL_MODES, INTERPOLATIONS, as_dtype, resample, working_dtype

Range = tuple[float, float]


class Augmentation:
    """Pictures changed at random; what else belongs to them stays.

    To write one, give a class ``change(self, images, rng)``.
    """

    def __call__(self, x: Array, *others: Any, rng: np.random.Generator) -> Any:
        """Return a batch with its pictures changed: ``x`` alone, or ``(x, *others)``."""
        changed = self.change(check_images(x, type(self).__name__), rng)
        return (changed, *others) if others else changed

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return new pictures, in the shape and dtype of the old ones."""
        raise NotImplementedError(f"{type(self).__name__} needs a method change(self, images, rng).")


def check_images(x: Any, who: str) -> Array:
    """Return pictures, or say what is wrong with them."""
    if not isinstance(x, np.ndarray):
        raise TypeError(
            f"{who}: expected pictures as a NumPy array, got {kind_of(x)}. Change them before they go to a device."
        )
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(
            f"{who}: expected a batch of pictures of shape (batch, height, width) or (batch, height, width, channels), "
            f"got {x.shape}. In a Dataset, map it after batch; rows of pixels need a reshape first."
        )
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{who}: expected pictures of numbers, got dtype {x.dtype}.")
    return x


def check_range(value: Any, who: str, low: float = -np.inf, high: float = np.inf) -> Range:
    """Return from where to where a factor is drawn: -f to f for one number, which must not be negative then.

    Examples
    --------
    >>> check_range(0.2, "RandomRotation: factor"), check_range((0, 0.5), "RandomRotation: factor")
    ((-0.2, 0.2), (0.0, 0.5))
    """
    if not isinstance(value, tuple | list):
        return -check_number(value, who, 0, min(high, -low)), float(value)
    return check_pair(value, who, low, high)


def check_pair(value: Any, who: str, low: float = -np.inf, high: float = np.inf) -> Range:
    """Return two numbers, the first no larger than the second.

    Examples
    --------
    >>> check_pair((0.3, 0.1), "RandomErasing: scale")
    Traceback (most recent call last):
    ...
    ValueError: RandomErasing: scale must be two numbers, from and to, got (0.3, 0.1).
    """
    if isinstance(value, tuple | list) and len(value) == 2:
        lowest, highest = (check_number(v, who, low, high) for v in value)
        if lowest <= highest:
            return lowest, highest
    raise ValueError(f"{who} must be two numbers, from and to, got {value!r}.")


class Affine(Augmentation):
    """An augmentation that is a matrix for each picture: rotated, translated, zoomed, by `resample`.

    Parameters
    ----------
    fill_mode : {"reflect", "constant", "nearest", "wrap"}, default "reflect"
        What comes in at the edges; see `tinynn.data.resample`.
    interpolation : {"bilinear", "nearest"}, default "bilinear"
        "nearest" makes no new values, as masks of classes need.
    fill_value : float, default 0.0
        For ``fill_mode="constant"``.
    """

    def __init__(self, *, fill_mode: str = "reflect", interpolation: str = "bilinear", fill_value: float = 0.0) -> None:
        find("fill_mode", fill_mode, dict.fromkeys(FILL_MODES))
        find("interpolation", interpolation, dict.fromkeys(INTERPOLATIONS))
        self.fill_mode, self.interpolation = fill_mode, interpolation
        self.fill_value = check_number(fill_value, f"{type(self).__name__}: fill_value", -np.inf)

    def matrices(self, rng: np.random.Generator, count: int, height: int, width: int) -> Array:
        """Return for each picture the matrix from new places (row, column, 1) to old ones, (B, 3, 3)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method matrices(self, rng, count, height, width).")

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the pictures resampled."""
        matrices = self.matrices(rng, *images.shape[:3])
        return resample(images, matrices, self.fill_mode, self.interpolation, self.fill_value)


def about_the_middle(inner: Array, height: int, width: int) -> Array:
    """Return matrices (B, 3, 3) that do what `inner` (B, 2, 2) does, with the picture's middle where it was.

    old - m = A (new - m), so old = A new + (m - A m).
    """
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    matrices = np.zeros((len(inner), 3, 3))
    matrices[:, :2, :2] = inner
    matrices[:, :2, 2] = middle - inner @ middle
    matrices[:, 2, 2] = 1
    return matrices


class RandomTranslation(Affine):
    """Move pictures: up or down by a part of their height, left or right by a part of their width.

    Parameters
    ----------
    height_factor : float or (float, float)
        The parts to draw from: 0.1 means -0.1 to 0.1. Positive is down.
    width_factor : float or (float, float)
        Likewise; positive is right.
    **options
        Those of `Affine`: fill_mode, interpolation, fill_value.

    Examples
    --------
    >>> move = RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant")
    >>> move(np.array([[[1, 2], [3, 4]]]), rng=np.random.default_rng(0))
    array([[[0, 0],
            [1, 2]]])
    """

    def __init__(self, height_factor: Any, width_factor: Any, **options: Any) -> None:
        super().__init__(**options)
        self.height_factor = check_range(height_factor, "RandomTranslation: height_factor", -1, 1)
        self.width_factor = check_range(width_factor, "RandomTranslation: width_factor", -1, 1)

    def matrices(self, rng: np.random.Generator, count: int, height: int, width: int) -> Array:
        """Return matrices that take back what the picture is moved."""
        matrices = np.tile(np.eye(3), (count, 1, 1))
        matrices[:, 0, 2] = -height * rng.uniform(*self.height_factor, count)
        matrices[:, 1, 2] = -width * rng.uniform(*self.width_factor, count)
        return matrices


class RandomRotation(Affine):
    """Turn pictures about their middle.

    Parameters
    ----------
    factor : float or (float, float)
        The parts of a full turn to draw from: 0.1 means -36 to 36 degrees. Positive is counter-clockwise.
    **options
        Those of `Affine`: fill_mode, interpolation, fill_value.

    Examples
    --------
    >>> a_quarter = RandomRotation((0.25, 0.25))
    >>> a_quarter(np.array([[[1, 2], [3, 4]]]), rng=np.random.default_rng(0))
    array([[[2, 4],
            [1, 3]]])
    """

    def __init__(self, factor: Any, **options: Any) -> None:
        super().__init__(**options)
        self.factor = check_range(factor, "RandomRotation: factor")

    def matrices(self, rng: np.random.Generator, count: int, height: int, width: int) -> Array:
        """Return matrices that turn back: [[cos, sin], [-sin, cos]] on (row, column), as rows point down."""
        angle = 2 * np.pi * rng.uniform(*self.factor, count)
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=-2)
        return about_the_middle(back, height, width)


class RandomZoom(Affine):
    """Make pictures larger or smaller about their middle.

    Parameters
    ----------
    height_factor : float or (float, float)
        The parts to draw from: 0.2 means -0.2 to 0.2. Positive zooms out: 0.2 shows 1.2 times the height, and
        (-0.3, -0.2) zooms in by 20 to 30 %.
    width_factor : float or (float, float), optional
        Likewise; by default what is drawn for the height, so that the proportions stay.
    **options
        Those of `Affine`: fill_mode, interpolation, fill_value.

    Examples
    --------
    >>> twice_as_wide = RandomZoom((0, 0), (-0.5, -0.5), fill_mode="nearest")
    >>> twice_as_wide(np.array([[[0.0, 4.0, 8.0, 12.0]]]), rng=np.random.default_rng(0))
    array([[[3., 5., 7., 9.]]])
    """

    def __init__(self, height_factor: Any, width_factor: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.height_factor = check_range(height_factor, "RandomZoom: height_factor", -0.99)
        self.width_factor = (
            None if width_factor is None else check_range(width_factor, "RandomZoom: width_factor", -0.99)
        )

    def matrices(self, rng: np.random.Generator, count: int, height: int, width: int) -> Array:
        """Return matrices that stretch the distance from the middle by 1 + the factor."""
        inner = np.zeros((count, 2, 2))
        inner[:, 0, 0] = inner[:, 1, 1] = 1 + rng.uniform(*self.height_factor, count)
        if self.width_factor is not None:
            inner[:, 1, 1] = 1 + rng.uniform(*self.width_factor, count)
        return about_the_middle(inner, height, width)


class RandomAffine(Affine):
    """Do several of `RandomRotation`, `RandomZoom`, `RandomTranslation` in one resampling: sharper, and one pass only.

    Parameters
    ----------
    *parts : Affine
        What to do, in this order; their own options do not count.
    **options
        Those of `Affine`: fill_mode, interpolation, fill_value.

    Examples
    --------
    >>> augment = RandomAffine(RandomRotation(0.03), RandomTranslation(0.1, 0.1), fill_mode="constant")
    >>> augment(np.ones((5, 28, 28)), rng=np.random.default_rng(0)).shape
    (5, 28, 28)
    """

    def __init__(self, *parts: Affine, **options: Any) -> None:
        super().__init__(**options)
        wrong = [part for part in parts if not isinstance(part, Affine)]
        if wrong or not parts:
            raise TypeError(
                "RandomAffine: expected one or more of RandomRotation, RandomZoom and RandomTranslation, got "
                f"{kind_of(wrong[0]) if wrong else 'none'}."
            )
        self.parts = parts

    def matrices(self, rng: np.random.Generator, count: int, height: int, width: int) -> Array:
        """Return products: the last step's new places are what is asked for, and the first step's old ones wanted."""
        product = np.tile(np.eye(3), (count, 1, 1))
        for part in self.parts:
            product = product @ part.matrices(rng, count, height, width)
        return product


MODES = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(Augmentation):
    """Mirror each picture, or not, with even chances.

    Parameters
    ----------
    mode : {"horizontal_and_vertical", "horizontal", "vertical"}, default "horizontal_and_vertical"
        "horizontal" swaps left and right.

    Examples
    --------
    >>> flip = RandomFlip("horizontal")
    >>> flip(np.array([[[1, 2]], [[1, 2]]]), rng=np.random.default_rng(0))
    array([[[1, 2]],
    <BLANKLINE>
           [[2, 1]]])
    """

    def __init__(self, mode: str = "horizontal_and_vertical") -> None:
        find("mode", mode, dict.fromkeys(MODES))
        self.mode = mode

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return some of the pictures mirrored."""
        for axis, name in ((2, "horizontal"), (1, "vertical")):
            if name in self.mode:
                mirrored = rng.random(len(images)) < 0.5
                images = np.where(along_pictures(mirrored, images), np.flip(images, axis), images)
        return images


def along_pictures(values: Array, images: Array) -> Array:
    """Return one value a picture in a shape that goes with the pictures."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


class GaussianNoise(Augmentation):
    """Add to every number of every picture one from a normal distribution.

    Parameters
    ----------
    stddev : float
        The standard deviation, in the units of the pictures: 25 for bytes is 0.1 for numbers from 0 to 1.

    Examples
    --------
    >>> GaussianNoise(5.0)(np.full((1, 2, 2), 250, np.uint8), rng=np.random.default_rng(0))
    array([[[255, 243],
            [248, 246]]], dtype=uint8)
    """

    def __init__(self, stddev: float) -> None:
        self.stddev = check_number(stddev, "GaussianNoise: stddev", 0)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return images + stddev * noise."""
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        return as_dtype(images + (self.stddev * noise).astype(working_dtype(images.dtype)), images.dtype)


class RandomErasing(Augmentation):
    """Erase a rectangle of each picture (Zhong et al. 2020, "Random Erasing Data Augmentation").

    With ``ratio=(1, 1)`` and ``fill_value=0`` it is Cutout (DeVries & Taylor 2017), but that the squares lie inside.

    Parameters
    ----------
    factor : float, default 1.0
        The chance that a picture loses a rectangle.
    scale : (float, float), default (0.02, 0.33)
        The part of the picture that is erased, from and to.
    fill_value : float, optional
        What is there instead; by default random numbers of `value_range`.
    value_range : (float, float), default (0, 255)
        The numbers that pictures have.
    ratio : (float, float), default (0.3, 3.3)
        The rectangle's width by its height, from and to.

    Examples
    --------
    >>> erase = RandomErasing(scale=(0.25, 0.25), fill_value=0, ratio=(1, 1))
    >>> erase(np.ones((1, 4, 4), int), rng=np.random.default_rng(0)).sum()
    np.int64(12)
    """

    def __init__(
        self,
        factor: float = 1.0,
        scale: Range = (0.02, 0.33),
        fill_value: float | None = None,
        value_range: Range = (0, 255),
        *,
        ratio: Range = (0.3, 3.3),
    ) -> None:
        self.factor = check_number(factor, "RandomErasing: factor", 0, 1)
        self.scale = check_pair(scale, "RandomErasing: scale", 0, 1)
        self.ratio = check_pair(ratio, "RandomErasing: ratio", 1e-3, 1e3)
        self.value_range = check_pair(value_range, "RandomErasing: value_range")
        self.fill_value = None if fill_value is None else check_number(fill_value, "RandomErasing: fill_value", -np.inf)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the pictures, each with a rectangle that is something else."""
        count, height, width = images.shape[:3]
        area = height * width * rng.uniform(*self.scale, count)
        ratio = np.exp(rng.uniform(np.log(self.ratio[0]), np.log(self.ratio[1]), count))
        rows = between(rng, np.sqrt(area / ratio), height)  # (B, H): which rows are in the rectangle
        columns = between(rng, np.sqrt(area * ratio), width)  # (B, W)
        chosen = np.less(rng.random(count), self.factor)
        erased = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
        if self.fill_value is None:
            fill = as_dtype(rng.uniform(*self.value_range, images.shape), images.dtype)
        else:
            fill = as_dtype(np.asarray(self.fill_value, float), images.dtype)
        return np.where(erased.reshape(*erased.shape, *[1] * (images.ndim - 3)), fill, images)


def between(rng: np.random.Generator, lengths: Array, size: int) -> Array:
    """Return for each picture which places of an axis are in a piece of a length, rounded, at a random place."""
    lengths = np.rint(lengths).clip(1, size).astype(int)
    starts = rng.integers(size - lengths + 1)
    places = np.arange(size)
    return (places >= starts[:, None]) & (places < (starts + lengths)[:, None])


class MixUp(Augmentation):
    """Mix each picture with another one of the batch, and their targets likewise (Zhang et al. 2018, "mixup").

    x = l x_i + (1 - l) x_j, y = l y_i + (1 - l) y_j with l from a Beta(alpha, alpha) distribution.

    Targets must be one-hot rows or other numbers that can be mixed; class numbers cannot.

    Parameters
    ----------
    alpha : float, default 0.2
        0.2 leaves most pictures nearly alone, 1.0 mixes all evenly.

    Examples
    --------
    >>> x, y = np.array([[[0.0]], [[1.0]]]), np.eye(2)
    >>> x, y = MixUp(1.0)(x, y, rng=np.random.default_rng(1))
    >>> bool(np.allclose(x[:, 0, 0], y[:, 1]))
    True
    """

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = check_number(alpha, "MixUp: alpha", 1e-3)

    def __call__(self, x: Array, *others: Any, rng: np.random.Generator) -> Any:
        """Return ``(x, y)`` mixed."""
        x = check_images(x, "MixUp")
        if len(others) != 1:
            raise ValueError(
                f"MixUp: expected a batch (x, y), got {len(others) + 1} entries: pictures are mixed with their "
                "targets, and a sample_weight cannot be."
            )
        y = np.asarray(others[0])
        if len(y) != len(x) or y.dtype.kind not in "fiub" or (y.dtype.kind != "f" and y.ndim < 2):
            raise ValueError(
                f"MixUp: expected a target for each of the {len(x)} pictures that can be mixed, such as one-hot rows, "
                f"got the shape {y.shape} of {y.dtype}. Make rows of class numbers with tinynn.to_categorical(y, 10) "
                "and use the loss 'categorical_crossentropy'."
            )
        part = rng.beta(self.alpha, self.alpha, len(x))
        partner = rng.permutation(len(x))
        kept = working_dtype(y.dtype) if y.dtype.kind != "f" else y.dtype
        return mixed(x, partner, part, x.dtype), mixed(y, partner, part, kept)


def mixed(values: Array, partner: Array, part: Array, dtype: np.dtype[Any]) -> Array:
    """Return each of the values mixed with its partner."""
    calculated = working_dtype(values.dtype)
    first = along_pictures(part, values).astype(calculated)
    return as_dtype(first * values + (1 - first) * values[partner], dtype)
