"""Losses: one number to make smaller, and where its gradient starts.

Every loss has a value for each row of predictions, and makes one number of them, by default the mean over the batch;
``backward`` returns the gradient of that number. Targets come first, as in Keras:
``loss(y_true, y_pred, sample_weight=None)``.

Shapes are never broadcast against each other: (n,) against (n, 1) would make an (n, n) loss that trains on nonsense.
"""

from __future__ import annotations

from typing import Any

from tinynn.arguments import resolve
from tinynn.losses.base import LogitLoss, Loss
from tinynn.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from tinynn.losses.ctc import CTC
from tinynn.losses.margins import CategoricalHinge, Hinge, SquaredHinge
from tinynn.losses.regression import (
    CosineSimilarity,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
)

__all__ = [
    "CTC",
    "LOSSES",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "LogitLoss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "get",
]

LOSSES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "categorical_hinge": CategoricalHinge,
    "cosine_similarity": CosineSimilarity,
    "ctc": CTC,
    "hinge": Hinge,
    "huber": Huber,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "log_cosh": LogCosh,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "poisson": Poisson,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "squared_hinge": SquaredHinge,
}


def get(loss: Any) -> Loss:
    """Return the loss for a name, a class or an instance.

    Examples
    --------
    >>> get("mse").name
    'MeanSquaredError'
    """
    result: Loss = resolve("loss", loss, Loss, LOSSES)
    return result
