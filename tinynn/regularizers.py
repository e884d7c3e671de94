"""Regularizers: penalties on the weights, which training adds to the loss.

Names and defaults are Keras's.
"""

from __future__ import annotations

from typing import Any

from tinynn.arguments import check_number, resolve
from tinynn.backend import Array, array_module
from tinynn.config import Configured


class Regularizer(Configured):
    """Base class of the regularizers: a penalty of the weights, and its gradient.

    Examples
    --------
    >>> import numpy as np
    >>> class MeanAtOne(Regularizer):
    ...     def __call__(self, w):
    ...         return (w.mean() - 1) ** 2
    ...     def gradient(self, w):
    ...         return 2 * (w.mean() - 1) / w.size
    >>> MeanAtOne()(np.zeros(4))
    np.float64(1.0)
    """

    def __call__(self, w: Array) -> Any:
        """Return the penalty as an array of no axes."""
        raise TypeError(f"{type(self).__name__} needs a method __call__(self, w) that returns the penalty")

    def gradient(self, w: Array) -> Array:
        """Return the penalty's gradient by w."""
        raise TypeError(f"{type(self).__name__} needs a method gradient(self, w)")


class L1L2(Regularizer):
    """l1 sum |w| + l2 sum w^2;  gradient l1 sign(w) + 2 l2 w.

    Parameters
    ----------
    l1, l2 : float, default 0.0

    Examples
    --------
    >>> import numpy as np
    >>> penalty = L1L2(l1=0.1, l2=0.01)
    >>> round(float(penalty(np.array([1.0, -2.0]))), 6)
    0.35
    >>> penalty.gradient(np.array([1.0, -2.0]))
    array([ 0.12, -0.14])
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = check_number(l1, f"{type(self).__name__}: l1", 0)
        self.l2 = check_number(l2, f"{type(self).__name__}: l2", 0)

    def __call__(self, w: Array) -> Any:
        """Return the penalty."""
        size = array_module(w).maximum(w, -w)  # |w|, which complex numbers pass through
        return self.l1 * size.sum() + self.l2 * (w * w).sum()

    def gradient(self, w: Array) -> Array:
        """Return the penalty's gradient."""
        return self.l1 * array_module(w).sign(w) + 2 * self.l2 * w

    def __repr__(self) -> str:
        return f"{type(self).__name__}(l1={self.l1}, l2={self.l2})"


class L1(L1L2):
    """l1 sum |w|: pushes small weights to zero.

    Parameters
    ----------
    l1 : float, default 0.01

    Examples
    --------
    >>> import numpy as np
    >>> float(L1(0.5)(np.array([1.0, -2.0])))
    1.5
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """l2 sum w^2: keeps large weights small.

    Parameters
    ----------
    l2 : float, default 0.01

    Examples
    --------
    >>> import numpy as np
    >>> float(L2(0.5)(np.array([1.0, -2.0])))
    2.5
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


REGULARIZERS: dict[str, type[Regularizer]] = {"l1": L1, "l1_l2": L1L2, "l2": L2}


def get(regularizer: Any) -> Regularizer | None:
    """Return the regularizer for a name, a class or an instance; None for None.

    Examples
    --------
    >>> get("l2")
    L2(l1=0.0, l2=0.01)
    """
    if regularizer is None:
        return None
    result: Regularizer = resolve("regularizer", regularizer, Regularizer, REGULARIZERS)
    return result
