"""Proof of the backward passes: every gradient against the forward pass it belongs to."""

from tinynn.check.gradient_check import GradientReport, gradients

__all__ = ["GradientReport", "gradients"]
