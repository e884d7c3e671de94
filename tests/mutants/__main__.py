"""Print how many planted bugs the line checker finds: ``python -m tests.mutants [--shapes N]``.

Found, named right, diagnosed right, false alarms at N random shapes of every right layer and loss (20; 0 leaves that
out), the time of the slowest layer; then every miss by its name.
"""

from __future__ import annotations

import argparse
from collections import Counter

from tests.layers.table import TABLE
from tests.mutants.measure import Outcome, check, false_alarms, one_row_each, seconds_of_one_layer
from tests.mutants.table import MUTANTS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=20, help="random shapes of every right layer (default 20)")
    shapes = parser.parse_args().shapes
    outcomes = [check(mutant) for mutant in MUTANTS]
    slowest = max((seconds_of_one_layer(row), row.name) for row in one_row_each())
    alarms = false_alarms(shapes) if shapes else []
    print("\n".join(closing_table(outcomes, slowest, shapes, len(alarms))))
    print("\nkinds of diagnosis due:", ", ".join(f"{kind} {n}" for kind, n in counted_kinds().most_common()))
    print("\nmisses" if any(outcome.miss for outcome in outcomes) else "\nno misses")
    for text in [outcome.miss for outcome in outcomes if outcome.miss] + alarms:
        print(f"  {text}")


def closing_table(outcomes: list[Outcome], slowest: tuple[float, str], shapes: int, alarms: int) -> list[str]:
    """Return the table's lines, in Markdown."""
    count = len(outcomes)
    found, named = sum(o.found for o in outcomes), sum(o.named for o in outcomes)
    diagnosed = sum(o.diagnosed for o in outcomes)
    shown = f"{alarms} in {len(TABLE)} settings of layers and the losses, {shapes} shapes each" if shapes else "not run"
    return [
        f"| {count} mutants | at least | measured |",
        "| --- | --- | --- |",
        f"| mutants detected | 100 % | {found} of {count}, {found / count:.1%} |",
        f"| the right line named | 98 % | {named} of {count}, {named / count:.1%} |",
        f"| the right diagnosis | 85 % | {diagnosed} of {count}, {diagnosed / count:.1%} |",
        f"| false alarms on correct layers | 0 | {shown} |",
        f"| time for one layer at default size | below 1 s | {slowest[0]:.2f} s of processor time, {slowest[1]} |",
    ]


def counted_kinds() -> Counter[str]:
    """Return how many mutants each kind of diagnosis is due for."""
    return Counter(kind for mutant in MUTANTS for kind in mutant.kinds[:1])


if __name__ == "__main__":
    main()
