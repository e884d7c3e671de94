"""Diagnose: what a model costs, and what is the matter with it."""
