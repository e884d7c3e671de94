"""What is written: tables in Markdown, which can be read on a terminal as they are, and all numbers as JSON."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.suite import Result
from benchmarks.workloads import Workload, find_workload

Results = dict[str, dict[str, Result]]  # by workload, by system


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table whose columns stand below each other; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head, *body = (
        "| "
        + " | ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    )
    rule = "| " + " | ".join("-" * (width - bool(at)) + ":" * bool(at) for at, width in enumerate(widths)) + " |"
    return "\n".join([head, rule, *body])


def milliseconds(seconds: float) -> str:
    """Return milliseconds with three digits that count."""
    number = 1000 * seconds
    return f"{number:.3f}" if number < 1 else f"{number:.2f}" if number < 10 else f"{number:,.1f}"


def median_of(ratio: dict[str, float] | None) -> str:
    """Return the median of a ratio; a dash if there is none."""
    return "-" if ratio is None else f"{ratio['median']:.2f}"


def span(ratio: dict[str, float] | None) -> str:
    """Return the least and the greatest of a ratio."""
    return "-" if ratio is None else f"{ratio['min']:.2f} to {ratio['max']:.2f}"


def reasons(results: Iterable[tuple[str, Result]]) -> str:
    """Return a list of what was not measured or went wrong, and why."""
    lines = [f"- {name}: {result.status}, {result.why}" for name, result in results if result.status != "ok"]
    return "\n".join(dict.fromkeys(lines))


def one_workload(workload: Workload, results: dict[str, Result]) -> str:
    """Return the table of one workload."""
    what = "step" if workload.predict is None else "prediction"
    rows = [["system", f"ms a {what}", "/ products", "min to max", "/ tinynn", "right", "what runs"]]
    for name, result in results.items():
        if not result.measured:
            rows.append([name, *["-"] * 5, result.status])
            continue
        right = "" if result.accuracy is None else f"{result.accuracy:.2%}"
        rows.append(
            [
                name,
                milliseconds(statistics.median(result.seconds) / workload.steps),
                median_of(result.to_products),
                span(result.to_products),
                median_of(result.to_tinynn),
                f"WRONG {right}" if result.status == "wrong" else right,
                result.how,
            ]
        )
    turns = f"an epoch of {workload.samples:,} samples in batches of {workload.batch_size}"
    if workload.predict is not None:
        turns = f"{workload.predictions:,} predictions for {workload.predict:,} sample(s) each"
    return "\n\n".join(
        part
        for part in (f"## {workload.name}", f"A turn: {turns}.", table(rows), memory(results), reasons(results.items()))
        if part
    )


def memory(results: dict[str, Result]) -> str:
    """Return what memory the systems took that were asked, against what they may."""
    lines = []
    for name, result in results.items():
        if result.memory is not None and "allowed" in result.memory:
            peak, allowed = result.memory["peak"], result.memory["allowed"]
            lines.append(
                f"Peak memory of {name}, less the data: {peak / 2**20:.2f} MiB, {peak / allowed:.2f} of the "
                f"{allowed / 2**20:.2f} MiB of 3 x parameters + optimizer slots + one batch's activations."
            )
    return "\n".join(lines)


def summary(all_results: Results) -> str:
    """Return the table of all workloads but growth: each system's time against the bare products."""
    names = [name for name in all_results if find_workload(name).number != 8]
    if not names:
        return ""
    systems = list(all_results[names[0]])
    rows = [["time / products", *systems]]
    rows += [[name, *(median_of(all_results[name][system].to_products) for system in systems)] for name in names]
    every = [(system, all_results[name][system]) for system in systems for name in names]
    return "\n\n".join(part for part in ("## All workloads", table(rows), reasons(every)) if part)


def growth(all_results: Results, quick: bool) -> str:
    """Return the table of growth: milliseconds a step and peak of memory, against width, depth and batch."""
    names = [name for name in all_results if find_workload(name).number == 8]
    if not names:
        return ""
    systems = [system for system in all_results[names[0]] if any(all_results[name][system].measured for name in names)]
    rows = [["growth", *(f"{system}, ms (MiB)" for system in systems)]]
    for name in names:
        row = [name]
        for system in systems:
            result = all_results[name][system]
            if not result.measured:
                row.append("-")
                continue
            cell = milliseconds(statistics.median(result.seconds) / find_workload(name, quick).steps)
            if result.memory is not None:
                cell += f" ({result.memory['peak'] / 2**20:,.0f})"
            row.append(cell)
        rows.append(row)
    every = [(system, all_results[name][system]) for name in names for system in systems]
    explanation = (
        "A network 64 -> width relu (depth times) -> 10 softmax: depth 2 and batch 128 where the width grows, "
        "width 64 and batch 128 where the depth does, width 256 and depth 2 where the batch does. Milliseconds a step, "
        "and in brackets the peak of the process's memory in MiB over that before the network was made."
    )
    return "\n\n".join(part for part in ("## 8 growth", explanation, table(rows), reasons(every)) if part)


def machine_lines(report: dict[str, Any]) -> str:
    """Return what everything ran on."""
    machine, settings = report["machine"], report["settings"]
    lines = [
        f"Date: {report['date']}",
        f"Processor: {machine['processor_model']}, {machine['processors']} usable; {machine['system']}",
        f"Threads: {settings['threads']} for every system, {machine['thread_limits']}",
        f"Device: {settings['device']}, {machine['device']}",
        f"Python {machine['python']}, NumPy {machine['numpy']}; BLAS: {machine['blas']}",
        f"Rounds: {settings['rounds']}" + (", quick: the times mean nothing" if settings["quick"] else ""),
    ]
    versions: dict[str, str] = {}
    for results in report["runs"].values():
        for of_workload in results.values():
            for result in of_workload.values():
                versions.update(result.versions)
    lines.append("Versions: " + ", ".join(f"{library} {version}" for library, version in versions.items()))
    return "\n".join(f"- {line}" for line in lines)


def markdown(report: dict[str, Any]) -> str:
    """Return everything as a page."""
    parts = ["# Benchmarks", machine_lines(report)]
    quick = report["settings"]["quick"]
    for precision, all_results in report["runs"].items():
        if len(report["runs"]) > 1:
            parts.append(f"# {precision}: what matrix products do with float32")
        parts.append(summary(all_results))
        parts += [
            one_workload(find_workload(name, quick), results)
            for name, results in all_results.items()
            if find_workload(name).number != 8
        ]
        parts.append(growth(all_results, quick))
    parts.append(
        "Medians over the rounds, in which the systems took turns; a ratio is between two turns of one round. What is "
        "measured and why it is fair: benchmarks/README.md."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write(path: Path, report: dict[str, Any]) -> Path:
    """Write all numbers to this file, and the tables to one of its name that ends in .md; return that one's path."""
    runs = {
        precision: {
            workload: {system: asdict(result) for system, result in results.items()}
            for workload, results in all_results.items()
        }
        for precision, all_results in report["runs"].items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**report, "runs": runs}, indent=2) + "\n", encoding="utf-8")
    page = path.with_suffix(".md")
    page.write_text(markdown(report), encoding="utf-8")
    return page


def file_name(report: dict[str, Any]) -> str:
    """Return a name that tells date, machine, threads and which kernels the BLAS has."""
    machine, settings = report["machine"], report["settings"]
    kernels = machine["blas"].split(",")[0] if settings["device"] == "cpu" else machine["device"]
    words = f"{report['date'][:16]} {machine['processor_model']} {settings['threads']} threads {kernels}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"
