"""Proof of the backward passes: every gradient against the forward pass it belongs to, and every line."""

import importlib
from typing import TYPE_CHECKING, Any

from tinynn.check.gradient_check import GradientReport, gradients

if TYPE_CHECKING:
    from tinynn.check.finite_check import FiniteReport, NotFiniteError, finite
    from tinynn.check.line_check import lines
    from tinynn.check.report import CheckedLine, Diagnosis, Fault, LinesReport, SubjectReport

__all__ = [
    "CheckedLine",
    "Diagnosis",
    "Fault",
    "FiniteReport",
    "GradientReport",
    "LinesReport",
    "NotFiniteError",
    "SubjectReport",
    "finite",
    "gradients",
    "lines",
]
FILES = {"lines": "line_check"} | dict.fromkeys(("FiniteReport", "NotFiniteError", "finite"), "finite_check")


def __getattr__(name: str) -> Any:
    """Load a checker when it is first asked for, so that ``import tinynn`` is quick."""
    if name in __all__:
        return getattr(importlib.import_module(f"tinynn.check.{FILES.get(name, 'report')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
