"""TinyClassifier and TinyRegressor: how they train."""

from __future__ import annotations

import functools
import signal
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the dependency group `test` has scikit-learn")

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import tinynn
from tests.sklearn_data import (
    classifier,
    convolution,
    diabetes_x,
    diabetes_y,
    iris_names,
    iris_x,
    iris_y,
    regressor,
)
from tinynn.layers import Conv2D, Dense
from tinynn.sklearn import TinyClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
def test_it_is_the_network_that_tinynn_trains(shuffle: bool) -> None:
    network = classifier(shuffle=shuffle, batch_size=50, alpha=0.0).fit(iris_x, iris_y)
    layers = [Dense(8, activation="relu"), Dense(3, activation="softmax")]
    model = tinynn.Sequential(layers, seed=network.model_.seed, dtype="float64")
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(iris_x, iris_y, batch_size=50, epochs=5, verbose=0, shuffle=shuffle)
    assert history.history["loss"] == network.loss_curve_
    np.testing.assert_array_equal(network.predict_proba(iris_x), model.predict(iris_x))


def test_alpha_leaves_a_layers_own_regularizer_and_the_biases_alone() -> None:
    own = tinynn.L1(0.1)
    network = classifier(
        layers=lambda n, k: [Dense(4, kernel_regularizer=own), Dense(k, activation="softmax")], alpha=3.0
    )
    first, second = network.fit(iris_x, iris_y).model_.layers
    assert [parameter.regularizer for parameter in first.parameters] == [own, None]
    assert second.parameters[0].regularizer.l2 == 3.0 / 2 / 150
    assert second.parameters[1].regularizer is None


def test_passes_of_partial_fit_are_epochs_of_fit() -> None:
    whole = classifier().fit(iris_x, iris_names)
    passes = classifier().partial_fit(iris_x, iris_names, classes=iris_names)
    for _ in range(4):
        passes.partial_fit(iris_x, iris_names)
    assert passes.loss_curve_ == whole.loss_curve_
    assert passes.n_iter_ == whole.n_iter_ == 5
    np.testing.assert_array_equal(passes.predict_proba(iris_x), whole.predict_proba(iris_x))


def test_partial_fit_of_batches_with_some_of_the_classes() -> None:
    network = classifier(learning_rate_init=0.01)
    for _ in range(100):
        for rows in (slice(0, 60), slice(60, 120), slice(120, 150)):
            network.partial_fit(iris_x[rows], iris_names[rows], classes=["virginica", "setosa", "versicolor"])
    assert network.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert network.score(iris_x, iris_names) > 0.9


def test_partial_fit_takes_weights_as_they_are() -> None:
    def step(weight: float) -> Any:
        network = regressor(optimizer="sgd", alpha=0.0, batch_size=442).partial_fit(diabetes_x, diabetes_y)
        before = network.model_.get_weights()
        network.partial_fit(diabetes_x, diabetes_y, sample_weight=np.full(442, weight))
        return [after - was for after, was in zip(network.model_.get_weights(), before, strict=True)]

    for once, twice in zip(step(1.0), step(2.0), strict=True):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-9, atol=1e-12)


def test_warm_start_goes_on() -> None:
    network = classifier(warm_start=True).fit(iris_x, iris_y)
    model = network.model_
    first = list(network.loss_curve_)
    network.set_params(learning_rate_init=0.01).fit(iris_x, iris_y)
    assert network.model_ is model
    assert network.model_.optimizer.learning_rate == 0.01
    assert network.loss_curve_[:5] == first
    assert network.n_iter_ == 10
    assert network.loss_curve_[-1] < first[-1]
    cold = network.set_params(warm_start=False).fit(iris_x, iris_y)
    assert cold.model_ is not model
    assert cold.n_iter_ == 5


def test_one_random_state_one_network() -> None:
    def proba(random_state: Any) -> Any:
        return classifier(random_state=random_state).fit(iris_x, iris_y).predict_proba(iris_x)

    np.testing.assert_array_equal(proba(3), proba(3))
    assert not np.array_equal(proba(3), proba(4))
    assert not np.array_equal(proba(None), proba(None))
    stream = np.random.RandomState(3)
    np.testing.assert_array_equal(proba(stream), proba(3))
    assert not np.array_equal(proba(stream), proba(3))  # the stream has gone on


@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_ends_with_the_best_weights(weighted: bool) -> None:
    targets = np.stack([diabetes_y, -diabetes_y], axis=1)
    weight = np.linspace(0.1, 1, 442) if weighted else np.ones(442)
    network = regressor(early_stopping=True, max_iter=1000, learning_rate_init=0.01, tol=0, alpha=0.0)
    network.set_params(validation_fraction=0.2).fit(diabetes_x, targets, weight)
    losses = network.validation_loss_curve_
    assert network.n_iter_ == len(losses) == len(network.loss_curve_) < 1000
    assert np.argmin(losses) == network.n_iter_ - 12  # 11 were not better: more than 10
    held_out = train_test_split(np.arange(442), test_size=0.2, random_state=network.model_.seed)[1]
    errors = ((network.predict(diabetes_x[held_out]) - targets[held_out]) ** 2).mean(axis=1)
    assert (weight[held_out] / weight.mean() * errors).mean() == pytest.approx(min(losses))


def test_early_stopping_of_a_classifier_holds_out_of_each_class() -> None:
    network = classifier(early_stopping=True, max_iter=1000, learning_rate_init=0.05, alpha=0.0).fit(iris_x, iris_names)
    assert network.n_iter_ < 1000
    held_out = train_test_split(np.arange(150), test_size=0.1, random_state=network.model_.seed, stratify=iris_y)[1]
    assert np.bincount(iris_y[held_out]).tolist() == [5, 5, 5]
    loss = log_loss(iris_names[held_out], network.predict_proba(iris_x[held_out]))
    assert loss == pytest.approx(min(network.validation_loss_curve_))


def test_early_stopping_does_not_stop_at_the_first_lucky_accuracy() -> None:
    x, y = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(StandardScaler().fit_transform(x), y, random_state=0)
    networks = [kind(early_stopping=True, random_state=0) for kind in (TinyClassifier, MLPClassifier)]
    mine, its = (network.fit(x_train, y_train).score(x_test, y_test) for network in networks)
    assert mine > max(its, 0.95)


def test_training_that_did_not_converge_says_so_and_ends_where_nothing_gets_better() -> None:
    with pytest.warns(ConvergenceWarning, match="TinyClassifier: max_iter=2 epochs were over before"):
        classifier(max_iter=2).fit(iris_x, iris_y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = classifier(tol=1e6, max_iter=50).fit(iris_x, iris_y)
    assert network.n_iter_ == 12


def test_class_weight_is_sample_weight() -> None:
    by_class = {"setosa": 1.0, "versicolor": 5.0, "virginica": 2.0}
    weight = np.array([by_class[name] for name in iris_names])
    expected = classifier().fit(iris_x, iris_names, weight).predict_proba(iris_x)
    found = classifier(class_weight=by_class).fit(iris_x, iris_names).predict_proba(iris_x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    x, y = iris_x[40:110], iris_y[40:110]  # 10, 50 and 10
    rare = classifier(class_weight="balanced").fit(x, y).predict_proba(x)
    weight = np.where(y == 1, 1.0, 5.0)
    np.testing.assert_allclose(rare, classifier().fit(x, y, weight / weight.mean()).predict_proba(x), rtol=1e-12)


def test_labels_of_every_kind() -> None:
    for labels in (iris_names, iris_names.astype(object), iris_y - 7, iris_y == 1, iris_y * 10.0):
        network = classifier(max_iter=100, learning_rate_init=0.02).fit(iris_x, labels)
        assert network.predict(iris_x).dtype == np.asarray(labels).dtype
        assert network.score(iris_x, labels) > 0.9
        assert network.predict_proba(iris_x).shape == (150, len(np.unique(labels)))
    np.testing.assert_array_equal(network.predict_log_proba(iris_x), np.log(network.predict_proba(iris_x)))


def test_regression_of_one_and_of_several_outputs() -> None:
    for targets in (diabetes_y, diabetes_y[:, None], np.stack([diabetes_y, -diabetes_y], axis=1)):
        network = regressor(max_iter=60, learning_rate_init=0.01).fit(diabetes_x, targets)
        assert network.predict(diabetes_x).shape == targets.shape
        assert network.score(diabetes_x, targets) > 0.4
        assert network.n_outputs_ == targets.size // 442
    scaled = TransformedTargetRegressor(network, transformer=StandardScaler())
    assert scaled.fit(diabetes_x, 1000 * diabetes_y).score(diabetes_x, 1000 * diabetes_y) > 0.4


@pytest.mark.parametrize("dtype", ["auto", "float32", "float64"])
def test_the_dtype_is_that_of_the_inputs_or_as_said(dtype: str) -> None:
    for given in ("float32", "float64", "uint8"):
        network = classifier(dtype=dtype).fit((10 * iris_x).astype(given), iris_y)
        followed = "float32" if given == "float32" else "float64"
        assert network.predict_proba(iris_x).dtype == (followed if dtype == "auto" else dtype)


def test_networks_of_ones_own() -> None:
    x, y = load_digits(return_X_y=True)
    network = classifier(layers=convolution, max_iter=20, learning_rate_init=0.01, dtype="float32")
    network.fit(x[:1000] / 16, y[:1000])
    assert network.score(x[1000:] / 16, y[1000:]) > 0.9
    assert isinstance(network.model_.layers[1], Conv2D)


@pytest.mark.parametrize("optimizer", ["SGD", tinynn.RMSprop, functools.partial(tinynn.SGD, momentum=0.9)])
def test_optimizers(optimizer: Any) -> None:
    rate = tinynn.schedules.ExponentialDecay(0.1, 100, 0.5)
    network = classifier(optimizer=optimizer, learning_rate_init=rate, max_iter=50).fit(iris_x, iris_y)
    assert network.loss_curve_[-1] < network.loss_curve_[0] / 2
    assert network.model_.optimizer.schedule is rate


def test_an_activation_with_settings_serves_every_layer_and_every_fit() -> None:
    activation = tinynn.LeakyReLU(0.3)
    network = classifier(hidden_layer_sizes=(8, 8), activation=activation)
    first = network.fit(iris_x, iris_y).predict_proba(iris_x)
    np.testing.assert_array_equal(network.fit(iris_x, iris_y).predict_proba(iris_x), first)
    assert activation.input_shape is None
    assert not np.array_equal(network.set_params(activation="relu").fit(iris_x, iris_y).predict_proba(iris_x), first)
    for its, ours in [("logistic", "sigmoid"), ("identity", "linear")]:
        found, expected = (classifier(activation=name).fit(iris_x, iris_y).loss_curve_ for name in (its, ours))
        assert found == expected


def test_verbose(capfd: pytest.CaptureFixture[str]) -> None:
    classifier(max_iter=2).fit(iris_x, iris_y)
    assert capfd.readouterr().out == ""
    classifier(max_iter=2, verbose=True).fit(iris_x, iris_y)
    assert capfd.readouterr().out.startswith("Epoch 1/2 - ")
    classifier(max_iter=2, verbose=10).fit(iris_x, iris_y)
    assert capfd.readouterr().out.count("loss: ") == 2


def test_ctrl_c_leaves_a_fitted_estimator_and_ends_a_search() -> None:
    class PressOnce(tinynn.SGD):
        def update(self, *vectors: Any) -> None:
            super().update(*vectors)
            if self.iterations == 3:
                signal.raise_signal(signal.SIGINT)

    network = classifier(optimizer=PressOnce, batch_size=75, max_iter=50)
    with pytest.raises(KeyboardInterrupt, match="TinyClassifier: interrupted after 1 epochs"):
        network.fit(iris_x, iris_y)
    assert network.n_iter_ == 1
    assert network.predict(iris_x).shape == (150,)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(network, iris_x, iris_y)


def test_on_every_device(device: tinynn.backend.Device) -> None:
    network = classifier(device=device.name, early_stopping=True).fit(iris_x, iris_names, np.ones(150))
    here = classifier(device="cpu", early_stopping=True).fit(iris_x, iris_names, np.ones(150))
    np.testing.assert_allclose(network.predict_proba(iris_x), here.predict_proba(iris_x), rtol=1e-6)
