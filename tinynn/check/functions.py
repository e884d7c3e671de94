"""Two plain functions, forward and backward, by somebody who has never seen a layer of this library.

What they may look like:

==================================  ================================================================================
``forward(x, W, b)``                arrays one by one, or
``forward(params, x)``              in a dictionary, tuple or list; the arguments in any order
returns ``y`` or ``(y, cache)``     y an array, or a number if it is a loss
``backward(dy, cache)``             the arguments in any order: the gradient of y (``dy``, ``dout``, ``grad_output``;
``backward(params, x, dy)``         not for a loss), ``params``, ``cache``, ``y``, what forward has, by the same names
returns ``dx`` or ``dx, dW, db``    gradients in forward's order, or a dictionary by the parameters' names (``"W"`` or
or ``dx, grads`` or ``grads``       ``"dW"``), or both
==================================  ================================================================================
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np

from tinynn.check.names import bases
from tinynn.check.report import SourceLine
from tinynn.check.rewrite import walk_here
from tinynn.check.subjects import Subject
from tinynn.check.trace import Unit, is_array

FORMS = (
    "Accepted are forward(x, W, b) or forward(params, x), which returns y or (y, cache), and backward(dy, cache) or "
    "backward(params, x, dy), which returns dx, (dx, dW, db), (dx, grads) or grads, a dictionary."
)
PARAMS = {"params", "parameters", "param", "weights", "theta", "p", "model"}
CACHE = {"cache", "caches", "memory", "saved", "ctx", "context", "tape", "kept", "stuff"}
OUTPUT = {"y", "out", "output", "outputs", "y_pred", "y_hat", "yhat", "pred", "loss", "a", "h"}
UPSTREAM = {
    "dy",
    "dout",
    "dL",
    "upstream",
    "grad",
    "grad_output",
    "grad_out",
    "gradient",
    "delta",
    "g",
    "dZ",
    "dA",
    "dH",
}


class FormError(ValueError):
    """Two functions are not of a form that can be checked."""


class FunctionSubject(Subject):
    """A pair of functions.

    Parameters
    ----------
    pair : (forward, backward)
    x : array
    params : dict, tuple or list of arrays, or array, optional
    seed : int
        Of the upstream gradient.
    others
        Further arguments of forward by name.
    """

    by_name = True

    def __init__(self, pair: Any, x: Any, params: Any = None, seed: int = 0, **others: Any) -> None:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(f, FunctionType) for f in pair)):
            kind = pair.__name__ if isinstance(pair, type) else type(pair).__name__
            raise FormError(f"expected a layer, a loss, or the two functions (forward, backward), got {kind}. {FORMS}")
        self.forward_function, self.backward_function = pair
        super().__init__(f"{self.forward_function.__name__} and {self.backward_function.__name__}")
        self.seed = seed
        self.results = {self.backward_function.__name__}
        parsed = self.parsed(self.forward_function)
        self.parsed(self.backward_function)
        self.file = parsed.file
        self.params = as_floats(params)
        self.leaf_values = dict(leaves_of(self.params, parsed.tree))
        self.leaves = {name: value.shape for name, value in self.leaf_values.items()}
        self.arguments = self.forward_arguments(as_floats(np.asarray(x)), {k: as_floats(v) for k, v in others.items()})
        y = output_of(self.run_forward(False, {}))
        if not is_array(y):
            raise FormError(f"{self.label}: forward must return an array of floats, got {type(y).__name__}. {FORMS}")
        self.scalar = np.ndim(y) == 0
        self.dy = np.ones(()) if self.scalar else np.random.default_rng([seed, 3]).standard_normal(y.shape)
        self.batch = len(x) if np.ndim(x) else 0

    def forward_arguments(self, x: Any, others: dict[str, Any]) -> dict[str, Any]:
        """Return what forward is called with, by name."""
        found: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.forward_function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name in others:
                found[name] = others[name]
            elif name.lower() in PARAMS and self.params is not None:
                found[name] = self.params
            elif isinstance(self.params, dict) and name in self.params:
                found[name] = self.params[name]
            elif x is not None:
                found[name], x = x, None
            elif parameter.default is parameter.empty:
                raise FormError(
                    f"{self.label}: no value for forward's argument {name!r}. In Python give {name}=...; on the "
                    f"command line --arg {name}=3,4 for random numbers of that shape, or make it a variable of the "
                    f"file. {FORMS}"
                )
        unknown = set(others) - set(found)
        if unknown:
            raise FormError(f"{self.label}: forward has no argument {', '.join(map(repr, sorted(unknown)))}.")
        return found

    def run_forward(self, in_complex: bool, added: dict[str, Any], dtype: Any = float) -> Any:
        """Call forward."""
        dtype = complex if in_complex else dtype
        cast = {k: cast_to(v, dtype) for k, v in self.arguments.items() if v is not self.params}
        values = {k: v.astype(dtype) + added.get(k, 0) for k, v in self.leaf_values.items()}
        params = rebuilt(self.params, iter(values.values()))
        if isinstance(self.params, dict):
            cast |= {k: params[k] for k in cast if k in self.params and self.arguments[k] is self.params[k]}
        cast |= {k: params for k, v in self.arguments.items() if v is self.params and v is not None}
        self.called_with, self.called_params = cast, params
        legacy, phase = np.random.get_state(), self.phase
        np.random.seed(self.seed)
        state = np.random.get_state()[1].copy()  # type: ignore[index]
        self.phase = "forward"
        try:
            returned = self.variant(self.forward_function, "forward")(**cast)
        finally:
            self.random = self.random or not np.array_equal(state, np.random.get_state()[1])  # type: ignore[index]
            np.random.set_state(legacy)
            self.phase = phase
        return returned

    def objective(self, in_complex: bool, added: dict[str, Any]) -> Any:
        """Return sum(dy * y), or the loss."""
        return (self.dy * output_of(self.run_forward(in_complex, added))).sum()

    def backward(self, dtype: str = "float64") -> dict[str, Any]:
        """Call forward and backward once."""
        assert self.judge is not None
        self.judge.positions = self.positions()
        with self.trace.run():
            returned = self.run_forward(False, {}, np.dtype(dtype))
        dy = self.dy.astype(dtype)
        arguments = self.backward_arguments(returned, dy)
        self.judge.inputs = {k: (v, v.copy()) for k, v in arguments.items() if is_array(v) and np.ndim(v)}
        self.phase = "backward"
        with np.errstate(all="ignore"):
            result = self.variant(self.backward_function, "backward")(**arguments)
        self.phase = "forward"
        self.judge.finish()
        return self.named_results(result)

    def backward_arguments(self, returned: Any, dy: Any) -> dict[str, Any]:
        """Return what backward is called with, by name."""
        y, cache = output_of(returned), cache_of(returned)
        found: dict[str, Any] = {}
        waiting = []
        for name, parameter in inspect.signature(self.backward_function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name in self.called_with:
                found[name] = self.called_with[name]
            elif name.lower() in PARAMS and self.called_params is not None:
                found[name] = self.called_params
            elif name in UPSTREAM or bases(name):
                found[name] = dy
            elif name.lower() in CACHE and cache is not None:
                found[name] = cache
            elif isinstance(self.called_params, dict) and name in self.called_params:
                found[name] = self.called_params[name]
            elif (self.forward_name, name) in self.trace.versions:
                found[name] = self.trace.versions[self.forward_name, name][-1].value.astype(dy.dtype)
            elif name.lower() in OUTPUT:
                found[name] = y
            elif parameter.default is parameter.empty:
                waiting.append(name)
        if len(waiting) == 1 and cache is not None and not any(value is cache for value in found.values()):
            found[waiting.pop()] = cache
        if waiting:
            raise FormError(
                f"{self.label}: what is backward's argument {waiting[0]!r}? It is no gradient, no cache that forward "
                f"returned, and no name in forward. {FORMS}"
            )
        return found

    @property
    def forward_name(self) -> str:
        """The name by which forward is traced."""
        return next(name for name, f in self.functions.items() if f.original is self.forward_function)

    def positions(self) -> list[str]:
        """Return the gradients in forward's order: of its array arguments, where params stand their arrays."""
        names = []
        for name, value in self.arguments.items():
            if value is self.params and value is not None:
                names += [f"d{leaf}" for leaf in self.leaves]
            elif is_array(value):
                names.append(f"d{name}")
        return names

    def named_results(self, result: Any) -> dict[str, Any]:
        """Return backward's results by name."""
        names = self.positions()
        if isinstance(result, dict):
            found = {}
            for key, value in result.items():
                name = str(key) if str(key) in names else f"d{key}"
                if name not in names:
                    name = next((f"d{base}" for base in bases(str(key)) if f"d{base}" in names), name)
                found[name] = value
            return {name: found.get(name) for name in names if name in found or name[1:] in self.leaves}
        if isinstance(result, tuple | list):
            found = {}
            by_text = self.returned_names(len(result))
            inputs = [name for name in names if name[1:] not in self.leaves]
            order = names if len(result) == len(names) else inputs if len(result) == len(inputs) else names
            dictionaries = [value for value in result if isinstance(value, dict)]
            arrays = [(i, value) for i, value in enumerate(result) if not isinstance(value, dict)]
            if dictionaries:
                found |= self.named_results(dictionaries[0])
                order = inputs
            for place, (i, value) in enumerate(arrays):
                name = by_text[i] if by_text[i] in names else order[place] if place < len(order) else ""
                if isinstance(value, tuple | list):
                    found |= {f"d{leaf}": v for leaf, v in zip(self.leaves, value, strict=False)}
                elif name:
                    found[name] = value
            return found
        return {(self.returned_names(1)[0] if self.returned_names(1)[0] in names else names[0]): result}

    def returned_names(self, count: int) -> list[str]:
        """Return the names in backward's last ``return dx, dW, db``; the gradients' names in this library's way."""
        tree = self.functions[self.parsed(self.backward_function).name].tree
        names = self.positions()
        for node in walk_here(tree):
            if isinstance(node, ast.Return) and node.value is not None:
                parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else [node.value]
                if len(parts) == count:
                    texts = [ast.unparse(part) for part in parts]
                    return [next((f"d{b}" for b in bases(t) if f"d{b}" in names), t) for t in texts]
        return [""] * count

    def result_units(self) -> dict[str, Unit]:
        """Return what each result of backward is the gradient by."""
        units = {f"d{name}": Unit(name, shape, "leaf", leaf=name) for name, shape in self.leaves.items()}
        for name, value in self.arguments.items():
            versions = self.trace.versions.get((self.forward_name, name), [])
            if is_array(value) and versions and f"d{name}" not in units:
                units[f"d{name}"] = Unit(name, versions[0].shape, "version", versions[0])
        return units

    def lines_with(self, leaf: str) -> list[SourceLine]:
        """Return the forward lines that use a parameter out of ``params``."""
        function = self.functions[self.forward_name]
        pattern = re.compile(rf"\b{re.escape(leaf)}\b")
        found = [
            SourceLine(function.name, n, text) for n, text in sorted(function.texts.items()) if pattern.search(text)
        ]
        return [line for line in found if "cache" not in line.text and not line.text.startswith("return")]

    def values_now(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return dict(self.leaf_values)


def output_of(returned: Any) -> Any:
    """Return y of what forward returned."""
    return returned[0] if isinstance(returned, tuple | list) and len(returned) else returned


def cache_of(returned: Any) -> Any:
    """Return the cache of what forward returned, None if it returned y alone."""
    if not isinstance(returned, tuple | list) or len(returned) < 2:
        return None
    return returned[1] if len(returned) == 2 else tuple(returned[1:])


def as_floats(value: Any) -> Any:
    """Return arrays, also in dictionaries and lists, in float64; whole numbers and what is no array as they are."""
    if isinstance(value, dict):
        return {key: as_floats(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_floats(member) for member in value)
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def cast_to(value: Any, dtype: Any) -> Any:
    """Return an array of floats in another dtype, anything else as it is."""
    return value.astype(dtype) if is_array(value) else value


def leaves_of(params: Any, tree: ast.FunctionDef, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays in params with their names; those of a tuple have the names they are unpacked to."""
    if isinstance(params, dict):
        for key, value in params.items():
            yield from leaves_of(value, tree, f"{place}.{key}" if place and isinstance(value, dict) else str(key))
    elif isinstance(params, list | tuple):
        names = unpacked(tree, len(params))
        for i, value in enumerate(params):
            yield from leaves_of(value, tree, names[i] if not place else f"{place}{i}")
    elif is_array(params):
        yield place or "params", params


def unpacked(tree: ast.FunctionDef, count: int) -> list[str]:
    """Return the names of ``W, b = params``."""
    for node in walk_here(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Name)
            and node.value.id.lower() in PARAMS
            and len(node.targets[0].elts) == count
        ):
            return [ast.unparse(element) for element in node.targets[0].elts]
    return [f"params{i}" for i in range(count)]


def rebuilt(params: Any, values: Iterator[Any]) -> Any:
    """Return params with other arrays, in the order of `leaves_of`."""
    if isinstance(params, dict):
        return {key: rebuilt(member, values) for key, member in params.items()}
    if isinstance(params, list | tuple):
        return type(params)(rebuilt(member, values) for member in params)
    return next(values) if is_array(params) else params


__all__: list[str] = ["FORMS", "FormError", "FunctionSubject"]
