"""scikit-learn: `MLPClassifier.partial_fit`, which is one epoch a call and keeps Adam's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from benchmarks.systems import Runner, Settings, timed
from benchmarks.workloads import BETA_1, BETA_2, EPSILON, Data, Workload


def prepare(workload: Workload, data: Data, settings: Settings) -> Runner:
    """Make ready scikit-learn.

    (fit with warm_start would forget Adam's memory at every call.) It chooses the output and the loss by the targets:
    class numbers get softmax, rows of zeros and ones a sigmoid for each column. It checks the data once a call, a few
    hundredths of its epoch, and does not count the right answers.
    """
    model = MLPClassifier(
        workload.network.sizes[1:-1],
        activation=workload.network.hidden,
        solver="adam",
        alpha=0.0,  # no weight decay: the other systems have none
        batch_size=workload.batch_size,
        learning_rate_init=workload.rate,
        beta_1=BETA_1,
        beta_2=BETA_2,
        epsilon=EPSILON,
        random_state=0,
    )
    y: Any = data.y
    if workload.loss == "categorical":
        y = y.argmax(axis=1)
    elif y.shape[1] == 1:
        y = y[:, 0]
    classes = np.arange(y.shape[1] if y.ndim == 2 else int(y.max()) + 1)

    def train_epoch() -> None:
        model.partial_fit(data.x, y, classes=classes)

    def predict(x: np.ndarray) -> np.ndarray:
        return model.predict_proba(x)

    return Runner(timed(train_epoch), predict, {"scikit-learn": sklearn.__version__}, "partial_fit")
