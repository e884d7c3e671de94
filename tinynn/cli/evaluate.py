"""``tinynn evaluate MODEL DATASET``: loss and metrics of a saved model."""

from __future__ import annotations

import argparse
from typing import Any

from tinynn.cli import dataset, models
from tinynn.cli.mistakes import Mistake
from tinynn.cli.options import add_command, add_device, add_limit, whole
from tinynn.cli.output import print_json, show_scores, versions


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    evaluate = add_command(commands, "evaluate", "test a saved model on a data set", dataset.HELP)
    evaluate.add_argument("model", metavar="MODEL", help="a file that tinynn train --save, or model.save, wrote")
    evaluate.add_argument("dataset", metavar="DATASET", help="its test part is taken; see below")
    evaluate.add_argument(
        "--batch-size", type=whole(1), default=1024, metavar="N", help="samples at a time (default: %(default)s)"
    )
    add_device(evaluate)
    add_limit(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print loss and metrics."""
    model = models.load(options.model, options.device)
    if model.loss is None:
        raise Mistake(f"{options.model} was saved without a loss: call compile before save.")
    test = dataset.load(options.dataset, "test", options.limit)
    scores = models.score(model, test, options.batch_size)
    if options.json:
        print_json(
            {
                "model": options.model,
                "dataset": options.dataset,
                "samples": len(test.x),
                "test": scores,
                "device": model.device.name,
                "versions": versions(),
            }
        )
    else:
        print(show_scores(scores, len(test.x)))
    return 0
