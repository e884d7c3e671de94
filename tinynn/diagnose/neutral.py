"""Neutral: what a model that knows nothing would say, and what that costs by each loss."""

from __future__ import annotations

from typing import Any

from tinynn import losses
from tinynn.backend import Array, array_module
from tinynn.diagnose.limits import LOSS_CROSSENTROPY, LOSS_MORE, LOSS_OTHER
from tinynn.losses.base import Loss

CROSSENTROPIES = (
    losses.CategoricalCrossentropy,
    losses.SparseCategoricalCrossentropy,
    losses.BinaryCrossentropy,
    losses.BinaryFocalCrossentropy,
)
REGRESSIONS = (losses.MeanSquaredError, losses.MeanAbsoluteError, losses.Huber, losses.LogCosh)
FROM_ZERO = (*REGRESSIONS, losses.Hinge, losses.SquaredHinge, losses.CategoricalHinge, losses.CTC)


def neutral_value(loss: Loss, outputs: int) -> float:
    """Return what a model that knows nothing says: 0 for logits and regressions, the same probability for each class.

    Parameters
    ----------
    loss : Loss
    outputs : int
        The size of the last axis.

    Returns
    -------
    float
        NaN for a loss of which nobody knows, such as one's own; and for the cosine of a direction, which none is.

    Examples
    --------
    >>> neutral_value(losses.CategoricalCrossentropy(), 10)
    0.1
    >>> neutral_value(losses.MeanSquaredError(), 10)
    0.0
    """
    if isinstance(loss, losses.LogitLoss) and loss.from_logits:
        return 0.0
    if type(loss) in (losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy):
        return 0.5
    if type(loss) in (*CROSSENTROPIES, losses.KLDivergence):
        return 1 / outputs
    if type(loss) is losses.Poisson:
        return 1.0
    return 0.0 if type(loss) in FROM_ZERO else float("nan")


def neutral_loss(loss: Loss, y: Array, z: Array, sample_weight: Array | None, mask: Array | None) -> float:
    """Return the loss of neutral predictions in place of `z`; NaN where nobody knows them.

    For a cross-entropy of C classes it is log C.
    """
    value = neutral_value(loss, z.shape[-1])
    return float("nan") if value != value else constant_loss(loss, y, z, value, sample_weight, mask)


def constant_loss(
    loss: Loss, y: Array, z: Array, value: Any, sample_weight: Array | None = None, mask: Array | None = None
) -> float:
    """Return the loss where every row of `z` is `value`."""
    xp = array_module(z)
    constant = xp.zeros(z.shape, dtype=z.dtype) + value
    L = float(loss.forward(y, constant, sample_weight, mask))
    loss.cache = None
    return L


def best_constant_loss(loss: Loss, y: Array, z: Array, sample_weight: Array | None, mask: Array | None) -> float | None:
    """Return about the lowest loss that the same answer for every row can have; None where nobody knows it.

    For classes that is how often each occurs, for numbers their mean.
    """
    xp = array_module(z)
    C = z.shape[-1]
    if type(loss) not in (*CROSSENTROPIES, *REGRESSIONS):
        return None
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        t = (y.reshape(-1)[:, None] == xp.arange(C)).astype(z.dtype)
    else:
        t = y.reshape(-1, C).astype(z.dtype)
    p = t.mean(axis=0)
    if isinstance(loss, CROSSENTROPIES):
        assert isinstance(loss, losses.LogitLoss)
        p = xp.clip(p, 1e-6, 1 - 1e-6)
        if loss.from_logits:
            yes_no = type(loss) in (losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy)
            p = xp.log(p / (1 - p)) if yes_no else xp.log(p)
    return constant_loss(loss, y, z, p, sample_weight, mask)


def allowed_loss(loss: Loss, neutral: float) -> float:
    """Return the loss that a model may start with, given the neutral one.

    Examples
    --------
    >>> allowed_loss(losses.CategoricalCrossentropy(), 2.0), allowed_loss(losses.MeanSquaredError(), 2.0)
    (5.0, 20.0)
    """
    if type(loss) in (*CROSSENTROPIES, losses.CTC) and type(loss) is not losses.BinaryFocalCrossentropy:
        return LOSS_CROSSENTROPY * neutral + LOSS_MORE
    return LOSS_OTHER * neutral
