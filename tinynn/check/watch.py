"""Watch: run any code unchanged and note the lines that made a NaN or an infinity.

Python itself reports every line before it runs (`sys.settrace`). So after each line we look at what it wrote, and know
from what it read whether the fault was there before. Nothing is rewritten and nothing is run twice; helpers, kernels,
losses and optimizers are watched like layers. The price is time: a watched step takes many times as long.

Not every infinity is a fault: maximum pooling pads with -inf on purpose, and ``where(x > 0, 1 / x, 0)`` throws its
infinities away. So a line is to blame if what it wrote is not finite although all it read was, the line does not say
``inf`` itself, and the function it stands in gives something on that is not finite.
"""

from __future__ import annotations

import ast
import functools
import linecache
import math
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from tinynn.backend import array_module
from tinynn.check.rewrite import walk_here, writes_of
from tinynn.check.rewrite_passes import copied_key
from tinynn.check.trace import root_of
from tinynn.layers.base import Layer
from tinynn.losses.base import Loss
from tinynn.optimizers.base import Optimizer

HERE = str(Path(__file__).parent)
LIBRARY = str(Path(__file__).parents[1])
ONE_OPERATION = str(Path(__file__).parents[1] / "kernels" / "__init__.py")  # matmul: the line is the one that calls it
OTHERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
ON_PURPOSE = re.compile(r"\binf(inity)?\b", re.IGNORECASE)


@dataclass
class Find:
    """A line that made a NaN or an infinity.

    Attributes
    ----------
    file, function : str
    line : int
    text : str
        The line itself; empty where the source cannot be read.
    statement : ast.stmt or None
        The same, parsed.
    name : str
        The array it wrote: ``"z"``, ``"self.dW"``; empty for what it returns.
    array : array
        What it wrote, or the part of it: a copy, for the code runs on and may use the memory again.
    kind : str
        ``"nan"`` or ``"inf"``.
    reads : list of (name, value)
        What the line read: copies.
    owners : tuple
        The layers the line stands in, outer before inner; or the loss, or the optimizer.
    backward : bool
    """

    file: str
    function: str
    line: int
    text: str
    statement: ast.stmt | None
    name: str
    array: Any
    kind: str
    reads: list[tuple[str, Any]]
    owners: tuple[Any, ...]
    backward: bool


@dataclass
class Call:
    """One call of a function that is watched: where it stands, and what its present line reads."""

    arguments: list[Any]
    mark: int
    line: int = 0
    statement: ast.stmt | None = None
    reads: list[tuple[str, Any]] = field(default_factory=list)
    read_kinds: set[str] = field(default_factory=set)


class Watch:
    """What runs within ``with watch.run():`` is watched.

    Attributes
    ----------
    suspects : list of Find
        The lines to blame, in the order they ran.
    harmless : list of Find
        Lines that made what is not finite, on purpose or to no effect.

    Examples
    --------
    >>> import numpy as np
    >>> def softmax_without_care(z):
    ...     e = np.exp(z)
    ...     y = e / e.sum()
    ...     return y
    >>> watch = Watch()
    >>> with watch.run(), np.errstate(all="ignore"):
    ...     y = softmax_without_care(np.array([1.0, 1000.0]))
    >>> y, watch.first.name, watch.first.kind
    (array([ 0., nan]), 'e', 'inf')
    """

    def __init__(self) -> None:
        self.suspects: list[Find] = []
        self.harmless: list[Find] = []
        self.known: dict[int, tuple[Any, str]] = {}  # by identity: arrays that are not finite, which is known already
        self.tables: dict[str, dict[int, ast.stmt]] = {}
        self.sources: dict[str, str] = {}

    @property
    def first(self) -> Find | None:
        """The line to blame."""
        return next(iter([*self.suspects, *self.harmless]), None)

    def before(self, find: Find) -> list[Find]:
        """Return what the same layer had made before without harm, and not on purpose."""
        return [
            other
            for other in self.harmless
            if other is not find
            and other.owners[-1:] == find.owners[-1:]
            and find.owners
            and find.backward
            and not other.backward
            and not ON_PURPOSE.search(other.text)
        ]

    @contextmanager
    def run(self) -> Iterator[None]:
        """Watch what is called meanwhile; a debugger's or coverage's own hook comes back afterwards."""
        before = sys.gettrace()
        sys.settrace(self.called)
        try:
            yield
        finally:
            sys.settrace(before)

    # What Python reports ---------------------------------------------------------------------------------------------

    def called(self, frame: FrameType, event: str, argument: Any) -> Any:
        """A function begins: watch it, unless it is the watcher's own or another library's."""
        if not is_watched(frame.f_code):
            return None
        arguments = list(frame.f_locals.values())
        for value in arguments:
            for array in arrays_in(value):
                self.accept(array)
        return functools.partial(self.happened, Call(arguments, len(self.suspects)))

    def happened(self, call: Call, frame: FrameType, event: str, argument: Any) -> Any:
        """A line is about to run, or the function returns: look at what the line before it wrote."""
        if event == "line":
            self.look_at_written(call, frame)
            self.look_at_read(call, frame)
        elif event == "return":
            self.look_at_written(call, frame)
            if call.statement is not None and makes_empty_array(call.statement):
                put_zeros(argument)
            self.judge(call, frame, "", argument)
            self.leave(call, frame, argument)
        return functools.partial(self.happened, call)

    # Looking ---------------------------------------------------------------------------------------------------------

    def look_at_read(self, call: Call, frame: FrameType) -> None:
        """Note what the next line reads, and whether any of it is not finite."""
        call.line, call.statement = frame.f_lineno, self.statement(frame)
        call.reads, call.read_kinds = [], set()
        if call.statement is None:
            return
        for name in names_read(call.statement):
            value = value_of(name, frame)
            for array in arrays_in(value):
                call.reads.append((name, array))
                known = self.known.get(id(root_of(array)))
                if known is not None:
                    call.read_kinds.add(known[1])

    def look_at_written(self, call: Call, frame: FrameType) -> None:
        """Judge what the line that has just run wrote."""
        if call.line == 0:
            return
        if call.statement is None:  # no source: any value may be new
            for name, value in frame.f_locals.items():
                self.judge(call, frame, name, value)
            return
        for write in writes_of(call.statement):
            value = value_of(write.name, frame)
            if makes_empty_array(call.statement):
                put_zeros(value)
            if write.key is not None and write.kind.startswith("fill"):
                value = part_of(value, write, frame)
            self.judge(call, frame, write.name, value)

    def judge(self, call: Call, frame: FrameType, name: str, value: Any) -> None:
        """Blame the present line if a value is not finite though what it was made of was."""
        for array in arrays_in(value):
            kind = kind_of(array)
            root = root_of(array)
            before = self.known.get(id(root))
            if kind is None:
                if root is array:
                    self.known.pop(id(root), None)
                continue
            if before is not None and before[1] in (kind, "nan"):
                continue
            self.known[id(root)] = root, kind
            was_there = call.read_kinds | ({before[1]} if before is not None else set())
            if kind in was_there or "nan" in was_there:
                continue
            find = self.found(call, frame, name, array, kind)
            on_purpose = kind == "inf" and bool(ON_PURPOSE.search(find.text))
            (self.harmless if on_purpose or (kind == "inf" and was_there) else self.suspects).append(find)

    def leave(self, call: Call, frame: FrameType, returned: Any) -> None:
        """Acquit the lines of a function whose results are finite: what it returns, was given, and keeps.

        One that returns nothing works by what it changes elsewhere, or has raised an error; it acquits nobody.
        """
        if len(self.suspects) == call.mark or (returned is None and frame.f_code.co_name != "backward"):
            return
        me = frame.f_locals.get("self")
        mine = list(vars(me).values()) if isinstance(me, Layer | Loss | Optimizer) else []
        for value in (returned, *call.arguments, *mine):
            if any(kind_of(array) for array in arrays_in(value)):
                return
        self.harmless += self.suspects[call.mark :]
        del self.suspects[call.mark :]

    def accept(self, array: Any) -> None:
        """Note that an array is not finite, which no line here is to blame for."""
        kind = kind_of(array)
        root = root_of(array)
        if kind is not None and id(root) not in self.known:
            self.known[id(root)] = root, kind

    def found(self, call: Call, frame: FrameType, name: str, array: Any, kind: str) -> Find:
        """Return the find, with all that is known where it was made."""
        owners: list[Any] = []
        functions = []
        at: FrameType | None = frame
        while at is not None:
            if is_watched(at.f_code):
                functions.append(at.f_code.co_name)
                me = at.f_locals.get("self")
                if isinstance(me, Layer | Loss | Optimizer) and not any(me is owner for owner in owners):
                    owners.append(me)
            at = at.f_back
        root = root_of(array)
        return Find(
            file=frame.f_code.co_filename,
            function=frame.f_code.co_name,
            line=call.line if call.statement is None else call.statement.lineno,
            text=self.text(frame.f_code.co_filename, call.statement),
            statement=call.statement,
            name=name,
            array=kept(array),
            kind=kind,
            reads=[(read, kept(value)) for read, value in call.reads if root_of(value) is not root],
            owners=tuple(reversed(owners)),
            backward=any("back" in function or "grad" in function for function in functions),
        )

    # Source ----------------------------------------------------------------------------------------------------------

    def statement(self, frame: FrameType) -> ast.stmt | None:
        """Return the statement at a frame's line, None where there is no source."""
        file = frame.f_code.co_filename
        if file not in self.tables:
            source = "".join(linecache.getlines(file, frame.f_globals))
            self.sources[file] = source
            self.tables[file] = statements(source)
        return self.tables[file].get(frame.f_lineno)

    def text(self, file: str, statement: ast.stmt | None) -> str:
        """Return a statement in one line, of a loop or condition its head."""
        if statement is None:
            return ""
        if hasattr(statement, "body"):
            return self.sources[file].splitlines()[statement.lineno - 1].partition("  #")[0].strip()
        return " ".join((ast.get_source_segment(self.sources[file], statement) or "").split())


@functools.cache
def is_watched(code: CodeType) -> bool:
    """Whether a function is the user's or this library's, and no part of the checker."""
    file = code.co_filename
    if file.startswith(LIBRARY):
        return not file.startswith(HERE) and file != ONE_OPERATION
    return not file.startswith((*OTHERS, "<frozen", "<__array_function__")) and "site-packages" not in file


def statements(source: str) -> dict[int, ast.stmt]:
    """Return the innermost statement at each line; of a loop or a condition only its head."""
    try:
        module = ast.parse(source)
    except SyntaxError:
        return {}
    table: dict[int, ast.stmt] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            for line in range(node.lineno, max(last, node.lineno) + 1):
                table[line] = node
    return table


def names_read(statement: ast.stmt) -> list[str]:
    """Return the names that a statement reads, ``"x"`` or ``"self.W"``; of a loop or condition, its head."""
    parts: list[ast.AST] = [statement]
    if hasattr(statement, "body"):
        parts = [getattr(statement, part) for part in ("iter", "test") if hasattr(statement, part)]
    found: dict[str, None] = {}
    outs = [node.value for node in ast.walk(statement) if isinstance(node, ast.keyword) and node.arg == "out"]
    written = {id(node) for out in outs for node in ast.walk(out)}
    for part in parts:
        for node in (part, *walk_here(part)):
            if id(node) in written:
                continue
            is_name = isinstance(node, ast.Name) and node.id not in ("self", "np", "xp")
            is_mine = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            if is_name or is_mine:
                found[ast.unparse(node)] = None
    if not isinstance(statement, ast.AugAssign):
        for write in writes_of(statement):
            if write.name in found and write.kind in ("assign", "out") and not reads_itself(statement, write.name):
                del found[write.name]
    return list(found)


def reads_itself(statement: ast.stmt, name: str) -> bool:
    """Whether a statement reads the name that it assigns: ``z = z - m``."""
    return any(
        isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and ast.unparse(node) == name
        for node in walk_here(statement)
    )


def value_of(name: str, frame: FrameType) -> Any:
    """Return what a name holds in a frame: ``"z"``, ``"self.dW"``, ``"grads['W']"``; None if nothing."""
    first, _, rest = name.partition(".")
    if rest and "[" not in rest:
        return vars(frame.f_locals[first]).get(rest) if hasattr(frame.f_locals.get(first), "__dict__") else None
    first, bracket, key = name.partition("[")
    value = frame.f_locals.get(first)
    if bracket and isinstance(value, dict):
        return value.get(ast.literal_eval(key[:-1]))
    return value


def part_of(value: Any, write: Any, frame: FrameType) -> Any:
    """Return the part of an array that was written, the whole where the key cannot be had without running code."""
    if any(isinstance(node, ast.Call | ast.NamedExpr | ast.Await) for node in ast.walk(write.key)):
        return value
    key = ast.fix_missing_locations(ast.Expression(copied_key(write)))
    try:
        return value[eval(compile(key, "<key>", "eval"), frame.f_globals, frame.f_locals)]
    except Exception:
        return value


def makes_empty_array(statement: ast.stmt) -> bool:
    """Whether a statement makes arrays and puts no values in: ``y = xp.empty(shape)``."""
    value = getattr(statement, "value", None)
    value = value.body if isinstance(value, ast.IfExp) else value
    made = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return all(called_name(node) in ("empty", "empty_like") for node in made)


def called_name(node: Any) -> str:
    """Return the name of the function that an expression calls, without its module."""
    function = getattr(node, "func", None)
    return str(getattr(function, "attr", getattr(function, "id", "")))


def put_zeros(value: Any) -> None:
    """Write zeros into arrays whose numbers are what the memory held before, and may be NaN: nobody reads them."""
    for array in arrays_in(value):
        if not isinstance(array, float | np.generic):
            array[...] = 0


def arrays_in(value: Any, depth: int = 3) -> Iterator[Any]:
    """Yield the arrays and numbers in a value, also in tuples, lists and dictionaries."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, np.ndarray | np.generic) or type(value).__module__.partition(".")[0] == "cupy":
        if getattr(getattr(value, "dtype", None), "kind", "") in ("f", "c"):
            yield value
    elif isinstance(value, tuple | list | dict) and depth:
        for member in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(member, depth - 1)


def kept(value: Any) -> Any:
    """Return a copy of an array; a number as it is."""
    return value if isinstance(value, float | np.generic) else value.copy()


def kind_of(array: Any) -> str | None:
    """Return ``"nan"`` or ``"inf"`` if there is one in an array or number, None if all is finite.

    Examples
    --------
    >>> kind_of(1.0), kind_of(np.array([1.0, -np.inf])), kind_of(np.array([np.inf, np.nan]))
    (None, 'inf', 'nan')
    """
    if isinstance(array, float):
        return None if math.isfinite(array) else "nan" if math.isnan(array) else "inf"
    xp = np if isinstance(array, np.generic) else array_module(array)
    if bool(xp.isfinite(array).all()):
        return None
    return "nan" if bool(xp.isnan(array).any()) else "inf"
