"""Memory: what is said and done when the memory of a device is full."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DeviceMemoryError(MemoryError):
    """The memory of the device was not enough; the message has how much was asked for, and what to lower."""


def explains_memory(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Wrap a method of a model so that a device whose memory is full is explained, and the model stays usable."""

    @functools.wraps(method)
    def explained(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except MemoryError as error:
            model: Any = args[0]
            if model.device.name != "cuda" or isinstance(error, DeviceMemoryError):
                raise
            message = f"{method.__name__}: {explanation(error, model.device.xp)}"
            traceback.clear_frames(error.__traceback__)  # what was made until then hangs on them
        let_go(model)
        raise DeviceMemoryError(message)  # here, where the frames are gone

    return explained


def explanation(error: MemoryError, xp: Any) -> str:
    """Return what was asked for, what there is, and what to lower."""
    found = re.search(r"allocating ([\d,]+) bytes", str(error))
    asked = f"{size(int(found[1].replace(',', '')))} more were asked for" if found else str(error)
    free, total = xp.cuda.runtime.memGetInfo()
    return (
        f"the device's memory is full: {asked}, and of {size(total)} there are {size(free)} free. Lower batch_size, "
        "make the network narrower, or halve what a number takes with dtype='mixed_float16'; data that are too large "
        "for the device come batch by batch from a tinynn.data.Dataset. The weights are those before this step, and "
        "the model can be used."
    )


def size(count: int) -> str:
    """Return a number of bytes as one reads it.

    Examples
    --------
    >>> size(2**34), size(3 * 2**19), size(100)
    ('16.00 GiB', '1.50 MiB', '100 bytes')
    """
    for power, unit in ((30, "GiB"), (20, "MiB")):
        if count >= 2**power:
            return f"{count / 2**power:.2f} {unit}"
    return f"{count} bytes"


def let_go(model: Any) -> None:
    """Free all that a step has left: caches of layers, captured steps, and what CuPy keeps for later."""
    model.forget()
    if model.captured is not None:
        model.captured.forget()
    model.device.xp.get_default_memory_pool().free_all_blocks()
