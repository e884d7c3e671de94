"""Check hand-written gradients against the forward pass.

The complex step (Squire & Trapp 1998; Martins, Sturdza & Alonso 2003): where f can be computed in complex numbers,

    f(x + i h) = f(x) + i h f'(x) - h^2 f''(x) / 2 - ...      so      f'(x) = Im f(x + i h) / h

without the subtraction that limits finite differences. With h = 1e-20 the result is exact to the last bit or two. It
needs a forward pass that keeps the imaginary part; where one does not (it takes an absolute value, say), the check
notices and takes central differences, (f(x + h) - f(x - h)) / 2 h, whose error is about 1e-9.

f is sum(dy * y) with a random upstream gradient dy: with ones, softmax and normalizations pass whatever their backward
says. What layers add to the loss (``activity_penalty``) counts to f. At a kink the two sides disagree and the check is
meaningless; stay away from them.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import losses
from tinynn.backend import Array, generator, to_host
from tinynn.layers.base import Layer
from tinynn.layers.drawing import Drawing
from tinynn.parameter import Parameter
from tinynn.training import Trainer

COMPLEX_STEP = "complex step"
CENTRAL_DIFFERENCES = "central differences"
TOLERANCE = {COMPLEX_STEP: 1e-12, CENTRAL_DIFFERENCES: 1e-6}
# A gradient that is 0 because its terms cancel comes out as their rounding: 1e-17 is 0, not 100 % of 1e-17. Its terms
# are as large as what flows through the two passes, so where a gradient is small itself, an error counts against a part
# of the largest number there; and where all is small, against a fixed number.
RELATIVE_FLOOR, ABSOLUTE_FLOOR = 1e-2, 1e-3


@dataclass(frozen=True)
class CheckedGradient:
    """One gradient: its array's name and shape, how many entries were checked and how, and the largest error.

    The error is max |found - true| / max(|true|, |found|, g / 100, 1e-3) over all entries checked, g the largest number
    among all gradients in the report, dy and the loss; NaN where backward wrote nothing.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    method: str
    error: float

    @property
    def ok(self) -> bool:
        """Whether the error is as small as the method's rounding."""
        return self.error <= TOLERANCE[self.method]


@dataclass(frozen=True)
class GradientReport:
    """What `gradients` found; prints as a table.

    Attributes
    ----------
    subject : str
        What was checked.
    rows : tuple of CheckedGradient
    faults : tuple of str
        What else is wrong: x or dy written into, a gradient of another shape.
    """

    subject: str
    rows: tuple[CheckedGradient, ...]
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right and nothing else is wrong."""
        return not self.faults and all(row.ok for row in self.rows)

    @property
    def error(self) -> float:
        """The largest error of all gradients."""
        return max((row.error for row in self.rows), default=0.0, key=lambda e: math.inf if math.isnan(e) else e)

    def __str__(self) -> str:
        table = [("gradient", "shape", "checked", "by", "error", "")]
        for row in self.rows:
            size = math.prod(row.shape)
            checked = "all" if row.checked == size else f"{row.checked} of {size:,}"
            error = "not written" if math.isnan(row.error) else f"{row.error:.1e}"
            table.append((row.name, str(row.shape), checked, row.method, error, "ok" if row.ok else "WRONG"))
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        verdict = "every gradient is right" if self.ok else "NOT RIGHT"
        return "\n".join(
            [
                f"{self.subject}: {verdict}",
                *(line.rstrip() for line in lines),
                *map("also: {}".format, self.faults),
            ]
        )


def gradients(
    layer: Layer,
    x: Any,
    y: Any = None,
    loss: Any = None,
    *,
    training: bool = False,
    seed: int = 0,
    max_entries: int = 200,
) -> GradientReport:
    """Check the gradients of a layer or model: dx and every parameter's.

    All is computed on the host in float64; the layer's own weights are not touched.

    Parameters
    ----------
    layer : Layer
        A layer or a model; built for `x` if it is not yet.
    x : array, shape (batch, ...)
        The input. dx is checked unless `x` holds integers.
    y : array, optional
        Targets. Without them the layer's output is weighted with a random upstream gradient.
    loss : str or Loss, optional
        With `y`: the loss; by default the compiled one.
    training : bool, default False
        Passed to forward.
    seed : int, default 0
        Decides the upstream gradient and which entries are checked.
    max_entries : int, default 200
        Larger arrays are checked at this many random entries.

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If `x` or `y` do not fit, or `y` comes without a loss.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> x = np.random.default_rng(0).normal(size=(5, 3))
    >>> report = gradients(Dense(2, activation="tanh"), x)
    >>> report.ok
    True
    >>> print(report)
    Dense: every gradient is right
    gradient  shape   checked  by            error
    dx        (5, 3)  all      complex step  ...  ok
    dW        (3, 2)  all      complex step  ...  ok
    db        (2,)    all      complex step  ...  ok
    """
    x = to_host(x)
    check_dx = x.dtype.kind == "f"
    x = x.astype(np.float64) if check_dx else x
    if isinstance(layer, Trainer):
        layer.need_weights("check.gradients", tuple(x.shape[1:]))
    elif layer.input_shape is None:
        layer.build_for(tuple(x.shape[1:]))
    layer.check_input(x)

    parameters = layer.parameters
    the_loss, targets = loss_and_targets(layer, y, loss)
    with in_float64(parameters), plain_lines(layer, the_loss):
        rng = generator(seed, 0)  # not default_rng(seed), which may well have drawn x: dy = x hides errors
        forward = repeatable(layer)
        penalized = [inner for inner in layer.walk() if inner.activity_penalty is not None]
        output = forward(x, training)
        if the_loss is None:
            dy = rng.standard_normal(output.shape)
        else:
            the_loss.check(targets, output.shape)
            the_loss.forward(targets, output)
            dy = the_loss.backward()

        def outputs() -> Any:
            return forward(arrays["x"], training)

        def objective() -> Any:
            """Return the number whose gradient is checked, complex where x or a parameter is."""
            y = outputs()
            L = (dy * y).sum() if the_loss is None else the_loss.forward(targets, y)
            return L + sum(inner.activity_penalty for inner in penalized)

        faults, dx = run_backward(layer, forward, x, dy, training, check_dx)
        arrays = {"x": x}
        subjects: list[tuple[str, Parameter | None, Array]] = [("dx", None, dx)] if check_dx else []
        for name, parameter in layer.named_parameters():
            if not parameter.trainable:
                continue
            place, _, short = name.rpartition(".")
            subjects.append((f"{place}.d{short}" if place else f"d{short}", parameter, parameter.grad.copy()))
        checked = []
        for name, subject, gradient in subjects:
            true, entries, method = true_gradient((outputs, objective), arrays, subject, rng, max_entries)
            shape = x.shape if subject is None else subject.shape
            if gradient.shape != shape:
                faults.append(f"{name} has the shape {gradient.shape}, its array {shape}")
                continue
            checked.append((name, shape, method, gradient.flat[entries], true))
        sizes = (np.asarray(objective()), dy, *(true for *_, true in checked))
        floor = max(ABSOLUTE_FLOOR, RELATIVE_FLOOR * max(np.abs(array).max(initial=0.0) for array in sizes))
        rows = [
            CheckedGradient(name, shape, len(true), method, error(found, true, floor))
            for name, shape, method, found, true in checked
        ]
    for inner in layer.walk():
        inner.cache = None
    return GradientReport(layer.label, tuple(rows), tuple(faults))


def run_backward(
    layer: Layer, forward: Callable[[Array, bool], Array], x: Array, dy: Array, training: bool, check_dx: bool
) -> tuple[list[str], Array]:
    """Run forward and backward once; return what they did that they must not, and dx."""
    faults = []
    x_before, dy_before = x.copy(), dy.copy()
    forward(x, training)
    if not np.array_equal(x, x_before):
        faults.append("forward wrote into x")
        x[...] = x_before
    dx = layer.backward(dy, need_dx=check_dx)
    if not np.array_equal(dy, dy_before):
        faults.append("backward wrote into dy")
        dy[...] = dy_before
    if not np.array_equal(x, x_before):
        faults.append("backward wrote into x")
        x[...] = x_before
    if check_dx and dx is None:
        faults.append("backward returned None in place of dx")
        dx = np.full(x.shape, np.nan)
    return faults, np.array(dx)


def repeatable(layer: Layer) -> Callable[[Array, bool], Array]:
    """Return the layer's forward with the same random numbers and the same kept state at every call.

    Kept arrays (running means) are complex where the input or a parameter is, so that forward may write into them.
    """
    states = {inner: copy.deepcopy(inner.random.bit_generator.state) for inner in layer.walk()}
    kept = [(parameter, parameter.value) for parameter in layer.parameters if not parameter.trainable]

    def forward(x: Array, training: bool) -> Array:
        for inner, state in states.items():
            inner.random.bit_generator.state = state
            if isinstance(inner, Drawing):
                inner.forget_draws()
        arrays = (x, *(parameter.value for parameter in layer.parameters if parameter.trainable))
        dtype = complex if any(np.iscomplexobj(array) for array in arrays) else float
        for parameter, value in kept:
            parameter.bind(value.astype(dtype), value)
        return layer.forward(x, training)

    return forward


def true_gradient(
    functions: tuple[Callable[[], Any], Callable[[], Any]],
    arrays: dict[str, Array],
    parameter: Parameter | None,
    rng: np.random.Generator,
    max_entries: int,
) -> tuple[Array, Array, str]:
    """Return the gradient of the objective by x or a parameter, the flat entries it was taken at, and the method.

    The functions are the layer's outputs and the objective. Where both carry complex numbers through, judged by one
    random direction, the complex step is taken; the outputs are looked at as well as the objective, for the gradient
    of the objective may be small where the outputs' are not.
    """
    original = arrays["x"] if parameter is None else parameter.value

    def at(array: Array, function: Callable[[], Any]) -> Any:
        """Return the function with `array` in the place of x or the parameter."""
        if parameter is None:
            arrays["x"] = array
        else:
            parameter.bind(array, parameter.grad)
        return function()

    def differences(function: Callable[[], Any], direction: Array) -> Any:
        """Return the derivative along a direction by central differences."""
        h = 1e-6
        return (at(original + h * direction, function) - at(original - h * direction, function)) / (2 * h)

    def complex_step(function: Callable[[], Any], direction: Array) -> Any:
        """Return the derivative along a direction by the complex step."""
        h = 1e-20
        return np.imag(at(original + 1j * h * direction, function)) / h

    def is_analytic(function: Callable[[], Any], direction: Array) -> bool:
        """Whether both agree, but for the rounding of the differences."""
        by_differences = np.asarray(differences(function, direction))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                by_complex_step = np.asarray(complex_step(function, direction))
        except (TypeError, np.exceptions.ComplexWarning):
            return False
        # Within the function numbers may be as large as what goes in, or as 1, however small what comes out; and the
        # objective is a sum, whose terms may be larger than it is.
        largest = max(1.0, np.abs(original).max(initial=0.0), np.abs(at(original, functions[0])).sum())
        rounding = 20 * np.finfo(float).eps * largest / 1e-6
        size = max(np.abs(by_differences).max(initial=0.0), np.abs(by_complex_step).max(initial=0.0))
        return bool(np.abs(by_differences - by_complex_step).max(initial=0.0) <= 1e-4 * size + rounding)

    entries = np.arange(original.size)
    if original.size > max_entries:
        entries = np.sort(rng.choice(original.size, max_entries, replace=False))
    anywhere = rng.standard_normal(original.shape)
    try:
        analytic = all(is_analytic(function, anywhere) for function in functions)
        method, derivative = (COMPLEX_STEP, complex_step) if analytic else (CENTRAL_DIFFERENCES, differences)
        true = np.empty(len(entries))
        for i, entry in enumerate(entries):
            direction = np.zeros(original.shape)
            direction.flat[entry] = 1.0
            true[i] = derivative(functions[1], direction)
    finally:
        arrays["x"] = arrays["x"] if parameter is not None else original
        if parameter is not None:
            parameter.bind(original, parameter.grad)
    return true, entries, method


def error(found: Array, true: Array, floor: float) -> float:
    """Return the largest difference, relative to the largest gradient of this array, or to the floor."""
    if found.size == 0:
        return 0.0
    scale = max(float(np.abs(true).max()), float(np.abs(found).max()), floor)
    difference = float(np.abs(found - true).max())
    return difference / scale if difference else 0.0


@contextmanager
def in_float64(parameters: list[Parameter]) -> Iterator[None]:
    """Give the layers float64 copies of their weights on the host; NaN gradients, so that one not written is seen."""
    kept = [(parameter.value, parameter.grad) for parameter in parameters]
    try:
        for parameter in parameters:
            value = to_host(parameter.value).astype(np.float64)
            parameter.bind(value, np.full(parameter.shape, np.nan))
        yield
    finally:
        for parameter, (value, grad) in zip(parameters, kept, strict=True):
            parameter.bind(value, grad)


@contextmanager
def plain_lines(layer: Layer, loss: losses.Loss | None) -> Iterator[None]:
    """Have the layers and the loss run the lines that are read, not their fused twins."""
    fused: list[tuple[Any, bool]] = [(inner, inner.plain) for inner in layer.walk() if inner.has_fused]
    fused += [] if loss is None else [(loss, loss.plain)]
    try:
        for inner, _ in fused:
            inner.plain = True
        yield
    finally:
        for inner, before in fused:
            inner.plain = before


def loss_and_targets(layer: Layer, y: Any, loss: Any) -> tuple[losses.Loss | None, Array]:
    """Return the loss to check with (None for a random upstream gradient) and the targets."""
    if y is None:
        if loss is not None:
            raise ValueError("check.gradients: a loss needs targets; give y as well.")
        return None, np.empty(0)
    if loss is None:
        loss = getattr(layer, "loss", None)
    if loss is None:
        raise ValueError("check.gradients: targets need a loss; give loss='mse', say, or a compiled model.")
    return losses.get(loss), to_host(y)
