"""Everything that is to be run on a machine with a CUDA device, by one command: tests, the suite, and what was asked.

    python -m benchmarks.device                                      # all parts, one after another
    python -m benchmarks.device --parts info,tests                   # some, where time is short; the others add to it
    python -m benchmarks.device --out FOLDER                         # default: benchmarks/results/device

What a part prints goes to FOLDER/PART.txt while it runs, results beside it as JSON and Markdown. A part that fails or
takes too long is noted, and the next one runs. At the end FOLDER/README.md has the table of what was asked and what was
measured. It ends with 1 if a part failed or something asked for was missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.report import table

ROOT = Path(__file__).parents[1]
SYSTEMS = "products,tinynn,tinynn-eager,torch,torch-graph,jax,jax-scan"


class Part(NamedTuple):
    """One command."""

    command: tuple[str, ...]
    minutes: float


def suite(numbers: str, rounds: int) -> tuple[str, ...]:
    """Return the command for some workloads of the suite; PART.json is put after it."""
    command = f"-m benchmarks --device cuda --workloads {numbers} --systems {SYSTEMS} --rounds {rounds}"
    return tuple(command.split())


PARTS = {
    "info": Part(("-m", "tinynn", "info"), 1),
    "tests": Part(("-m", "pytest", "-m", "gpu", "-q", "-rs", "--durations=10"), 9),
    "mlp": Part((*suite("1", 5), "--json"), 9),
    "networks": Part((*suite("4,5,6", 5), "--json"), 9),
    "large": Part(("-m", "benchmarks.large", "--json"), 5),
}


class Asked(NamedTuple):
    """A row of what is asked: the time of one system over that of another must be so much at least."""

    workloads: tuple[str, ...]
    slower: str
    faster: str
    least: float


LSTM_GRU = ("5 lstm T=28", "5 lstm T=100", "5 gru T=28", "5 gru T=100")
ASKED = [
    Asked(("1 mlp",), "torch", "tinynn-eager", 1.0),
    Asked(("1 mlp",), "torch", "tinynn", 5.0),
    Asked(("1 mlp",), "torch-graph", "tinynn", 1.0),
    Asked(("1 mlp",), "jax-scan", "tinynn", 1.0),
    Asked(("4 cnn",), "torch", "tinynn", 1.5),
    Asked(LSTM_GRU, "torch", "tinynn", 1.5),
    Asked(("6 transformer",), "torch", "tinynn", 1.5),
]


def run(name: str, folder: Path) -> str:
    """Run a part, and return what came of it in a few words."""
    part = PARTS[name]
    command = [sys.executable, *part.command]
    if command[-1] == "--json":
        command.append(str(folder / f"{name}.json"))
    start = time.perf_counter()
    with (folder / f"{name}.txt").open("w", encoding="utf-8") as output:
        try:
            ended = subprocess.run(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=60 * part.minutes, check=False
            )
        except subprocess.TimeoutExpired:
            return f"was stopped after {part.minutes:g} minutes"
    took = f"{time.perf_counter() - start:.0f} s"
    return f"done in {took}" if ended.returncode == 0 else f"FAILED with {ended.returncode} after {took}"


def read(folder: Path, name: str) -> Any:
    """Return what a part has written, None where there is nothing."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def seconds_of(results: dict[str, Any], workload: str, system: str) -> list[float] | None:
    """Return the turns of a system, None where it was not measured."""
    found = results.get(workload, {}).get(system)
    return found["seconds"] if found is not None and found["status"] == "ok" else None


def asked_rows(folder: Path) -> list[list[str]]:
    """Return the table of what was asked and what was measured."""
    reports = [report for report in (read(folder, name) for name in ("mlp", "networks")) if report is not None]
    rows = [["on one device, in one run", "asked", "fp32", "TF32"]]
    for asked in ASKED:
        for workload in asked.workloads:
            row = [f"{workload}: {asked.slower} / {asked.faster}", f"{asked.least:g}"]
            for precision in ("fp32", "tf32"):
                results: dict[str, Any] = {}
                for report in reports:
                    results |= report["runs"].get(precision, {})
                slower, faster = (seconds_of(results, workload, name) for name in (asked.slower, asked.faster))
                ratios = (
                    [] if slower is None or faster is None else [a / b for a, b in zip(slower, faster, strict=True)]
                )
                row.append(verdict(statistics.median(ratios), asked.least) if ratios else "not measured")
            rows.append(row)
    large = read(folder, "large")
    for name in ("tensorfloat32", "bfloat16"):
        found = None if large is None else large["results"][name]["part_of_the_rate"]
        cell = "not measured" if found is None else verdict(found, 0.85)
        rows.append([f"8192 wide, {name}: part of the bare product's rate", "0.85", "-", cell])
    return rows


def verdict(found: float, least: float) -> str:
    """Return a number, and whether it is enough."""
    return f"{found:.2f}" if found >= least else f"{found:.2f} MISSED"


def page(folder: Path, ended: dict[str, str]) -> str:
    """Return the page with all that came of it."""
    info = folder / "info.txt"
    about = info.read_text(encoding="utf-8").rstrip() if info.exists() else "not asked"
    tests = folder / "tests.txt"
    last = tests.read_text(encoding="utf-8").rstrip().splitlines()[-1:] if tests.exists() else []
    parts = [["part", "what came of it"], *([name, ended.get(name, "not run this time")] for name in PARTS)]
    return "\n\n".join(
        [
            "# On a CUDA device",
            f"```text\n{about}\n```",
            table(parts),
            f"Tests: {last[0] if last else 'not run'}",
            "A ratio is the median of those of the rounds, in which the systems took turns; above 1 tinynn is faster.",
            table(asked_rows(folder)),
            "How each is measured: benchmarks/README.md. All numbers stand in the files beside this one.",
        ]
    )


def main() -> int:
    """Run the parts, and write the page after each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "device", metavar="FOLDER")
    args = parser.parse_args()
    names = args.parts.split(",")
    for name in names:
        if name not in PARTS:
            parser.error(f"--parts: unknown part {name!r}; choose from {', '.join(PARTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    note = args.out / "parts.json"
    ended: dict[str, str] = read(args.out, "parts") or {}
    for name in names:
        print(f"{name}: python {' '.join(PARTS[name].command)} ...", flush=True)
        ended[name] = run(name, args.out.resolve())
        print(f"{name}: {ended[name]}", flush=True)
        note.write_text(json.dumps(ended, indent=2) + "\n", encoding="utf-8")
        (args.out / "README.md").write_text(page(args.out, ended) + "\n", encoding="utf-8")
    text = page(args.out, ended)
    print(text)
    return int("MISSED" in text or any(not ended[name].startswith("done") for name in names))


if __name__ == "__main__":
    sys.exit(main())
