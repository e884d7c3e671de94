"""Name the line where the first NaN or infinity arose: in forward, a loss, backward, or the optimizer's update.

``fit(..., check_finite=True)`` does every step as ever and looks at the weights afterwards. Only when something is not
finite is that very step repeated, on a copy made before it and with the same random numbers, and every line watched
(`tinynn.check.watch`). So what is found is what happened. The model gets back what it had before that step.
"""

from __future__ import annotations

import ast
import copy
import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import data
from tinynn.arguments import check_count
from tinynn.backend import Array, array_module, to_device, to_host
from tinynn.check.report import short_path
from tinynn.check.watch import Find, Watch, arrays_in, kind_of
from tinynn.compiled import TrainedParts
from tinynn.layers.base import Layer
from tinynn.losses.base import Loss
from tinynn.optimizers.base import Optimizer
from tinynn.parameter import Arena
from tinynn.scores import Scores
from tinynn.training import Trainer


@dataclass(frozen=True, repr=False)
class FiniteReport:
    """Where the first NaN or infinity arose; prints as text, and shows in notebooks.

    Attributes
    ----------
    subject : str
        The model or layer.
    ok : bool
        Whether all numbers are finite.
    where : str
        When: ``"step 1"``, ``"epoch 2, batch 17"``.
    layer : str
        The layer, outer before inner, or the loss or the optimizer: ``"dense_1 (Dense) > Softmax"``.
    phase : str
        ``"forward"``, ``"backward"``, or ``"update"`` for an optimizer.
    file : str
    line : int
        0 if the numbers were not finite before any line ran.
    text : str
        The line.
    array : str
        What it wrote: ``"z"``, ``"self.dW"``.
    numbers : str
        How many of its numbers are NaN or infinite, and which is the first.
    reads : tuple of str
        What the line read, with the range of values.
    earlier : str
        An infinity that the same layer made before and that seemed to do no harm: 1 / sqrt(inf) is 0.
    advice : str
        What to do.
    """

    subject: str
    ok: bool
    where: str
    layer: str = ""
    phase: str = ""
    file: str = ""
    line: int = 0
    text: str = ""
    array: str = ""
    numbers: str = ""
    reads: tuple[str, ...] = ()
    earlier: str = ""
    advice: str = ""

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the lines of text, each with its style."""
        if self.ok:
            yield f"{self.subject}: all numbers are finite ({self.where})", "green"
            return
        yield f"{self.subject}: the first NaN or infinity arose at {self.where}", "bold"
        phase = f", {self.phase}" if self.phase else ""
        yield f"  in     {self.layer}{phase}{f'  {self.file}' if self.file else ''}", ""
        if self.line:
            yield f"  line   {self.line}  {self.text}".rstrip(), "bold red"
        yield f"  array  {self.array}: {self.numbers}", "yellow"
        for i, read in enumerate(self.reads):
            yield f"  {'from' if i == 0 else '    '}   {read}", "cyan"
        if self.earlier:
            yield f"  after  {self.earlier}", "yellow"
        yield f"  try    {self.advice}", ""

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self.rows())

    __repr__ = __str__

    def __rich__(self) -> Any:
        from rich.text import Text

        text = Text()
        for i, (row, style) in enumerate(self.rows()):
            text.append("\n" * (i > 0) + row, style=style)
        return text

    def _repr_html_(self) -> str:
        colors = {"bold red": "color:#c00;font-weight:bold", "bold": "font-weight:bold", "green": "color:#080"}
        colors |= {"yellow": "color:#a60", "cyan": "color:#057"}
        rows = (f'<span style="{colors.get(style, "")}">{html.escape(text)}</span>' for text, style in self.rows())
        return f'<pre style="line-height:1.35;font-family:monospace">{"<br>".join(rows)}</pre>'


class NotFiniteError(FloatingPointError):
    """A step of ``fit(..., check_finite=True)`` made a NaN or an infinity; ``report`` says where."""

    def __init__(self, report: FiniteReport) -> None:
        super().__init__(f"{report}\nThe weights are those before this step, so the model can still be used.")
        self.report = report


def finite(model: Layer, x: Any, y: Any = None, sample_weight: Any = None, *, steps: int = 1) -> FiniteReport:
    """Do a training step on a copy and name the line where the first NaN or infinity arises.

    Parameters
    ----------
    model : Layer
        A compiled model, for a whole step: forward, loss, backward, update. A layer, or a model without `y`, runs
        forward and backward only, with random numbers for the gradient of its output.
    x, y, sample_weight : array
        One batch, as for `fit`.
    steps : int, default 1
        How many steps to do with that batch at most: a rate that is too large may need a few to blow up.

    Returns
    -------
    FiniteReport

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> finite(Dense(2), np.ones((4, 3), dtype="float32")).ok
    True
    """
    steps = check_count(steps, "check.finite: steps")
    twin = read_lines(copy_of(model, "check.finite"))
    if y is None or not isinstance(twin, Trainer):
        if not isinstance(twin, Layer):
            raise TypeError(f"check.finite: expected a model or a layer, got {type(model).__name__}.")
        if y is not None:
            raise TypeError(f"{twin.label}: check.finite: a layer alone has no loss to take y; leave it out.")
        return passes(twin, data.check_array(x, "check.finite", "x"))
    twin.need_compiled("check.finite")
    samples = twin.prepare(data.check_samples(x, y, sample_weight, "check.finite"), "check.finite")
    for step in range(steps):
        where = f"step {step + 1}" if steps > 1 else "this step"
        report = watched_step(twin, twin.cast(samples.x), samples.y, where, samples.sample_weight)
        if not report.ok:
            return report
    return FiniteReport(twin.label, True, f"{steps} steps" if steps > 1 else "forward, loss, backward, update")


def copy_of(model: Layer, who: str) -> Any:
    """Return a copy of a model or layer, with all it holds.

    Raises
    ------
    TypeError
        If a layer holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise TypeError(
            f"{getattr(model, 'label', model)}: {who} works on a copy of the model, and something in it cannot be "
            f"copied ({error}). Keep files, locks and generators out of the layers' attributes."
        ) from error


def read_lines(model: Any) -> Any:
    """Have a copy run the lines that are read, not their fused twins, into which nobody can look; return it."""
    for layer in model.walk() if isinstance(model, Layer) else ():
        layer.plain = True
    if isinstance(model, Trainer) and model.optimizer is not None and model.loss is not None:
        model.optimizer.plain = model.loss.plain = True
    return model


def passes(layer: Layer, x: Array) -> FiniteReport:
    """Watch forward and backward of a layer, which may be changed."""
    watch = Watch()
    with np.errstate(all="ignore"):
        layer(to_device(x, layer.device) if isinstance(layer, Trainer) else x)  # builds it, and checks the input
    if not isinstance(layer, Trainer) and x.dtype.kind in "iub" and not layer.takes_integers:
        x = x.astype(layer.dtype)
    spoilt = spoilt_weights(layer, "this pass")
    if spoilt is not None:
        return spoilt
    with np.errstate(all="ignore"), watch.run():
        y = layer.forward(layer.cast(to_device(x, layer.device)) if isinstance(layer, Trainer) else x, training=True)
        dy = np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype)
        dx = layer.backward(array_module(y).asarray(dy), need_dx=not layer.takes_integers)
    gradients = [parameter.grad for parameter in layer.parameters if parameter.trainable]
    if any(kind_of(array) for array in arrays_in((y, dx, gradients))):
        return report_on(watch, layer, "this pass")
    return FiniteReport(layer.label, True, "forward, backward")


# fit(..., check_finite=True) -----------------------------------------------------------------------------------------


def train_step(
    model: Trainer,
    parts: TrainedParts,
    x: Array,
    y: Array,
    scores: Scores,
    where: str,
    sample_weight: Array | None = None,
) -> None:
    """Do the model's training step; if it makes a NaN or an infinity, put all back and name the line.

    Raises
    ------
    NotFiniteError
    """
    before, legacy = copy_of(model, "check_finite"), np.random.get_state()
    failure = None
    try:
        with np.errstate(all="ignore"):
            model.train_step(parts, x, y, scores, where, sample_weight)
    except FloatingPointError as error:
        failure = error
    if failure is None and is_finite(model):
        return
    put_back(model, before)
    np.random.set_state(legacy)
    report = watched_step(read_lines(copy_of(before, "check_finite")), x, y, where, sample_weight)
    if report.ok:  # a fused kernel whose plain lines stay finite; then the line that calls it is named
        report = watched_step(before, x, y, where, sample_weight)
    if report.ok:  # only where a step is not the same twice: random numbers from outside
        raise failure or FloatingPointError(f"the weights became NaN or infinite at {where}, but not when repeated.")
    raise NotFiniteError(report)


def watched_step(model: Trainer, x: Array, y: Array, where: str, sample_weight: Array | None) -> FiniteReport:
    """Do a training step, every line watched."""
    spoilt = spoilt_weights(model, where)
    if spoilt is not None:
        return spoilt
    parts, scores, watch = model.trained_parts("fit"), model.scores_for(y), Watch()
    stopped = False
    with np.errstate(all="ignore"):
        try:
            with watch.run():
                model.train_step(parts, x, y, scores, where, sample_weight)
        except FloatingPointError:  # the loss is NaN or infinite
            stopped = True
    if stopped or not is_finite(model):
        return report_on(watch, model, where)
    return FiniteReport(model.label, True, where)


def is_finite(model: Trainer) -> bool:
    """Whether weights, gradients and the optimizer's memory are."""
    arena, optimizer = model.need_arena(), model.optimizer
    slots = list(optimizer.slots.values()) if optimizer is not None else []
    return not any(kind_of(a) for a in arrays_in([arena.values, arena.state, arena.grads, slots]))


def put_back(model: Trainer, before: Trainer) -> None:
    """Give a model the weights of its copy, and its optimizer the memory."""
    arena, old = model.need_arena(), before.need_arena()
    arena.values[...], arena.state[...] = old.values, old.state
    optimizer, old_optimizer = model.optimizer, before.optimizer
    assert optimizer is not None
    assert old_optimizer is not None
    optimizer.iterations = old_optimizer.iterations
    if old_optimizer.arena is None:  # it was the first step, which makes the memory
        optimizer.arena, optimizer.slots = None, {}
    for name, slot in optimizer.slots.items():
        slot[...] = old_optimizer.slots[name]


# The report ----------------------------------------------------------------------------------------------------------


def spoilt_weights(model: Layer, where: str) -> FiniteReport | None:
    """Return a report if a weight is NaN or infinite before anything runs."""
    for name, parameter in model.named_parameters():
        if kind_of(parameter.value) is not None:
            advice = "these weights were set or loaded so; load others, or build the model anew"
            return FiniteReport(
                model.label,
                False,
                f"the weights before {where}",
                parameter.owner.label,
                array=name,
                numbers=count_of(parameter.value),
                advice=advice,
            )
    return None


def report_on(watch: Watch, model: Layer, where: str) -> FiniteReport:
    """Return the report on what was found in a model; nothing, if compiled code made it out of the watcher's sight."""
    find = watch.first
    if find is None:
        advice = "look at the code that Python does not run line by line: a compiled extension, another thread"
        return FiniteReport(
            model.label, False, where, "no line that could be watched", array="?", numbers="?", advice=advice
        )
    owners = [owner for owner in find.owners if owner is not model and type(owner).__name__ != "Sequential"]
    layers = [owner for owner in find.owners if isinstance(owner, Layer) and owner not in owners]
    named = owners or layers[-1:]
    layer = " > ".join(owner_label(owner) for owner in named) or f"the function {find.function}"
    phase = "backward" if find.backward else "forward"
    if find.owners and isinstance(find.owners[-1], Optimizer):
        phase = "update"
    array = find.name or "what is returned"
    return FiniteReport(
        model.label,
        False,
        where,
        layer,
        phase,
        file=short_path(find.file),
        line=find.line,
        text=find.text,
        array=array,
        numbers=count_of(find.array, model.arena if isinstance(model, Trainer) and phase == "update" else None),
        reads=tuple(f"{name} {range_of(value)}" for name, value in find.reads if kind_of(value) is None),
        earlier=next((f"line {f.line}  {f.text}  made {f.name} {f.kind}" for f in watch.before(find)), ""),
        advice=advice_on(find, phase),
    )


def owner_label(owner: Any) -> str:
    """Return what a layer, loss or optimizer is called."""
    if isinstance(owner, Layer):
        return owner.label
    return f"the loss {owner.name}" if isinstance(owner, Loss) else f"the optimizer {type(owner).__name__}"


def count_of(array: Any, arena: Arena | None = None) -> str:
    """Return how many numbers of an array are not finite, and where the first is.

    Examples
    --------
    >>> count_of(np.array([[1.0, np.nan], [np.inf, 0.0]]))
    '2 of 4 numbers, the first at [0, 1] = nan'
    """
    values = np.asarray(array if isinstance(array, float) else to_host(array))
    wrong = ~np.isfinite(values)
    if not values.ndim:
        return f"it is {float(values.real)}"
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    at = f"[{', '.join(map(str, place))}]"
    if arena is not None and values.shape == arena.values.shape:
        at = name_in(arena, place[0])
    return f"{int(wrong.sum())} of {wrong.size} numbers, the first at {at} = {values[place]:.3g}"


def name_in(arena: Arena, index: int) -> str:
    """Return which number of which parameter an entry of the flat vectors is."""
    for parameter in arena.parameters:
        if not parameter.trainable:
            continue
        if index < parameter.size:
            place = ", ".join(str(int(i)) for i in np.unravel_index(index, parameter.shape))
            return f"{parameter.name}[{place}] of {parameter.owner.label}"
        index -= parameter.size
    return f"[{index}]"


def range_of(value: Any) -> str:
    """Return the range of an array's numbers.

    Examples
    --------
    >>> range_of(np.array([3.0, -1.0])), range_of(2.5)
    ('from -1 to 3', '= 2.5')
    """
    array = np.asarray(value if isinstance(value, float) else to_host(value)).real
    if not array.ndim:
        return f"= {float(array):.4g}"
    return f"from {array.min():.4g} to {array.max():.4g}" if array.size else "has no numbers"


def advice_on(find: Find, phase: str) -> str:
    """Return what to do, where the line shows it: what it computes, and with which numbers."""
    operations = operations_of(find.statement)
    ranges = [np.asarray(v if isinstance(v, float) else to_host(v)).real for _, v in find.reads]
    ranges = [r for r in ranges if r.size and np.isfinite(r).all()]
    low = min((float(r.min()) for r in ranges), default=0.0)
    high = max((float(r.max()) for r in ranges), default=0.0)
    kind = getattr(getattr(find.array, "dtype", None), "name", "float64")
    limit = math.log(float(np.finfo(kind).max))
    has_zero = any(bool((r == 0).any()) for r in ranges)
    if phase == "update":
        return "a smaller learning rate (a tenth of this one), data scaled to about -1 to 1, or clipnorm=1.0"
    if "nan" in operations or "inf" in operations:
        return "take the NaN or infinity that the line itself says out of it"
    if operations & {"exp", "exp2", "expm1", "cosh", "sinh"} and max(high, -low) > limit * 0.5:
        return (
            f"exp overflows above {limit:.0f} in {kind}: take the largest number off first, as softmax does, or take "
            "exp of minus the absolute value, as a sigmoid can"
        )
    if operations & {"log", "log2", "log10"} and low <= 0:
        what = "log of 0 is -inf" if find.kind == "inf" else "log of 0 is -inf, of a negative number NaN"
        return f"{what}: hold its argument above a small number, log(maximum(p, 1e-7)), or work with logits"
    if "sqrt" in operations and low < 0 and find.kind == "nan":
        return "sqrt of a negative number is NaN: square what is under the root, or hold it at 0"
    if operations & {"/", "reciprocal", "negative power", "divide"} and has_zero:
        where = ": the derivative of sqrt is infinite at 0" if phase == "backward" else ""
        return f"a number that is divided by is 0{where}; add a small epsilon to it, 1e-7"
    if find.kind == "inf":
        return "a smaller learning rate, smaller initial weights, or inputs scaled to about -1 to 1: numbers overflow"
    return "look at the line: for the numbers that it reads it is not defined"


def operations_of(statement: ast.stmt | None) -> set[str]:
    """Return the functions a statement calls and what may go wrong in it: ``{"exp", "/"}``."""
    found: set[str] = set()
    for node in ast.walk(statement) if statement is not None else ():
        if isinstance(node, ast.Call):
            found.add(getattr(node.func, "attr", getattr(node.func, "id", "")))
        elif isinstance(node, ast.Div):
            found.add("/")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            text = ast.unparse(node.right)
            found.add("negative power" if "-" in text else "power")
        elif isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).rpartition(".")[2] in ("nan", "inf"):
            found.add(ast.unparse(node).rpartition(".")[2])
        elif isinstance(node, ast.Constant) and node.value in ("nan", "inf", "-inf"):
            found.add(str(node.value).strip("-"))
    return found
