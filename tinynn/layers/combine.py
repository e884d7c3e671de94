"""Combine: layers made of layers that work on one input. Residuals, branches that meet again, one layer for every step.

Where a layer is wanted, a list of layers may stand: they are run one after another. The derivative of a fork is a sum:
x goes to every branch, and dx is the sum of what the branches send back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
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

    def __init__(self, layers: Sequence[Any], who: str) -> None:
        super().__init__()
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

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the output of the last layer."""
        y = x
        for layer in self.layers:
            y = layer.forward(y, training)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of all layers, return dx."""
        self.take_cache()
        dx = dy
        for layer in reversed(self.layers):
            dx = layer.backward(dx, need_dx or layer is not self.layers[0])
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

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return f(x) + x, or f(x) + projection(x)."""
        f = self.inner.forward(x, training)
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


class Branches(Combination):
    """Base of the layers that give x to several branches and bring their outputs together."""

    def __init__(self, branches: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(branches, list | tuple) or len(branches) < 2:
            raise ValueError(
                f"{self.label}: expected a list of two or more branches, each a layer or a list of layers, "
                f"got {branches!r:.60}."
            )
        self.branches: list[Layer] = []
        for number, branch in enumerate(branches):
            self.branches.append(self.take(branch, f"branch {number}"))

    def build(self, input_shape: Shape) -> Shape:
        """Build the branches and return the shape of what they become together."""
        return self.together([self.build_inside(branch, input_shape) for branch in self.branches])

    def together(self, shapes: list[Shape]) -> Shape:
        """Return the one shape that all branches must have."""
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ShapeError(
                    f"{self.label}: branch 0 gives the shape {show_shape(shapes[0])} and branch {number} gives "
                    f"{show_shape(shape)}; they must be the same. Change a branch, or use Concatenate."
                )
        return shapes[0]

    def fork(self, x: Array, training: bool) -> list[Array]:
        """Return the output of every branch."""
        return [branch.forward(x, training) for branch in self.branches]

    def fork_back(self, dys: list[Array], need_dx: bool) -> Any:
        """Write the gradients of every branch and return dx, the sum of what they send back."""
        dxs = [branch.backward(dy, need_dx) for branch, dy in zip(self.branches, dys, strict=True)]
        return total(dxs) if need_dx else None


class Add(Branches):
    """The sum of several branches on one input: y = y_0 + y_1 + ...

    Backward dy_i = dy, dx = sum of what the branches send back

    Parameters
    ----------
    branches : list
        Two or more, each a layer or a list of layers, whose outputs have one shape; `Linear()` gives x itself.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two branches, one is no layer, or a layer stands in here twice.
    ShapeError
        If the branches' outputs have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Linear, ReLU
    >>> Add([Linear(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the sum of the branches."""
        ys = self.fork(x, training)
        y = total(ys)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of the branches, return dx."""
        self.take_cache()
        dys = [dy] * len(self.branches)           # y = y_0 + y_1 + ...
        dx = self.fork_back(dys, need_dx)         # y_i = branch_i(x)
        return dx


class Average(Branches):
    """The mean of n branches on one input: y = (y_0 + y_1 + ...) / n.

    Backward dy_i = dy / n, dx = sum of what the branches send back

    Parameters
    ----------
    branches : list
        Two or more, each a layer or a list of layers, whose outputs have one shape; `Linear()` gives x itself.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two branches, one is no layer, or a layer stands in here twice.
    ShapeError
        If the branches' outputs have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Linear, ReLU
    >>> Average([Linear(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-0.5,  2. ]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the mean of the branches."""
        ys = self.fork(x, training)
        y = total(ys) / len(ys)
        self.cache = ()
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of the branches, return dx."""
        self.take_cache()
        n = len(self.branches)
        dys = [dy / n] * n                        # y = (y_0 + y_1 + ...) / n
        dx = self.fork_back(dys, need_dx)         # y_i = branch_i(x)
        return dx


class Multiply(Branches):
    """The product of several branches on one input: y = y_0 y_1 ...; with two, the one gates the other.

    Backward dy_i = dy times the product of the other branches, made without division, for a branch may be 0;
             dx = sum of what the branches send back

    Parameters
    ----------
    branches : list
        Two or more, each a layer or a list of layers, whose outputs have one shape; `Linear()` gives x itself.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two branches, one is no layer, or a layer stands in here twice.
    ShapeError
        If the branches' outputs have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Linear, Sigmoid
    >>> swish = Multiply([Linear(), Sigmoid()])
    >>> swish(np.array([[0.0, 100.0]]))
    array([[  0., 100.]])
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the product of the branches."""
        ys = self.fork(x, training)
        y = math.prod(ys[1:], start=ys[0])
        self.cache = ys
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of the branches, return dx."""
        ys = self.take_cache()
        dys = []
        for i in range(len(ys)):
            others = [*ys[:i], *ys[i + 1 :]]
            dys.append(math.prod(others, start=dy))  # y = y_0 y_1 ...
        dx = self.fork_back(dys, need_dx)         # y_i = branch_i(x)
        return dx


class Concatenate(Branches):
    """The outputs of several branches on one input side by side; also called parallel layers.

    Backward dy_i = branch i's piece of dy, dx = sum of what the branches send back

    Parameters
    ----------
    branches : list
        Two or more, each a layer or a list of layers, whose outputs have the same sizes but along `axis`;
        `Linear()` gives x itself.
    axis : int, default -1
        Where the outputs stand side by side; counted with the batch axis, which is 0 and cannot be it.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two branches, one is no layer, a layer stands in here twice, or `axis` is 0.
    ShapeError
        If the branches' outputs do not fit side by side.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Linear, ReLU
    >>> Concatenate([Linear(), ReLU()])(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.,  0.,  2.]])
    """

    def __init__(self, branches: Any, axis: int = -1, **options: Any) -> None:
        super().__init__(branches, **options)
        if not isinstance(axis, int) or isinstance(axis, bool) or axis == 0:
            raise ValueError(f"{self.label}: axis must be a whole number and not 0, the batch axis, got {axis!r}.")
        self.axis = axis

    def together(self, shapes: list[Shape]) -> Shape:
        """Return the shape with the sizes along the axis added up."""
        first, count = shapes[0], len(shapes[0]) + 1
        axis = self.axis + count if self.axis < 0 else self.axis
        if not 1 <= axis < count:
            raise ShapeError(
                f"{self.label}: axis={self.axis} is none of the {count - 1} axes after the batch axis of "
                f"{show_shape(first)}, the output of branch 0."
            )
        for number, shape in enumerate(shapes):
            if len(shape) != len(first) or shape[: axis - 1] != first[: axis - 1] or shape[axis:] != first[axis:]:
                raise ShapeError(
                    f"{self.label}: branch 0 gives the shape {show_shape(first)} and branch {number} gives "
                    f"{show_shape(shape)}; they must be the same but along axis {axis}. Change a branch, or the axis."
                )
        return (*first[: axis - 1], sum(shape[axis - 1] for shape in shapes), *first[axis:])

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the outputs side by side."""
        xp = array_module(x)
        ys = self.fork(x, training)
        y = xp.concatenate(ys, axis=self.axis)    # (..., F_0), (..., F_1), ... -> (..., F_0 + F_1 + ...)
        self.cache = [y_i.shape[self.axis] for y_i in ys]
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write the gradients of the branches, return dx."""
        sizes = self.take_cache()
        piece = [slice(None)] * dy.ndim
        dys, start = [], 0
        for size in sizes:
            piece[self.axis] = slice(start, start + size)
            dys.append(dy[tuple(piece)])          # y = y_0 beside y_1 ...
            start += size
        dx = self.fork_back(dys, need_dx)         # y_i = branch_i(x)
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


def total(arrays: list[Array]) -> Array:
    """Return the sum of arrays; writes into none of them."""
    result = arrays[0]
    for array in arrays[1:]:
        result = result + array
    return result
