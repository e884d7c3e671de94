"""Branches: several layers on one input, whose outputs meet again: added, averaged, multiplied, side by side.

The derivative of a fork is a sum: x goes to every branch, and dx is the sum of what the branches send back.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.arguments import Shape
from tinynn.backend import Array, array_module
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.combine import Combination


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

    takes_mask = True
    mask_out: Array | None = None

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """Whether a branch does."""
        return any(branch.takes_integers for branch in self.branches)

    def check_values(self, x: Array) -> None:
        """Raise ValueError if a branch cannot take these inputs."""
        for branch in self.branches:
            branch.check_values(x)

    def compute_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Return which steps counted in the output of the last forward."""
        return self.mask_out

    def fork(self, x: Array, training: bool, mask: Array | None) -> list[Array]:
        """Return the output of every branch."""
        ys, self.mask_out = [], None
        for branch in self.branches:
            y, branch_mask = branch.forward_with_mask(x, training, mask)
            ys.append(y)
            if branch_mask is not None:           # a step of the output counts where it does in every branch
                self.mask_out = branch_mask if self.mask_out is None else self.mask_out & branch_mask
        return ys

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

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the sum of the branches."""
        ys = self.fork(x, training, mask)
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

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the mean of the branches."""
        ys = self.fork(x, training, mask)
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

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the product of the branches."""
        ys = self.fork(x, training, mask)
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

    def forward(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the outputs side by side."""
        xp = array_module(x)
        ys = self.fork(x, training, mask)
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


def total(arrays: list[Array]) -> Array:
    """Return the sum of arrays; writes into none of them."""
    result = arrays[0]
    for array in arrays[1:]:
        result = result + array
    return result
