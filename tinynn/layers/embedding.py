"""Embedding: a table of learned vectors, one for each thing that has a number."""

from __future__ import annotations

from typing import Any

from tinynn import initializers, regularizers
from tinynn.arguments import Shape, check_count
from tinynn.backend import Array, array_module
from tinynn.kernels import can_fuse, fused_kernels
from tinynn.layers.base import Layer


class Embedding(Layer):
    """Looks up a learned vector for each number in x: y = W[x].

    It is the product of one-hot rows with W, without the zeros: of the rows of W a batch uses few, and only those get a
    gradient, each the sum over its places.

    Shapes   x (B, ...) whole numbers, W (V, D), y (B, ..., D)     V things, D numbers in a vector
    Starts   W uniform from -0.05 to 0.05
    Backward dW[v] = sum of dy over the places where x = v; x is whole numbers and has no gradient: dx is None
             (Bengio, Ducharme, Vincent & Jauvin 2003)

    Parameters
    ----------
    input_dim : int
        How many things there are, V: one more than the largest number.
    output_dim : int
        How many numbers stand for each, D.
    embeddings_initializer : str or Initializer, default "uniform"
    embeddings_regularizer : str or Regularizer, optional
        A penalty on W that training adds to the loss.
    mask_zero : bool, default False
        The number 0 stands for padding: layers above that take a mask leave its steps out, and so does the loss.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is not a whole number from 1 up, or x holds a number that is not from 0 to input_dim - 1.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = Embedding(3, 2)
    >>> y = embedding(np.array([[2, 0, 2]]))
    >>> y.shape, bool((y[0, 0] == embedding.W[2]).all())
    ((1, 3, 2), True)
    >>> embedding.backward(np.ones((1, 3, 2)))
    >>> embedding.dW                                               # 0 was there once, 1 never, 2 twice
    array([[1., 1.],
           [0., 0.],
           [2., 2.]], dtype=float32)
    """

    W: Array
    dW: Array
    takes_integers = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim = check_count(input_dim, f"{self.label}: input_dim")
        self.output_dim = check_count(output_dim, f"{self.label}: output_dim")
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.mask_zero = mask_zero

    def build(self, input_shape: Shape) -> Shape:
        """Make W."""
        shape = (self.input_dim, self.output_dim)
        self.add_weight("W", shape, self.embeddings_initializer, regularizer=self.embeddings_regularizer)
        return (*input_shape, self.output_dim)

    def check_values(self, x: Array) -> None:
        """Raise ValueError unless x is whole numbers from 0 to input_dim - 1."""
        self.check_kind(x)
        low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
        numbers = f"{self.label} has vectors for the numbers 0 to {self.input_dim - 1}"
        if low < 0:
            raise ValueError(f"{numbers}, got {low}. Numbers count from 0 up; look at the data.")
        if high >= self.input_dim:
            raise ValueError(f"{numbers}, got {high}. Make it with input_dim={high + 1}, or look at the data.")

    def check_kind(self, x: Array) -> None:
        """Raise ValueError unless x is whole numbers."""
        if x.dtype.kind not in "iu":
            raise ValueError(
                f"{self.label} expected whole numbers (token ids), got {x.dtype}. Change them with x.astype('int32'); "
                "a layer before it makes them floating point, so in a model it stands first."
            )

    def compute_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Return where x is not the padding 0, with `mask_zero`."""
        if not self.mask_zero:
            return mask
        return x != 0 if mask is None else (x != 0) & mask

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return a vector for each number in x."""
        self.check_kind(x)                        # a model looks at what its first layer gets; this may be another
        y = self.W[x]                             # (B, ...) -> (B, ..., D)
        self.cache = x
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        """Write dW; there is no dx."""
        x = self.take_cache()
        # y = W[x]: each row of W reaches the places where its number stands.
        dW = sum_by_number(x.reshape(-1), dy.reshape(-1, self.output_dim), out=self.dW)


def sum_by_number(numbers: Array, rows: Array, out: Array) -> Array:
    """Write into ``out[v]`` the sum of the rows whose number is v; zero where there are none.

    The rows are sorted by number and summed run by run, always in the same order, so that the result is the same to
    the last bit every time: `add.at` on a GPU adds in the order in which the threads arrive. They are summed in
    float64: CuPy takes a run's sum as the difference of two sums from the first row on, which float32 would blur.
    """
    if can_fuse(rows, "sum_by_number") and len(out) * len(numbers) <= fused_kernels(rows).MOST_NUMBERS:
        return fused_kernels(rows).sum_by_number(numbers, rows, out)
    xp = array_module(rows)
    order = xp.argsort(numbers, kind="stable")
    in_order = numbers[order]
    first = xp.ones(len(in_order), dtype=bool)    # where a new number begins
    first[1:] = in_order[1:] != in_order[:-1]
    starts = xp.flatnonzero(first)
    out[...] = 0
    out[in_order[starts]] = xp.add.reduceat(rows[order], starts, axis=0, dtype="float64")
    return out
