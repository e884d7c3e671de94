"""Model: a layer that owns all weights inside it. Its device, its seed, its dtype, its arena."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn import kernels
from tinynn.arguments import Shape, check_shape
from tinynn.backend import Array, Device, array_module, choose_device, generator, to_device
from tinynn.io import load_weights, save_weights
from tinynn.layers.base import Layer, ShapeError, show_shape
from tinynn.parameter import Arena

# What the random numbers of one seed are for; see backend.generator.
WEIGHTS, SHUFFLING, SPLITTING = 0, 1, 2


class Model(Layer):
    """A layer that owns all weights inside it, in one arena on one device.

    Parameters
    ----------
    name : str, optional
    device : {"auto", "cpu", "cuda"} or Device, optional
        Where the weights live; see `tinynn.backend.choose_device`.
    seed : int, optional
        Decides the initial weights, the shuffling and every other random number of this model. By default a new one
        is drawn; read it in ``model.seed``.
    dtype : {"float32", "float64", "mixed_float16"}, default "float32"
        The dtype of weights, activations and gradients. With "mixed_float16" a CUDA device computes with float16 and
        keeps the weights in float32; the CPU, which has no fast product for it, computes with float32.
    """

    arena: Arena | None = None

    def __init__(
        self,
        *,
        name: str | None = None,
        device: str | Device | None = None,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name)
        if dtype not in ("float32", "float64", "mixed_float16"):
            raise ValueError(f"{self.label}: dtype must be 'float32', 'float64' or 'mixed_float16', got {dtype!r}.")
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        elif not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"{self.label}: seed must be a whole number from 0 up, got {seed!r}.")
        self.device = choose_device(device)
        self.seed = int(seed)
        self.mixed = dtype == "mixed_float16"
        self.dtype = "float32" if self.mixed else dtype

    def connect(self, input_shape: Shape) -> Shape:
        """Build the layers inside for inputs of this shape and return the shape of the output."""
        raise TypeError(f"{type(self).__name__} needs a method connect(self, input_shape) that builds its layers")

    def build(self, input_shape: Any = None) -> Shape:
        """Make the weights of all layers and return the shape of the output.

        Parameters
        ----------
        input_shape : tuple of int, optional
            The shape of one sample; not needed where the model starts with an Input.
        """
        known = self.input_shape if self.input_shape is not None else self.given_input_shape
        if input_shape is not None:
            input_shape = check_shape(input_shape, f"{self.label}: build: input_shape")
            if known is not None and input_shape != known:
                raise ShapeError(
                    f"{self.label}: build: the model takes inputs of shape {show_shape(known)} already, "
                    f"got {show_shape(input_shape)}."
                )
        self.need_weights("build", input_shape)
        assert self.output_shape is not None
        return self.output_shape

    def need_weights(self, who: str, input_shape: Shape | None = None, unfilled: Any = None) -> None:
        """Make the weights if there are none yet.

        Parameters
        ----------
        who : str
            What needs them, for the message.
        input_shape : tuple of int, optional
            Used where the model was not told.
        unfilled : function, optional
            Makes zeros in place of the initial values, ``unfilled(shape, dtype)``, where a file will fill them.

        Raises
        ------
        RuntimeError
            If no input shape is known.
        ValueError
            If a layer belongs to another model. Nothing has been changed then, nor after any other error.
        """
        if self.input_shape is not None:
            return
        input_shape = input_shape if self.given_input_shape is None else self.given_input_shape
        if input_shape is None:
            raise RuntimeError(
                f"{self.label} has no weights yet, and {who} needs them: start the model with Input(shape), or give "
                "its first layer input_shape=..., or call build(input_shape) or fit first."
            )
        inside = list(self.walk())
        for layer in inside:
            if any(parameter.in_arena for parameter in layer.own_parameters):
                raise ValueError(
                    f"{layer.label} belongs to another model already: a layer's weights live in one model. "
                    "Make a new layer, and copy the weights with set_weights if they should start alike."
                )
        new = [layer for layer in inside if layer.input_shape is None]
        for index, layer in enumerate(inside):
            layer.dtype = self.dtype
            layer.rng = generator(self.seed, WEIGHTS, index)
            layer.unfilled = unfilled
            if isinstance(layer, Model):
                layer.device = self.device
        try:
            self.build_for(input_shape)
        except Exception:
            for layer in new:
                Layer.unbuild(layer)
            raise
        finally:
            for layer in inside:
                layer.unfilled = None
        filled, half = unfilled is None, self.computes_half
        self.arena = Arena(self.parameters, self.dtype, self.device.xp, inside[1:], copy_values=filled, half=half)
        for layer in inside if half else ():
            if not isinstance(layer, Model):
                layer.dtype = "float16"

    @property
    def computes_half(self) -> bool:
        """Whether the layers compute in half precision: if that was asked for, and the device can do it fast."""
        return self.mixed and self.device.xp is not np

    def unbuild(self) -> None:
        """Forget weights and shapes, of the layers inside too."""
        for layer in self.walk():
            Layer.unbuild(layer)
        self.arena = None

    def need_arena(self) -> Arena:
        """Return the arena, which only the outermost model has."""
        if self.arena is None:
            raise RuntimeError(f"{self.label} is a part of another model, which trains it: call fit on that model.")
        return self.arena

    def __call__(self, x: Array, training: bool = False, **others: Any) -> Any:
        """Return the output for `x`, an array on any device; builds the model at its first use."""
        array_module(x)
        self.need_weights("a call", tuple(x.shape[1:]))
        self.check_input(x)
        self.check_values(x)
        return self.forward(self.cast(to_device(x, self.device)), training, **others)

    def cast(self, x: Array) -> Array:
        """Return inputs in the model's dtype; numbers of things stay whole."""
        return x if self.takes_integers else x.astype("float16" if self.computes_half else self.dtype, copy=False)

    def get_weights(self) -> list[Array]:
        """Return copies of all weights as NumPy arrays, in Keras's order and layout."""
        self.need_weights("get_weights")
        return super().get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write all weights or none; see `Layer.set_weights`."""
        self.need_weights("set_weights")
        super().set_weights(weights)
        self.refresh()

    def refresh(self) -> None:
        """Bring weights that were written to where the layers compute with them."""
        if self.arena is not None:
            self.arena.refresh()

    def save_weights(self, path: Any) -> None:
        """Write all weights to a safetensors file; a kill at any moment leaves the old file or the new one.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.safetensors``. A file that is there is replaced.

        Raises
        ------
        OSError
            If the file cannot be written, with the reason and what to do; the old file is as it was.

        Examples
        --------
        >>> import os, tempfile
        >>> import tinynn
        >>> def network(seed):
        ...     return tinynn.Sequential([tinynn.Input((3,)), tinynn.Dense(4, activation="relu")], seed=seed)
        >>> first, second = network(seed=0), network(seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "network.safetensors")
        ...     first.save_weights(path)
        ...     second.load_weights(path)
        >>> bool((first.get_weights()[0] == second.get_weights()[0]).all())
        True
        """
        self.need_weights("save_weights")
        save_weights(self, path)

    def load_weights(self, path: Any) -> None:
        """Write all weights from a file that `save_weights` made, or none; see `tinynn.io.load_weights`.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged or of another model; the message has everything that differs.
        """
        self.need_weights("load_weights")
        load_weights(self, path)
        self.refresh()

    def count_params(self) -> int:
        """Return how many numbers the model learns."""
        self.need_weights("count_params")
        return super().count_params()

    def forget(self) -> None:
        """Drop what the layers keep for a backward pass that will not come, and the memory kept for it."""
        self.cache = None
        for layer in self.walk() if self.arena is None else self.arena.layers:
            layer.cache = None
        kernels.release()
