"""Check a backward pass line by line: which line is wrong, which are wrong only because of it.

How it works, in the order of the files:

1. `rewrite`, `rewrite_passes`: forward and backward are read as source and given hooks.
2. `trace`: a run of forward shows which values each name has; further runs give the true gradient by any of them.
3. `names`: ``dz`` is paired with ``z``; in loops the values are counted from the end.
4. `judge`: a run of backward judges every gradient when it is read, and puts the true one in the place of a wrong one.
5. here: backward runs again with other sets of lines mended. The lines whose mending makes every result right, and
   none of which can be left out, are the wrong ones; what else was wrong in a run without mending is a consequence.
6. `diagnosis`: what is probably the matter with a wrong line.

So a layer whose results (dx and the parameters' gradients) are right is never called wrong, whatever its names mean.
"""

from __future__ import annotations

import copy
import inspect
import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinynn
from tinynn.backend import to_host
from tinynn.check.functions import FunctionSubject
from tinynn.check.objects import adopt, as_layer
from tinynn.check.report import LinesReport, SubjectReport
from tinynn.check.subject_check import check_subject
from tinynn.check.subjects import LayerSubject, LossSubject
from tinynn.layers.base import Layer
from tinynn.losses.base import Loss
from tinynn.sequential import Sequential


def lines(subject: Any, x: Any, y: Any = None, *, training: bool = False, seed: int = 0, **options: Any) -> LinesReport:
    """Check every line of a backward pass and name the wrong ones.

    All is computed on copies, in float64; the layer's own weights are not touched.

    Parameters
    ----------
    subject : Layer, Loss, or (forward, backward)
        A layer or model, with all layers inside it; a loss; or two functions, see `tinynn.check.functions`.
    x : array
        The input, the batch axis first; for a loss the targets. Keep it small: a few samples show every mistake.
    y : array, optional
        For a loss, the predictions.
    training : bool, default False
        Passed to forward.
    seed : int, default 0
        Of the upstream gradient, and of what is random in forward.
    options : dict
        For functions: ``params``, and what else they need.

    Returns
    -------
    LinesReport

    Raises
    ------
    SourceError
        If the source cannot be read.
    ValueError
        If the input does not fit, or forward gives something else each time.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> report = lines(Dense(2), np.ones((4, 3)))
    >>> report.ok
    True
    """
    parts = subject if isinstance(subject, tuple | list) else (subject,)
    name = " and ".join(getattr(part, "__name__", type(part).__name__) for part in parts)
    with told_in_one_line(name, files_of(subject)):
        return checked(subject, x, y, training, seed, options)


def files_of(subject: Any) -> set[str]:
    """Return the files that a subject is written in."""
    if isinstance(subject, Layer):
        members: Any = {parent for inner in subject.walk() for parent in type(inner).__mro__}
    else:
        members = subject if isinstance(subject, tuple | list) else type(subject).__mro__
    found = set()
    for member in members:
        try:
            found.add(inspect.getsourcefile(member) or "")
        except (OSError, TypeError):
            continue
    return found


def checked(subject: Any, x: Any, y: Any, training: bool, seed: int, options: dict[str, Any]) -> LinesReport:
    """Return the report on whatever the subject is."""
    if isinstance(subject, Loss):
        if y is None:
            raise ValueError(f"check.lines: {subject.name} needs targets and predictions; give both.")
        targets = to_host(x)
        predictions = to_host(y)
        subject.check(targets, tuple(predictions.shape))
        return LinesReport((check_subject(LossSubject(subject, targets, predictions), seed),))
    if isinstance(subject, Layer):
        return check_layer(subject, to_host(x), training, seed)
    if not isinstance(subject, type | tuple | list) and hasattr(subject, "forward") and hasattr(subject, "backward"):
        layer = as_layer(subject)
        array = np.asarray(x, dtype=np.float64)
        return LinesReport((check_subject(LayerSubject(layer, array, training, seed), seed),))
    return LinesReport((check_subject(FunctionSubject(subject, x, seed=seed, **options), seed),))


def check_layer(layer: Layer, x: Any, training: bool, seed: int) -> LinesReport:
    """Check a layer and all layers inside it, inner ones first, each with the input it gets in the whole."""
    x = x.astype(np.float64) if x.dtype.kind == "f" else x
    whole = copy.deepcopy(layer)
    for index, inner in enumerate(whole.walk()):
        inner.rng = np.random.default_rng([seed, 5, index])
    if whole.input_shape is None:
        whole.build_for(tuple(x.shape[1:]))
    if isinstance(whole, Sequential):
        whole.need_weights("check.lines", tuple(x.shape[1:]))
    for inner in whole.walk():
        adopt(inner)
    for parameter in whole.parameters:
        parameter.bind(to_host(parameter.value).astype(np.float64), to_host(parameter.grad))
    whole.check_input(x)
    whole.check_values(x)
    inputs = inputs_of_all(whole, x, training)
    reports: list[SubjectReport] = []
    wrong: list[Layer] = []
    for inner, (given, train, others, options) in reversed(inputs):
        if type(inner) is Sequential:
            continue  # nothing but a loop over the layers
        inside = [child for child in inner.walk() if child is not inner and any(child is w for w in wrong)]
        report = check_subject(
            LayerSubject(inner, given, train, seed, *others, **options), seed, [i.label for i in inside]
        )
        if not report.ok:
            wrong.append(inner)
        reports.append(report)
    return LinesReport(tuple(reports))


def inputs_of_all(layer: Layer, x: Any, training: bool) -> list[tuple[Layer, tuple[Any, bool, Any, dict[str, Any]]]]:
    """Return what every layer inside gets when the whole runs forward, outer before inner."""
    given: dict[int, tuple[Any, bool, Any, dict[str, Any]]] = {}

    def recorder(inner: Layer) -> Any:
        forward = inner.forward

        def record(x: Any, training: bool = False, *others: Any, **options: Any) -> Any:
            given.setdefault(id(inner), (np.array(x), training, others, options))
            return forward(x, training, *others, **options)

        return record

    members = list(layer.walk())
    for inner in members:
        if hasattr(inner, "plain"):
            inner.plain = True
    for inner in members:
        inner.__dict__["forward"] = recorder(inner)
    try:
        with np.errstate(all="ignore"):
            layer.forward(x, training)
    finally:
        for inner in members:
            del inner.__dict__["forward"]
            inner.cache = None
    return [(inner, given[id(inner)]) for inner in members if id(inner) in given]


class UserCodeError(ValueError):
    """Forward or backward raised an error."""


@contextmanager
def told_in_one_line(what: str, files: set[str]) -> Iterator[None]:
    """Let an error that arose in the user's files say in one line where; what arose elsewhere stays as it is."""
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        library = str(Path(tinynn.__file__).parent)
        theirs = [f for f in frames if not f.filename.startswith((library, str(Path(np.__file__).parent), "<"))]
        theirs = [f for f in theirs if f.filename in files]
        if not theirs:
            raise
        number, text = theirs[-1].lineno or 0, (str(error).splitlines() or [""])[0]
        source = linecache.getline(theirs[-1].filename, number).strip()
        raise UserCodeError(f"{what}: line {number}  {source}  raises {type(error).__name__}: {text}") from error
