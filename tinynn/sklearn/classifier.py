"""TinyClassifier: a network that tells classes apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tinynn.backend import Array
from tinynn.data import Samples
from tinynn.layers import Input, Layer, Softmax
from tinynn.schedules import LearningRateSchedule
from tinynn.sequential import Sequential
from tinynn.sklearn.base import TinyEstimator


class TinyClassifier(ClassifierMixin, TinyEstimator):
    """A network that tells classes apart, as a scikit-learn estimator.

    It minimises the cross-entropy of a softmax, with two classes as with more.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The units of the hidden layers; ``()`` is a linear model.
    activation : str or Layer class, default "relu"
        Of the hidden layers, by any name tinynn has; MLPClassifier's "logistic" and "identity" are understood too.
    layers : callable, optional
        For a network of one's own, in place of the two above: a function ``(n_features, n_outputs) -> list of
        layers``, called at each new start. Its last layer has `n_outputs` units and, in a classifier, ends in softmax.
    optimizer : str or callable, default "adam"
        A name, or what makes an optimizer when called with the learning rate: a class, or
        ``functools.partial(tinynn.SGD, momentum=0.9)``. (MLPClassifier's `solver` has another name because it has
        other values.)
    learning_rate_init : float or LearningRateSchedule, default 0.001
        The optimizer's learning rate.
    alpha : float, default 0.0001
        The L2 penalty, alpha / 2 sum w^2 divided by the samples in a batch, of every weight of two axes or more that
        has no regularizer of its own. It means what it means in MLPClassifier, and 1 / C in LogisticRegression.
    batch_size : int or "auto", default "auto"
        Samples a step; "auto" is 200. All of them, where there are fewer.
    max_iter : int, default 200
        The largest number of epochs in one `fit`. Training that ends there gives a ConvergenceWarning.
    shuffle : bool, default True
        Whether to take the samples in a new order in every epoch.
    random_state : int, RandomState instance or None, default None
        Decides initial weights, order of samples, dropout, and what is held out.
    tol, n_iter_no_change : float, default 1e-4, and int, default 10
        Training ends when for more than so many epochs the loss, with `early_stopping` that of the data held out,
        was not below the lowest by more than `tol`.
    early_stopping : bool, default False
        Whether to hold out data, look at their loss after each epoch, and end with the weights of the best one.
        (MLPClassifier looks at their accuracy. Of few data that stands still for epochs while the network still gets
        better, and training ends too soon.)
    validation_fraction : float, default 0.1
        How much is held out, of each class alike; used with `early_stopping` only.
    warm_start : bool, default False
        Whether `fit` goes on from the weights there are, with a new optimizer. The network stays as it is then,
        whatever its settings became.
    class_weight : dict, "balanced" or None, default None
        How much each class counts, by its label. "balanced" lets all count the same, however rare.
    verbose : bool or int, default False
        What is shown: 1 a live bar on a terminal and lines elsewhere, 2 a line an epoch.
    dtype : {"auto", "float32", "float64"}, default "auto"
        In which numbers to compute; "auto" is float32 for float32 inputs, else float64. float32 is faster.
    device : {"auto", "cpu", "cuda"}, optional
        As for `tinynn.Sequential`. Inputs and outputs are NumPy arrays anyway.

    Attributes
    ----------
    model_ : Sequential
        The network: for ``model_.summary()``, ``model_.get_weights()``.
    classes_ : array
        The labels, sorted; the columns of `predict_proba`.
    n_outputs_ : int
        How many outputs the network has.
    n_iter_ : int
        How many epochs these weights were trained, also by earlier calls with `warm_start` and of `partial_fit`.
    loss_curve_ : list of float
        The mean loss of each of them, with the penalty.
    validation_loss_curve_ : list of float
        The same of the data held out, with `early_stopping`.
    n_features_in_, feature_names_in_
        As in every estimator.

    Raises
    ------
    ImportError
        At ``import tinynn.sklearn``, if scikit-learn is missing or older than 1.6.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from tinynn.sklearn import TinyClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> network = TinyClassifier(32, max_iter=500, learning_rate_init=0.01, tol=1e-3, random_state=0)
    >>> scores = cross_val_score(make_pipeline(StandardScaler(), network), X, y)
    >>> bool(scores.mean() > 0.93)
    True
    """

    loss = "sparse_categorical_crossentropy"
    alpha_factor = 0.5
    last_activation = "softmax"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        layers: Callable[[int, int], Sequence[Layer | Input]] | None = None,
        optimizer: Any = "adam",
        learning_rate_init: float | LearningRateSchedule = 0.001,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        class_weight: Any = None,
        verbose: bool | int = False,
        dtype: str = "auto",
        device: str | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            layers=layers,
            optimizer=optimizer,
            learning_rate_init=learning_rate_init,
            alpha=alpha,
            batch_size=batch_size,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            verbose=verbose,
            dtype=dtype,
            device=device,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> TinyClassifier:
        """Train one epoch on `X` and `y`, from where the last call of `fit` or `partial_fit` ended.

        Parameters
        ----------
        X, y : array-like
            As for `fit`.
        classes : array-like, optional
            All labels that will ever come; needed at the first call.
        sample_weight : array-like, shape (samples,), optional
            Taken as they are, since nobody knows the mean of what is still to come.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Without `classes` at the first call, or for a label that is not among them.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                f"{self._name}: class_weight='balanced' needs all samples at once, which partial_fit never sees; give "
                "a dict of labels and weights, such as compute_class_weight makes of all labels."
            )
        if classes is None and not hasattr(self, "model_"):
            raise ValueError(
                f"{self._name}: the first call of partial_fit needs classes=..., all labels that will ever come."
            )
        self._one_pass(X, y, sample_weight, classes)
        return self

    def _check(self, X: Any, y: Any, sample_weight: Any, new: bool, classes: Any = None) -> Samples:
        """Return inputs, class numbers, and weights that have those of the classes in them."""
        X, y = validate_data(self, X, y, reset=new)
        check_classification_targets(y)
        weight = self._check_weight(sample_weight, X)
        if new:
            self.classes_ = np.unique(y if classes is None else classes)
            self.n_outputs_ = len(self.classes_)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"{self._name}: the classes were {self.classes_.tolist()} before, got {np.unique(classes).tolist()}."
            )
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"{self._name}: y has the label {unknown.tolist()[0]!r}, but the classes are {self.classes_.tolist()}. "
                "All labels must be there at the first fit, or in classes=... at the first partial_fit."
            )
        numbers = np.searchsorted(self.classes_, y)
        if self.class_weight is not None:
            of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            if of_classes.min() < 0:
                raise ValueError(f"{self._name}: class_weight must not be negative, got {self.class_weight!r}.")
            weight = of_classes[numbers] * (1.0 if weight is None else weight)
        learned = self.classes_ if classes is not None else np.unique(y if weight is None else y[weight > 0])
        if new and len(learned) < 2:
            raise ValueError(
                f"{self._name} needs samples of two classes or more that have weights above 0, got {len(learned)} "
                f"class: {learned.tolist()}."
            )
        return Samples(X, numbers, weight)

    def _check_network(self, model: Sequential) -> None:
        """Raise ValueError unless the network ends in probabilities of the classes."""
        super()._check_network(model)
        if not isinstance(model.last_activation, Softmax):
            raise ValueError(
                f"{self._name}: the network that layers made must end in softmax, to give probabilities: end it in "
                "Dense(n_outputs, activation='softmax')."
            )

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        array, shape (samples, classes)
            In the order of `classes_`.
        """
        return self._outputs(X)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities; minus infinity for those that are zero."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each sample."""
        numbers = self.predict_proba(X).argmax(axis=1)
        return self.classes_[numbers]
