"""A class with forward and backward that knows nothing of this library, taken for a layer."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from typing import Any

from tinynn.check.trace import is_array
from tinynn.layers.base import Layer
from tinynn.parameter import Parameter


def as_layer(instance: Any) -> Layer:
    """Return a copy of an object that is a layer too; its parameters are the arrays W for which backward writes dW.

    Examples
    --------
    >>> import numpy as np
    >>> class Scale:
    ...     def __init__(self): self.s = np.ones(3)
    ...     def forward(self, x): self.x = x; return x * self.s
    ...     def backward(self, dy): self.ds = (dy * self.x).sum(axis=0); return dy * self.s
    >>> [parameter.name for parameter in as_layer(Scale()).parameters]
    ['s']
    """
    kind = type(instance)
    twin = copy.deepcopy(instance)
    twin.__class__ = type(
        kind.__name__, (kind, Layer), {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    )
    for name, value in list(vars(twin).items()):
        if is_array(value) and value.ndim and f"d{name}" in written_by(kind):
            twin.own_parameters.append(Parameter(twin, name, value))
    twin.input_shape = None
    return twin


def written_by(kind: type) -> set[str]:
    """Return the attributes of self that a class's methods write."""
    found: set[str] = set()
    for parent in kind.__mro__:
        for function in vars(parent).values():
            if not inspect.isfunction(function):
                continue
            try:
                tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
            except (OSError, TypeError, SyntaxError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    found.add(node.attr)
    return found
