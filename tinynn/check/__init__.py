"""Proof of the backward passes: every gradient against the forward pass it belongs to, and every line."""

from tinynn.check.gradient_check import GradientReport, gradients
from tinynn.check.line_check import lines
from tinynn.check.report import CheckedLine, Diagnosis, LinesReport, SubjectReport

__all__ = ["CheckedLine", "Diagnosis", "GradientReport", "LinesReport", "SubjectReport", "gradients", "lines"]
