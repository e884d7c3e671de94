"""The table of proofs: for every layer in every setting, how far its gradients and Keras's are from it.

    python -m tests.layers.proof                                           # needs the dependency group parity
    python -m tests.layers.proof --speed benchmarks/results/layers.json    # with the times of benchmarks/layers.py

Prints Markdown. The gradient error is the largest of dx and every parameter's, by `tinynn.check.gradients` in float64;
the parity error the largest difference from Keras on JAX in float64, outputs and gradients, relative to the largest
number in each array.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from tests.keras_float64 import compared_with_keras, keras_float64
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn.check import gradients


def gradient_error(row: Row) -> float:
    """Return the largest error of a gradient at the example's shape."""
    report = gradients(row.make(), row.sample((4, *row.example), 0), training=row.training)
    assert report.ok, report
    return report.error


def parity_error(keras: Any, row: Row) -> float | None:
    """Return the largest difference from Keras, None where Keras has no such layer."""
    if row.keras is None:
        return None
    worst = 0.0
    for shape in row.parity_shapes:
        for mine, theirs in compared_with_keras(keras, row, shape):
            scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-3)
            worst = max(worst, float(np.abs(mine - theirs).max(initial=0.0)) / scale)
    return worst


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--speed", type=Path, metavar="PATH", help="what benchmarks/layers.py --json wrote")
    args = parser.parse_args()
    ratios: dict[str, float] = {}
    if args.speed is not None:
        for name, numbers in json.loads(args.speed.read_text(encoding="utf-8"))["layers"].items():
            ratios.setdefault(name.split()[0], statistics.median(mine / theirs for mine, theirs in numbers["seconds"]))
    print("| layer | gradient error | by | error against Keras | time / PyTorch's |")
    print("| --- | --- | --- | --- | --- |")
    with keras_float64() as keras:
        for row in TABLE:
            parity = parity_error(keras, row)
            beside_keras = f"{parity:.0e}" if parity is not None else row.unlike_keras
            ratio = ratios.pop(type(row.make()).__name__, None)  # at the first setting of each layer
            speed = "" if ratio is None else f"{ratio:.2f}"
            print(f"| {row} | {gradient_error(row):.0e} | {row.method} | {beside_keras} | {speed} |", flush=True)


if __name__ == "__main__":
    main()
