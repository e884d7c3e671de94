"""Measure tinynn beside other libraries, workload by workload, each system in a process of its own, taking turns.

    python -m benchmarks                                              # everything that is installed
    python -m benchmarks --workloads 1,2 --systems products,tinynn,torch --rounds 9
    python -m benchmarks --device cuda                                # the GPU: float32, then TF32
    python -m benchmarks --quick                                      # whether it runs at all

benchmarks/README.md says what is measured and why it is fair.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import report as pages
from benchmarks.machine import limit_to_threads, processor_model, usable_processors
from benchmarks.suite import Result, Suite
from benchmarks.systems import SYSTEMS, Settings
from benchmarks.workloads import ALL, find_workload
from tinynn.backend import choose_device

RESULTS = Path(__file__).parent / "results"
GROUPS = sorted({workload.number for workload in ALL})


def positive(text: str) -> int:
    """Return a whole number from 1 up, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 up, got {text!r}")
    return int(text)


def system_names(text: str) -> list[str]:
    """Return the systems named in a comma-separated list, for argparse."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(f"unknown system {name!r}; choose from {', '.join(SYSTEMS)}")
    return names


def workload_names(text: str) -> list[str]:
    """Return the names of the workloads in groups that are named by number in a comma-separated list, for argparse."""
    numbers = [number.strip() for number in text.split(",")]
    for number in numbers:
        if number not in map(str, GROUPS):
            raise argparse.ArgumentTypeError(f"unknown workload {number!r}; choose from {', '.join(map(str, GROUPS))}")
    return [workload.name for workload in ALL if str(workload.number) in numbers]


def parse() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = ",".join(map(str, GROUPS))
    parser.add_argument("--workloads", type=workload_names, default=everything, help="some of %(default)s")
    parser.add_argument("--systems", type=system_names, help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--rounds", type=positive, help="turns of each system that count (default 5, --quick 1)")
    parser.add_argument(
        "--threads", type=positive, default=len(usable_processors()), help="for every system (default: all processors)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="few data, one round, to try things out; times mean nothing"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help="where to write; the tables go beside it, as .md (default: a name with date and machine in "
        "benchmarks/results; with --quick nothing is written)",
    )
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.workloads = [name for name in args.workloads if not (args.quick and find_workload(name).large)]
    if args.systems is None:
        args.systems = [name for name, system in SYSTEMS.items() if args.device in system.devices]
    for name in args.systems:
        if args.device not in SYSTEMS[name].devices:
            parser.error(f"--systems: {name} does not run on the device {args.device}")
    if args.json is not None and args.json.suffix == ".md":
        parser.error(f"--json: the tables are written to {args.json.name} too; give a name that ends in .json")
    return args


def main() -> int:
    """Measure, print, write, and return 1 if a system failed or learned too little, 2 if the device is missing."""
    args = parse()
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        device = choose_device(args.device)
    except RuntimeError as error:
        console.print(f"python -m benchmarks: {error}", style="red")
        return 2
    settings = Settings(args.threads, args.device, quick=args.quick)
    machine = {
        "processor_model": processor_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": len(usable_processors()),
        "device": device.reason,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "thread_limits": limit_to_threads(args.threads, args.device),
        "blas": "unknown",
    }
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "settings": {
            "rounds": args.rounds,
            **asdict(settings),
            "precision": ["fp32", "tf32"][: 1 + (args.device == "cuda")],
        },
        "runs": {},
    }
    start, path = time.perf_counter(), args.json
    for precision in report["settings"]["precision"]:
        results: pages.Results = {}
        report["runs"][precision] = results
        suite = Suite(
            args.systems,
            args.rounds,
            Settings(args.threads, args.device, precision, args.quick),
            teller(console, start),
        )
        for name in args.workloads:
            results[name] = suite.measure(name)
            machine["blas"] = blas_of(results[name]) or machine["blas"]
            if path is None and not args.quick:
                path = RESULTS / pages.file_name(report)
            if path is not None:  # after each workload: who breaks off a long run keeps what it has
                pages.write(path, report)
        suite.end()
    print(pages.markdown(report))
    if path is not None:
        console.print(f"Written: {path} and {path.with_suffix('.md')}, after {time.perf_counter() - start:.0f} s")
    every = [result for run in report["runs"].values() for results in run.values() for result in results.values()]
    return int(any(result.status in ("failed", "wrong") for result in every))


def teller(console: Console, start: float) -> Any:
    """Return a function that prints a line of progress with the seconds since the start."""

    def tell(line: str, style: str = "dim") -> None:
        console.print(f"{time.perf_counter() - start:5.0f} s  {line}", style=style)

    return tell


def blas_of(results: dict[str, Result]) -> str:
    """Return NumPy's BLAS as a child found it: the parent loaded its own before the threads were limited."""
    return next((result.blas for result in results.values() if result.blas), "")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted. What was finished is written, unless --quick was given without --json.")
