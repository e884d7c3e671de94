"""Pictures as a model takes them. Needs Pillow, the extra ``images``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.cli.mistakes import Mistake
from tinynn.cli.output import note
from tinynn.extras import need
from tinynn.layers.base import show_shape

ENDINGS = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 50_000_000  # 150 MB in colour; a small file can claim far more


def load(path: str, shape: Shape, invert: bool) -> Array:
    """Return a picture as uint8, in the shape of one sample of the model.

    A transparent picture is put on white, as programs show it. What was changed is told on standard error.

    Raises
    ------
    Mistake
        If it cannot be read, or the model takes no pictures.
    """
    height, width, channels = size_of(shape, path)
    picture = opened(path, "RGB" if channels == 3 else "L")
    if picture.size != (width, height):
        note("predict", f"{path} has {picture.width} x {picture.height} pixels and was made {width} x {height}")
        picture = picture.resize((width, height), reducing_gap=3.0)
    x = np.array(picture, dtype="uint8")
    if invert:
        x = 255 - x
    if channels == 1 and np.median(border_of(x)) > 127:
        again = "leave --invert out" if invert else "give --invert"
        note("predict", f"{path} is dark on light{' now' if invert else ''}; if the model learned light on dark, as of "
                        f"MNIST, {again}")  # fmt: skip
    return x.reshape(shape)


def opened(path: str, mode: str) -> Any:
    """Return the picture in a file, in a mode of Pillow's."""
    try:
        need("a picture", "Pillow", "images", "PIL")
    except ImportError as error:
        raise Mistake(str(error)) from None
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            if file.width * file.height > MOST_PIXELS:
                raise Mistake(f"{path} claims {file.width} x {file.height} pixels, more than {MOST_PIXELS:,}.")
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I"):  # 16 bits a pixel
                return Image.fromarray((np.array(picture) // 257).clip(0, 255).astype("uint8")).convert(mode)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                paper = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(paper, picture)
            return picture.convert(mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Mistake(f"{path}: {error}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged pictures
        raise Mistake(f"{path} could not be read as a PNG or JPEG picture: {str(error)[:200]}") from None


def size_of(shape: Shape, path: str) -> tuple[int, int, int]:
    """Return height, width and channels of a model's pictures.

    Examples
    --------
    >>> size_of((28, 28), ""), size_of((784,), ""), size_of((32, 32, 3), "")
    ((28, 28, 1), (28, 28, 1), (32, 32, 3))
    """
    if len(shape) == 3 and shape[2] in (1, 3):
        return (shape[0], shape[1], shape[2])
    if len(shape) == 2:
        return (shape[0], shape[1], 1)
    side = math.isqrt(shape[0])
    if len(shape) == 1 and side * side == shape[0]:
        return (side, side, 1)
    raise Mistake(f"{path} is a picture, and the model takes {show_shape(shape)}, which is none; give a .npy file.")


def border_of(x: Array) -> Array:
    """Return the pixels at the edge of a grey picture."""
    return np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
