"""What users give as arrays: checked before training sees it, or the error that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host


def check_array(x: Any, who: str, name: str) -> Array:
    """Return `x` as an array of at least one sample of finite numbers, or say what is wrong with it."""
    if isinstance(x, list | tuple):
        x = np.asarray(x)
    try:
        xp = array_module(x)
    except TypeError as error:
        raise TypeError(f"{who}: {name}: {error}") from None
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{who}: {name} must hold numbers, got dtype {x.dtype}.")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{who}: {name} is empty: its shape is {tuple(x.shape)}. Give at least one sample.")
    # A sum is not finite if a number in it is not: a quick look at all of them, and a slow one only in doubt.
    if x.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not bool(xp.isfinite(x.sum()))
        if suspicious and not bool(xp.isfinite(x).all()):
            wrong = to_host(~xp.isfinite(x))
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{who}: {name} holds {int(wrong.sum())} NaN or infinite values, the first at {name}[{place}] "
                f"= {float(x[place])}. Clean the data first, for example with numpy.nan_to_num."
            )
    return x
