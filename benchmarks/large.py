"""A network 8192 wide in batches of 8192: what part of the bare products' rate a training step reaches, on a device.

    python -m benchmarks.large                                       # on a machine with a CUDA device
    python -m benchmarks.large --width 256 --steps 3                 # whether it runs

Each precision by itself: float32, TF32 and bfloat16. A turn is some training steps of `Sequential.fit`, then the same
products alone, by cuBLASLt into arrays made beforehand (for bfloat16 from factors that are rounded beforehand); the
turns alternate, and the ratio is between two that follow each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinynn
from benchmarks.report import table
from benchmarks.systems import EpochClock
from tinynn.backend import Device, choose_device, to_device
from tinynn.kernels import matmul
from tinynn.kernels.cuda import products
from tinynn.kernels.precision import precision

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
HIDDEN = 3  # layers of the full width; the last one, to 10 classes, is no part worth counting
ASKED = {"tensorfloat32": 0.85, "bfloat16": 0.85}


class Clock(EpochClock, tinynn.Callback):
    """An EpochClock that fit can use."""


def training(device: Device, width: int, steps: int, name: str) -> tuple[Callable[[], float], tinynn.Sequential]:
    """Return a function that trains an epoch of so many steps and returns its seconds."""
    hidden = [tinynn.Dense(width, activation="relu") for _ in range(HIDDEN)]
    model = tinynn.Sequential([tinynn.Input((width,)), *hidden, tinynn.Dense(10, "softmax")], seed=0, device=device)
    model.compile("adam", "sparse_categorical_crossentropy", matmul_precision=name)
    rng = np.random.default_rng(0)
    x = to_device(rng.standard_normal((2 * width, width), dtype="float32"), device)
    y = to_device(rng.integers(0, 10, 2 * width), device)
    rows = device.xp.arange(steps * width) % (2 * width)
    x, y = (x, y) if steps == 2 else (x[rows], y[rows])
    clock = Clock()

    def train() -> float:
        model.fit(x, y, batch_size=width, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds

    return train, model


def bare(device: Device, width: int, steps: int, name: str) -> Callable[[], float]:
    """Return a function that makes the products of so many steps and returns their seconds."""
    xp = device.xp
    rng = np.random.default_rng(0)

    def array() -> Any:
        return to_device(rng.standard_normal((width, width), dtype="float32"), device)

    x, W, y, dW = array(), array(), array(), array()

    def multiply(a: Any, b: Any, out: Any) -> None:
        with precision(name):
            matmul(a, b, out=out)

    if name == "bfloat16" and device.name == "cuda":
        x, W, y = (products.rounded(xp, each) for each in (x, W, y))
        out = array()

        def multiply(a: Any, b: Any, out: Any = out) -> None:
            products.multiply_rounded(a, b, out)

        z = dx = out
    else:
        z, dx = array(), array()

    def run() -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            for at in range(HIDDEN):
                multiply(x, W, z)
                multiply(x.T, y, dW)
                if at:
                    multiply(y, W.T, dx)
        wait(device)
        return time.perf_counter() - start

    return run


def wait(device: Device) -> None:
    """Wait until the device has done all."""
    if device.name == "cuda":
        device.xp.cuda.get_current_stream().synchronize()


def measure(device: Device, width: int, steps: int, rounds: int, name: str) -> dict[str, Any]:
    """Return times, rates and the ratio of one precision."""
    (train, model), alone = training(device, width, steps, name), bare(device, width, steps, name)
    for _ in range(2):  # kernels are compiled, and the step is captured
        train()
        alone()
    turns = [(train(), alone()) for _ in range(rounds)]
    operations = (3 * HIDDEN - 1) * 2 * width**3 * steps
    return {
        "step_seconds": statistics.median(turn[0] for turn in turns) / steps,
        "products_seconds": statistics.median(turn[1] for turn in turns) / steps,
        "products_teraflops": operations / statistics.median(turn[1] for turn in turns) / 1e12,
        "part_of_the_rate": statistics.median(turn[1] / turn[0] for turn in turns),
        "least_and_greatest": [f(turn[1] / turn[0] for turn in turns) for f in (min, max)],
        "how": model.graph_reason,
    }


def page(results: dict[str, Any], width: int, device: Device) -> str:
    """Return the table."""
    rows = [["products", "ms a step", "ms, products alone", "TFLOP/s alone", "part of the rate", "asked", "what runs"]]
    for name, found in results.items():
        rows.append(
            [
                name,
                f"{1000 * found['step_seconds']:.2f}",
                f"{1000 * found['products_seconds']:.2f}",
                f"{found['products_teraflops']:.0f}",
                f"{found['part_of_the_rate']:.1%}",
                f"{ASKED[name]:.0%}" if name in ASKED else "-",
                found["how"],
            ]
        )
    head = f"# A network {width} wide, {HIDDEN} layers, batch {width}\n\nDevice: {device.reason}"
    return f"{head}\n\n{table(rows)}\n"


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--width", type=int, default=8192, help="of the layers, and of the batch")
    parser.add_argument("--steps", type=int, default=10, help="a turn (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write; the table goes beside it, as .md")
    args = parser.parse_args()
    try:
        device = choose_device(args.device)
    except RuntimeError as error:
        print(f"python -m benchmarks.large: {error}", file=sys.stderr)
        return 2
    results = {name: measure(device, args.width, args.steps, args.rounds, name) for name in PRECISIONS}
    text = page(results, args.width, device)
    print(text)
    if args.json is not None:
        args.json.write_text(
            json.dumps({"device": device.reason, "results": results}, indent=2) + "\n", encoding="utf-8"
        )
        args.json.with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
