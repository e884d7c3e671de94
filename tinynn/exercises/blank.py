"""A class's source, with the bodies of methods blanked out or a line rewritten."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator

from tinynn.check.names import bases

FAST = re.compile(r".*_fused|fused|run_fast.*")  # methods that do what others do, with a kernel
STATEMENT = ast.Assign | ast.AugAssign | ast.AnnAssign


def functions(source: str) -> dict[str, ast.FunctionDef]:
    """Return the functions and methods of a source: ``{"forward": ..., "Dense.backward": ...}``."""
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{m.name}": m for m in node.body if isinstance(m, ast.FunctionDef)}
    return found


def without_fast(source: str) -> str:
    r"""Return a source without the fast twins of its methods and the lines that hand over to them.

    Examples
    --------
    >>> without_fast("def forward(x):\n    if self.fused(x):\n        return 1\n    return 2\n")
    'def forward(x):\n    return 2\n'
    """
    lines = source.splitlines()
    gone: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and FAST.fullmatch(node.name):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            while not lines[first - 2].strip() or lines[first - 2].strip().startswith("#"):
                first -= 1
            gone |= set(range(first, (node.end_lineno or first) + 1))
        elif isinstance(node, ast.If) and re.search(r"self\.(fused\(|was_fused)", ast.unparse(node.test)):
            gone |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone) + "\n"


def body_of(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return a function's statements without its docstring."""
    has_docstring = ast.get_docstring(function) is not None
    return function.body[1:] if has_docstring else function.body


def gradient_names(statement: ast.stmt) -> list[str]:
    """Return the gradients that a statement makes: ``dx``; ``dW`` for ``self.dW = ...`` and for ``out=self.dW``.

    Examples
    --------
    >>> gradient_names(ast.parse("self.dW[...] = x.T @ dz").body[0])
    ['dW']
    >>> gradient_names(ast.parse("xp = array_module(dy)").body[0])
    []
    """
    targets: list[ast.expr] = []
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For):
            targets.append(node.target)
        elif isinstance(node, ast.Call):
            targets += [keyword.value for keyword in node.keywords if keyword.arg == "out"]
    names = [name for target in targets for name in names_in(target)]
    return list(dict.fromkeys(name for name in names if bases(name)))


def names_in(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment writes."""
    if isinstance(target, ast.Tuple | ast.List):
        for member in target.elts:
            yield from names_in(member)
    elif isinstance(target, ast.Subscript | ast.Starred):
        yield from names_in(target.value)
    elif isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):  # out=self.dW.reshape(...)
        yield from names_in(target.func.value)
    elif isinstance(target, ast.Attribute):
        yield target.attr
    elif isinstance(target, ast.Name):
        yield target.id


def is_given(statement: ast.stmt) -> bool:
    """Whether a statement at the head of backward is left to the student: it takes the cache, and no gradient yet."""
    if gradient_names(statement):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Return) and node.value is not None and not is_none(node.value):
            return False
        reads = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and bool(bases(node.id))
        if reads and not ast.unparse(statement).startswith("xp = array_module("):
            return False
    return True


def is_none(node: ast.expr) -> bool:
    """Whether an expression is None."""
    return isinstance(node, ast.Constant) and node.value is None


def wanted(function: ast.FunctionDef) -> list[str]:
    """Return the gradients that a function makes, in order."""
    statements = sorted(
        (node for node in ast.walk(function) if isinstance(node, STATEMENT | ast.Expr)), key=lambda node: node.lineno
    )
    return list(dict.fromkeys(name for node in statements for name in gradient_names(node)))


def blank(source: str, method: str, exercise: str) -> str:
    """Return a source without what follows the taking of the cache in a method; calling it says so.

    Parameters
    ----------
    source : str
        A class or module.
    method : str
        ``"Dense.backward"``.
    exercise : str
        What the student types: ``"dense"``.
    """
    function = functions(source)[method]
    is_update = method.endswith(".update")
    kept = 0
    statements = body_of(function)
    while not is_update and kept < len(statements) - 1 and is_given(statements[kept]):
        kept += 1
    first, last = statements[kept].lineno, statements[-1].end_lineno or statements[-1].lineno
    indent = " " * statements[0].col_offset
    lines = source.splitlines()
    while lines[first - 2].strip().startswith("#"):  # what a comment says of the line below it
        first -= 1
    if is_update:
        todo = ["TODO  Yours: one plain assignment for each line of the formula above, in its names; then return w."]
    else:
        todo = ["TODO  Yours: one plain assignment for each gradient; dNAME is the gradient of the loss by NAME."]
        todo += textwrap.wrap(
            f"Here they are called, in this order: {', '.join(wanted(function))}.",
            100,
            initial_indent="      ",
            subsequent_indent="      ",
        )
    new = [f"{indent}# {line}" for line in todo]
    new += [
        f"{indent}raise NotImplementedError(",
        f'{indent}    "{method} is still blank. Write it where this line stands; if you are stuck: "',
        f'{indent}    "tinynn exercise hint {exercise}"',
        f"{indent})",
    ]
    return "\n".join(lines[: first - 1] + new + lines[last:]) + "\n"


class StaleLine(ValueError):
    """A line that is to be rewritten is no longer in the source."""


def line_number(source: str, method: str, text: str) -> int:
    """Return the number of the line in a method that reads so, whatever its comment; counted from 1."""
    function = functions(source)[method]
    lines = source.splitlines()
    end = function.end_lineno or function.lineno
    found = [n for n in range(function.lineno, end + 1) if code_of(lines[n - 1]) == text]
    if len(found) != 1:
        raise StaleLine(f"{method} has the line {text!r} {len(found)} times; it must have it once")
    return found[0]


def code_of(line: str) -> str:
    """Return a line without its comment.

    Examples
    --------
    >>> code_of("    dz = dy    # y = z + b")
    'dz = dy'
    """
    return re.sub(r"\s+#\s.*$", "", line).strip()


def comment_of(line: str) -> str:
    """Return the comment at the end of a line.

    Examples
    --------
    >>> comment_of("    dz = dy    # y = z + b")
    'y = z + b'
    """
    found = re.search(r"\S\s+#\s(.*)$", line)
    return found[1].strip() if found else ""


def rewrite_line(source: str, method: str, right: str, wrong: str) -> str:
    """Return a source with one line of a method made wrong; its comment stays."""
    number = line_number(source, method, right)
    lines = source.splitlines()
    old = lines[number - 1]
    new = old.replace(right, wrong, 1)
    comment = comment_of(old)
    if comment:
        code = new[: new.index(wrong) + len(wrong)]
        column = old.index(f"# {comment}", old.index(right) + len(right))
        new = f"{code.ljust(column - 2)}  # {comment}"
    lines[number - 1] = new
    return "\n".join(lines) + "\n"
