"""Plant a bug in a layer's backward pass: one line of its source is rewritten, and the layer made to run that."""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from tinynn.layers import Layer
from tinynn.losses import Loss

Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], Any]


class NoSuchLineError(AssertionError):
    """The line that a mutant rewrites is not there, or not once: the layer has changed, and the mutant must follow."""


@dataclass(frozen=True)
class Mutant:
    """One planted bug.

    Attributes
    ----------
    name : str
        The layer, and what is wrong.
    make : function
        Makes the right layer or loss.
    shape : tuple of int
        Of the input, the batch axis first; of a loss the predictions.
    where : function
        The method whose line is rewritten: ``Dense.backward``.
    old, new : str
        What stands in that line, exactly once in the method, and what is put there.
    kinds : tuple of str
        The kinds of diagnosis that are right; more than one where two of them say the same.
    why : str
        Where this is seen in the wild.
    training : bool
        Passed to forward.
    line : str
        Where the wrong line makes no gradient and so cannot be named (``c = ...``), a part of the one to be named: the
        first gradient made of it. Otherwise "", the planted line is to be named.
    draw : function, optional
        Draws the input; normal numbers by default.
    targets : function, optional
        Draws a loss's targets.
    """

    name: str
    make: Callable[[], Layer | Loss]
    shape: Shape
    where: Callable[..., Any]
    old: str
    new: str
    kinds: tuple[str, ...]
    why: str = ""
    training: bool = False
    line: str = ""
    draw: Draw | None = None
    targets: Draw | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def file(self) -> str:
        """The name of the file that its source pretends to stand in."""
        return f"mutant {self.name}.py"

    def source(self) -> tuple[list[str], int]:
        """Return the lines of the module with the bug, and the number of the line it stands in."""
        file, (lines, first) = inspect.getsourcefile(self.where), inspect.getsourcelines(self.where)
        assert file is not None
        found = [first + i for i, line in enumerate(lines) for _ in range(line.count(self.old))]
        if len(found) != 1:
            raise NoSuchLineError(
                f"mutant {self.name!r}: {self.old!r} stands {len(found)} times in {self.where.__qualname__}, not once."
            )
        module = linecache.getlines(file)[:]
        module[found[0] - 1] = module[found[0] - 1].replace(self.old, self.new)
        return module, found[0]

    def planted(self) -> tuple[FunctionType, int]:
        """Return the method with the bug, and the number of the line to be named."""
        original = self.where
        assert isinstance(original, FunctionType)
        lines, number = self.source()
        whole = compile("".join(lines), self.file, "exec", dont_inherit=True)
        code = next(code for code in codes_in(whole) if (code.co_name, code.co_firstlineno) == place_of(original))
        assert code.co_freevars == original.__code__.co_freevars, "a mutant may not use super() where the line did not"
        method = FunctionType(
            code, original.__globals__, original.__name__, original.__defaults__, original.__closure__
        )
        method.__qualname__ = original.__qualname__
        linecache.cache[self.file] = (len("".join(lines)), None, lines, self.file)  # so that its source can be read
        if self.line:
            after = [n for n in range(number, len(lines) + 1) if self.line in lines[n - 1]]
            if not after:
                raise NoSuchLineError(f"mutant {self.name!r}: {self.line!r} does not come after the planted line.")
            number = after[0]
        return method, number

    def plant(self, subject: Layer | Loss) -> int:
        """Put the bug into a layer, or those inside it that have the method; return the number of the line."""
        method, number = self.planted()
        owner = getattr(sys.modules[self.where.__module__], self.where.__qualname__.partition(".")[0])
        hit = [inner for inner in members(subject) if isinstance(inner, owner)]
        assert hit, f"mutant {self.name!r}: no {owner.__name__} in {subject!r}"
        for inner in hit:
            kind = type(inner)
            inner.__class__ = type(
                kind.__name__,
                (kind,),
                {method.__name__: method, "__module__": kind.__module__, "__qualname__": kind.__qualname__},
            )
        return number

    def right(self) -> Layer | Loss:
        """Return the right layer, every weight a random number: with zeros and ones mistakes would not show."""
        subject = self.make()
        if isinstance(subject, Layer):
            subject.build_for(self.shape[1:])
            for inner in subject.walk():
                inner.plain = True  # the lines that are read, not the kernels that run
            rng = np.random.default_rng(2)
            for parameter in subject.parameters:
                drawn = rng.normal(size=parameter.shape, scale=0.8)
                parameter.value[...] = np.abs(drawn) + 0.5 if parameter.name == "moving_variance" else drawn
        return subject

    def wrong(self) -> tuple[Layer | Loss, int]:
        """Return the layer with the bug, and the number of the line to be named."""
        subject = self.right()
        return subject, self.plant(subject)

    def arguments(self) -> tuple[Any, ...]:
        """Return what the checker needs beside the subject: the input; for a loss targets and predictions."""
        rng = np.random.default_rng(1)
        x = rng.normal(size=self.shape) if self.draw is None else self.draw(rng, self.shape)
        return (x,) if self.targets is None else (self.targets(rng, self.shape), x)


def members(subject: Layer | Loss) -> Iterator[Any]:
    """Yield a layer and all inside it; of a loss, itself."""
    if isinstance(subject, Layer):
        yield from subject.walk()
    else:
        yield subject


def place_of(function: FunctionType) -> tuple[str, int]:
    """Return a function's name and its first line."""
    return function.__code__.co_name, function.__code__.co_firstlineno


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions compiled into a module, however deep."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes_in(constant)
