"""What `tinynn.doctor` found, and how it prints: in a terminal, as JSON, as a picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tinynn.diagnose.probe import LayerFacts
from tinynn.diagnose.trials import Overfit, RangeTest

TITLES = {
    "not_finite": "the loss is not finite",
    "inputs": "inputs are not scaled",
    "targets": "targets are not scaled",
    "labels": "a class is rare",
    "last_layer": "the last layer does not fit",
    "exploding_gradients": "gradients explode",
    "saturation": "outputs are saturated",
    "dead_units": "units are dead",
    "vanishing_gradients": "gradients vanish",
    "loss_at_start": "the loss before training is too high",
    "learning_rate": "the learning rate does not fit",
    "update": "a step is too large or too small",
    "overfit": "a single batch cannot be learned",
}
WIDTH = 100  # of the lines of text


@dataclass(frozen=True)
class Finding:
    """One thing that is the matter.

    Attributes
    ----------
    kind : str
        A key of `TITLES`, such as ``"dead_units"``; docs/doctor.md explains each.
    severity : {"error", "warning"}
        An error keeps the model from learning, or some of its layers; a warning may make it slow or one-sided.
    layer : str
        Where, the worst layer if there are several; empty if it is of no layer.
    measured : str
        What was seen, and what was expected.
    advice : str
        What to do.
    """

    kind: str
    severity: str
    layer: str
    measured: str
    advice: str

    @property
    def title(self) -> str:
        """The kind for people."""
        return TITLES[self.kind]


@dataclass(frozen=True, repr=False)
class DoctorReport:
    """What `tinynn.doctor` found; ``print(report)`` shows it as text, rich in colour.

    Attributes
    ----------
    model : str
    samples, of : int
        How many samples were looked at, and how many were given.
    batch_size : int
    findings : tuple of Finding
        What to mend.
    consequences : tuple of Finding
        What was found too, and will probably go away when that is mended.
    layers : tuple of LayerFacts
        What was measured, layer by layer.
    loss, expected_loss : float or None
        The loss now, and that of a model that knows nothing; None where nobody knows it, or the model is trained.
    learning_rate : float
        The optimizer's.
    range_test : RangeTest or None
    overfit : Overfit or None
        None where a trial could not be made: after a loss that is not finite, or where one answer fits all samples.
    """

    model: str
    samples: int
    of: int
    batch_size: int
    findings: tuple[Finding, ...]
    consequences: tuple[Finding, ...]
    layers: tuple[LayerFacts, ...]
    loss: float
    expected_loss: float | None
    learning_rate: float
    range_test: RangeTest | None
    overfit: Overfit | None

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, strings and numbers, None for a number that is not finite."""
        return {"ok": self.ok, **plain(asdict(self))}

    def plot(self, path: Any = None) -> Any:
        """Draw what was measured; see `tinynn.plots.examination`. Needs the extra ``viz``."""
        from tinynn import plots

        return plots.examination(self, path)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the lines of text, each with its style."""
        count = len(self.findings)
        found = "healthy" if self.ok else "1 finding" if count == 1 else f"{count} findings"
        looked = f"{self.samples:,} of {self.of:,} samples" if self.samples < self.of else f"{self.of:,} samples"
        looked = "1 sample" if self.of == 1 else looked
        yield f"{self.model}: {found}   ({looked}, batches of {self.batch_size})", "bold green" if self.ok else "bold"
        for finding in self.findings:
            style = "bold red" if finding.severity == "error" else "bold yellow"
            where = f": {finding.layer}" if finding.layer else ""
            yield "", ""
            yield f"{finding.severity.upper()}  {finding.title}{where}", style
            yield from block("seen", finding.measured, "")
            yield from block("do", finding.advice, "cyan")
        if self.consequences:
            yield "", ""
            text = "; ".join(f"{f.title} ({f.layer})" if f.layer else f.title for f in self.consequences)
            yield from block("then", f"{text}: probably because of the above; mend that and look again", "dim")
        yield "", ""
        for line in self.measured_rows():
            yield line, ""

    def measured_rows(self) -> Iterator[str]:
        """Yield the lines of text about what was measured, whatever was found."""
        if self.layers:
            width = max(len(fact.layer) for fact in self.layers)
            yield f"{'layer':<{width}}  {'dead':>6}  {'saturated':>9}  {'gradient':>9}  {'update/weight':>13}"
            for f in self.layers:
                yield (
                    f"{f.layer:<{width}}  {percent(f.dead):>6}  {percent(f.saturated):>9}  "
                    f"{number(f.gradient):>9}  {number(f.update):>13}"
                )
        expected = "" if self.expected_loss is None else f"; a model that knows nothing has {self.expected_loss:.4g}"
        yield f"loss           {self.loss:.4g}{expected}"
        if self.overfit is not None:
            o = self.overfit
            yield (
                f"one batch      {o.samples} samples: from {o.losses[0]:.3g} to {o.losses[-1]:.3g} in "
                f"{len(o.losses)} steps of Adam({o.rate:g})"
            )
        if self.range_test is not None:
            r = self.range_test
            advised = (
                "none suggested: no rate lowered the loss" if r.suggested is None else f"suggested {r.suggested:.1g}"
            )
            limit = f"up to {r.rates[-1]:.2g} none diverges" if r.diverges is None else f"diverges at {r.diverges:.2g}"
            yield f"learning rate  {self.learning_rate:.3g}; {advised}; {limit}"

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self.rows())

    def __repr__(self) -> str:
        kinds = ", ".join(finding.kind for finding in self.findings)
        return f"<DoctorReport of {self.model}: {kinds or 'healthy'}>"

    def __rich__(self) -> Any:
        from rich.text import Text

        text = Text()
        for i, (row, style) in enumerate(self.rows()):
            text.append("\n" * (i > 0) + row, style=style)
        return text


def block(name: str, text: str, style: str) -> Iterator[tuple[str, str]]:
    """Yield a paragraph behind its name."""
    lines = textwrap.wrap(text, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(lines):
        yield f"  {name if i == 0 else '':<4}  {line}", style


def percent(part: float | None) -> str:
    """Return a part in percent, a dash if there is none.

    Examples
    --------
    >>> percent(0.125), percent(None)
    ('12 %', '-')
    """
    return "-" if part is None else f"{100 * part:.0f} %"


def number(value: float | None) -> str:
    """Return a number of any size, a dash if there is none.

    Examples
    --------
    >>> number(0.00123), number(None)
    ('1.2e-03', '-')
    """
    return "-" if value is None else f"{value:.1e}"


def plain(value: Any) -> Any:
    """Return a value of which JSON can be made."""
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
