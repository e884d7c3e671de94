"""``tinynn check FILE.py:NAME``: find what the user means, in the one file he names, and check it.

The file is imported, which runs it: it is the user's own code on his own machine. Nothing else is executed.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from tinynn.check.functions import FORMS, PARAMS
from tinynn.check.line_check import lines
from tinynn.check.report import LinesReport
from tinynn.layers.base import Layer
from tinynn.losses.base import Loss

PAIRS = ((r"(.*)forward(.*)", r"\1backward\2"), (r"(.*)forward(.*)", r"\1backprop\2"), (r"(.*)", r"\1_backward"))
INITS = ("init_params", "init", "make_params", "initialize_params", "initialize", "initialize_parameters", "parameters")


class UsageError(ValueError):
    """The user's mistake, told in one line."""


def check_file(
    where: str, shape: str, arguments: Sequence[str] = (), training: bool = False, seed: int = 0
) -> LinesReport:
    """Check what a file holds.

    Parameters
    ----------
    where : str
        ``"FILE.py:NAME"``; NAME is a layer's or loss's class, perhaps with arguments, ``"MyDense(3)"``; an instance of
        one; a function that returns one; or the forward function of a pair.
    shape : str
        ``"4,5"``: the shape of the input, the batch axis first; of the predictions, for a loss.
    arguments : sequence of str
        ``"W=5,3"``: random numbers of that shape for an argument of a forward function.
    training : bool
    seed : int

    Raises
    ------
    ValueError
        With one line that says what is wrong.
    """
    path, colon, name = where.partition(".py:")
    module = import_file(Path(path + ".py" if colon else where))
    sizes = parse_shape(shape, "--input")
    rng = np.random.default_rng([seed, 11])
    found = find(module, name or only_candidate(module, where))
    if isinstance(found, Layer):
        if found.takes_integers:
            return lines(
                found, rng.integers(int(getattr(found, "input_dim", 5)), size=sizes), training=training, seed=seed
            )
        return lines(found, rng.standard_normal(sizes), training=training, seed=seed)
    if isinstance(found, Loss):
        return lines(found, *loss_inputs(found, sizes, rng), seed=seed)
    if isinstance(found, tuple):
        return lines(found, rng.standard_normal(sizes), seed=seed, **function_arguments(module, found, arguments, rng))
    return lines(found, rng.standard_normal(sizes), training=training, seed=seed)


def import_file(path: Path) -> ModuleType:
    """Run the user's file and return it as a module."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    path = path.resolve()
    name = f"{path.stem} in {path.parent}"  # no other module's name: another file of this name may be loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.path[:]
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path.name} does not import: {said(error, str(path))}") from None
    finally:
        sys.path[:] = before
    return module


def said(error: BaseException, file: str) -> str:
    """Return an error in one line, with the line of the file it comes from."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        numbers = [error.lineno]
    at = f"line {numbers[-1]}: " if numbers else ""
    text = str(error).splitlines()
    return f"{at}{type(error).__name__}: {text[0] if text else ''}"


def parse_shape(text: str, what: str) -> tuple[int, ...]:
    """Return a shape.

    Examples
    --------
    >>> parse_shape("4,5", "--input"), parse_shape("(3,)", "--input")
    ((4, 5), (3,))
    """
    try:
        sizes = tuple(int(part) for part in text.strip("() ").split(",") if part.strip())
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UsageError(f"{what} must be a shape such as 4,5 (4 samples of 5 numbers), got {text!r}")
    return sizes


def candidates(module: ModuleType) -> list[str]:
    """Return the names in a file that can be checked."""
    own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    classes = [n for n, v in own.items() if isinstance(v, type) and hasattr(v, "forward") and hasattr(v, "backward")]
    instances = [n for n, v in vars(module).items() if isinstance(v, Layer | Loss)]
    functions = [n for n, v in own.items() if isinstance(v, FunctionType) and partner(module, n)]
    return classes + instances + functions


def only_candidate(module: ModuleType, where: str) -> str:
    """Return the name to check where none is given: the only one there is."""
    names = candidates(module)
    if len(names) == 1:
        return names[0]
    has = f"it has {', '.join(names)}" if names else f"but it has no layer, loss, or pair of functions. {FORMS}"
    raise UsageError(f"say what to check: {where}:NAME; {has}")


def partner(module: ModuleType, name: str) -> str:
    """Return the name of the backward function that goes with a forward function; "" if there is none."""
    for pattern, put in PAIRS:
        other = re.sub(f"^{pattern}$", put, name)
        if other != name and re.fullmatch(pattern, name) and isinstance(vars(module).get(other), FunctionType):
            return other
    return ""


def find(module: ModuleType, name: str) -> Any:
    """Return the layer, loss or pair of functions that a name means."""
    if re.fullmatch(r"\w+\s*,\s*\w+", name):
        forward, backward = (look_up(module, part.strip()) for part in name.split(","))
        return forward, backward
    name, given, options = parse_call(name)
    found = look_up(module, name)
    if isinstance(found, FunctionType) and not given and not options and partner(module, name):
        return found, vars(module)[partner(module, name)]
    if isinstance(found, type | FunctionType):
        what = "class" if isinstance(found, type) else "function"
        try:
            inspect.signature(found).bind(*given, **options)
        except TypeError as error:
            if isinstance(found, FunctionType) and not given:
                other = name.replace("forward", "backward") if "forward" in name else f"{name}_backward"
                raise UsageError(
                    f"{name} needs arguments ({error}); to check a pair of functions there must be a {other} beside "
                    f"it. {FORMS}"
                ) from None
            raise UsageError(
                f"the {what} {name} needs other arguments ({error}); give them: '{name}(3)', or name a function of the "
                "file that makes the layer"
            ) from None
        try:
            found = found(*given, **options)
        except Exception as error:
            raise UsageError(f"{name}(...) fails: {said(error, module.__file__ or '')}") from None
    if isinstance(found, Layer | Loss) or (hasattr(found, "forward") and hasattr(found, "backward")):
        return found
    raise UsageError(f"{name} is {type(found).__name__}, which is no layer, loss, or function that makes one. {FORMS}")


def look_up(module: ModuleType, name: str) -> Any:
    """Return what a file calls by a name."""
    if name in vars(module):
        return vars(module)[name]
    names = candidates(module)
    has = f"it has {', '.join(names)}" if names else "nor anything else that can be checked"
    raise UsageError(f"{Path(module.__file__ or '').name} has no {name}; {has}")


def parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name and the arguments of ``"MyDense(3, activation='tanh')"``, which must be plain values.

    Examples
    --------
    >>> parse_call("MyDense(3, activation='tanh')"), parse_call("MyDense")
    (('MyDense', [3], {'activation': 'tanh'}), ('MyDense', [], {}))
    """
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            options = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords}
            return node.func.id, [ast.literal_eval(argument) for argument in node.args], options
        if isinstance(node, ast.Name):
            return node.id, [], {}
    except (SyntaxError, ValueError):
        pass
    raise UsageError(f"{text!r} is no name, nor a call with plain values such as MyDense(3, activation='tanh')")


def loss_inputs(loss: Loss, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Any, Any]:
    """Return targets that a loss takes, and predictions."""
    p = rng.uniform(0.1, 1, size=shape)
    p = p / p.sum(axis=-1, keepdims=True) if shape[-1] > 1 else p
    numbers = rng.integers(shape[-1], size=shape[:-1])
    every = (np.eye(shape[-1])[numbers], numbers, rng.integers(2, size=shape).astype(float), rng.standard_normal(shape))
    for targets in every if shape[-1] > 1 else every[2:]:
        try:
            loss.check(targets, shape)
        except ValueError as error:
            reason = str(error)
            continue
        return targets, p
    raise UsageError(f"no targets are known that {loss.name} takes for predictions of shape {shape}: {reason}")


def function_arguments(
    module: ModuleType, pair: tuple[Any, Any], arguments: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Return what a forward function needs but x: from the command line, or the file's own variables."""
    found: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--arg must be NAME=SHAPE, such as W=5,3, got {text!r}")
        found[name] = rng.standard_normal(parse_shape(value, f"--arg {name}"))
    names = list(inspect.signature(pair[0]).parameters)
    for name in names:
        if name.lower() in PARAMS and name not in found:
            params = vars(module).get(name, vars(module).get("params"))
            makers = [vars(module)[n] for n in INITS if isinstance(vars(module).get(n), FunctionType)]
            if params is None or callable(params):
                params = next((make() for make in makers if not required(make)), None)
            if params is None:
                raise UsageError(
                    f"{pair[0].__name__} needs {name!r}: let the file have a variable {name}, or a function "
                    "init_params() without arguments that returns it"
                )
            found["params"] = params
    given = [name for name in names if name not in found and name.lower() not in PARAMS]
    others = [name for name in given if isinstance(vars(module).get(name), np.ndarray)]
    return found | {name: vars(module)[name] for name in others if len(given) > 1}


def required(function: FunctionType) -> bool:
    """Whether a function cannot be called without arguments."""
    return any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in inspect.signature(function).parameters.values()
    )
