"""Which array library, which device, moving between them, and why that one was chosen.

Arrays decide the library: a layer asks ``xp = array_module(x)`` and computes with what it gets. Nothing is swapped
globally, so a CPU and a GPU model can stand side by side in one process.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DEVICE_NAMES = ("auto", "cpu", "cuda")


def array_module(x: Any) -> Any:
    """Return the library that made the array `x`: ``numpy`` or ``cupy``.

    Parameters
    ----------
    x : array
        A NumPy or CuPy array.

    Raises
    ------
    TypeError
        If `x` is an array of another library, or no array.

    Examples
    --------
    >>> import numpy as np
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    if isinstance(x, np.ndarray):
        return np
    # CuPy is never imported here: an array of CuPy's exists only where CuPy has been imported already.
    if type(x).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]
    raise TypeError(
        f"expected a NumPy or CuPy array, got {type(x).__module__}.{type(x).__qualname__}. "
        "Convert it first, for example with numpy.asarray(x)."
    )


@dataclass(frozen=True)
class Device:
    """Where arrays live and which library computes on them.

    Attributes
    ----------
    name : str
        ``"cpu"`` or ``"cuda"``.
    xp : module
        ``numpy`` or ``cupy``.
    reason : str
        Why this device was chosen, in one sentence.
    """

    name: str
    xp: Any
    reason: str

    def __deepcopy__(self, memo: dict[int, Any]) -> Device:
        """Return this device: a copied model lives where the original does."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name alone: whoever reads it looks for a device of that name on its own machine."""
        return choose_device, (self.name,)


def choose_device(device: str | Device | None = None) -> Device:
    """Choose the device to compute on, and say why.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"} or Device, optional
        ``"auto"`` takes a CUDA device where one can be used and the CPU otherwise. None (the default) reads the
        environment variable ``TINYNN_DEVICE``, and is ``"auto"`` where that is not set.

    Returns
    -------
    Device

    Raises
    ------
    ValueError
        For an unknown name.
    RuntimeError
        If ``"cuda"`` was asked for and cannot be had; the message says what is missing.

    Examples
    --------
    >>> choose_device("cpu")
    Device(name='cpu', xp=<module 'numpy' ...>, reason='the CPU was asked for')
    """
    if isinstance(device, Device):
        return device
    origin = "asked for"
    if device is None:
        device = os.environ.get("TINYNN_DEVICE") or "auto"
        origin = "asked for by TINYNN_DEVICE"
    if device not in DEVICE_NAMES:
        raise ValueError(f"unknown device {device!r} {origin}; choose one of {', '.join(DEVICE_NAMES)}.")
    if device == "cpu":
        return Device("cpu", np, f"the CPU was {origin}")

    cupy, finding = _probe_cuda()
    if cupy is not None:
        return Device("cuda", cupy, finding)
    if device == "cuda":
        raise RuntimeError(f"the device 'cuda' was {origin}, but {finding}")
    return Device("cpu", np, finding)


def _probe_cuda() -> tuple[Any, str]:
    """Try a CUDA device for real: CuPy can be imported where there is no driver, and then fails at the first array.

    Returns CuPy and the device's name, or None and what is missing.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        if error.name == "cupy":
            return None, f"CuPy is not installed. {what_to_install()}"
        return None, f"CuPy is installed but cannot be imported: {error}"
    except Exception as error:  # an old CuPy beside a new NumPy fails with errors of any kind
        return None, f"CuPy is installed but cannot be imported: {type(error).__name__}: {error}"
    found = f"CuPy {cupy.__version__}"
    if [int(part) for part in re.findall(r"\d+", cupy.__version__)[:2]] < OLDEST_CUPY:
        oldest = ".".join(map(str, OLDEST_CUPY))
        return None, f"{found} is installed and too old, for tinynn needs CuPy {oldest} or later. {what_to_install()}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if count == 0:
            return None, f"{found} is installed, but this machine has no CUDA device."
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception as error:  # CuPy raises classes of its own that exist only where it could be imported
        return None, (
            f"{found} is installed, but the CUDA driver does not answer: {error}. Check `nvidia-smi`. "
            f"{what_to_install()}"
        )
    try:
        # One compiled kernel and one product: the compiler and cuBLAS must be there as well as the driver.
        ones = cupy.ones((2, 2), dtype="float32")
        total = float(cupy.matmul(ones + ones, ones).sum())
    except Exception as error:
        return None, (
            f"{found} is installed and sees {name}, but cannot compute on it: {error}. The CUDA toolkit's "
            "libraries seem to be missing, or of another version than CuPy. " + what_to_install()
        )
    if total != 16.0:
        return None, f"{found} computes wrongly on {name}: a product that is 16 came out as {total}."
    return cupy, f"{found} can use {name}"


# Older ones give a kernel no null pointer for None (before 14.0), and free a pool's memory that is still in use with
# the pool (before 14.1).
OLDEST_CUPY = [14, 1]

# CuPy's packages, of which one may be installed.
CUPYS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")


def what_to_install() -> str:
    """Return which extra fits this machine's driver, and what stands against it."""
    speaks = driver_version()
    if speaks is None:
        return (
            "Install tinynn from its checkout with the extra that fits your driver: pip install '.[cuda12]' or "
            "pip install '.[cuda13]'. On this machine no NVIDIA driver was found (the library libcuda), and without "
            "one no CUDA device can be used."
        )
    driver = f"The driver of this machine speaks CUDA {speaks[0]}.{speaks[1]}"
    if speaks[0] < 12:
        return f"{driver}, and tinynn needs one for CUDA 12 or later: install a newer driver."
    extra = f"cuda{min(speaks[0], 13)}"
    installed = installed_cupys()
    if len(installed) > 1:
        return f"{driver}. {' and '.join(installed)} are both installed and break each other: uninstall all but one."
    first = "".join(f"pip uninstall {name}, then " for name in installed if name != f"cupy-{extra}x")
    return f"{driver}. Install tinynn from its checkout with the extra that fits: {first}pip install '.[{extra}]'."


def installed_cupys() -> list[str]:
    """Return the names of CuPy's packages that are installed."""
    from importlib import metadata

    found = []
    for name in CUPYS:
        with suppress(metadata.PackageNotFoundError):
            found.append(metadata.distribution(name).name)
    return found


def driver_version() -> tuple[int, int] | None:
    """Return which CUDA the driver speaks, None where there is no driver."""
    version = ctypes.c_int()
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        if driver.cuDriverGetVersion(ctypes.byref(version)):
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10


def to_device(x: Any, device: Device) -> Array:
    """Return `x` as an array on `device`, copied only where it is not there yet.

    Examples
    --------
    >>> to_device([1.0, 2.0], choose_device("cpu"))
    array([1., 2.])
    """
    if device.xp is np and not isinstance(x, np.ndarray):
        return to_host(x)
    array: Array = device.xp.asarray(x)
    return array


def to_host(x: Any) -> Array:
    """Return `x` as a NumPy array, copied only where it is on another device.

    Examples
    --------
    >>> to_host([1.0, 2.0])
    array([1., 2.])
    """
    if not isinstance(x, np.ndarray) and type(x).__module__.partition(".")[0] == "cupy":
        host: Array = x.get()
        return host
    return np.asarray(x)


def generator(seed: int, *purpose: int) -> np.random.Generator:
    """Return the random generator for one purpose of one seed.

    What is drawn with it is drawn on the host by NumPy and then moved, so that one seed gives the same network and the
    same shuffles on every device. Different purposes of one seed are independent of each
    other (NumPy's SeedSequence), so that an added layer does not change the shuffling.

    Parameters
    ----------
    seed : int
        The seed of the model, not negative.
    *purpose : int
        What the numbers are for, as a path of small numbers.

    Examples
    --------
    >>> generator(0, 1).integers(100) == generator(0, 1).integers(100)
    np.True_
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))


def describe() -> dict[str, str]:
    """Return what tinynn computes with, as ``tinynn info`` prints it.

    Returns
    -------
    dict of str
        Versions, the BLAS libraries in use with their threads, the device and why it was chosen.
    """
    import platform

    from tinynn import __version__

    rows = {
        "tinynn": __version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "BLAS": blas(),
        "processors": str(os.cpu_count()),
    }
    try:
        device = choose_device()
    except (RuntimeError, ValueError) as error:
        return {**rows, "device": f"none: {error}"}
    if device.name == "cuda":
        from tinynn.kernels.cuda import cublaslt

        runtime = device.xp.cuda.runtime
        toolkit, driver = (cuda_name(number()) for number in (runtime.runtimeGetVersion, runtime.driverGetVersion))
        rows["CuPy"] = f"{device.xp.__version__}, of CUDA {toolkit}; the driver speaks CUDA {driver}"
        rows["products"] = cublaslt.load(runtime.runtimeGetVersion() // 1000)[1]
    return {**rows, "device": device.name, "because": device.reason}


def cuda_name(number: int) -> str:
    """Return a version of CUDA as one reads it.

    Examples
    --------
    >>> cuda_name(13010)
    '13.1'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def blas() -> str:
    """Return which libraries compute NumPy's matrix products, with which kernels and how many threads."""
    import threadpoolctl

    found = [
        f"{pool['internal_api']} {pool['version'] or ''} ({pool.get('architecture', 'unknown')} kernels), "
        f"{pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''}"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]
    if not found:
        configured = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        found = [f"{configured['name']} {configured.get('version', '')}, threads unknown"]
    return "; ".join(found)
