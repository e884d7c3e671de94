"""Layer: what every layer is, and what one's own layer has to be."""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tinynn.arguments import Shape, check_shape
from tinynn.backend import Array, array_module, to_host
from tinynn.config import Configured, to_plain
from tinynn.initializers import Initializer
from tinynn.kernels import Kept, can_fuse
from tinynn.parameter import Parameter
from tinynn.regularizers import Regularizer

# What most attributes are: nothing in which to look for layers.
LEAVES = {type(None), bool, int, float, str, frozenset, np.ndarray, np.random.Generator, Parameter}


class ShapeError(ValueError):
    """An array or a layer's input has another shape than the one expected."""


def show_shape(shape: Sequence[int]) -> str:
    """Return a shape without its batch axis as a reader wants to see it.

    Examples
    --------
    >>> show_shape((28, 28)), show_shape(())
    ('(batch, 28, 28)', '(batch,)')
    """
    return "(batch" + "".join(f", {size}" for size in shape) + ("," if not shape else "") + ")"


class Layer(Configured):
    """A function with a hand-written derivative.

    One's own layer subclasses this and writes ``forward`` and ``backward``; a layer that learns also writes
    ``build``, where it asks for its parameters with `add_weight`.

    ==========================  =====================================================================================
    ``build(input_shape)``      make the parameters, return the shape of the output; both without the batch axis
    ``forward(x, training)``    return y; keep what backward needs in ``self.cache``
    ``backward(dy, need_dx)``   take the cache, write the parameters' gradients, return dx
    ==========================  =====================================================================================

    ``forward`` never writes into x, nor ``backward`` into dy. ``backward`` writes gradients, it does not add to them.

    Parameters
    ----------
    name : str, optional
        How messages and the summary call the layer; by default its class in snake case, numbered in a model.
    input_shape : tuple of int, optional
        The shape of one sample; the first layer of a model may say it here.

    Examples
    --------
    A layer of one's own without parameters:

    >>> import numpy as np
    >>> class Square(Layer):
    ...     def forward(self, x, training=False):
    ...         y = x * x
    ...         self.cache = x
    ...         return y
    ...     def backward(self, dy, need_dx=True):
    ...         x = self.take_cache()
    ...         dx = 2 * x * dy                      # y = x * x
    ...         return dx
    >>> square = Square()
    >>> square(np.array([[1.0, -3.0]]))
    array([[1., 9.]])
    >>> square.backward(np.ones((1, 2)))
    array([[ 2., -6.]])
    """

    # Defaults on the class, so that a subclass which forgets super().__init__() works too.
    name: str | None = None
    given_input_shape: Shape | None = None  # what the user said; build sets input_shape
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    dtype: str = "float32"
    rng: np.random.Generator | None = None
    cache: Any = None
    ends_in_activation = False  # True where ``self.activation`` is the last thing forward does
    takes_mask = False  # True where forward has a parameter ``mask``: which steps of x count, (batch, steps) of bool
    keeps_steps = True  # False where the output's steps are not the input's, so that a mask ends here
    takes_integers = False  # True where x holds numbers of things and not values: token ids
    plain = False  # True: run the lines that are read in forward and backward where a fused kernel would run
    has_fused = False  # whether there are fused kernels; set by __init_subclass__
    kernel = ""  # the one that forward_fused runs: where there is none for an array, the plain lines run
    unfilled: Any = None  # called for zeros in place of the initializers, where a file will fill the weights
    view_names: frozenset[str] = frozenset()  # the attributes that Parameter.bind has set: values and gradients
    activity_penalty: Any = None  # a number where forward adds one to the loss; backward adds its gradient

    def __init__(self, *, name: str | None = None, input_shape: Any = None) -> None:
        self.name = name
        if input_shape is not None:
            self.given_input_shape = check_shape(input_shape, f"{type(self).__name__}: input_shape")

    def __init_subclass__(cls, **options: Any) -> None:
        """Note whether the class has fused twins of its lines: a subclass that writes them anew has none."""
        super().__init_subclass__(**options)
        if "has_fused" not in vars(cls) and ("forward" in vars(cls) or "backward" in vars(cls)):
            cls.has_fused = "forward_fused" in vars(cls) or "kernel" in vars(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a parameter's value or gradient is written in place, for it is a view into the arena.

        So ``self.dW = x.T @ dy`` in a layer of one's own does what it looks like.
        """
        if name not in self.view_names:
            object.__setattr__(self, name, value)
            return
        view = self.__dict__[name]
        if view is value:  # as after ``self.W += step``
            return
        if np.shape(value) != view.shape:
            raise ShapeError(f"{self.label}: {name} has the shape {view.shape}, got {np.shape(value)}.")
        view[...] = value

    # What a layer writes -----------------------------------------------------------------------------------------

    def build(self, input_shape: Shape) -> Shape:
        """Make the parameters for inputs of this shape and return the shape of the outputs.

        The default is for a layer without parameters: it finds the output's shape by a forward pass over one sample
        of ones.

        Parameters
        ----------
        input_shape : tuple of int
            The shape of one sample: without the batch axis.

        Returns
        -------
        tuple of int
            The shape of one sample of the output.
        """
        with np.errstate(all="ignore"):
            y = self.forward(np.ones((1, *input_shape), dtype=self.dtype))
        self.cache = None
        return tuple(y.shape[1:])

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the output for the batch `x`, and keep in ``self.cache`` what backward needs."""
        raise TypeError(f"{type(self).__name__} needs a method forward(self, x, training=False) that returns y")

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradient of every parameter and return the gradient of the input.

        Parameters
        ----------
        dy : array
            The gradient of the loss by this layer's output.
        need_dx : bool, default True
            False for the first layer of a model, whose input gradient nobody reads.

        Returns
        -------
        array or None
            dx, of the shape of x; None without `need_dx`.
        """
        raise TypeError(f"{type(self).__name__} needs a method backward(self, dy, need_dx=True) that returns dx")

    def forward_with_mask(self, x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the output, and which of its steps count: what a container calls.

        Parameters
        ----------
        x : array, shape (batch, ...)
        training : bool, default False
        mask : array of bool, shape (batch, steps), optional
            True at the steps of x that count, False at padding. A layer that has no use for it hands it on.

        Returns
        -------
        y : array
        mask : array of bool or None
            As `compute_mask` says.
        """
        if mask is not None and self.takes_mask:
            y = self.forward(x, training, mask=mask)  # type: ignore[call-arg]
        else:
            y = self.forward(x, training)
        return y, self.compute_mask(x, mask)

    def compute_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Return which steps of the output for `x` count; None where all do."""
        return mask if self.keeps_steps else None

    def check_values(self, x: Array) -> None:
        """Raise ValueError if the layer cannot take these inputs; looked at once, before training, not every step."""

    def refuse_states(self) -> None:
        """Raise ValueError if the layer returns more than its output, which no next layer could take."""

    # What a layer uses -------------------------------------------------------------------------------------------

    def add_weight(
        self,
        name: str,
        shape: Shape,
        initializer: Initializer,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
    ) -> None:
        """Make a parameter: from now on ``self.<name>`` is its value and ``self.d<name>`` its gradient.

        Parameters
        ----------
        name : str
            The short name in the formulas: ``"W"``, ``"b"``.
        shape : tuple of int
        initializer : Initializer
        trainable : bool, default True
            False for what the layer keeps and does not learn, such as a running mean; it has no gradient.
        regularizer : Regularizer, optional
            A penalty that training adds to the loss.
        """
        if self.unfilled is None:
            value = initializer(shape, self.random, self.dtype)
        else:
            value = self.unfilled(shape, self.dtype)
        self.own_parameters.append(Parameter(self, name, value, trainable, regularizer))

    @property
    def random(self) -> np.random.Generator:
        """Where this layer's random numbers come from: in a model, the model's seed and the layer's place."""
        if self.rng is None:
            self.rng = np.random.default_rng()
        return self.rng

    def take_cache(self) -> Any:
        """Return what forward kept, and forget it: one backward for each forward.

        Raises
        ------
        RuntimeError
            If there was no forward since the last backward.
        """
        cache = self.cache
        if cache is None:
            raise RuntimeError(
                f"{self.label}: backward was called without a forward before it. "
                "Call forward first; each forward allows one backward."
            )
        del self.cache  # back to the None of the class
        return cache

    def fused(self, x: Array) -> bool:
        """Whether forward hands `x` to its fused twin, ``forward_fused``: see `tinynn.kernels.can_fuse`.

        Not with ``plain``, nor while a parameter is complex for a gradient check.
        """
        if not self.has_fused or self.plain or not can_fuse(x, self.kernel):
            return False
        return all(parameter.value.dtype.char in "fd" for parameter in self.own_parameters)

    @property
    def was_fused(self) -> bool:
        """Whether forward ran its fused twin, so that backward has to."""
        return type(self.cache) is Kept

    def need_axes(self, input_shape: Shape, axes: int, meaning: str) -> None:
        """Raise ShapeError unless a sample has at least this many axes."""
        if len(input_shape) < axes:
            raise ShapeError(
                f"{self.label} expected an input of shape {meaning}, got {show_shape(input_shape)}."
            )

    # What others use ---------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Return the arguments with which another layer like this is made; its name too, if it has one by now."""
        config = super().get_config()
        return config if self.name is None else config | {"name": self.name}

    def changed(self, parameters: list[inspect.Parameter], config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was set after the constructor: numbers, and activations, ``dense.activation = Tanh()``."""
        from tinynn.layers import activations  # which are layers themselves

        found = super().changed(parameters, config)
        for parameter in parameters:
            now = vars(self).get(parameter.name)
            if parameter.name.endswith("activation") and isinstance(now, Layer):
                given = activations.get(config.get(parameter.name, parameter.default))
                if to_plain(now, self.label) != to_plain(given, self.label):
                    found[parameter.name] = now
        return found

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a layer made with these arguments, and of this name, even where the constructor takes none."""
        layer = super().from_config({key: value for key, value in config.items() if key != "name"})
        layer.name = config.get("name")
        return layer

    def __call__(self, x: Array, training: bool = False, **others: Any) -> Any:
        """Return forward(x), building the layer at its first use and checking the shape of `x`.

        `others` are what else this layer's forward takes: a mask, an initial state.
        """
        xp = array_module(x)
        if x.dtype.kind in "iub" and not self.takes_integers:
            x = x.astype(self.dtype)
        if self.input_shape is None:
            self.build_for(tuple(x.shape[1:]))
            for parameter in self.parameters:
                parameter.bind(xp.asarray(parameter.value), xp.asarray(parameter.grad))
        self.check_input(x)
        self.check_values(x)
        return self.forward(x, training, **others)

    def build_for(self, input_shape: Shape) -> Shape:
        """Build the layer and note the shapes; what a container calls. A layer that is built keeps its weights.

        Raises
        ------
        ShapeError
            If it is built for another shape already, or was declared for another one.
        """
        if self.input_shape is not None and self.output_shape is not None:
            if input_shape != self.input_shape:
                raise ShapeError(
                    f"{self.label} has weights for inputs of shape {show_shape(self.input_shape)} already, "
                    f"got {show_shape(input_shape)}."
                )
            return self.output_shape
        declared = self.given_input_shape
        if declared is not None and declared != input_shape:
            raise ShapeError(
                f"{self.label} was declared for inputs of shape {show_shape(declared)}, "
                f"got {show_shape(input_shape)}."
            )
        output_shape = self.connect(input_shape)
        self.input_shape = input_shape
        self.output_shape = output_shape
        return output_shape

    def connect(self, input_shape: Shape) -> Shape:
        """Do the building; a model, whose ``build`` is for its user, does it here."""
        return self.build(input_shape)

    def unbuild(self) -> None:
        """Forget weights and shapes."""
        self.own_parameters.clear()
        self.view_names = frozenset()
        self.input_shape = self.output_shape = self.cache = None

    def check_input(self, x: Array) -> None:
        """Raise ShapeError unless `x` is a batch of the inputs this layer was built for."""
        expected = self.input_shape
        if expected is None or (tuple(x.shape[1:]) == expected and x.ndim > 0):
            return
        message = f"{self.label} expected an input of shape {show_shape(expected)}, got {tuple(x.shape)}."
        if tuple(x.shape) == expected:
            message += " That is one sample; make it a batch of one with x[None]."
        elif len(x.shape) > 1 and math.prod(x.shape[1:]) == math.prod(expected):
            message += f" Reshape it with x.reshape(len(x), {', '.join(map(str, expected))})."
        elif len(x.shape) != len(expected) + 1:
            message += f" The input must have {len(expected) + 1} axes, this one has {len(x.shape)}."
        raise ShapeError(message)

    @property
    def last_activation(self) -> Layer | None:
        """The activation that forward ends in, None if it ends in none.

        ``ends_in_activation`` must stand in the same class as ``forward``: a subclass that writes forward anew may do
        something else after the activation.
        """
        if self.activity_penalty is not None:  # whoever sets the activation aside would set the penalty aside too
            return None
        for kind in type(self).__mro__:
            if "forward" in vars(kind):
                return self.__dict__["activation"] if vars(kind).get("ends_in_activation", False) else None
        return None

    def with_activation(self, activation: Layer) -> Layer:
        """Return a twin of this layer, with the same weights, that ends in another activation."""
        twin = copy.copy(self)
        twin.__dict__["activation"] = activation
        return twin

    @property
    def label(self) -> str:
        """The layer's name and class, for messages."""
        kind = type(self).__name__
        return f"{self.name} ({kind})" if self.name else kind

    @property
    def default_name(self) -> str:
        """The class's name in snake case, as Keras does: ``dense``, ``conv2d_transpose``, ``re_lu``."""
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(self).__name__)
        return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()

    @property
    def own_parameters(self) -> list[Parameter]:
        """The parameters made by this layer itself, in order."""
        found: list[Parameter] = self.__dict__.setdefault("_own_parameters", [])
        return found

    @property
    def children(self) -> list[Layer]:
        """The layers kept in this layer's attributes, also in lists, tuples and dictionaries there; each once."""
        found: dict[int, Layer] = {}

        def look(values: Iterable[Any]) -> None:
            for value in values:
                if type(value) in LEAVES:
                    continue
                if isinstance(value, Layer):
                    found.setdefault(id(value), value)
                elif isinstance(value, dict):
                    look(value.values())
                elif isinstance(value, (list, tuple)):
                    look(value)

        look(vars(self).values())
        return list(found.values())

    def walk(self) -> Iterator[Layer]:
        """Yield this layer and every layer inside it, outer before inner."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, this layer's own first, then those of the layers inside it."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return all parameters with names that say where they are: ``"b"``, ``"dense.W"``, ``"block.dense.W"``."""
        found = [(parameter.name, parameter) for parameter in self.own_parameters]
        places: Counter[str] = Counter()
        for child in self.children:
            place = child.name or child.default_name
            number = places[place]  # two of one name are numbered, as in a Sequential
            places[place] += 1
            place += f"_{number}" if number else ""
            found += [(f"{place}.{name}", parameter) for name, parameter in child.named_parameters()]
        return found

    def count_params(self) -> int:
        """Return how many numbers this layer learns."""
        return sum(parameter.size for parameter in self.parameters)

    def get_weights(self) -> list[Array]:
        """Return copies of the parameters as NumPy arrays, in Keras's order and layout."""
        return [to_host(parameter.value).copy() for parameter in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write the parameters, all of them or none.

        Parameters
        ----------
        weights : sequence of array
            In the order and layout of `get_weights`, which are Keras's.

        Raises
        ------
        ValueError
            If the number of arrays, a shape or a kind of number is wrong; nothing has been changed then.
        """
        parameters = self.parameters
        if self.input_shape is None:
            raise RuntimeError(f"{self.label} has no weights yet: build it first, so that shapes are known.")
        if len(weights) != len(parameters):
            raise ValueError(
                f"{self.label}: set_weights expected {len(parameters)} arrays, got {len(weights)}. "
                f"The shapes are {[parameter.shape for parameter in parameters]}."
            )
        arrays = [to_host(weight) for weight in weights]
        for position, (parameter, array) in enumerate(zip(parameters, arrays, strict=True)):
            where = f"{self.label}: set_weights, array {position}, {parameter.name} of {parameter.owner.label}"
            if array.shape != parameter.shape:
                raise ValueError(
                    f"{where}: expected the shape {parameter.shape}, got {array.shape}. No weight was changed."
                )
            if array.dtype.kind not in "fiu":
                raise ValueError(f"{where}: expected numbers, got {array.dtype}. No weight was changed.")
        for parameter, array in zip(parameters, arrays, strict=True):
            xp = array_module(parameter.value)
            parameter.value[...] = xp.asarray(array, dtype=parameter.value.dtype)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        shapes = "" if self.input_shape is None else f" {self.input_shape} -> {self.output_shape}"
        return f"<{type(self).__name__}{name}{shapes}>"
