"""``--layers``: a network in one line of text, ``784:relu,10:softmax``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tinynn import layers
from tinynn.arguments import Shape, find
from tinynn.cli.mistakes import Mistake
from tinynn.layers.activations import ACTIVATIONS

HELP = """\
--layers is a list, from the input to the output, with commas between:
  784:relu        a dense layer of 784 units and its activation; linear without
  conv32x3:relu   a convolution: 32 filters of 3 x 3, and its activation
  pool2           the maximum of every 2 x 2 pixels
  batchnorm       batch normalization; batchnorm:relu, and an activation after
  dropout0.5      sets half of the numbers to zero in training
  flatten         rows from images; before a dense layer it comes by itself
Pixels, 0 to 255, are scaled to 0..1 by the network's first layer, which is not
written in the list."""

MOST_DIGITS = 7
MOST_PARAMETERS = 500_000_000  # with gradients and Adam's two slots 8 GB; more is a slip of the finger

KEEPING_SHAPES = {name: kind for name, kind in ACTIVATIONS.items() if name != "glu"}  # which halves the last axis

Made = list[layers.Layer]


@dataclass(frozen=True)
class Word:
    """One entry of the list, and where it stands in it."""

    text: str
    start: int
    whole: str  # the list

    def fault(self, message: str, part: str | None = None) -> Mistake:
        """Return the mistake that is in this entry, or in a part of it, with a caret line under the list."""
        part = self.text if part is None else part
        start = self.start + self.text.rindex(part)
        return Mistake(f"--layers: {message}", f"\n  {self.whole}\n  {' ' * start}{'^' * max(len(part), 1)}")


def words(text: str) -> Iterator[Word]:
    """Yield the entries of a list of layers.

    Examples
    --------
    >>> [(word.text, word.start) for word in words("784:relu, 10")]
    [('784:relu', 0), ('10', 10)]
    """
    start = 0
    for piece in text.split(","):
        yield Word(piece.strip(), start + len(piece) - len(piece.lstrip()), text)
        start += len(piece) + 1


def last_word(text: str) -> Word:
    """Return the last entry of a list of layers."""
    return list(words(text))[-1]


def read_layers(text: str, input_shape: Shape) -> Made:
    """Return the layers for a list, for samples of a shape.

    Raises
    ------
    Mistake
        With the place in the text that is at fault.

    Examples
    --------
    >>> read_layers("784:relu,10:softmax", (28, 28))
    [<Flatten>, <Dense>, <Dense>]
    """
    if not text.isprintable():
        raise Mistake("--layers: expected one line of text, such as 784:relu,10:softmax.")
    made: Made = []
    shape, parameters = input_shape, 0
    for word in words(text):
        new, shape, count = read_word(word, shape)
        made += new
        parameters += count
        if parameters > MOST_PARAMETERS:
            raise word.fault(
                f"with {word.text!r} the network has {parameters:,} parameters, more than the {MOST_PARAMETERS:,} that "
                "this command allows; make the layers smaller."
            )
    return made


def read_word(word: Word, shape: Shape) -> tuple[Made, Shape, int]:
    """Return the layers of one entry, the shape of their output, and how many numbers they learn."""
    if not word.text:
        raise word.fault("a layer is missing between two commas, or at an end; write such as 784:relu,10:softmax.")
    body, colon, activation = word.text.partition(":")
    if colon:
        check_activation(word, activation)
    name, numbers = body.rstrip("0123456789.x"), body[len(body.rstrip("0123456789.x")) :]
    if re.fullmatch(r"conv[0-9]+", body):
        raise word.fault(f"{body!r} needs the size of its filters, such as {body}x3.", body)
    if re.fullmatch(r"conv[0-9]+x[0-9]+", body):
        return convolution(word, numbers, activation or None, shape)
    if name == "" and numbers.isdigit():
        return dense(word, numbers, activation or None, shape)
    if body == "batchnorm":
        after: Made = [layers.Activation(activation)] if activation else []
        return [layers.BatchNormalization(), *after], shape, 2 * shape[-1]
    without = {"pool": pooling, "dropout": dropout, "flatten": flatten}
    if name not in without:
        raise word.fault(
            f"there is no layer {body!r}. Write a number of units, such as 784, or one of conv32x3, pool2, batchnorm, "
            "dropout0.5, flatten.",
            body,
        )
    if colon:
        raise word.fault(f"{name} takes no activation; write it at the layer before.", f":{activation}")
    return without[name](word, numbers, shape)


def check_activation(word: Word, name: str) -> None:
    """Raise Mistake unless there is an activation of this name."""
    if not name:
        raise word.fault("an activation must follow the colon, such as relu.", ":")
    try:
        find("activation", name, KEEPING_SHAPES)
    except ValueError as error:
        raise word.fault(str(error), name) from None


def count(word: Word, digits: str, what: str) -> int:
    """Return a number from 1 up, not so large that it is a slip of the finger."""
    if len(digits) > MOST_DIGITS or int(digits) < 1:
        raise word.fault(f"{what} must be a whole number from 1 to {10**MOST_DIGITS - 1:,}.", digits)
    return int(digits)


def dense(word: Word, digits: str, activation: str | None, shape: Shape) -> tuple[Made, Shape, int]:
    """Read ``784:relu``."""
    units = count(word, digits, "the number of units")
    inputs = math.prod(shape)
    before: Made = [layers.Flatten()] if len(shape) > 1 else []
    return [*before, layers.Dense(units, activation=activation)], (units,), (inputs + 1) * units


def convolution(word: Word, numbers: str, activation: str | None, shape: Shape) -> tuple[Made, Shape, int]:
    """Read ``conv32x3:relu``. Images of one colour have no axis of channels; they get one."""
    first, _, second = numbers.partition("x")
    filters, size = count(word, first, "the number of filters"), count(word, second, "the size of the filters")
    before: Made = [layers.Reshape((*shape, 1))] if len(shape) == 2 else []
    height, width, channels = image_of(word, shape, size)
    layer = layers.Conv2D(filters, size, activation=activation)
    parameters = (size * size * channels + 1) * filters
    return [*before, layer], (height - size + 1, width - size + 1, filters), parameters


def pooling(word: Word, digits: str, shape: Shape) -> tuple[Made, Shape, int]:
    """Read ``pool2``."""
    if not digits.isdigit():
        raise word.fault("pool needs its size, such as pool2.")
    size = count(word, digits, "the size of a pool")
    before: Made = [layers.Reshape((*shape, 1))] if len(shape) == 2 else []
    height, width, channels = image_of(word, shape, size)
    return [*before, layers.MaxPooling2D(size)], (height // size, width // size, channels), 0


def dropout(word: Word, number: str, shape: Shape) -> tuple[Made, Shape, int]:
    """Read ``dropout0.5``."""
    if not re.fullmatch(r"0?\.[0-9]+", number) or float(number) == 0:
        raise word.fault("dropout needs the part to drop, between 0 and 1, such as dropout0.5.")
    return [layers.Dropout(float(number))], shape, 0


def flatten(word: Word, numbers: str, shape: Shape) -> tuple[Made, Shape, int]:
    """Read ``flatten``."""
    if numbers:
        raise word.fault("flatten takes no number.", numbers)
    return [layers.Flatten()], (math.prod(shape),), 0


def image_of(word: Word, shape: Shape, size: int) -> tuple[int, int, int]:
    """Return height, width and channels, if the samples are images here, and large enough."""
    if len(shape) not in (2, 3):
        raise word.fault(f"{word.text!r} needs images, and here the samples are rows of {math.prod(shape)} numbers.")
    height, width, channels = (*shape, 1) if len(shape) == 2 else shape
    if size > min(height, width):
        raise word.fault(f"{size} x {size} pixels do not fit into the image, which is {height} x {width} here.")
    return height, width, channels
