"""What the tests of captured steps share: a small network, and a look whether two trainings are equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinynn
from tests.guard import GuardArray
from tinynn import layers, optimizers
from tinynn.backend import to_host

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 70)
EVERY_OPTIMIZER = sorted(set(optimizers.OPTIMIZERS.values()), key=lambda kind: kind.__name__)


def network(*inside: layers.Layer, **options: Any) -> tinynn.Sequential:
    """Return a small network with these layers in the middle."""
    return tinynn.Sequential(
        [layers.Input((6,)), layers.Dense(8, activation="relu"), *inside, layers.Dense(3, activation="softmax")],
        seed=1,
        device="cuda",
        **options,
    )


def compiled(graph: Any, optimizer: Any = "adam", make: Callable[[], Any] = network, **options: Any) -> Any:
    model = make()
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options
    model.compile(optimizer() if callable(optimizer) else optimizer, graph=graph, **options)
    return model


def fit(model: Any, x: Any = X, y: Any = LABELS, **options: Any) -> tinynn.callbacks.History:
    """Train on batches of 16 and a last one of 6, so that the fifth step of an epoch has a graph of its own."""
    if "epochs" not in options:
        options["epochs"] = 4
    if isinstance(x, np.ndarray | GuardArray):
        options["batch_size"] = 16
    return model.fit(x, y, verbose=0, **options)


def need_equal(one: Any, other: Any) -> None:
    """Weights, what layers keep, the optimizer's memory and all that was logged have the same bits."""
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name, slot in one.optimizer.slots.items():
        np.testing.assert_array_equal(to_host(slot), to_host(other.optimizer.slots[name]))
    assert one.optimizer.iterations == other.optimizer.iterations
    assert one.optimizer.learning_rate == other.optimizer.learning_rate
    assert one.history.history == other.history.history


def both(graph: Any = True, fit_options: Callable[[], dict[str, Any]] = dict, **options: Any) -> tuple[Any, Any]:
    """Return a model that was trained eagerly and one with graphs, after looking that they are equal."""
    eager, captured = compiled(False, **options), compiled(graph, **options)
    for model in (eager, captured):
        fit(model, **fit_options())
    need_equal(eager, captured)
    assert eager.graph_reason == "eager: graph=False was asked for"
    if graph is True:
        assert captured.graph_reason.startswith("captured")
    return eager, captured
