"""A class with forward and backward that knows nothing of this library, taken for a layer."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from typing import Any

from tinynn.check.functions import FORMS, FormError
from tinynn.check.trace import is_array
from tinynn.layers.base import Layer
from tinynn.parameter import Parameter


def adopt(layer: Layer) -> None:
    """Take as parameters the arrays W for which backward writes dW, and which were not made by add_weight."""
    known = {parameter.name for parameter in layer.own_parameters}
    written = written_by(type(layer))
    for name, value in list(vars(layer).items()):
        if name not in known and is_array(value) and value.ndim and f"d{name}" in written:
            layer.own_parameters.append(Parameter(layer, name, value))


def as_layer(instance: Any) -> Layer:
    """Return a copy of an object that is a layer too; its parameters are the arrays W for which backward writes dW.

    Raises
    ------
    FormError
        If it keeps its parameters elsewhere.

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
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    twin: Any = object.__new__(type(kind.__name__, (kind, Layer), names))
    vars(twin).update(copy.deepcopy(vars(instance)))
    for name, value in vars(twin).items():
        if isinstance(value, dict) and any(map(is_array, value.values())):
            raise FormError(
                f"{kind.__name__} keeps arrays in the dictionary self.{name}, and the checker follows attributes: "
                f"self.W, whose gradient is self.dW. Or write two functions. {FORMS}"
            )
    adopt(twin)
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
