"""Parameter: one array a layer learns. Arena: the two flat vectors all of them live in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinynn.backend import Array, array_module
from tinynn.regularizers import Regularizer


class Parameter:
    """One array that a layer learns, and its gradient; or one that it keeps, without a gradient.

    The layer reads both as plain attributes, ``self.W`` and ``self.dW``, so that its formulas look as they do in a
    book; the Parameter behind them keeps name and shape, and knows where to put the views.

    Parameters
    ----------
    owner : Layer
        The layer whose attributes `name` and ``d`` + `name` show the value and the gradient.
    name : str
        The short name in the formulas: ``"W"``, ``"b"``.
    value : array
        The initial value.
    trainable : bool, default True
        False for what a layer keeps and does not learn, such as running means; it has no gradient.
    regularizer : Regularizer, optional
        A penalty on the value, which the training adds to the loss.
    """

    def __init__(
        self, owner: Any, name: str, value: Array, trainable: bool = True, regularizer: Regularizer | None = None
    ) -> None:
        self.owner = owner
        self.name = name
        self.shape: tuple[int, ...] = value.shape
        self.size: int = math.prod(self.shape)
        self.trainable = trainable
        self.regularizer = regularizer
        self.in_arena = False
        self.bind(value, array_module(value).zeros(self.shape, dtype=value.dtype))

    def bind(self, value: Array, grad: Array) -> None:
        """Make `value` and `grad` the arrays that the owner computes with; `grad` counts only where it is learned."""
        self.value = value
        self.grad = grad
        self.show(value, grad)

    def show(self, value: Array, grad: Array) -> None:
        """Let the owner compute with these arrays, which are not always those that the optimizer changes."""
        attributes = vars(self.owner)  # past Layer.__setattr__, which would copy into the old arrays
        attributes[self.name] = value
        if self.trainable:
            attributes[f"d{self.name}"] = grad
        self.owner.view_names |= {self.name, f"d{self.name}"} if self.trainable else {self.name}

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.value.dtype})"


class Arena:
    """All parameters of a model in one flat vector, all gradients in another, in the order of the layers.

    An optimizer is then a formula on two flat vectors, a norm one sum, a copy of the weights one copy. The layers
    keep views: ``dense.W`` is a piece of ``arena.values``. Making the arena is the only time a view is bound; from
    then on values are written in place.

    Parameters
    ----------
    parameters : sequence of Parameter
        In the order of the layers. Their values are copied in.
    dtype : str
        The model's dtype.
    xp : module
        ``numpy`` or ``cupy``: the library of the model's device.
    layers : sequence of Layer, default ()
        All layers inside the model.
    copy_values : bool, default True
        False where a file will fill the vectors; until then they hold anything.
    half : bool, default False
        Whether the layers compute with copies in half precision: see `tinynn.half`.

    Attributes
    ----------
    values, grads : array of shape (number of learned numbers,)
    state : array of shape (number of kept numbers,)
        What layers keep and do not learn, such as running means.
    half, half_grads : array
        What the layers compute with in place of `values` and `grads`, where that is half precision.
    regularized : list of (Parameter, Regularizer)
        Those with a penalty.
    layers : list of Layer
        As given. They stand here, and not in an attribute of the model, whose layers would then be found twice.
    penalized : list of Layer
        Those whose forward adds to the loss, by their ``activity_penalty``.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.layers import Dense
    >>> dense = Dense(2, kernel_initializer="ones")
    >>> dense.build((3,))
    (2,)
    >>> arena = Arena(dense.parameters, "float32", np)
    >>> arena.values
    array([1., 1., 1., 1., 1., 1., 0., 0.], dtype=float32)
    >>> arena.values[:] = 5     # the layer sees it: W is a view
    >>> dense.W[0]
    array([5., 5.], dtype=float32)
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        dtype: str,
        xp: Any,
        layers: Sequence[Any] = (),
        copy_values: bool = True,
        half: bool = False,
    ) -> None:
        self.xp = xp
        self.in_half = half
        self.layers = list(layers)
        self.penalized = [layer for layer in self.layers if layer.activity_penalty is not None]
        self.parameters = list(parameters)
        learned = [parameter for parameter in self.parameters if parameter.trainable]
        kept = [parameter for parameter in self.parameters if not parameter.trainable]
        self.values: Array = xp.empty(sum(parameter.size for parameter in learned), dtype=dtype)
        self.grads: Array = xp.zeros(self.values.shape, dtype=dtype)
        self.state: Array = xp.empty(sum(parameter.size for parameter in kept), dtype=dtype)
        if half:
            self.half: Array = xp.empty(self.values.shape, dtype="float16")
            self.half_grads: Array = xp.zeros(self.values.shape, dtype="float16")
        for group, values, grads in ((learned, self.values, self.grads), (kept, self.state, self.state)):
            start = 0
            for parameter in group:
                stop = start + parameter.size
                value = values[start:stop].reshape(parameter.shape)
                if copy_values:
                    value[...] = xp.asarray(parameter.value)
                parameter.bind(value, grads[start:stop].reshape(parameter.shape))
                if half and group is learned:
                    shown = (vector[start:stop].reshape(parameter.shape) for vector in (self.half, self.half_grads))
                    parameter.show(*shown)
                parameter.in_arena = True
                start = stop
        if copy_values:
            self.refresh()
        self.regularized = [(p, p.regularizer) for p in learned if p.regularizer is not None]

    def __getstate__(self) -> tuple[list[Parameter], list[Any], Array, bool]:
        """Return what a copy needs: `copy` and `pickle` would make every view an array of its own.

        The arrays themselves travel in the layers; the empty one says which dtype and whose library.
        """
        return self.parameters, self.layers, self.values[:0], self.in_half

    def __setstate__(self, state: tuple[list[Parameter], list[Any], Array, bool]) -> None:
        """Make the arena anew over the copied layers, whose arrays become views into it."""
        parameters, layers, empty, half = state
        Arena.__init__(self, parameters, str(empty.dtype), array_module(empty), layers, half=half)

    def refresh(self) -> None:
        """Bring what was written into `values` to the layers, where these compute with copies."""
        if self.in_half:
            self.half[...] = self.values

    def collect(self, scale: float) -> None:
        """Make `grads` what the layers wrote, divided by the scale of the loss."""
        self.xp.divide(self.half_grads, scale, out=self.grads, dtype=self.grads.dtype)

    @property
    def size(self) -> int:
        """How many numbers are learned."""
        return int(self.values.size)

    def new_slot(self) -> Array:
        """Return a vector of zeros as long as the arena: an optimizer's memory."""
        slot: Array = self.xp.zeros_like(self.values)
        return slot
