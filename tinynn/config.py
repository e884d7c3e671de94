"""What a model is made of, as plain data: written to JSON and made again from it, without ever running code of a file.

Everything with settings (a layer, a loss, an optimizer, ...) is `Configured`: it remembers the arguments it was made
with. As plain data it is its class's name and these arguments, which may be such things themselves::

    {"class": "layers.Dense", "name": "dense", "config": {"units": 10, "activation": "softmax"}}

A name stands for one class only if that is one of tinynn's own, or was registered; see `register`.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import numpy as np

from tinynn.arguments import find
from tinynn.backend import Array, to_host

Kind = TypeVar("Kind", bound=type)

# Where tinynn's own classes are looked for; the module's name is the first half of theirs.
MODULES = ("layers", "losses", "metrics", "optimizers", "schedules", "initializers", "regularizers", "sequential")
NUMBERS = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64")
ASIDE = "state/"  # how the names of arrays begin that are put aside
# What wrong settings raise: whoever makes a thing of settings from a file must expect each.
FAULTS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError)
LONG = 100  # numbers in a list that is written as an array
DEEPEST = 60  # things inside things; no network needs more, and a file must not exhaust the stack

registered: dict[str, type] = {}


class Configured:
    """Base class of everything that has settings: it remembers the arguments it was made with.

    One's own class needs to do nothing for it. If it changes its settings later, or was made with something that is
    no plain data, it writes `get_config` anew.
    """

    __slots__ = ("_made_with",)  # beside the attributes, where nobody mistakes a layer in it for a part
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments."""
        self = object.__new__(cls)
        object.__setattr__(self, "_made_with", (tuple(map(own, args)), {key: own(kwargs[key]) for key in kwargs}))
        return self

    def get_config(self) -> dict[str, Any]:
        """Return the arguments with which another one like this is made.

        Examples
        --------
        >>> from tinynn.layers import Dense
        >>> Dense(10, activation="relu", name="first").get_config()
        {'units': 10, 'activation': 'relu', 'name': 'first'}
        """
        args, kwargs = self._made_with
        if type(self).__init__ is object.__init__:
            return {}
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        rest = list(bound.signature.parameters.values())[1:]
        config: dict[str, Any] = {}
        for parameter in rest:
            if parameter.kind is parameter.VAR_POSITIONAL and bound.arguments.get(parameter.name):
                raise TypeError(
                    f"{type(self).__name__} takes arguments without names (*{parameter.name}), which cannot be written "
                    "down; give them names, or the class a method get_config(self)."
                )
            if parameter.name in bound.arguments:
                value = bound.arguments[parameter.name]
                config |= value if parameter.kind is parameter.VAR_KEYWORD else {parameter.name: value}
        return config | (self.changed(rest, config) if type(self).__module__.startswith("tinynn.") else {})

    def changed(self, parameters: list[inspect.Parameter], config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers that were set after the constructor, ``dropout.rate = 0.2``.

        Of tinynn's own classes alone, in which an attribute with the name of an argument is that argument.
        """
        found = {}
        for parameter in parameters:
            given = config.get(parameter.name, parameter.default)
            now = vars(self).get(parameter.name, given)
            if is_number(given) and is_number(now) and now != given:
                found[parameter.name] = now
        return found

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return one made with these arguments.

        Examples
        --------
        >>> from tinynn.layers import Dense
        >>> Dense.from_config({"units": 10}).units
        10
        """
        return cls(**config)


def is_number(value: Any) -> bool:
    """Whether a setting is a number, and no truth value: those say how a thing is made."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def own(argument: Any) -> Any:
    """Return an argument so that it stays what it is, though a list in it may be changed later.

    Examples
    --------
    >>> given = [1, [2]]
    >>> kept = own(given)
    >>> given[1].append(3)
    >>> kept
    [1, [2]]
    """
    if type(argument) in (list, tuple):
        return type(argument)(map(own, argument))
    if type(argument) is dict:
        return {key: own(argument[key]) for key in argument}
    return argument


def register(kind: Kind | None = None, *, name: str | None = None) -> Any:
    """Make a class of one's own known by its name, so that `tinynn.load_model` can make what a file asks for.

    Parameters
    ----------
    kind : type
        A layer, loss, metric, optimizer, schedule, initializer or regularizer.
    name : str, optional
        By default the class's own.

    Raises
    ------
    ValueError
        If another class has the name.
    TypeError
        If it is no such class.

    Examples
    --------
    >>> import tinynn
    >>> @tinynn.register
    ... class Twice(tinynn.Layer):
    ...     def forward(self, x, training=False):
    ...         y = 2 * x
    ...         self.cache = True
    ...         return y
    ...     def backward(self, dy, need_dx=True):
    ...         self.take_cache()
    ...         dx = 2 * dy                        # y = 2 x
    ...         return dx
    >>> tinynn.config.class_called("Twice") is Twice
    True
    """
    if kind is None:
        return lambda kind: register(kind, name=name)
    if not isinstance(kind, type) or not issubclass(kind, Configured):
        raise TypeError(f"register expected a class, such as a subclass of tinynn.Layer, got {kind!r:.60}.")
    key = kind.__name__ if name is None else name
    if "." in key:
        raise ValueError(f"register: a name must have no dot, which the names of tinynn's classes have; got {key!r}.")
    other = registered.get(key, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        # Not the same one, written anew, as in a notebook.
        raise ValueError(
            f"register: the name {key!r} belongs to {other.__module__}.{other.__qualname__} already; register "
            f"{kind.__module__}.{kind.__qualname__} with another one: @tinynn.register(name='...')."
        )
    registered[key] = kind
    return kind


def name_of(kind: type) -> str:
    """Return the name under which a class is written down.

    Raises
    ------
    TypeError
        If another class is registered under the name of one that is not.

    Examples
    --------
    >>> from tinynn.losses import Huber
    >>> name_of(Huber)
    'losses.Huber'
    """
    for module in MODULES:
        if getattr(importlib.import_module(f"tinynn.{module}"), kind.__name__, None) is kind:
            return f"{module}.{kind.__name__}"
    for name, other in registered.items():
        if other is kind:
            return name
    other = registered.get(kind.__name__, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise TypeError(
            f"the class {kind.__module__}.{kind.__qualname__} is not registered, and its name is that of "
            f"{other.__module__}.{other.__qualname__}, which is: a file would come back with that one. Register it "
            "with a name of its own: @tinynn.register(name='...')"
        )
    return kind.__name__


def class_called(name: str, custom_objects: Mapping[str, type] | None = None) -> type[Configured]:
    """Return the class of a name.

    Parameters
    ----------
    name : str
        As `name_of` returns it.
    custom_objects : dict of str to type, optional
        Classes by their names, beside those that were registered.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> class_called("losses.Huber")
    <class 'tinynn.losses.regression.Huber'>
    >>> class_called("MyDense")
    Traceback (most recent call last):
    ...
    ValueError: there is no class called 'MyDense' here. Put @tinynn.register before the class, and import its ...
    """
    module, _, own = name.rpartition(".")
    if module in MODULES:
        members = vars(importlib.import_module(f"tinynn.{module}"))
        kinds = {n: kind for n, kind in members.items() if isinstance(kind, type) and issubclass(kind, Configured)}
        kind: type[Configured] = find(f"class of tinynn.{module}", own, kinds)
        return kind
    custom = (custom_objects or {}).get(name, registered.get(name))
    if custom is None:
        raise ValueError(
            f"there is no class called {name!r:.60} here. Put @tinynn.register before the class, and import its module "
            f"before the file is loaded; or give it: custom_objects={{{name!r:.60}: ...}}."
        )
    if not isinstance(custom, type) or not issubclass(custom, Configured):
        raise TypeError(f"custom_objects: {name!r} must be a class, such as a subclass of tinynn.Layer, got {custom}.")
    return custom


def to_plain(value: Any, where: str, arrays: dict[str, Array] | None = None, depth: int = 0) -> Any:
    """Return a setting, or what was remembered, as plain data: what JSON can hold.

    Parameters
    ----------
    value : object
        None, a truth value, number, text; lists and dictionaries of such; an array; anything `Configured`.
    where : str
        For the message.
    arrays : dict of str to array, optional
        Where to put arrays aside, by names of their own; without it their numbers are written out.

    Raises
    ------
    TypeError
        If it is something else, as a function is.

    Examples
    --------
    >>> from tinynn.layers import Dense, ReLU
    >>> plain = to_plain(Dense(2, activation=ReLU(0.1)), "here")
    >>> plain["class"], plain["config"]["activation"]
    ('layers.Dense', {'class': 'layers.ReLU', 'config': {'max_value': 0.1}})
    >>> to_plain((1, np.float32(0.5), float("inf")), "here")
    [1, 0.5, {'float': 'inf'}]
    >>> to_plain(abs, "Dense: activation")
    Traceback (most recent call last):
    ...
    TypeError: Dense: activation is <built-in function abs>, which cannot be written to a file: ...
    """
    if depth > DEEPEST:
        raise TypeError(f"{where} is nested deeper than {DEEPEST} times.")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if arrays is not None and isinstance(value, tuple):  # a setting may come back as a list, a memory may not
        return {"tuple": to_plain(list(value), where, arrays, depth + 1)}
    if arrays is not None and isinstance(value, list) and is_long(value):
        return {"list": to_plain(np.array(value), where, arrays, depth + 1)["array"]}
    if isinstance(value, list | tuple):
        return [to_plain(entry, f"{where}[{i}]", arrays, depth + 1) for i, entry in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        return {"dict": [[key, to_plain(value[key], f"{where}[{key!r}]", arrays, depth + 1)] for key in value]}
    if isinstance(value, type) and issubclass(value, Configured):
        return {"class": name_of(value), "config": {}}  # where a class may stand, one made without arguments may
    if isinstance(value, Configured):
        inside = getattr(value, "label", type(value).__name__)
        config = value.get_config()
        return {
            "class": name_of(type(value)),
            "config": {key: to_plain(config[key], f"{inside}: {key}", arrays, depth + 1) for key in config},
        }
    if hasattr(value, "dtype") and value.dtype.kind in "fiub":
        array = to_host(value)
        if arrays is None:
            return {"array": to_plain(array.tolist(), where, None, depth + 1), "dtype": array.dtype.name}
        name = f"{ASIDE}{len(arrays)}"
        arrays[name] = array
        return {"array": name}
    raise TypeError(
        f"{where} is {value!r:.60}, which cannot be written to a file: what can are numbers, text, lists, "
        "dictionaries, arrays, and objects of tinynn's classes or subclasses. Make it a small class, and register that."
    )


def from_plain(
    plain: Any,
    custom_objects: Mapping[str, type] | None = None,
    arrays: Mapping[str, Array] | None = None,
    depth: int = 0,
) -> Any:
    """Return what plain data stand for; the inverse of `to_plain`, but for tuples in settings, which become lists.

    Parameters
    ----------
    plain : object
        As `to_plain` returns it.
    custom_objects : dict of str to type, optional
        Classes by their names, beside those that were registered.
    arrays : mapping of str to array, optional
        Those that were put aside.

    Raises
    ------
    ValueError
        If they stand for nothing: a class unknown, an argument too many, or of the wrong kind.

    Examples
    --------
    >>> from_plain({"class": "layers.Dense", "config": {"units": 2}}).units
    2
    >>> from_plain({"class": "layers.Dense", "config": {"unit": 2}})
    Traceback (most recent call last):
    ...
    ValueError: layers.Dense cannot be made with the settings ['unit']: TypeError: ...
    """
    if depth > DEEPEST:
        raise ValueError(f"what was written is nested deeper than {DEEPEST} times")
    if isinstance(plain, list):
        return [from_plain(entry, custom_objects, arrays, depth + 1) for entry in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"float": "inf" | "-inf" | "nan" as number, **rest} if not rest:
            return float(number)
        case {"array": str(name), **rest} if not rest and arrays is not None and name in arrays:
            return arrays[name]
        case {"list": str(name), **rest} if not rest and arrays is not None and name in arrays:
            return arrays[name].tolist()
        case {"tuple": list() | {"list": _} as entries, **rest} if not rest:
            return tuple(from_plain(entries, custom_objects, arrays, depth + 1))
        case {"array": numbers, "dtype": str(dtype), **rest} if not rest and dtype in NUMBERS:
            try:
                return np.asarray(from_plain(numbers, None, None, depth + 1), dtype=dtype)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"a setting is no array of {dtype}: {error}") from None
        case {"dict": list(pairs), **rest} if not rest and all(is_pair(pair) for pair in pairs):
            return {key: from_plain(entry, custom_objects, arrays, depth + 1) for key, entry in pairs}
        case {"class": str(name), "config": dict(config), **rest} if not rest:
            kind = class_called(name, custom_objects)
            config = {key: from_plain(config[key], custom_objects, arrays, depth + 1) for key in config}
            try:
                return kind.from_config(config)
            except FAULTS as error:
                settings = f"{sorted(config)!r:.200}"
                raise ValueError(
                    f"{name} cannot be made with the settings {settings}: {type(error).__name__}: {error!s:.300}"
                ) from error
    raise ValueError(f"what was written has an object with the keys {sorted(plain)!r:.80}, which stands for nothing")


def is_long(value: list[Any]) -> bool:
    """Whether a list is of so many numbers of one kind that it had better be an array: a loss for every batch."""
    if len(value) < LONG or type(value[0]) not in (int, float):
        return False
    kind = type(value[0])
    return all(type(entry) is kind for entry in value) and (
        kind is float or all(-(2**63) <= entry < 2**63 for entry in value)
    )


def is_pair(pair: Any) -> bool:
    """Whether something is an entry of a dictionary, as `to_plain` writes it."""
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str | int)
