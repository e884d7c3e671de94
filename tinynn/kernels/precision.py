"""Precision: with how many bits a CUDA device multiplies float32 matrices, which nobody lowers unasked.

The names are JAX's. What a model was compiled with holds while it trains, evaluates or predicts, in its thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# What is multiplied keeps so many bits after the leading one; sums are in float32 always.
BITS = {"float32": 23, "tensorfloat32": 10, "bfloat16": 7}

current: ContextVar[str] = ContextVar("precision", default="float32")


def check_precision(name: str, who: str) -> str:
    """Return the name of a precision, or raise ValueError with those there are.

    Examples
    --------
    >>> check_precision("tensorfloat32", "compile")
    'tensorfloat32'
    """
    if name not in BITS:
        raise ValueError(f"{who}: matmul_precision must be one of {', '.join(map(repr, BITS))}, got {name!r}.")
    return name


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Multiply float32 matrices on a CUDA device with this precision inside a ``with``; the CPU always with float32.

    Parameters
    ----------
    name : {"float32", "tensorfloat32", "bfloat16"}

    Examples
    --------
    >>> with precision("tensorfloat32"):
    ...     current.get()
    'tensorfloat32'
    >>> current.get()
    'float32'
    """
    token = current.set(check_precision(name, "precision"))
    try:
        yield
    finally:
        current.reset(token)
