"""TinyRegressor: a network that predicts numbers."""

from __future__ import annotations

from typing import Any

from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from tinynn.backend import Array
from tinynn.data import Samples
from tinynn.sklearn.base import TinyEstimator


class TinyRegressor(RegressorMixin, TinyEstimator):
    """A network that predicts numbers, one or several a sample, as a scikit-learn estimator.

    It minimises the mean squared error. Networks learn targets of size 1 best; others are well scaled with
    ``sklearn.compose.TransformedTargetRegressor(TinyRegressor(), transformer=StandardScaler())``.

    Parameters and attributes are those of `TinyClassifier`, without ``class_weight`` and ``classes_``. The penalty
    is alpha sum w^2 divided by the samples in a batch, without the half since the squared error has none either: so
    ``alpha`` means what it means in MLPRegressor and, with one output, in Ridge.

    Examples
    --------
    >>> import numpy as np
    >>> from tinynn.sklearn import TinyRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.hstack([X**2, abs(X)])
    >>> network = TinyRegressor(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> network.predict([[0.6], [-0.9]]).round(1)
    array([[0.4, 0.6],
           [0.8, 0.9]])
    """

    loss = "mean_squared_error"
    alpha_factor = 1.0
    last_activation = "linear"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> TinyRegressor:
        """Train one epoch on `X` and `y`, from where the last call of `fit` or `partial_fit` ended.

        Parameters
        ----------
        X, y : array-like
            As for `fit`.
        sample_weight : array-like, shape (samples,), optional
            Taken as they are, since nobody knows the mean of what is still to come.

        Returns
        -------
        self
        """
        self._one_pass(X, y, sample_weight)
        return self

    def _check(self, X: Any, y: Any, sample_weight: Any, new: bool, classes: Any = None) -> Samples:
        """Return inputs, targets as columns, and weights."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, reset=new)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        if new:
            self.n_outputs_ = y.shape[1]
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(f"{self._name}: y had {self.n_outputs_} outputs a sample before, got {y.shape[1]}.")
        return Samples(X, y, self._check_weight(sample_weight, X))

    def predict(self, X: Any) -> Array:
        """Return the predictions, of the shape that the targets had: (samples,) or (samples, outputs)."""
        y = self._outputs(X)
        return y[:, 0] if self._flat else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
