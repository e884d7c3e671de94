"""``tinynn predict MODEL INPUT ...``: what a saved model says about pictures and arrays."""

from __future__ import annotations

import argparse
import io
from typing import Any

import numpy as np

import tinynn
from tinynn.backend import Array
from tinynn.cli import inputs, models
from tinynn.cli.mistakes import told
from tinynn.cli.options import add_command, add_device
from tinynn.cli.output import note, print_json
from tinynn.io.atomic import write_atomically


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    help = "say what a saved model makes of pictures, IDX files or .npy files"
    predict = add_command(commands, "predict", help, inputs.HELP)
    predict.add_argument("model", metavar="MODEL", help="a file that tinynn train --save, or model.save, wrote")
    predict.add_argument("inputs", metavar="INPUT", nargs="+", help="see below")
    predict.add_argument(
        "--invert", action="store_true", help="turn dark into light, in all inputs: for dark ink on light paper"
    )
    predict.add_argument("-o", "--output", metavar="FILE.npy", help="write the model's outputs there, a row a sample")
    add_device(predict)
    predict.add_argument("--json", action="store_true", help="print JSON: for each sample all that the model says")
    predict.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line for each sample."""
    if options.output is not None:
        models.need_place(options.output, "--output")
    model = models.load(options.model, options.device)
    batches = [inputs.load(path, model.input_shape, options.invert) for path in options.inputs]
    if all(batch.x.dtype == "uint8" for batch in batches) and not isinstance(model.layers[0], tinynn.Rescaling):
        note("predict", f"{options.model} does not begin with Rescaling: it gets the pixels as they are, 0 to 255")
    outputs = []
    for path, batch in zip(options.inputs, batches, strict=True):
        with told(ValueError, before=f"{path}: "):
            outputs.append(model.predict(batch.x, verbose=0))
    y = np.concatenate(outputs)
    names = [name for batch in batches for name in batch.names]
    if options.output is not None:
        save(y, options.output)
    if options.json:
        print_json(
            {
                "model": options.model,
                "predictions": [as_dict(model, name, row) for name, row in zip(names, y, strict=True)],
            }
        )
    else:
        show(model, names, y)
    return 0


def as_dict(model: Any, name: str, y: Array) -> dict[str, Any]:
    """Return what the model says about one sample, for JSON."""
    said: dict[str, Any] = {"input": name}
    if is_classifier(model):
        number, probability = best(y)
        said |= {"class": number, "probability": probability, "probabilities": both(y).tolist()}
    else:
        said["output"] = y.tolist()
    return said


def show(model: Any, names: list[str], y: Array) -> None:
    """Print a table: what it is and how sure the model is, or the first numbers of its output."""
    width = max(len("input"), *map(len, names))
    classes = is_classifier(model)
    print(f"{'input':{width}}  " + ("class  probability" if classes else "output"))
    for name, row in zip(names, y, strict=True):
        if classes:
            number, probability = best(row)
            print(f"{name:{width}}  {number:5}  {probability:11.4f}")
        else:
            first = row.ravel()[:5]
            print(f"{name:{width}}  {' '.join(f'{value:.6g}' for value in first)}{' ...' if row.size > 5 else ''}")


def is_classifier(model: Any) -> bool:
    """Return whether the outputs are the probabilities of classes."""
    last = model.last_activation
    return len(model.output_shape) == 1 and (
        isinstance(last, tinynn.Softmax) or (isinstance(last, tinynn.Sigmoid) and model.output_shape == (1,))
    )


def both(y: Array) -> Array:
    """Return a probability for every class: of one output, p, the two are 1 - p and p."""
    return np.array([1 - y[0], y[0]]) if len(y) == 1 else y


def best(y: Array) -> tuple[int, float]:
    """Return the likeliest class and its probability.

    Examples
    --------
    >>> best(np.array([0.1, 0.7, 0.2])), best(np.array([0.25]))
    ((1, 0.7), (0, 0.75))
    """
    probabilities = both(y)
    number = int(probabilities.argmax())
    return number, float(probabilities[number])


def save(y: Array, path: str) -> None:
    """Write outputs to a .npy file, whole or not at all."""
    content = io.BytesIO()
    np.save(content, y, allow_pickle=False)
    with told(OSError):
        write_atomically(path, [content.getbuffer()], "--output")
