"""CTC: the loss of a sequence of labels whose places in time nobody has written down."""

from __future__ import annotations

from typing import Any

from tinynn.backend import Array, array_module
from tinynn.losses.base import Loss

BLANK = 0
IMPOSSIBLE = -1e30  # the logarithm of the probability 0, so that differences of it stay numbers


class CTC(Loss):
    """Connectionist temporal classification: how improbable the labels are, over all ways to spread them over time.

    A way says one class at every step, a label or the blank. It reads as the labels if what is repeated is said once
    and then blanks are dropped: "a a - b" and "- a b b" both read "a b"; between two equal labels a blank must stand.
    The ways go through the positions blank, label 1, blank, label 2, ... blank, staying or going on; a blank between
    two different labels may be skipped. Their number grows without bound, but not the work: with p[t, s] the
    probability of the class of position s at step t,

    Forward   alpha[t, s] = p[t, s] (alpha[t-1, s] + alpha[t-1, s-1] + alpha[t-1, s-2] if s-1 may be skipped)
              P = the sum of alpha at the last step, over the last label and the blank after it;  v = -log P
    Backward  beta[t, s] = sum over the next positions s' of p[t+1, s'] beta[t+1, s']: how the rest may go on
              g[t, s] = alpha[t, s] beta[t, s] / P: the part of P that is at s at step t
              dz[t, c] = dv (softmax(z)[t, c] - sum of g[t, s] over the positions s of class c)
    Shapes    labels (B, N), z (B, T, C), v (B,); S = 2 N + 1 positions     (Graves et al. 2006)

    All in logarithms, for alpha soon leaves the range of numbers.

    Targets are class numbers from 1, and zeros after a sequence's end; the class 0 is the blank. Predictions are
    logits, without a softmax. All T steps of a sequence count.

    Parameters
    ----------
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values of the sequences; see `Loss`.

    Examples
    --------
    Two steps, one label of one class: three of the four ways read it.

    >>> import numpy as np
    >>> loss = CTC()
    >>> round(loss(np.array([[1]]), np.zeros((1, 2, 2))), 4)       # -log(3 / 4)
    0.2877
    >>> loss.backward().round(4)
    array([[[ 0.1667, -0.1667],
            [ 0.1667, -0.1667]]])
    """

    target_kind = "int"

    def check(self, y_true: Array, prediction_shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the targets are class numbers, zeros after their end, that fit into the steps."""
        given = tuple(y_true.shape)
        if len(prediction_shape) != 3 or len(given) != 2 or given[0] != prediction_shape[0]:
            raise ValueError(
                f"{self.name} expected logits of shape (batch, steps, classes) and class numbers of shape "
                f"(batch, most labels), got {prediction_shape} and {given}."
            )
        _, T, C = prediction_shape
        if y_true.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name} expected whole class numbers, got {y_true.dtype}. If they are whole, use y.astype(int)."
            )
        if given[1] == 0:
            return
        low, high = int(y_true.min()), int(y_true.max())
        if low < 0 or high >= C:
            raise ValueError(
                f"{self.name} expected class numbers from 1 to {C - 1}, and 0 after the end, for the model has {C} "
                f"outputs of which 0 is the blank, got {low if low < 0 else high}."
            )
        if bool(((y_true[:, :-1] == BLANK) & (y_true[:, 1:] != BLANK)).any()):
            raise ValueError(
                f"{self.name}: a label stands after a 0, which ends a sequence. Move labels to the front, and number "
                "the classes from 1."
            )
        repeats = (y_true[:, :-1] == y_true[:, 1:]) & (y_true[:, 1:] != BLANK)
        longest = int(((y_true != BLANK).sum(axis=1) + repeats.sum(axis=1)).max())
        if longest > T:
            raise ValueError(
                f"{self.name}: {T} steps are too few for the labels of a sequence, which need {longest}: one for each "
                "label, and one for a blank between two equal ones. Give the model more steps, or shorter labels."
            )

    def rows(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the values: one for each sequence."""
        return prediction_shape[:1]

    def call(self, y_true: Array, y_pred: Array) -> Any:
        """Return -log P of every sequence, its last two axes kept with size 1."""
        xp = array_module(y_pred)
        B, T, _ = y_pred.shape
        S = 2 * y_true.shape[1] + 1
        s = xp.arange(S)
        labels = y_true.astype(int)
        blanks = xp.zeros_like(labels)
        classes = xp.stack([blanks, labels], axis=2).reshape(B, S - 1)      # blank, label 1, blank, label 2, ...
        classes = xp.concatenate([classes, xp.zeros((B, 1), dtype=classes.dtype)], axis=1)  # ..., blank
        two_back = xp.concatenate([xp.zeros((B, 2), dtype=classes.dtype), classes], axis=1)[:, :S]
        skip = as_log(classes != two_back, y_pred.dtype)                    # (B, S); two before a blank is a blank
        end = 2 * (labels != BLANK).sum(axis=1)[:, None]                    # the position of the last blank
        ends = as_log((end - 1 <= s) & (s <= end), y_pred.dtype)            # (B, S): the last label, or it

        z = y_pred - y_pred.max(axis=-1, keepdims=True)
        e = xp.exp(z)
        total = e.sum(axis=-1, keepdims=True)
        q = e / total
        log_q = z - xp.log(total)
        p = xp.take_along_axis(log_q, xp.broadcast_to(classes[:, None], (B, T, S)), axis=2)

        alpha = p[:, 0] + as_log(s < 2, y_pred.dtype)
        alphas = xp.empty((B, T, S), dtype=alpha.dtype)
        alphas[:, 0] = alpha
        for t in range(1, T):
            stay, on, jump = alpha, shift(alpha, 1), shift(alpha, 2) + skip
            alpha = p[:, t] + log_sum(xp.stack([stay, on, jump]), axis=0)[0]
            alphas[:, t] = alpha
        log_P = log_sum(alpha + ends, axis=1)                               # (B, 1)
        v = -log_P[:, :, None]
        self.cache = classes, skip, ends, q, p, alphas, v
        return v

    def gradient(self, dv: Any) -> Array:
        """Return dz."""
        classes, skip, ends, q, p, alpha, v = self.take_cache()
        xp = array_module(q)
        T, C = q.shape[1:]
        betas = xp.empty_like(alpha)
        beta = ends
        betas[:, T - 1] = beta
        for t in reversed(range(1, T)):
            rest = p[:, t] + beta
            stay, on, jump = rest, shift(rest, -1), shift(rest + skip, -2)
            beta = log_sum(xp.stack([stay, on, jump]), axis=0)[0]
            betas[:, t - 1] = beta
        g = xp.exp(alpha + betas + v)                              # alpha beta / P, (B, T, S)
        of_class = (classes[:, :, None] == xp.arange(C)).astype(q.dtype)    # (B, S, C)
        dz = dv * (q - g @ of_class)                               # v = -log P, P a sum of products of q
        return dz


def as_log(possible: Array, dtype: Any) -> Array:
    """Return the logarithm of 1 where something is possible, of 0 elsewhere."""
    return (~possible).astype(dtype) * IMPOSSIBLE


def log_sum(x: Array, axis: int) -> Array:
    """Return log(sum(exp(x))) along an axis, which is kept with size 1."""
    xp = array_module(x)
    largest = x.max(axis=axis, keepdims=True)
    return largest + xp.log(xp.exp(x - largest).sum(axis=axis, keepdims=True))


def shift(x: Array, by: int) -> Array:
    """Return what stands `by` positions before, along axis 1; nothing is possible beyond the ends."""
    xp = array_module(x)
    outside = xp.full((len(x), min(abs(by), x.shape[1])), IMPOSSIBLE, dtype=x.dtype)
    if by > 0:
        return xp.concatenate([outside, x[:, :-by]], axis=1)
    return xp.concatenate([x[:, -by:], outside], axis=1)
