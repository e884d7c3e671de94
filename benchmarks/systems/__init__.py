"""The systems: what each needs, which file makes it ready, and which workloads it leaves out, and why.

A system's file is imported only in that system's own process. It has functions ``prepare...(workload, data, settings)``
that return a `Runner`: the code that a good user of that library would write.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.workloads import CNN, RNN, Data, Transformer, Workload


@dataclass(frozen=True)
class Settings:
    """What every process is told.

    Attributes
    ----------
    threads : int
    device : {"cpu", "cuda"}
    precision : {"fp32", "tf32"}
        What matrix products on a CUDA device do with float32; on the CPU there is "fp32" alone.
    quick : bool
        Whether the workloads are small ones, for trying out.
    """

    threads: int
    device: str = "cpu"
    precision: str = "fp32"
    quick: bool = False


@dataclass
class Runner:
    """A system made ready for a workload.

    Attributes
    ----------
    train_epoch : callable
        Train one epoch over shuffled batches and return its seconds. The work is then done, not merely queued.
    predict : callable
        Given inputs in NumPy, return the probabilities in NumPy.
    versions : dict of str
        Library names and their versions.
    how : str
        What runs, in a few words.
    learns : bool
        Whether what `predict` returns means anything: not for the matrix products alone.
    memory : callable or None
        Measure a training's peak of memory, and return it with what it may be.
    """

    train_epoch: Callable[[], float]
    predict: Callable[[np.ndarray], np.ndarray]
    versions: dict[str, str]
    how: str
    learns: bool = True
    memory: Callable[[], dict[str, int]] | None = None


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that calls `function` and returns the seconds it took."""

    def call() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return call


class EpochClock:
    """Half of a callback for `fit`: times an epoch from its begin to its end.

    What fit does once a call (checking the data, taking them over) is left out, for an epoch would not repeat it. In
    Keras on TensorFlow it is a copy of all the data, and here there is one call for each epoch.
    """

    start = seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


@dataclass(frozen=True)
class System:
    """One row of the tables.

    Attributes
    ----------
    file, function : str
        Where in this folder it is made ready.
    modules : tuple of str
        What must be installed.
    programs : tuple of str
        One of these must be there, if any are named.
    environment : dict of str
        Variables of its process, set before its libraries are imported.
    devices : tuple of str
    without : dict
        Networks (by type) or groups of workloads (by number) that it does not do, and why; also networks on a device.
    """

    file: str
    function: str = "prepare"
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    without: Mapping[Any, str] = field(default_factory=dict)

    def missing(self, settings: Settings) -> str:
        """Return what is not there to run it, in a few words; nothing if all is there."""
        modules = self.modules
        if settings.device == "cuda" and self.file in ("tinynn", "products"):
            modules = ("cupy",)
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            return f"no module {', '.join(absent)}"
        if self.programs and not any(shutil.which(program) for program in self.programs):
            return f"no program {' or '.join(self.programs)}"
        return ""

    def leaves_out(self, workload: Workload, device: str) -> str:
        """Return why it does not do this workload; nothing if it does."""
        network = type(workload.network)
        return next(
            (self.without[key] for key in (workload.number, network, (network, device)) if key in self.without), ""
        )

    def set_environment(self, settings: Settings) -> None:
        """Set the variables of this process: before the libraries are imported, which read them then."""
        os.environ.update(self.environment)
        if settings.device == "cuda":
            os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # JAX would take most of the memory for itself
            os.environ["CUPY_TF32"] = str(int(settings.precision == "tf32"))
            if settings.precision == "fp32":
                os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # no library may take TF32 by itself

    def prepare(self, workload: Workload, data: Data, settings: Settings) -> Runner:
        """Make it ready for a workload, in this process."""
        module = importlib.import_module(f"benchmarks.systems.{self.file}")
        return getattr(module, self.function)(workload, data, settings)


NO_GROWTH = {8: "growth is measured for tinynn, PyTorch eager and the products"}
MLP_ALONE = dict.fromkeys((CNN, RNN, Transformer), "has dense layers alone")
HAND = "has no such layer, and one written by hand would measure the hand"
BOTH = ("cpu", "cuda")

SYSTEMS = {
    "products": System("products", devices=BOTH),
    "tinynn": System("tinynn", modules=("numba",), devices=BOTH),
    "tinynn-eager": System(
        "tinynn", "prepare_eager", devices=("cuda",), without={7: "is for training", 8: "growth is measured captured"}
    ),
    "tinynn-numpy": System("tinynn", environment={"NUMBA_DISABLE_JIT": "1"}),
    "torch": System("torch", modules=("torch",), devices=BOTH),
    "torch-compiled": System(
        "torch",
        "prepare_compiled",
        ("torch",),
        ("c++", "g++", "clang++"),
        without={RNN: "torch.compile leaves nn.LSTM and nn.GRU as they are", **NO_GROWTH},
    ),
    "torch-graph": System(
        "torch", "prepare_graph", ("torch",), devices=("cuda",), without={7: "is for training", **NO_GROWTH}
    ),
    "jax": System("jax", "prepare_step", ("jax",), devices=BOTH, without=NO_GROWTH),
    "jax-scan": System(
        "jax",
        "prepare_epoch",
        ("jax",),
        devices=BOTH,
        without={
            7: "predicts as jax does",
            (CNN, "cpu"): "convolutions in a loop of XLA's are tens of times slower on processors",
            **NO_GROWTH,
        },
    ),
    "keras-tensorflow": System(
        "keras", modules=("keras", "tensorflow"), environment={"KERAS_BACKEND": "tensorflow"}, without=NO_GROWTH
    ),
    "keras-jax": System("keras", modules=("keras", "jax"), environment={"KERAS_BACKEND": "jax"}, without=NO_GROWTH),
    "sklearn": System("sklearn", modules=("sklearn",), without={**MLP_ALONE, **NO_GROWTH}),
    "tinygrad": System(
        "tinygrad",
        modules=("tinygrad",),
        programs=("clang",),
        environment={"DEV": "CPU"},
        without={CNN: "measured on dense networks alone", RNN: HAND, Transformer: HAND, **NO_GROWTH},
    ),
}
