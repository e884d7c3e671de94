"""Transformer: the block that attention networks are stacks of."""

from __future__ import annotations

from typing import Any

from tinynn.arguments import Shape, check_count, check_number
from tinynn.layers.attention import MultiHeadAttention
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.layers.combine import Chain, Residual
from tinynn.layers.dense import Dense
from tinynn.layers.normalization import LayerNormalization
from tinynn.layers.regularization import Dropout


class TransformerBlock(Chain):
    """Attention among the steps, then a small network for each step, both as residuals.

        x = x + attention(norm(x))
        y = x + Dense(dim)(Dense(intermediate_dim, activation)(norm(x)))

    with dropout, if any, before each sum. With ``norm_first=False`` it is the block of the first paper, normalized
    after each sum: x = norm(x + attention(x)), and so on.

    Shapes   x (B, T, dim), y the same                       B batch, T steps
    Starts   as `MultiHeadAttention`, `Dense` and `LayerNormalization` do
    Backward that of the residuals, in reverse     (Vaswani et al. 2017; norm first: Xiong et al. 2020)

    Parameters
    ----------
    dim : int
        The number of features of x and y.
    num_heads : int
        How many heads the attention has; `dim` must be a multiple of it.
    intermediate_dim : int, optional
        The width of the small network; by default 4 dim.
    dropout : float, default 0.0
        The share of what each residual adds, and of the attention's shares, that is dropped in training.
    activation : str or Layer, default "relu"
        In the small network.
    use_causal_mask : bool, default False
        Whether a step sees itself and those before it alone.
    num_key_value_heads, rotary
        As in `MultiHeadAttention`.
    norm_first : bool, default True
        Whether each residual normalizes what goes into it, or the sum that comes out.
    epsilon : float, default 1e-5
        Of the normalization.
    **options
        ``name`` and ``input_shape``, as for every `Layer`.

    Raises
    ------
    ValueError
        If a size is not a whole number from 1 up, or `dim` is no multiple of `num_heads`.
    ShapeError
        If the input is not (batch, steps, dim).

    Examples
    --------
    >>> import numpy as np
    >>> block = TransformerBlock(8, num_heads=2, use_causal_mask=True)
    >>> block(np.ones((1, 5, 8))).shape, block.count_params()
    ((1, 5, 8), 872)
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        intermediate_dim: int | None = None,
        dropout: float = 0.0,
        activation: Any = "relu",
        use_causal_mask: bool = False,
        num_key_value_heads: int | None = None,
        rotary: bool = False,
        norm_first: bool = True,
        epsilon: float = 1e-5,
        **options: Any,
    ) -> None:
        name = options.get("name")
        who = f"{name} ({type(self).__name__})" if name else type(self).__name__
        dim, num_heads = check_count(dim, f"{who}: dim"), check_count(num_heads, f"{who}: num_heads")
        if dim % num_heads:
            raise ValueError(
                f"{who}: dim must be a multiple of num_heads, so that each head gets as many features, "
                f"got dim={dim} and num_heads={num_heads}."
            )
        dropout = check_number(dropout, f"{who}: dropout", 0, 1)
        width = 4 * dim if intermediate_dim is None else check_count(intermediate_dim, f"{who}: intermediate_dim")
        attention: list[Layer] = [
            MultiHeadAttention(
                num_heads,
                dim // num_heads,
                dropout=dropout,
                num_key_value_heads=num_key_value_heads,
                use_causal_mask=use_causal_mask,
                rotary=rotary,
            )
        ]
        network: list[Layer] = [Dense(width, activation=activation), Dense(dim)]
        if dropout:
            attention.append(Dropout(dropout))
            network.append(Dropout(dropout))
        first, second = LayerNormalization(epsilon=epsilon), LayerNormalization(epsilon=epsilon)
        layers: list[Layer]
        if norm_first:
            layers = [Residual([first, *attention], name="attention"), Residual([second, *network], name="network")]
        else:
            layers = [Residual(attention, name="attention"), first, Residual(network, name="network"), second]
        super().__init__(layers, who, **options)
        self.dim = dim

    def build(self, input_shape: Shape) -> Shape:
        """Build attention and network."""
        if len(input_shape) != 2 or input_shape[0] == 0 or input_shape[1] != self.dim:
            advice = "It must be steps of features, with at least one step."
            if len(input_shape) == 2 and input_shape[0]:
                advice = f"Make it with dim={input_shape[1]}, or put a Dense({self.dim}) before it."
            raise ShapeError(
                f"{self.label} expected an input of shape (batch, steps, {self.dim}), "
                f"got {show_shape(input_shape)}. {advice}"
            )
        return super().build(input_shape)
