"""Metrics of probabilities: how surprised a model is by what happened."""

from __future__ import annotations

import math

from tinynn.backend import Array
from tinynn.losses.crossentropy import SparseCategoricalCrossentropy
from tinynn.metrics.base import MeanMetric, spread_weight


class Perplexity(MeanMetric):
    """exp of the mean cross-entropy: among how many equally likely classes the model seems to choose.

    1 for a model that is sure and right, C for one that has learned nothing of C classes. Every step of every sequence
    counts the same. (Keras's, in the package keras_hub, takes the mean of the batches' means.)

    Parameters
    ----------
    from_logits : bool, default False
        Whether predictions are logits or probabilities. In training, a model that ends in a softmax gives
        probabilities to its metrics, whatever its loss works with.
    mask_token_id : int, optional
        Steps with this class number as their target do not count: the number that pads short sequences.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> k, p = np.array([[0, 2, 0]]), np.array([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.0, 0.5, 0.5]]])
    >>> round(Perplexity()(k[:, :2], p[:, :2]), 4)          # the inverse of the geometric mean of 0.5 and 0.8
    1.5811
    >>> round(Perplexity(mask_token_id=0)(k, p), 4)         # of 0.8 alone
    1.25
    """

    name = "perplexity"
    direction = "min"

    def __init__(self, from_logits: bool = False, mask_token_id: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if mask_token_id is not None and (not isinstance(mask_token_id, int) or isinstance(mask_token_id, bool)):
            raise ValueError(f"Perplexity: mask_token_id must be a whole number, got {mask_token_id!r}.")
        self.crossentropy = SparseCategoricalCrossentropy(from_logits, reduction="none")
        self.mask_token_id = mask_token_id

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Count one batch."""
        if tuple(y_true.shape) != tuple(y_pred.shape[:-1]) or y_true.dtype.kind not in "iu":
            raise ValueError(
                f"Perplexity expected class numbers of shape {tuple(y_pred.shape[:-1])}, got {tuple(y_true.shape)} of "
                f"{y_true.dtype}. For one-hot targets use y.argmax(axis=-1)."
            )
        values = self.crossentropy.forward(y_true, y_pred.astype(float))
        self.crossentropy.cache = None
        if self.mask_token_id is not None:
            counts = (y_true != self.mask_token_id).astype(float)
            if sample_weight is not None:
                counts = counts * spread_weight("Perplexity", sample_weight, tuple(y_true.shape))
            sample_weight = counts
        self.add(values, sample_weight)

    def result(self) -> float:
        """Return exp of the mean; 0 before anything was counted."""
        if not float(self.count):
            return 0.0
        mean = super().result()
        return math.exp(mean) if mean < 700 else math.inf
