"""Diagnose: what is the matter with a model, and what its layers cost.

`doctor` examines a model and its data; ``model.summary(profile=True)`` measures its layers (`tinynn.diagnose.costs`),
and counts what they compute (`tinynn.diagnose.counts`). All of it is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynn.diagnose.report import DoctorReport
    from tinynn.training import Trainer


def doctor(
    model: Trainer,
    x: Any,
    y: Any,
    *,
    batch_size: int = 32,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    verbose: int = 1,
) -> DoctorReport:
    """Examine a compiled model on a sample of its data, say what is the matter with it and what to do.

    It looks at the data (scale, rare classes), runs two training steps (dead and saturated units, gradients by layer,
    the size of a step against the weights, the loss before training against that of a model that knows nothing), and
    makes two trials (can it learn one batch by heart; which learning rates does it bear). All of it is done on copies:
    the model, its random numbers and its optimizer stay as they are.

    Parameters
    ----------
    model : Trainer
        Compiled; new or trained.
    x, y : array
        Data as for `fit`; at most 1,024 samples of them are looked at, chosen by the model's seed. A few hundred are
        enough.
    batch_size : int, default 32
        As it will be given to `fit`.
    sample_weight, class_weight : optional
        As for `fit`.
    verbose : {0, 1}, default 1
        Whether to print the report.

    Returns
    -------
    DoctorReport
        ``report.findings``; ``report.ok`` if there are none.

    Raises
    ------
    TypeError
        If `model` is no model that can be trained, or holds something that cannot be copied.
    RuntimeError
        If it was not compiled.
    ValueError
        For data that the model or the loss cannot take, as `fit` does.

    Examples
    --------
    >>> import numpy as np
    >>> import tinynn
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 8)), rng.integers(3, size=200)
    >>> model = tinynn.Sequential([tinynn.Dense(16, activation="relu"), tinynn.Dense(3, activation="softmax")], seed=0)
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> tinynn.doctor(model, 255 * x, y, verbose=0)
    <DoctorReport of sequential: inputs>
    """
    from tinynn.diagnose.examination import examine

    return examine(model, x, y, batch_size, sample_weight, class_weight, verbose)
