"""Rewrite the source of forward and backward so that every assignment reports itself.

A function is read as text, parsed, given hooks and compiled again with its own globals. In forward

    z = x @ W + b                becomes      z = use("x") @ use("W") + use("b")
                                              z = bind("z")

and in backward, where a gradient is judged when the next line reads it and not before, for it may be a part of a sum,

    dz = dy * (1 - y * y)                     dz = ...;  wrote("dz")
    dW = x.T @ dz                becomes      dz = judge("dz");  dW = ...;  wrote("dW")

The hooks' first argument is the call they are in, so that two calls of one function do not mix. Nothing but the user's
own function runs, with what it computes unchanged until a hook is told to change it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import FunctionType
from typing import Any

NOT_TRACED = {"self", "cls", "training", "mask", "need_dx", "xp", "np"}
FRAME = "__frame__"


class SourceError(ValueError):
    """The source of a function cannot be read."""


@dataclass
class Function:
    """A function's source, parsed: where it stands, its statements and the names it assigns.

    Attributes
    ----------
    name : str
        Its qualified name: ``"Dense.forward"``.
    file : str
    tree : ast.FunctionDef
        With the file's line numbers.
    texts : dict
        The text of each statement by its first line.
    """

    name: str
    file: str
    original: FunctionType
    tree: ast.FunctionDef
    texts: dict[int, str] = field(default_factory=dict)

    @cached_property
    def assigned(self) -> set[str]:
        """The names that hold values here: parameters, and what is assigned."""
        return {name for name, _ in self.assignments()}

    def assignments(self) -> Iterator[tuple[str, int]]:
        """Yield every name that is assigned, with its line."""
        arguments = self.tree.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if argument.arg not in NOT_TRACED:
                yield argument.arg, self.tree.lineno
        for node in walk_here(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in NOT_TRACED:
                yield node.id, node.lineno

    def summed(self, line: int) -> list[str]:
        """Return the names that the statement at a line adds up, if it does nothing else."""
        for node in walk_here(self.tree):
            if isinstance(node, ast.Assign | ast.Return) and node.lineno == line and node.value is not None:
                parts = list(terms(node.value))
                if all(isinstance(part, ast.Name) for part in parts):
                    return [part.id for part in parts if isinstance(part, ast.Name)]
        return []

    @property
    def short(self) -> str:
        """The name without its class."""
        return self.name.rpartition(".")[2]


def parse(function: FunctionType) -> Function:
    """Return a function's source, parsed.

    Raises
    ------
    SourceError
        If there is no source: the function was typed into a REPL, or is compiled.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or "?"
    except (OSError, TypeError):
        raise SourceError(
            f"the source of {function.__qualname__} cannot be read; the checker needs it in a file (a notebook's cell "
            "is one, what is typed at the >>> prompt is not)"
        ) from None
    text = textwrap.dedent("".join(lines))
    try:
        module = ast.parse(text)
    except SyntaxError:
        raise SourceError(f"the source of {function.__qualname__} cannot be read by itself; is it a lambda?") from None
    tree = module.body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise SourceError(f"{function.__qualname__} is no plain function with a def of its own")
    arguments = [argument.arg for argument in (*tree.args.posonlyargs, *tree.args.args)]
    if arguments != list(function.__code__.co_varnames[: function.__code__.co_argcount]):
        raise SourceError(f"the file of {function.__qualname__} has changed since it was imported; import it anew")
    texts = {
        first - 1 + node.lineno: " ".join((ast.get_source_segment(text, node) or "").split())
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While | ast.If | ast.With):
            line = first - 1 + node.lineno
            texts[line] = text.splitlines()[node.lineno - 1].partition("  #")[0].strip()
    ast.increment_lineno(tree, first - 1)
    parts = function.__qualname__.replace("<locals>.", "").split(".")
    return Function(".".join(parts[-2:]), file, function, tree, texts)


def walk_here(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions defined in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from walk_here(child)


def build(function: Function, body: list[ast.stmt], hooks: dict[str, Any]) -> Callable[..., Any]:
    """Compile a function anew with another body; the hooks and what it closes over are arguments of a function around.

    Around it, too, stands ``__class__``, by which ``super()`` without arguments finds its way.
    """
    original = function.original
    cells: dict[str, Any] = {}
    for name, cell in zip(original.__code__.co_freevars, original.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    around = {**hooks, **cells}
    inner = ast.FunctionDef(**{**vars(function.tree), "body": body, "decorator_list": [], "returns": None})
    for argument in (*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs):
        argument.annotation = None
    for part in (inner.args.vararg, inner.args.kwarg):
        if part is not None:
            part.annotation = None
    defaults = len(inner.args.defaults), [value is not None for value in inner.args.kw_defaults]
    inner.args.defaults = [ast.Constant(None) for _ in range(defaults[0])]
    inner.args.kw_defaults = [ast.Constant(None) if given else None for given in defaults[1]]
    factory = ast.parse(f"def __around__({', '.join(around)}):\n    pass").body[0]
    assert isinstance(factory, ast.FunctionDef)
    factory.body = [inner, ast.Return(ast.Name(inner.name, ast.Load()))]
    module = ast.fix_missing_locations(ast.Module([factory], []))
    space: dict[str, Any] = {}
    exec(compile(module, function.file, "exec"), original.__globals__, space)
    made = space["__around__"](**around)
    made.__defaults__, made.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return made


# Making pieces of syntax -----------------------------------------------------------------------------------------


def load(name: str) -> ast.expr:
    """Return the syntax that reads a name, ``"z"`` or ``"self.dW"``."""
    if "[" in name:  # grads['W']
        return ast.parse(name, mode="eval").body
    first, *rest = name.split(".")
    node: ast.expr = ast.Name(first, ast.Load())
    for attribute in rest:
        node = ast.Attribute(node, attribute, ast.Load())
    return node


def call(hook: str, *arguments: Any) -> ast.expr:
    """Return the syntax of a hook's call; arguments that are no syntax yet become constants."""
    nodes: list[Any] = [value if isinstance(value, ast.AST) else ast.Constant(value) for value in arguments]
    return ast.Call(ast.Name(hook, ast.Load()), [load(FRAME), *nodes], [])


def set_name(name: str, value: ast.expr) -> ast.stmt:
    """Return the syntax of ``name = value``."""
    return ast.Assign([ast.Name(name, ast.Store())], value)


def enter(function: Function) -> ast.stmt:
    """Return the syntax that opens a call."""
    return ast.Assign([ast.Name(FRAME, ast.Store())], ast.Call(load("__enter__"), [ast.Constant(function.name)], []))


def copied(node: Any) -> Any:
    """Return a copy of an expression, to be read."""
    return ast.parse(ast.unparse(node), mode="eval").body


# What a statement writes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """One array that a statement writes.

    Attributes
    ----------
    name : str
        ``"z"`` or ``"self.dW"``.
    kind : str
        ``"assign"`` for a new value, ``"add"`` for one more term of a sum, ``"change"`` for another operation in
        place, ``"fill"`` and ``"fill add"`` for a part of the array.
    key : syntax or None
        Which part.
    """

    name: str
    kind: str
    key: Any = None


def writes_of(statement: ast.stmt) -> list[Write]:
    """Return what a statement writes: its targets, and what stands after ``out=``."""
    found: list[Write] = []
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            found += target_writes(target, statement.value)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        found += target_writes(statement.target, statement.value)
    elif isinstance(statement, ast.AugAssign):
        adds = isinstance(statement.op, ast.Add | ast.Sub)
        name, key = array_and_key(statement.target)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.append(Write(f"{name}[{key.value!r}]", "add" if adds else "change"))
        elif name and key is None:
            found.append(Write(name, "add" if adds else "change"))
        elif name:
            found.append(Write(name, "fill add" if adds else "fill", key))
    elif isinstance(statement, ast.For):
        found += target_writes(statement.target, None)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        function = statement.value.func
        if isinstance(function, ast.Attribute) and function.attr == "append" and isinstance(function.value, ast.Name):
            found.append(Write(function.value.id, "append"))
    names = {write.name for write in found}
    for node in [] if isinstance(statement, ast.For | ast.If | ast.While | ast.With) else walk_here(statement):
        if isinstance(node, ast.keyword) and node.arg == "out":
            name, key = array_and_key(node.value)
            if name and name.startswith("self.") and names:  # db = dy.sum(axis=0, out=self.db[1])
                found.append(Write(name, "out"))
            elif name and name not in names:
                found.append(Write(name, "fill" if key is not None else "assign", key))
    return found


def target_writes(target: ast.expr, value: ast.expr | None) -> list[Write]:
    """Return what an assignment's target writes."""
    if isinstance(target, ast.Tuple | ast.List):
        return [write for element in target.elts for write in target_writes(element, None)]
    if isinstance(target, ast.Starred):
        return target_writes(target.value, None)
    name, key = array_and_key(target)
    if not name:
        return []
    if isinstance(key, ast.Constant) and isinstance(key.value, str):  # grads["W"] = ...
        return [Write(f"{name}[{key.value!r}]", "assign")]
    if key is not None:
        return [Write(name, "fill", key)]
    return [Write(name, "add" if value is not None and is_term(name, value) else "assign")]


def array_and_key(node: ast.AST) -> tuple[str, Any]:
    """Return which array an expression is in, and which part of it: ``h[t]`` is ("h", t); ("", None) if it is none."""
    if isinstance(node, ast.Name):
        return node.id, None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return f"self.{node.attr}", None
    if isinstance(node, ast.Subscript):
        name, inner = array_and_key(node.value)
        return name, node.slice if name and inner is None else None
    if isinstance(node, ast.Call):  # out=rows(a), out=a.reshape(...)
        if isinstance(node.func, ast.Attribute):
            name, _ = array_and_key(node.func.value)
            if name and name != "np" and name != "xp":
                return name, None
        if node.args:
            return array_and_key(node.args[0])[0], None
    return "", None


def terms(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the terms of a sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield from terms(node.left)
        if isinstance(node.op, ast.Add):
            yield from terms(node.right)
        else:
            yield ast.UnaryOp(ast.USub(), node.right)
    else:
        yield node


def is_term(name: str, value: ast.expr) -> bool:
    """Whether ``name = value`` only adds to the name: ``dz = dz + b``."""
    parts = list(terms(value))
    mine = [part for part in parts if ast.unparse(part) == name]
    others = [part for part in parts if ast.unparse(part) != name]
    return len(mine) == 1 and bool(others) and not any(reads(part, name) for part in others)


def reads(node: ast.AST, name: str) -> bool:
    """Whether a name is read in a piece of syntax."""
    return any(
        ast.unparse(part) == name
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute) and isinstance(part.ctx, ast.Load)
    )
