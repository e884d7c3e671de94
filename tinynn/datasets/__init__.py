"""Data to learn from: MNIST, which lies in the package, and any IDX file."""

from tinynn.datasets import mnist
from tinynn.datasets.idx import load_idx

__all__ = ["load_idx", "mnist"]
