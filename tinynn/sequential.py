"""Sequential: layers one after another. Forward goes down the list, backward up."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tinynn.arguments import Shape
from tinynn.backend import Array, Device
from tinynn.layers.activations import ActivationFunction
from tinynn.layers.base import Layer, ShapeError
from tinynn.layers.input import Input
from tinynn.training import Trainer


class Sequential(Trainer):
    """A model whose layers come one after another; itself a layer.

    Parameters
    ----------
    layers : sequence of Layer
        The first entry may be an `Input`.
    name : str, optional
    device, seed, dtype
        Where the model lives, what its random numbers come from, and its numbers' kind; see `Trainer`.

    Raises
    ------
    ValueError
        If a layer stands in the model twice, or an output does not fit the next layer.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense, Input
    >>> model = Sequential([Input((2,)), Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], seed=2)
    >>> model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([[0], [1], [1], [0]])                          # exclusive or
    >>> history = model.fit(x, y, epochs=1000, verbose=0)
    >>> (model.predict(x) > 0.5).astype(int).ravel()
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        layers: Sequence[Layer | Input] = (),
        *,
        name: str | None = None,
        device: str | Device | None = None,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name, device=device, seed=seed, dtype=dtype)
        self.layers: list[Layer] = []
        self.observers: list[Callable[[int, Array], None]] = []  # told each layer's place and output
        if isinstance(layers, Layer | Input):
            raise TypeError(f"{self.label}: expected a list of layers, got the layer {layers!r:.60}; put it in [].")
        inside = Inside([])
        for layer in layers:
            self._add(layer, inside)

    def add(self, layer: Any) -> None:
        """Put `layer` at the end.

        Parameters
        ----------
        layer : Layer or Input

        Raises
        ------
        TypeError
            If it is no layer.
        ValueError
            If it stands in the model already.
        RuntimeError
            If the model has its weights already.
        """
        self._add(layer, Inside(self.layers))

    def _add(self, layer: Any, inside: Inside) -> None:
        """Put `layer` at the end, beside what is known to be inside."""
        if isinstance(layer, Input):
            if self.layers or self.given_input_shape is not None:
                raise ValueError(f"{self.label}: Input must come first and once; it is entry {len(self.layers)}.")
            self.given_input_shape = layer.shape
            return
        if not isinstance(layer, Layer):
            hint = ""
            if isinstance(layer, type) and issubclass(layer, Layer | Input):
                hint = f" Write {layer.__name__}(...) with its arguments, to make one."
            raise TypeError(f"{self.label}: expected a layer, got {layer!r:.60}.{hint}")
        if self.input_shape is not None:
            raise RuntimeError(
                f"{self.label} has its weights already and cannot grow; add layers before build, summary or fit, or "
                "make a new model."
            )
        check_signatures(layer)
        members = {id(member) for member in layer.walk()}
        if not members.isdisjoint(inside.members):
            raise ValueError(
                f"{self.label}: the layer {layer.label} stands in the model already. A layer keeps one cache and one "
                "gradient, so it can be used once; make a second layer instead."
            )
        if not self.layers and self.given_input_shape is None:
            self.given_input_shape = layer.given_input_shape
        if layer.name is None:
            layer.name = inside.new_name(layer.default_name)
        elif layer.name in inside.names:
            raise ValueError(f"{self.label}: two layers are called {layer.name!r}; names must differ.")
        layer.refuse_states()
        self.layers.append(layer)
        inside.members |= members
        inside.names.add(layer.name)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments with which another model like this is made: of the same layers, however they came in.

        Of a subclass with a constructor of its own they are those of that, and the seed.
        """
        if type(self).__init__ is not Sequential.__init__:
            return super().get_config() | {"seed": self.seed}
        start = [] if self.given_input_shape is None else [Input(self.given_input_shape)]
        dtype = "mixed_float16" if self.mixed else self.dtype
        config = {"layers": [*start, *self.layers], "seed": self.seed, "dtype": dtype}
        return config if self.name is None else config | {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a model made with these arguments, and of this seed, even where the constructor takes none."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        takes_seed = any(p.name == "seed" or p.kind is p.VAR_KEYWORD for p in parameters)
        model = super().from_config({key: config[key] for key in config if key != "seed" or takes_seed})
        if "seed" in config and not takes_seed:
            model.seed = int(config["seed"])
        return model

    def connect(self, input_shape: Shape) -> Shape:
        """Build the layers for inputs of this shape, each on the output of the one before."""
        if not self.layers:
            raise ValueError(f"{self.label} has no layers; add at least one.")
        shape = input_shape
        before = "the model's input"
        for layer in self.layers:
            try:
                shape = layer.build_for(shape)
            except ShapeError as error:
                raise ShapeError(f"{error} It comes from {before}.") from None
            before = layer.label
        learning = (i for i, layer in enumerate(self.layers) if any(p.trainable for p in layer.parameters))
        self.first_learning = next(learning, len(self.layers))
        return shape

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the output of the last layer."""
        return self.forward_with_mask(x, training, mask)[0]

    def forward_with_mask(self, x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the output of the last layer, and which of its steps count."""
        self.need_weights("forward")
        self.check_input(x)
        for place, layer in enumerate(self.layers):
            y, mask = layer.forward_with_mask(x, training, mask)
            if layer.output_shape is not None and tuple(y.shape[1:]) != layer.output_shape:
                raise ShapeError(
                    f"{layer.label}: forward returned the shape {tuple(y.shape)}, but for inputs of shape "
                    f"{tuple(x.shape)} build promised (batch, *{layer.output_shape})."
                )
            for observe in self.observers:
                observe(place, y)
            x = y
        return x, mask

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """Whether the first layer does."""
        return bool(self.layers) and self.layers[0].takes_integers

    def check_values(self, x: Array) -> None:
        """Raise ValueError, in the name of the first layer, if it cannot take these inputs."""
        if self.layers:
            self.layers[0].check_values(x)

    def check_input(self, x: Array) -> None:
        """Raise ShapeError, in the name of the first layer, unless `x` is a batch of the model's inputs."""
        if tuple(x.shape[1:]) == self.input_shape and x.ndim > 0:
            return
        try:
            self.layers[0].check_input(x)
        except ShapeError as error:
            raise ShapeError(f"{error} It comes from the model's input.") from None

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of all parameters and return dx.

        Without `need_dx` it ends at the first layer that learns: nobody reads what goes further down.
        """
        first = 0 if need_dx else self.first_learning
        for i in reversed(range(first, len(self.layers))):
            layer = self.layers[i]
            dx = layer.backward(dy, need_dx or i > first)
            if need_dx or i > first:
                expected = (len(dy), *(layer.input_shape or ()))
                if dx is None or tuple(dx.shape) != expected:
                    got = "None" if dx is None else f"the shape {tuple(dx.shape)}"
                    raise ShapeError(
                        f"{layer.label}: backward returned {got}, expected dx of its input's shape {expected}."
                    )
                dy = dx
        for layer in self.layers[:first]:
            layer.cache = None
        return dy if need_dx else None

    @property
    def last_activation(self) -> Layer | None:
        """The activation the model ends in, None if it has none."""
        if not self.layers:
            return None
        last = self.layers[-1]
        return last if isinstance(last, ActivationFunction) else last.last_activation

    def with_activation(self, activation: Layer) -> Layer:
        """Return a twin of this model, with the same weights, that ends in another activation."""
        twin = copy.copy(self)
        last = self.layers[-1]
        if isinstance(last, ActivationFunction):
            activation.input_shape = activation.output_shape = last.output_shape
            twin.layers = [*self.layers[:-1], activation]
        else:
            twin.layers = [*self.layers[:-1], last.with_activation(activation)]
        return twin

    def summary(self, *, profile: bool = False, batch_size: int = 32) -> None:
        """Print a table of the layers: output shapes, parameters, and the memory of values and gradients.

        Parameters
        ----------
        profile : bool, default False
            Whether to measure each layer instead, on a batch of random data and a copy of the model: the time of
            forward and backward in training (medians), the FLOPs of one forward pass of one sample (a multiply-add is
            2), and the bytes kept from forward for backward; an array that two layers keep counts at the first. See
            `tinynn.diagnose.costs`.
        batch_size : int, default 32
            Of the batch that is measured.

        Examples
        --------
        >>> from tinynn.layers import Dense, Input
        >>> Sequential([Input((784,)), Dense(784, activation="relu"), Dense(10, activation="softmax")]).summary()
        sequential  input (batch, 784)  float32 on ...
        ┏━━━━━━━━━━━━━━━━━┳...
        """
        from rich.console import Console
        from rich.table import Table

        self.need_weights("summary")
        console = Console()
        shape = ("batch", *(self.input_shape or ()))
        heading = f"{self.name or self.default_name}  input ({', '.join(map(str, shape))})  "
        heading += f"{'mixed_float16' if self.computes_half else self.dtype} on {self.device.name}"
        if profile:
            from tinynn.diagnose.costs import profile as measure
            from tinynn.diagnose.costs import profile_table

            table = profile_table(measure(self, batch_size))
            console.print(f"{heading}  a batch of {batch_size}", highlight=False)
            console.print(table)
            console.print("FLOPs: forward, one sample; a multiply-add is 2. Kept: for backward.", highlight=False)
            return
        table = Table()
        table.add_column("Layer (type)")
        table.add_column("Output shape")
        table.add_column("Parameters", justify="right")
        table.add_column("Memory", justify="right")
        size = np.dtype(self.dtype).itemsize
        for layer in self.layers:
            count = layer.count_params()
            shape = ("batch", *(layer.output_shape or ()))
            table.add_row(layer.label, f"({', '.join(map(str, shape))})", f"{count:,}", show_bytes(2 * count * size))
        total = self.count_params()
        console.print(heading, highlight=False)
        console.print(table)
        console.print(
            f"Parameters: {total:,}  Memory of values and gradients: {show_bytes(2 * total * size)}",
            highlight=False,
        )


class Inside:
    """What stands in a model already, kept while many layers are put in: looking each time takes long for a long file.

    Parameters
    ----------
    layers : list of Layer
    """

    def __init__(self, layers: list[Layer]) -> None:
        self.members = {id(member) for layer in layers for member in layer.walk()}
        self.names = {layer.name for layer in layers}
        self.numbers: dict[str, int] = {}

    def new_name(self, base: str) -> str:
        """Return a name that is free: `base`, or the first number behind it that is."""
        name, number = base, self.numbers.get(base, 0)
        if number:
            name = f"{base}_{number}"
        while name in self.names:
            number += 1
            name = f"{base}_{number}"
        self.numbers[base] = number
        return name


def show_bytes(count: int) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> show_bytes(800), show_bytes(5_000_000)
    ('800 B', '4.8 MiB')
    """
    value, unit = float(count), "B"
    for bigger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def check_signatures(layer: Layer) -> None:
    """Raise TypeError if a layer's forward or backward cannot be called as a model calls it."""
    for method, arguments in (("forward", ("x", "training")), ("backward", ("dy", "need_dx"))):
        try:
            inspect.signature(getattr(layer, method)).bind(*arguments)
        except TypeError:
            wanted = "(self, x, training=False)" if method == "forward" else "(self, dy, need_dx=True)"
            raise TypeError(
                f"{layer.label}: a model calls {method}{wanted}; give the method these parameters."
            ) from None
