"""What TinyClassifier and TinyRegressor share: they differ in targets, loss and score."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynn import optimizers
from tinynn.arguments import check_count, check_number, find
from tinynn.backend import Array
from tinynn.callbacks import EarlyStopping
from tinynn.data import Samples
from tinynn.extras import advice
from tinynn.layers import Dense, Input, Layer
from tinynn.layers.base import show_shape
from tinynn.optimizers.base import check_above_0
from tinynn.regularizers import L2
from tinynn.schedules import LearningRateSchedule
from tinynn.sequential import Sequential

try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(advice("tinynn.sklearn", "scikit-learn 1.6 or newer", "sklearn")) from error

# MLPClassifier calls two of the activations otherwise than everybody else.
ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}


class TinyEstimator(BaseEstimator):
    """The base class of both; its parameters are described in `TinyClassifier`."""

    loss: str  # by tinynn's name
    alpha_factor: float  # the penalty is this much of alpha
    last_activation: str  # of the default network
    loss_curve_: list[float]
    validation_loss_curve_: list[float]

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
        verbose: bool | int = False,
        dtype: str = "auto",
        device: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.layers = layers
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.verbose = verbose
        self.dtype = dtype
        self.device = device

    # Training ----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on `X` and `y`; with `warm_start` from the weights there are, else from new ones.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Dense numbers; sparse matrices are refused.
        y : array-like, shape (samples,), for a regressor also (samples, outputs)
        sample_weight : array-like, shape (samples,), optional
            How much each sample counts. Only what they are to each other matters: a weight of 2 is the same as the
            sample standing there twice, a weight of 0 as it not being there.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For settings or data that cannot be; the message says which.
        FloatingPointError
            If the loss becomes NaN or infinite; the message says what to try.
        KeyboardInterrupt
            After Ctrl-C, when the batch at hand is done; the estimator is fitted with what it has learned.
        """
        new = not (self.warm_start and hasattr(self, "model_"))
        self._check_settings()
        optimizer = self._make_optimizer()
        samples = self._check(X, y, sample_weight, new)
        mean_weight = 1.0
        if samples.sample_weight is not None:
            mean_weight = float(samples.sample_weight.mean())
            samples = samples._replace(sample_weight=samples.sample_weight / mean_weight)
        seed = self._draw_seed() if new else self.model_.seed
        held_out = None
        if self.early_stopping:
            samples, held_out = self._split(samples, seed)
        if new:
            self._start(samples.x, seed)
        self.model_.compile(optimizer, self.loss)
        stopping = EarlyStopping(
            "val_loss" if self.early_stopping else "loss",
            min_delta=self.tol,
            patience=self.n_iter_no_change + 1,  # as MLPClassifier counts
            restore_best_weights=self.early_stopping,
        )
        self._train(samples, mean_weight, self.max_iter, held_out, [stopping])
        if stopping.stopped_epoch == 0:
            warnings.warn(
                f"{self._name}: max_iter={self.max_iter} epochs were over before training had converged; raise "
                "max_iter or learning_rate_init, or scale the inputs (StandardScaler).",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _one_pass(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> None:
        """Train one epoch more, from the weights and the optimizer's memory there are."""
        if self.early_stopping:
            raise ValueError(
                f"{self._name}: partial_fit makes one pass and cannot stop early; set early_stopping=False, or use fit."
            )
        new = not hasattr(self, "model_")
        self._check_settings()
        samples = self._check(X, y, sample_weight, new, classes)
        if new:
            optimizer = self._make_optimizer()
            self._start(samples.x, self._draw_seed())
            self.model_.compile(optimizer, self.loss)
        self._train(samples, 1.0, 1)

    def _split(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Return the samples to train on and those to hold out."""
        try:
            training, held_out = train_test_split(
                np.arange(len(samples.x)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=samples.y if samples.y.ndim == 1 else None,  # a regressor's targets are columns
            )
        except ValueError as error:
            raise ValueError(
                f"{self._name}: early_stopping cannot hold out validation_fraction={self.validation_fraction} of "
                f"{len(samples.x)} samples: {error}"
            ) from None
        return samples.rows(training), samples.rows(held_out)

    def _train(
        self,
        samples: Samples,
        mean_weight: float,
        epochs: int,
        held_out: Samples | None = None,
        callbacks: Sequence[EarlyStopping] = (),
    ) -> None:
        """Train the network, and note how it went."""
        batch_size = min(200 if self.batch_size == "auto" else int(self.batch_size), len(samples.x))
        self._penalty.l2 = self.alpha_factor * self.alpha / (batch_size * mean_weight)
        history = self.model_.fit(
            samples.x,
            samples.y,
            batch_size,
            epochs,
            min(int(self.verbose), 2),
            callbacks,
            validation_data=held_out,
            shuffle=self.shuffle,
            sample_weight=samples.sample_weight,
        )
        self.loss_curve_ += history.history.get("loss", [])
        self.validation_loss_curve_ += history.history.get("val_loss", [])
        self.n_iter_ = len(self.loss_curve_)
        if history.interrupted:  # who runs a search wants all of it to stop, not this one of many fits
            raise KeyboardInterrupt(f"{self._name}: interrupted after {self.n_iter_} epochs; it is fitted so far.")

    # The network -------------------------------------------------------------------------------------------------

    def _draw_seed(self) -> int:
        """Return what decides everything random about a new network."""
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _start(self, X: Array, seed: int) -> None:
        """Make a network with new weights."""
        followed = "float32" if X.dtype == np.float32 else "float64"
        dtype = followed if self.dtype == "auto" else self.dtype
        model = Sequential(self._make_layers(X.shape[1]), device=self.device, seed=seed, dtype=dtype)
        model.build((X.shape[1],))
        self._check_network(model)
        penalty = L2(0.0)
        arena = model.need_arena()
        for parameter in arena.parameters:
            if parameter.trainable and len(parameter.shape) > 1 and parameter.regularizer is None:
                parameter.regularizer = penalty
                arena.regularized.append((parameter, penalty))
        self.model_, self._penalty = model, penalty
        self.n_iter_, self.loss_curve_, self.validation_loss_curve_ = 0, [], []

    def _make_layers(self, features: int) -> Sequence[Layer | Input]:
        """Return new layers: the user's own, or dense ones."""
        if self.layers is None:
            sizes = np.atleast_1d(self.hidden_layer_sizes).tolist()
            for size in sizes:
                check_count(size, f"{self._name}: hidden_layer_sizes={self.hidden_layer_sizes!r}: every size")
            known = isinstance(self.activation, str) and self.activation in ACTIVATIONS
            activation = ACTIVATIONS[self.activation] if known else self.activation
            hidden = [Dense(size, activation=copy.deepcopy(activation)) for size in sizes]  # a layer serves once
            return [*hidden, Dense(self.n_outputs_, activation=self.last_activation)]
        wanted = (
            f"{self._name}: layers must be a function that is called with the number of features and the number of "
            "outputs, and returns a new list of tinynn layers: "
            "lambda n_features, n_outputs: [Dense(64, activation='relu'), "
            f"Dense(n_outputs, activation={self.last_activation!r})]"
        )
        if not callable(self.layers):
            raise TypeError(f"{wanted}; got {self.layers!r:.60}. A list of layers would serve one fit only.")
        try:
            inspect.signature(self.layers).bind(features, self.n_outputs_)
        except TypeError as error:
            raise TypeError(f"{wanted}; {error}.") from None
        layers = self.layers(features, self.n_outputs_)
        if not isinstance(layers, list | tuple) or not all(isinstance(layer, Layer | Input) for layer in layers):
            raise TypeError(f"{wanted}; it returned {layers!r:.60}.")
        return layers

    def _check_network(self, model: Sequential) -> None:
        """Raise ValueError unless the network's output is one that the estimator can use."""
        shape = model.output_shape or ()
        if shape != (self.n_outputs_,):
            raise ValueError(
                f"{self._name}: the network that layers made has outputs of shape {show_shape(shape)}, expected "
                f"{show_shape((self.n_outputs_,))}: end it in Dense(n_outputs)."
            )

    def _make_optimizer(self) -> optimizers.Optimizer:
        """Return a new optimizer."""
        make = self.optimizer
        if isinstance(make, str):
            make = find("optimizer", make.lower(), optimizers.OPTIMIZERS)
        made = make(self.learning_rate_init) if callable(make) else None
        if not isinstance(made, optimizers.Optimizer):
            raise TypeError(
                f"{self._name}: optimizer must be a name, or what makes an optimizer when it is called with a learning "
                f"rate: a class such as tinynn.SGD, or functools.partial(tinynn.SGD, momentum=0.9); got {make!r:.60}."
            )
        return made

    # Checking ----------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        """The class's name, for messages."""
        return type(self).__name__

    def _check_settings(self) -> None:
        """Raise ValueError for a setting that cannot be, before anything is changed."""
        check_number(self.alpha, f"{self._name}: alpha", 0)
        if self.batch_size != "auto":
            check_count(self.batch_size, f"{self._name}: batch_size, if it is not 'auto',")
        check_count(self.max_iter, f"{self._name}: max_iter")
        check_number(self.tol, f"{self._name}: tol", 0)
        check_count(self.n_iter_no_change, f"{self._name}: n_iter_no_change")
        if self.early_stopping:
            check_above_0(self.validation_fraction, f"{self._name}: validation_fraction")
            check_number(self.validation_fraction, f"{self._name}: validation_fraction", 0, 1, below=True)
        if not isinstance(self.verbose, bool):
            check_count(self.verbose, f"{self._name}: verbose", 0)
        if self.dtype not in ("auto", "float32", "float64"):
            raise ValueError(f"{self._name}: dtype must be 'auto', 'float32' or 'float64', got {self.dtype!r}.")

    def _check(self, X: Any, y: Any, sample_weight: Any, new: bool, classes: Any = None) -> Samples:
        """Return samples as the network takes them; `new` is whether there is no network yet."""
        raise TypeError(f"{self._name} needs a method _check")

    def _check_weight(self, sample_weight: Any, X: Array) -> Array | None:
        """Return the weights of the samples as a vector of their own; None is none."""
        if sample_weight is None:
            return None
        weight = column_or_1d(check_array(sample_weight, ensure_2d=False, dtype="float64", input_name="sample_weight"))
        check_consistent_length(X, weight)
        if weight.min() < 0:
            raise ValueError(f"{self._name}: sample_weight must not be negative, got {weight.min()}.")
        if not weight.any():
            raise ValueError(f"{self._name}: sample_weight is zero for all samples, so there is nothing to learn from.")
        return weight

    def _outputs(self, X: Any) -> Array:
        """Return the network's outputs."""
        check_is_fitted(self, "model_")
        return self.model_.predict(validate_data(self, X, reset=False), verbose=0)
