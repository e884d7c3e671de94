"""Combine: layers made of layers. A way round, one layer for every step; see branches for several side by side.

Where a layer is wanted, a list of layers may stand: they are run one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array
from tinynn.layers.base import Layer, ShapeError, show_shape


class Combination(Layer):
    """Base of the layers made of layers: takes them in and builds them."""

    def take(self, given: Any, what: str) -> Layer:
        """Return one layer for a layer or a list of layers, named so that no two in here are called alike."""
        if isinstance(given, list | tuple):
            given = Chain(given, f"{self.label}: {what}")
        if not isinstance(given, Layer):
            hint = f" Write {given.__name__}(...) with its arguments, to make one." if isinstance(given, type) else ""
            raise TypeError(f"{self.label}: {what} must be a layer or a list of layers, got {given!r:.60}.{hint}")
        inside = {id(member) for mine in self.children for member in mine.walk()}
        for member in given.walk():
            if id(member) in inside:
                raise ValueError(
                    f"{self.label}: the layer {member.label} stands in here twice. A layer keeps one cache and one "
                    "gradient, so it can be used once; make a second layer instead."
                )
        taken = {mine.name for mine in self.children}
        if given.name is None:
            base, number = given.default_name, 0
            given.name = base
            while given.name in taken:
                number += 1
                given.name = f"{base}_{number}"
        elif given.name in taken:
            raise ValueError(f"{self.label}: two layers are called {given.name!r}; names must differ.")
        given.refuse_states()
        return given

    def build_inside(self, layer: Layer, shape: Shape) -> Shape:
        """Build a layer in here, with this layer's dtype."""
        for member in layer.walk():
            member.dtype = self.dtype
        try:
            return layer.build_for(shape)
        except ShapeError as error:
            raise ShapeError(f"{error} It stands in {self.label}.") from None


class Chain(Combination):
    """Layers one after another: what a list of layers becomes.

    Backward the layers' backward passes, the last one first
    """

    def __init__(self, layers: Sequence[Any], who: str, **options: Any) -> None:
        super().__init__(**options)
        if not layers:
            raise ValueError(f"{who}: the list of layers is empty. Linear() is the layer that gives back its input.")
        self.layers: list[Layer] = []
        for layer in layers:
            self.layers.append(self.take(layer, f"{who}: each of the list"))

    def build(self, input_shape: Shape) -> Shape:
        """Build each layer on the output of the one before."""
        shape = input_shape
        for layer in self.layers:
            shape = self.build_inside(layer, shape)
        return shape

    takes_mask = True

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """Whether the first layer does."""
        return self.layers[0].takes_integers

    def check_values(self, x: Array) -> None:
        """Raise ValueError if the first layer cannot take these inputs."""
        self.layers[0].check_values(x)

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the output of the last layer."""
        return self.forward_with_mask(x, training, mask)[0]

    def forward_with_mask(self, x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the output of the last layer, and which of its steps count."""
        y = x
        for layer in self.layers:
            y, mask = layer.forward_with_mask(y, training, mask)
        self.cache = ()
        return y, mask

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of all layers, return dx."""
        self.take_cache()
        for layer in reversed(self.layers):
            dy = layer.backward(dy, need_dx or layer is not self.layers[0])  # y = layer(y)
        dx = dy                                   # y = x
        return dx if need_dx else None


class Residual(Combination):
    """Layers with a way round them: y = f(x) + x, or f(x) + projection(x) (He, Zhang, Ren & Sun 2015).

    The gradient reaches x undiminished on the way round, which is why networks of a hundred residuals can be trained.

    Backward df = dy, ds = dy, dx = (f's backward of df) + (the projection's backward of ds)

    Parameters
    ----------
    layers : Layer or list of Layer
        f; a list is run one after another.
    projection : Layer or list of Layer, optional
        What x goes through on the way round, where f changes the shape: a Dense or a 1 x 1 Conv2D.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError
        If something given is no layer.
    ValueError
        If a list is empty, or a layer stands in here twice.
    ShapeError
        If f(x) and x, or its projection, have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> residual = Residual([Dense(3, kernel_initializer="ones"), Dense(2, kernel_initializer="ones")])
    >>> residual(np.array([[1.0, 2.0]]))
    array([[10., 11.]])
    """

    def __init__(self, layers: Any, projection: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.inner = self.take(layers, "layers")
        self.projection = None if projection is None else self.take(projection, "projection")

    def build(self, input_shape: Shape) -> Shape:
        """Build both ways, which must end in the same shape."""
        f_shape = self.build_inside(self.inner, input_shape)
        s_shape = input_shape if self.projection is None else self.build_inside(self.projection, input_shape)
        if f_shape != s_shape:
            other, advice = "the projection's", "Change one of the two."
            if self.projection is None:
                other = "x's"
                advice = "Give a projection that brings x into the other shape, such as Dense or a 1 x 1 Conv2D."
            raise ShapeError(
                f"{self.label}: the layers' output has the shape {show_shape(f_shape)}, {other} is "
                f"{show_shape(s_shape)}; they cannot be added. {advice}"
            )
        return f_shape

    takes_mask = True

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return f(x) + x, or f(x) + projection(x)."""
        f, _ = self.inner.forward_with_mask(x, training, mask)
        s = x if self.projection is None else self.projection.forward(x, training)
        y = f + s
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of both ways, return dx."""
        self.take_cache()
        df = dy                                   # y = f + s
        ds = dy                                   # y = f + s
        dx_f = self.inner.backward(df, need_dx)   # f = layers(x)
        dx_s = ds if self.projection is None else self.projection.backward(ds, need_dx)  # s = projection(x) or x
        if not need_dx:
            return None
        dx = dx_f + dx_s                          # x goes both ways
        return dx


class TimeDistributed(Combination):
    """One layer, with one set of weights, on every step of a sequence.

    The steps become samples, so that the layer sees one large batch: (batch, steps, ...) as (batch * steps, ...). A
    layer that lets samples meet, such as BatchNormalization in training, lets steps meet too.

    Backward dx = the layer's backward of dy, with steps as samples

    Parameters
    ----------
    layer : Layer or list of Layer
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError
        If `layer` is no layer.
    ShapeError
        If a sample is no sequence: it needs steps and one more axis.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Flatten
    >>> TimeDistributed(Flatten())(np.zeros((2, 10, 28, 28))).shape
    (2, 10, 784)
    """

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        self.layer = self.take(layer, "layer")

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """Whether the layer does."""
        return self.layer.takes_integers

    def check_values(self, x: Array) -> None:
        """Raise ValueError if the layer cannot take these inputs."""
        self.layer.check_values(x)

    def build(self, input_shape: Shape) -> Shape:
        """Build the layer for one step."""
        self.need_axes(input_shape, 2, "(batch, steps, features, ...)")
        return (input_shape[0], *self.build_inside(self.layer, input_shape[1:]))

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the layer's output for every step."""
        steps = x.reshape(-1, *x.shape[2:])       # (B, T, ...) -> (B T, ...)
        outputs = self.layer.forward(steps, training)
        y = outputs.reshape(*x.shape[:2], *outputs.shape[1:])  # (B T, ...) -> (B, T, ...)
        self.cache = x.shape
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the layer's gradients, return dx."""
        shape = self.take_cache()
        doutputs = dy.reshape(-1, *dy.shape[2:])  # y = outputs, step by step
        dsteps = self.layer.backward(doutputs, need_dx)  # outputs = layer(steps)
        if not need_dx:
            return None
        dx = dsteps.reshape(shape)                # steps = x, step by step
        return dx
