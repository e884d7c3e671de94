"""The benchmarks: ``python -m benchmarks`` runs the suite; README.md says what is measured and why it is fair."""
