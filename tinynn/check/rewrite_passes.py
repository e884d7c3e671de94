"""The two rewritings: of forward, where values are traced, and of backward, where gradients are judged."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any

from tinynn.check.names import bases
from tinynn.check.rewrite import (
    Function,
    Write,
    build,
    call,
    copied,
    enter,
    load,
    set_name,
    walk_here,
    writes_of,
)

COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try)


def rewrite_forward(function: Function, hooks: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with its values traced."""
    return build(function, Forward(function).body(), hooks)


def rewrite_backward(
    function: Function, is_gradient: Callable[[str], bool], hooks: dict[str, Any]
) -> Callable[..., Any]:
    """Return the function with its gradients judged; `is_gradient` says which names are gradients."""
    return build(function, Backward(function, is_gradient).body(), hooks)


def replace_super(node: ast.AST) -> Any:
    """Put ``__super__(self, "name")`` in the place of ``super().name``, so that the base class's method is traced."""

    class Replace(ast.NodeTransformer):
        def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
            self.generic_visit(node)
            inner = node.value
            if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "super":
                arguments = [load("__class__"), load("self"), ast.Constant(node.attr)]
                return ast.Call(load("__super__"), arguments, [])
            return node

    return Replace().visit(node)


class Pass:
    """What both rewritings share: the walk over the statements."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def body(self) -> list[ast.stmt]:
        """Return the new body."""
        tree = copy.deepcopy(self.function.tree)
        if any(name == "__class__" for name in self.function.original.__code__.co_freevars):
            tree = replace_super(tree)
        return [enter(self.function), *self.at_entry(), *self.block(tree.body), *self.at_exit()]

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Return statements with their hooks."""
        return [new for statement in statements for new in self.statement(statement)]

    def statement(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return a statement with its hooks before and after it."""
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Global | ast.Nonlocal):
            return [statement]
        before = self.before(statement)
        if isinstance(statement, COMPOUND):
            for part in ("body", "orelse", "finalbody"):
                if getattr(statement, part, None):
                    setattr(statement, part, self.block(getattr(statement, part)))
            if isinstance(statement, ast.For):
                statement.body = [*self.after(statement), *statement.body]
            return [*before, self.inside(statement)]
        after = self.after(statement)
        return [*before, self.inside(statement), *after]

    def at_entry(self) -> list[ast.stmt]:
        """Return what comes first."""
        return []

    def at_exit(self) -> list[ast.stmt]:
        """Return what comes last, where no return does."""
        return []

    def before(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the hooks before a statement."""
        return []

    def inside(self, statement: ast.stmt) -> ast.stmt:
        """Return the statement itself."""
        return statement

    def after(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the hooks after a statement."""
        raise NotImplementedError


class Forward(Pass):
    """``z = ...`` is followed by ``z = bind("z")``; ``z`` read becomes ``use("z")``."""

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self.names = function.assigned

    def at_entry(self) -> list[ast.stmt]:
        """Trace the parameters."""
        arguments = self.function.tree.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        line = self.function.tree.lineno
        return [set_name(n, call("__bind__", line, n, load(n), "parameter")) for n in names if n in self.names]

    def inside(self, statement: ast.stmt) -> ast.stmt:
        """Let every read go through the hook, but for what stands after ``out=``, which is written."""
        names = self.names

        class Use(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.AST:
                if isinstance(node.ctx, ast.Load) and node.id in names:
                    return call("__use__", node.lineno, node.id, node)
                return node

            def visit_keyword(self, node: ast.keyword) -> ast.AST:
                return node if node.arg == "out" else self.generic_visit(node)

            def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
                if isinstance(node.ctx, ast.Store):
                    return node
                return self.generic_visit(node)

            def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
                return node

        use = Use()
        if not isinstance(statement, COMPOUND):
            return use.visit(statement)
        for part in ("iter", "test"):
            if hasattr(statement, part):
                setattr(statement, part, use.visit(getattr(statement, part)))
        return statement

    def after(self, statement: ast.stmt) -> list[ast.stmt]:
        """Report what was written."""
        hooks: list[ast.stmt] = []
        for write in writes_of(statement):
            if write.name not in self.names or write.kind == "append":
                continue
            value = load(write.name)
            if write.key is None:
                hooks.append(set_name(write.name, call("__bind__", statement.lineno, write.name, value, write.kind)))
            else:
                hooks.append(
                    ast.Expr(call("__fill__", statement.lineno, write.name, value, write.kind, copied_key(write)))
                )
        return hooks


class Backward(Pass):
    """Before a line that reads ``dz``: ``dz = judge("dz")``; after one that writes it: ``wrote("dz")``."""

    def __init__(self, function: Function, is_gradient: Callable[[str], bool]) -> None:
        super().__init__(function)
        written = {w.name for s in ast.walk(function.tree) if isinstance(s, ast.stmt) for w in writes_of(s)}
        self.names = {name for name in written if is_gradient(plain_name(name))}

    def at_entry(self) -> list[ast.stmt]:
        """Count the gradients that are given and then written anew, as ``dy`` in ``dy = dy / 2``."""
        given = [a.arg for a in (*self.function.tree.args.posonlyargs, *self.function.tree.args.args)]
        return [ast.Expr(call("__given__", name, load(name))) for name in given if name in self.names]

    def at_exit(self) -> list[ast.stmt]:
        """Judge what nobody has read."""
        return [ast.Expr(call("__leave__"))]

    def before(self, statement: ast.stmt) -> list[ast.stmt]:
        """Judge what the statement reads and is whole now."""
        parts: list[ast.AST] = [statement]
        if isinstance(statement, COMPOUND):
            parts = [getattr(statement, part) for part in ("iter", "test") if hasattr(statement, part)]
        adds_to = {write.name for write in writes_of(statement) if write.kind in ("add", "fill add")}
        hooks: list[ast.stmt] = []
        whole, parted = set(), []
        for part in parts:
            for node, inside_of in reads_in(part):
                name = ast.unparse(node)
                if name not in self.names or name in adds_to or name.startswith("self."):
                    continue
                if inside_of is None:
                    whole.add(name)
                else:
                    parted.append((name, inside_of.slice))
        returned = isinstance(statement, ast.Return) and isinstance(statement.value, ast.Name)
        renewed = {write.name for write in writes_of(statement)}  # dz = dz * mask, not dz = dz + b
        for name in sorted(whole):
            judged = call("__judge__", statement.lineno, name, load(name), returned, name in renewed)
            hooks.append(set_name(name, judged))
        for name, key in parted:
            if name not in whole:
                part = call("__judge_part__", statement.lineno, name, load(name), copied_slice(key))
                hooks.append(set_name(name, part))
        if isinstance(statement, ast.Return):
            hooks.append(ast.Expr(call("__leave__")))
        return hooks

    def inside(self, statement: ast.stmt) -> ast.stmt:
        """Let what is returned go through a hook."""
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple | ast.Dict):
            parts = statement.value.elts if isinstance(statement.value, ast.Tuple) else statement.value.values
            keys = getattr(statement.value, "keys", None)
            for i, part in enumerate([] if any(isinstance(part, ast.Starred) for part in parts) else parts):
                label: Any = i if keys is None else getattr(keys[i], "value", None)
                if not isinstance(part, ast.Name | ast.Constant | ast.Dict) and label is not None:
                    count = len(parts)
                    parts[i] = call("__result__", statement.lineno, label, count, part)
        elif isinstance(statement, ast.Return) and statement.value is not None:
            statement.value = call("__returned__", statement.lineno, ast.unparse(statement.value), statement.value)
        return statement

    def after(self, statement: ast.stmt) -> list[ast.stmt]:
        """Report what was written."""
        if isinstance(statement, ast.Return):
            return []
        hooks: list[ast.stmt] = []
        for write in writes_of(statement):
            if write.name in self.names:
                kind = "loop" if isinstance(statement, ast.For) else write.kind
                key = ast.Constant(None) if write.key is None else copied_key(write)
                hooks.append(ast.Expr(call("__wrote__", statement.lineno, write.name, load(write.name), kind, key)))
        if not hooks and isinstance(statement, ast.AugAssign | ast.Assign | ast.Expr):
            hooks.append(ast.Expr(call("__look__", statement.lineno)))  # x *= 2
        return hooks


def plain_name(name: str) -> str:
    """Return the name of the gradient itself.

    Examples
    --------
    >>> plain_name("self.dW"), plain_name("grads['W']"), plain_name("grads['dW']"), plain_name("dz")
    ('dW', 'dW', 'dW', 'dz')
    """
    if "['" in name:
        key = name.partition("['")[2][:-2]
        return key if bases(key) else f"d{key}"
    return name.removeprefix("self.")


def reads_in(node: ast.AST) -> list[tuple[ast.Name, ast.Subscript | None]]:
    """Return every name read, with the subscript it is read through."""
    found: list[tuple[ast.Name, ast.Subscript | None]] = []
    through: dict[int, ast.Subscript] = {}
    stored: set[int] = set()
    for part in (node, *walk_here(node)):
        if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name):
            if isinstance(part.ctx, ast.Load):
                through[id(part.value)] = part
            else:
                stored.add(id(part.value))
        elif (isinstance(part, ast.keyword) and part.arg == "out") or (
            isinstance(part, ast.Attribute) and part.attr in ("shape", "dtype", "ndim", "size")
        ):
            stored |= {id(inner) for inner in ast.walk(part.value)}
    for part in (node, *walk_here(node)):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and id(part) not in stored:
            found.append((part, through.get(id(part))))
    return found


def copied_key(write: Write) -> ast.expr:
    """Return the key of a part, as an expression."""
    return copied_slice(write.key)


def copied_slice(key: ast.expr) -> ast.expr:
    """Return a subscript as an expression of its own: ``t, :2`` as ``(t, slice(None, 2))``."""
    if isinstance(key, ast.Slice):
        bounds = [ast.Constant(None) if b is None else copied(b) for b in (key.lower, key.upper, key.step)]
        return ast.Call(load("slice"), bounds, [])
    if isinstance(key, ast.Tuple):
        return ast.Tuple([copied_slice(element) for element in key.elts], ast.Load())
    if isinstance(key, ast.Starred):
        return ast.Starred(copied(key.value), ast.Load())
    return copied(key)
