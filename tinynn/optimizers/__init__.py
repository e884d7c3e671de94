"""Optimizers: how a gradient becomes a step.

All parameters of a model are one flat vector w, all gradients another, dw, so an optimizer is a formula on flat
vectors, written in `update`. Where the plain formula would make new vectors for what lies between, it works in
``scratch``, one vector that is there already: an epoch of the article's network takes a tenth less time for it
(``python benchmarks/adam.py``).

Names, defaults and the formulas themselves are Keras's.
"""

from __future__ import annotations

from typing import Any

from tinynn.arguments import resolve
from tinynn.optimizers.adafactor import Adafactor
from tinynn.optimizers.adagrad import Adadelta, Adagrad
from tinynn.optimizers.adam import Adam, Adamax, AdamW, Nadam
from tinynn.optimizers.base import Optimizer
from tinynn.optimizers.classic import SGD, RMSprop
from tinynn.optimizers.lamb import Lamb
from tinynn.optimizers.lion import Lion
from tinynn.optimizers.loss_scale import LossScaleOptimizer

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adadelta": Adadelta,
    "adafactor": Adafactor,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamax": Adamax,
    "adamw": AdamW,
    "lamb": Lamb,
    "lion": Lion,
    "nadam": Nadam,
    "rmsprop": RMSprop,
    "sgd": SGD,
}


def get(optimizer: Any) -> Optimizer:
    """Return the optimizer for a name, a class or an instance.

    Examples
    --------
    >>> get("sgd")
    SGD(learning_rate=0.01, momentum=0.0, nesterov=False)
    """
    if isinstance(optimizer, str):
        optimizer = optimizer.lower()
    result: Optimizer = resolve("optimizer", optimizer, Optimizer, OPTIMIZERS)
    return result
