"""``tinynn summary MODEL``: the layers of a saved model, and what its file says about itself."""

from __future__ import annotations

import argparse
from typing import Any

from tinynn.cli import models
from tinynn.cli.options import add_command
from tinynn.cli.output import print_json


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    help = "print the layers of a saved model, its versions and its seed"
    summary = add_command(commands, "summary", help, "The model is not trained and nothing in the file is changed.")
    summary.add_argument("model", metavar="MODEL", help="a file that tinynn train --save, or model.save, wrote")
    summary.add_argument("--json", action="store_true", help="print JSON")
    summary.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table of layers and the file's metadata."""
    model = models.load(options.model, "cpu")
    facts = models.describe(options.model)
    if options.json:
        print_json(as_dict(model, options.model, facts))
        return 0
    model.summary()
    if model.optimizer is not None:
        trained = {
            "loss": model.loss.name,
            "optimizer": str(model.optimizer),
            "steps": f"{model.optimizer.iterations:,}",
        }
        facts = trained | facts
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value if value.isprintable() else repr(value)}")  # no orders to the terminal
    return 0


def as_dict(model: Any, path: str, facts: dict[str, str]) -> dict[str, Any]:
    """Return what the summary says, for JSON."""
    layers = [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": list(layer.output_shape),
            "parameters": layer.count_params(),
        }
        for layer in model.layers
    ]
    compiled = model.optimizer is not None
    return {
        "model": path,
        "input_shape": list(model.input_shape),
        "layers": layers,
        "parameters": model.count_params(),
        "optimizer": str(model.optimizer) if compiled else None,
        "steps": model.optimizer.iterations if compiled else 0,
        "loss": model.loss.name if compiled else None,
        "file": facts,
    }
