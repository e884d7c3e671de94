"""Time and memory of forward and backward of single layers, in tinynn and in PyTorch, side by side.

    python benchmarks/layers.py
    python benchmarks/layers.py --rounds 9 --only Conv2D,LSTM --json result.json

Each layer gets the same random batch in both libraries, in float32, and is asked for the gradients of its input and of
its parameters. The two take turns, a few passes each, round after round, with a pause between them until the threads
of the one before have stopped to spin. Without PyTorch the numbers of tinynn alone are printed.

The memory is the peak of what a forward and a backward pass allocate: the output, what is kept between the passes, what
lies between on the way, the gradients of the input and of the parameters; not the input, the parameters and what comes
in from above, which are there before. It is counted where each library asks for it: by tracemalloc, to which NumPy
reports its arrays, and by PyTorch's profiler, to which its allocator does. What a matrix product takes inside of it is
in neither.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from machine import limit_to_threads, processor_model, usable_processors
from rich.console import Console
from rich.table import Table

import tinynn
from tinynn import kernels, layers
from tinynn.kernels import describe

PAUSE = 0.3  # seconds; longer than idle threads spin


def output(layer: Any, x: Any) -> Any:
    """Return the output of a layer in PyTorch."""
    return layer(x)


def last_step(layer: Any, x: Any) -> Any:
    """Return the last step of a recurrent layer in PyTorch, which is what tinynn's returns."""
    return layer(x)[0][:, -1]


def to_itself(layer: Any, x: Any) -> Any:
    """Return the output of self-attention in PyTorch, without the table of who looked where."""
    return layer(x, x, x, need_weights=False)[0]


@dataclass(frozen=True)
class Case:
    """One layer.

    Attributes
    ----------
    name : str
    mine, theirs : function
        How tinynn makes it, and how PyTorch does, given ``torch.nn``.
    shape : tuple of int
        A batch in tinynn: channels last. Images get their channels first in PyTorch.
    call : function
        What to call in PyTorch, given layer and batch, for the output that tinynn's layer has.
    """

    name: str
    mine: Callable[[], layers.Layer]
    theirs: Callable[[Any], Any]
    shape: tuple[int, ...]
    call: Callable[[Any, Any], Any] = output


IMAGE, FLAT, STEPS, WORDS = (64, 28, 28, 32), (128, 1024), (128, 28, 64), (32, 64, 128)

CASES = [
    Case("Dense", lambda: layers.Dense(1024), lambda nn: nn.Linear(1024, 1024), FLAT),
    Case("Conv2D 3x3", lambda: layers.Conv2D(32, 3), lambda nn: nn.Conv2d(32, 32, 3), IMAGE),
    Case("Conv2D 5x5", lambda: layers.Conv2D(32, 5), lambda nn: nn.Conv2d(32, 32, 5), IMAGE),
    Case(
        "DepthwiseConv2D 3x3",
        lambda: layers.DepthwiseConv2D(3),
        lambda nn: nn.Conv2d(32, 32, 3, groups=32),
        IMAGE,
    ),
    Case("MaxPooling2D", layers.MaxPooling2D, lambda nn: nn.MaxPool2d(2), IMAGE),
    Case("AveragePooling2D", layers.AveragePooling2D, lambda nn: nn.AvgPool2d(2), IMAGE),
    Case("BatchNormalization", layers.BatchNormalization, lambda nn: nn.BatchNorm2d(32), IMAGE),
    Case("LayerNormalization", layers.LayerNormalization, lambda nn: nn.LayerNorm(1024), FLAT),
    Case("SimpleRNN", lambda: layers.SimpleRNN(128), lambda nn: nn.RNN(64, 128, batch_first=True), STEPS, last_step),
    Case("LSTM", lambda: layers.LSTM(128), lambda nn: nn.LSTM(64, 128, batch_first=True), STEPS, last_step),
    Case("GRU", lambda: layers.GRU(128), lambda nn: nn.GRU(64, 128, batch_first=True), STEPS, last_step),
    Case(
        "MultiHeadAttention",
        lambda: layers.MultiHeadAttention(4, 32),
        lambda nn: nn.MultiheadAttention(128, 4, batch_first=True),
        WORDS,
        to_itself,
    ),
    Case(
        "TransformerBlock",
        lambda: layers.TransformerBlock(128, 4),
        lambda nn: nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True),
        WORDS,
    ),
    Case("ReLU", layers.ReLU, lambda nn: nn.ReLU(), IMAGE),
    Case("Sigmoid", layers.Sigmoid, lambda nn: nn.Sigmoid(), IMAGE),
    Case("Tanh", layers.Tanh, lambda nn: nn.Tanh(), IMAGE),
    Case("GELU", layers.GELU, lambda nn: nn.GELU(), IMAGE),
    Case("Softmax", layers.Softmax, lambda nn: nn.Softmax(dim=-1), FLAT),
    Case("Dropout", lambda: layers.Dropout(0.5), lambda nn: nn.Dropout(0.5), IMAGE),
]


def prepare_mine(case: Case) -> tuple[Callable[[], None], int]:
    """Return a function that does one forward and one backward pass in tinynn, and the bytes of its gradients."""
    model = tinynn.Sequential([case.mine()], device="cpu", seed=0)
    x = np.random.default_rng(0).normal(size=case.shape).astype("float32")
    dy = np.random.default_rng(1).normal(size=model(x, training=True).shape).astype("float32")

    def run() -> None:
        model.forward(x, training=True)
        model.backward(dy)

    return run, model.need_arena().grads.nbytes


def prepare_theirs(case: Case, threads: int) -> Callable[[], None]:
    """Return a function that does one forward and one backward pass in PyTorch, channels first where it wants them."""
    import torch

    torch.set_num_threads(threads)
    layer = case.theirs(torch.nn)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=case.shape).astype("float32"))
    if len(case.shape) == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    x.requires_grad_()

    dy = torch.randn_like(case.call(layer, x))

    def run() -> None:
        case.call(layer, x).backward(dy)
        for leaf in (x, *layer.parameters()):
            leaf.grad = None

    return run


def seconds_a_pass(run: Callable[[], None]) -> float:
    """Return the seconds of a pass, the fastest of as many as fit into a fifth of a second."""
    best, end = float("inf"), time.perf_counter() + 0.2
    while (start := time.perf_counter()) < end:
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peak_of_mine(case: Case) -> int:
    """Return the most bytes that a pass in tinynn holds at a time, by tracemalloc."""
    run, bytes_of_gradients = prepare_mine(case)
    run()
    kernels.release()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before + bytes_of_gradients  # which were there before


def peak_of_theirs(case: Case, threads: int) -> int:
    """Return the most bytes that a pass in PyTorch holds at a time, by its profiler."""
    from torch.profiler import ProfilerActivity, profile

    run = prepare_theirs(case, threads)
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda timed: timed[0]):
        held += change
        peak = max(peak, held)
    return peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--only", default="", help="names that start with one of these, with commas between")
    parser.add_argument("--threads", type=int, default=len(usable_processors()), help="for both (default: all)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers to this file")
    args = parser.parse_args()
    with_torch = importlib.util.find_spec("torch") is not None
    limits = limit_to_threads(args.threads)
    cases = [case for case in CASES if case.name.startswith(tuple(args.only.split(",")))]

    numbers: dict[str, dict[str, Any]] = {}
    table = Table(caption="ratio: tinynn's time to PyTorch's - MiB: the most that a pass holds at a time")
    for column in ("layer", "batch"):
        table.add_column(column, no_wrap=True)
    for column in ("tinynn, ms", "PyTorch, ms", "ratio", "min - max", "tinynn, MiB", "PyTorch, MiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for case in cases:
        mine, _ = prepare_mine(case)
        theirs = prepare_theirs(case, args.threads) if with_torch else None
        pairs = []
        for _ in range(args.rounds):
            time.sleep(PAUSE)
            first = seconds_a_pass(mine)
            time.sleep(PAUSE)
            pairs.append((first, seconds_a_pass(theirs) if theirs is not None else None))
        peaks = [peak_of_mine(case), peak_of_theirs(case, args.threads) if with_torch else None]
        numbers[case.name] = {"batch": case.shape, "seconds": pairs, "peak_bytes": peaks}
        row = [case.name, str(case.shape), f"{1000 * statistics.median(a for a, _ in pairs):.2f}"]
        if theirs is not None:
            ratios = [a / b for a, b in pairs if b is not None]
            row.append(f"{1000 * statistics.median(b for _, b in pairs if b is not None):.2f}")
            row += [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} - {max(ratios):.2f}"]
        else:
            row += ["", "", ""]
        table.add_row(*row, *("" if peak is None else f"{peak / 2**20:.1f}" for peak in peaks))

    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    information = describe()
    console.print(f"{processor_model()}, {args.threads} threads, {limits}")
    console.print(f"NumPy {information['NumPy']}, {information['BLAS']}; kernels: {information['kernels']}")
    if with_torch:
        import torch

        console.print(f"PyTorch {torch.__version__}")
    console.print(table)
    if args.json is not None:
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"processor_model": processor_model(), "threads": args.threads, **information},
            "layers": numbers,
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
