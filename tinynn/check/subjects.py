"""What can be checked line by line: a layer, a loss. Functions without a class are in `functions`.

A subject has two twins of the layer, in float64: forward is run on one as often as truths are asked for, backward on
the other. Their class is a subclass made here, whose methods are the layer's own with hooks in them.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

import numpy as np

from tinynn.backend import to_host
from tinynn.check.judge import Judge
from tinynn.check.names import bases, partners, parts_of
from tinynn.check.report import SourceLine
from tinynn.check.rewrite import Function, SourceError, parse
from tinynn.check.rewrite_passes import rewrite_backward, rewrite_forward
from tinynn.check.trace import Trace, Unit, is_array
from tinynn.layers.activation_function import ActivationFunction
from tinynn.layers.base import Layer
from tinynn.losses.base import Loss

PLAIN = {object, Layer, ActivationFunction}  # classes without mathematics


class Subject:
    """One thing that is checked.

    Attributes
    ----------
    label : str
    file : str
    trace : Trace
    judge : Judge
        Set before backward runs.
    functions : dict
        The functions that are traced, by name.
    leaves : dict
        The parameters' shapes by name.
    """

    results: Collection[str] = frozenset()  # the functions that return the gradient by forward's input
    last_input = False  # whether that is forward's last parameter
    by_name = False  # whether returned names say what they are the gradient by
    dy: Any  # what backward is given

    def __init__(self, label: str) -> None:
        self.label = label
        self.file = "?"
        self.trace = Trace()
        self.judge: Judge | None = None
        self.functions: dict[str, Function] = {}
        self.leaves: dict[str, tuple[int, ...]] = {}
        self.phase = "forward"
        self.forward_writes: tuple[str, ...] = ()  # the inputs that forward writes into
        self.known_partners: dict[str, list[str]] = {}
        self.random = False
        self.batch = 0
        self.variants: dict[tuple[Any, str], Any] = {}

    def objective(self, in_complex: bool, added: dict[str, Any]) -> Any:
        """Run forward and return the number whose gradient is taken; `added` is added to parameters."""
        raise NotImplementedError

    def backward(self, dtype: str = "float64") -> dict[str, Any]:
        """Run forward and backward once and return what came out: ``{"dx": ..., "dW": ...}``."""
        raise NotImplementedError

    def result_units(self) -> dict[str, Unit]:
        """Return what each result of backward is the gradient by: the parameters, and the input."""
        assert self.judge is not None
        units = {f"d{name}": Unit(name, shape, "leaf", leaf=name) for name, shape in self.leaves.items()}
        for function in [f for f in self.functions if f.rpartition(".")[2] in self.results]:
            given = self.judge.pairing.input_of(function)
            if given is not None:
                units["dy" if self.last_input else "dx"] = Unit(given.name, given.shape, "version", given)
        return units

    def lines_with(self, leaf: str) -> list[SourceLine]:
        """Return the forward lines that use a parameter."""
        found = {}
        for function in self.forward_functions():
            for node in ast.walk(function.tree):
                if isinstance(node, ast.Attribute) and node.attr == leaf and isinstance(node.value, ast.Name):
                    statement = max(line for line in function.texts if line <= node.lineno)
                    found[statement] = SourceLine(function.name, statement, function.texts[statement])
        return list(found.values())

    def forward_functions(self) -> list[Function]:
        """Return the functions that ran in forward."""
        ran = {function for function, _ in self.trace.versions}
        return [function for name, function in self.functions.items() if name in ran]

    def partners(self, name: str) -> list[str]:
        """Return the forward functions that a function may undo, the likeliest first."""
        if name not in self.known_partners:
            assigned = self.functions[name].assigned if name in self.functions else set()
            wanted = {base for gradient in assigned for base in bases(gradient)}
            shared = {other.name: len(wanted & other.assigned) for other in self.forward_functions()}
            self.known_partners[name] = partners(name, shared, shared)
        return self.known_partners[name]

    def values_now(self) -> dict[str, Any]:
        """Return the parameters by name, for diagnoses."""
        return {}

    def given(self) -> dict[str, Any]:
        """Return what backward starts from, by name, for diagnoses."""
        return {"dy": self.dy}

    def is_gradient(self, name: str) -> bool:
        """Whether a name in backward is a gradient: ``dz`` where forward has a z; ``dq`` anyway, but not ``diff``."""
        known = {n for function in self.functions.values() for n in function.assigned} | set(self.leaves)
        candidates = bases(name)
        if any(base in known or any(part in known for part in parts_of(base)) for base in candidates):
            return True
        return name.startswith("d") and any(len(base) <= 3 or base[0].isupper() for base in candidates)

    def text(self, function: str, line: int) -> str:
        """Return the text of a line."""
        return self.functions[function].texts.get(line, "") if function in self.functions else ""

    def variant(self, function: FunctionType, phase: str) -> Any:
        """Return a function with hooks in it for forward or backward; the function itself if it has no source."""
        place = (function, phase)
        if place not in self.variants:
            try:
                parsed = self.parsed(function)
                if phase == "forward":
                    trace = self.trace
                    hooks: dict[str, Any] = {
                        "__enter__": trace.enter, "__bind__": trace.bind, "__fill__": trace.fill, "__use__": trace.use,
                        "__super__": self.find_super,
                    }  # fmt: skip
                    self.variants[place] = rewrite_forward(parsed, hooks)
                else:
                    names = ("enter", "given", "wrote", "judge", "judge_part", "leave", "returned", "result", "look")
                    hooks = {f"__{name}__": self.backward_hook(name) for name in names}
                    hooks["__super__"] = self.find_super
                    self.variants[place] = rewrite_backward(parsed, self.is_gradient, hooks)
            except SourceError:
                if function.__name__ in ("forward", "backward", "call", "gradient"):
                    raise
                self.variants[place] = function
        return self.variants[place]

    def parsed(self, function: FunctionType) -> Function:
        """Return a function's source, and keep it."""
        parsed = parse(function)
        return self.functions.setdefault(parsed.name, parsed)

    def backward_hook(self, name: str) -> Callable[..., Any]:
        """Return a hook that asks the judge."""
        return lambda *arguments: getattr(self.judge, name)(*arguments)

    def find_super(self, kind: type, instance: Any, name: str) -> Any:
        """Return ``super().name``, with hooks in it."""
        mro = type(instance).__mro__
        for parent in mro[mro.index(kind) + 1 :]:
            if name in vars(parent):
                found = vars(parent)[name]
                if isinstance(found, FunctionType) and parent not in PLAIN:
                    found = self.variant(found, self.phase)
                return found.__get__(instance, type(instance)) if hasattr(found, "__get__") else found
        raise AttributeError(f"'super' object has no attribute {name!r}")

    def give_hooks(self, instance: Any, mains: tuple[str, ...]) -> None:
        """Make an instance of a class whose methods have hooks in them: forward, backward and what they call."""
        kind = type(instance)
        methods: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        waiting = list(mains)
        while waiting:
            name = waiting.pop()
            owner = next((k for k in kind.__mro__ if name in vars(k)), object)
            function = vars(owner).get(name)
            if name in methods or owner in PLAIN or not isinstance(function, FunctionType):
                continue
            try:
                parsed = self.parsed(function)
            except SourceError:
                if name in mains:
                    raise
                continue
            if name == mains[0]:
                self.file = parsed.file
            methods[name] = self.chooser(function)
            for node in ast.walk(parsed.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    waiting.append(node.attr)
        instance.__class__ = type(kind.__name__, (kind,), methods)

    def chooser(self, function: FunctionType) -> Callable[..., Any]:
        """Return a method that is the variant for the phase."""

        def method(instance: Any, *arguments: Any, **options: Any) -> Any:
            return self.variant(function, self.phase)(instance, *arguments, **options)

        return method


class LayerSubject(Subject):
    """A layer with an input.

    Parameters
    ----------
    layer : Layer
        Built; it is copied.
    x : array
    training : bool
    seed : int
        Of the upstream gradient, and of the layer's random numbers.
    others, options
        Further arguments of forward, such as a mask.
    """

    results = frozenset({"backward"})

    def __init__(self, layer: Layer, x: Any, training: bool, seed: int, *others: Any, **options: Any) -> None:
        super().__init__(layer.label)
        self.others = others
        self.takes_training = takes_two(layer.forward)
        self.x = x.astype(np.float64) if x.dtype.kind == "f" else x
        self.training, self.options, self.seed = training, options, seed
        self.differentiable = x.dtype.kind == "f"
        self.forward_twin, self.backward_twin = (self.twin(layer) for _ in range(2))
        self.values = {p.name: p.value for p in self.forward_twin.own_parameters}
        self.leaves = {p.name: p.shape for p in self.forward_twin.own_parameters if p.trainable}
        self.kept = [(p, p.value) for p in self.forward_twin.parameters if not p.trainable]
        self.learned = [(p, p.value) for p in self.forward_twin.parameters if p.trainable]
        self.penalized: list[Layer] = []
        self.batch = len(x)
        y = self.run_forward(self.forward_twin, self.x)
        if not is_array(y):
            raise ValueError(f"{self.label}: forward must return an array of floats, got {type(y).__name__}.")
        self.penalized = [inner for inner in self.forward_twin.walk() if inner.activity_penalty is not None]
        self.dy = np.random.default_rng([seed, 3]).standard_normal(y.shape)

    def twin(self, layer: Layer) -> Layer:
        """Return a copy in float64, on the host, with hooks; NaN in its gradients, so that one not written is seen."""
        twin = copy.deepcopy(layer)
        for index, inner in enumerate(twin.walk()):
            inner.rng = np.random.default_rng([self.seed, 5, index])
            inner.cache = None
            if hasattr(inner, "plain"):
                inner.plain = True  # the lines of the book, not the kernels
        for parameter in twin.parameters:
            value = to_host(parameter.value).astype(np.float64)
            parameter.bind(value, np.full(parameter.shape, np.nan))
        self.give_hooks(twin, ("forward", "backward"))
        return twin

    def run_forward(self, twin: Layer, x: Any) -> Any:
        """Run forward with the same random numbers every time."""
        for index, inner in enumerate(twin.walk()):
            inner.rng = np.random.default_rng([self.seed, 5, index])
        start = [inner.random.bit_generator.state for inner in twin.walk()]
        legacy, phase = np.random.get_state(), self.phase
        np.random.seed(self.seed)
        try:
            self.phase = "forward"
            training = (self.training,) if self.takes_training else ()
            y = twin.forward(x, *training, *self.others, **self.options)
        finally:
            np.random.set_state(legacy)
            self.phase = phase
        self.random = self.random or start != [inner.random.bit_generator.state for inner in twin.walk()]
        return y

    def objective(self, in_complex: bool, added: dict[str, Any]) -> Any:
        """Return sum(dy * y), and the penalties that forward adds to the loss."""
        dtype = complex if in_complex else float
        for parameter, value in (*self.learned, *self.kept):
            mine = parameter.owner is self.forward_twin
            add = added.get(parameter.name, 0) if mine and parameter.trainable else 0
            parameter.bind(value.astype(dtype) + add, parameter.grad)
        x = self.x.astype(dtype) if self.differentiable else self.x
        y = self.run_forward(self.forward_twin, x)
        return (self.dy * y).sum() + sum(inner.activity_penalty for inner in self.penalized)

    def values_now(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return self.values

    def backward(self, dtype: str = "float64") -> dict[str, Any]:
        """Run forward and backward once."""
        assert self.judge is not None
        twin = self.backward_twin
        own = [p for p in twin.parameters if p.trainable]
        kept = [(p, p.value.copy()) for p in twin.parameters if not p.trainable]
        values = [(p, p.value) for p in twin.parameters]
        for parameter, value in values:
            parameter.bind(value.astype(dtype), np.full(parameter.shape, np.nan, dtype=dtype))
        x = self.x.astype(dtype) if self.differentiable else self.x
        x_before, dy = x.copy(), self.dy.astype(dtype)
        with self.trace.run():
            self.run_forward(twin, x)
        if not np.array_equal(x, x_before, equal_nan=True):
            self.forward_writes = ("x",)
            x[...] = x_before
        self.judge.inputs = {"x": (x, x_before), "dy": (dy, dy.copy())}
        self.phase = "backward"
        with np.errstate(all="ignore"):
            dx = twin.backward(dy)
        self.judge.finish()
        finals: dict[str, Any] = {"dx": dx} if self.differentiable else {}
        for parameter in own:
            if parameter.owner is twin:
                finals[f"d{parameter.name}"] = parameter.grad
        for parameter, value in values:
            parameter.bind(value, parameter.grad)
        for parameter, value in kept:
            parameter.value[...] = value
        return finals


class LossSubject(Subject):
    """A loss with targets and predictions."""

    results = frozenset({"backward", "gradient"})
    last_input = True

    def __init__(self, loss: Loss, targets: Any, predictions: Any) -> None:
        super().__init__(type(loss).__name__)
        self.targets, self.predictions = targets, predictions.astype(np.float64)
        self.forward_twin, self.backward_twin = copy.deepcopy(loss), copy.deepcopy(loss)
        self.forward_twin.plain = self.backward_twin.plain = True  # the lines of the book, not the kernels
        self.give_hooks(self.forward_twin, ("forward", "backward"))
        self.give_hooks(self.backward_twin, ("forward", "backward"))
        self.dy = np.ones(())
        self.batch = len(predictions)

    def given(self) -> dict[str, Any]:
        """Return dv, the gradient of the loss by the values it is the mean of."""
        return {"dv": np.asarray(self.backward_twin.dv)}

    def objective(self, in_complex: bool, added: dict[str, Any]) -> Any:
        """Return the loss."""
        predictions = self.predictions.astype(complex if in_complex else float)
        phase, self.phase = self.phase, "forward"
        try:
            L = self.forward_twin.forward(self.targets, predictions)
        finally:
            self.phase = phase
        return L if np.ndim(L) == 0 else L.sum()

    def backward(self, dtype: str = "float64") -> dict[str, Any]:
        """Run forward and backward once."""
        assert self.judge is not None
        self.phase = "forward"
        y = self.predictions.astype(dtype)
        before = y.copy()
        with self.trace.run():
            self.backward_twin.forward(self.targets, y)
        self.judge.inputs = {"y_pred": (y, before)}
        self.phase = "backward"
        with np.errstate(all="ignore"):
            dy = self.backward_twin.backward()
        self.judge.finish()
        return {"dy": dy}


def takes_two(forward: Any) -> bool:
    """Whether forward takes ``training`` after x; that of a class which knows nothing of this library need not."""
    try:
        inspect.signature(forward).bind("x", False)
    except TypeError:
        return False
    return True
