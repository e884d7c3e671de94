"""TinyClassifier and TinyRegressor: scikit-learn's own checks, its tools, and its networks as the reference."""

from __future__ import annotations

import copy
import functools
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the dependency group `test` has scikit-learn")

import joblib
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tinynn
from tests.sklearn_data import (
    classifier,
    diabetes_x,
    diabetes_y,
    iris_names,
    iris_x,
    iris_y,
    random_layers,
    regressor,
)
from tinynn.layers import Dense
from tinynn.sklearn import TinyClassifier, TinyRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# scikit-learn's own checks ---------------------------------------------------------------------------------------


@parametrize_with_checks([TinyClassifier(), TinyRegressor()])
def test_checks_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    """With the settings that users get. None is expected to fail; what a machine lacks for one is said."""
    check(estimator)


def test_every_check_passes_and_none_is_skipped() -> None:
    """One of the checks wants an environment variable that must be set before SciPy is imported."""
    pytest.importorskip("pandas", reason="two of the checks skip without pandas (dependency group `test`)")
    program = """
import warnings
from sklearn.utils.estimator_checks import check_estimator
from tinynn.sklearn import TinyClassifier, TinyRegressor
warnings.simplefilter("ignore")
for estimator in (TinyClassifier(), TinyRegressor()):
    results = check_estimator(estimator, on_fail=None)
    wrong = [(result["check_name"], result["status"]) for result in results if result["status"] != "passed"]
    print(len(results) > 50, wrong)
"""
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["True []"] * 2


# Its tools -------------------------------------------------------------------------------------------------------


def test_pipeline_grid_search_in_two_processes_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier(learning_rate_init=0.01))
    grid = {"tinyclassifier__hidden_layer_sizes": [(2,), (16,)], "tinyclassifier__max_iter": [1, 100]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(iris_x, iris_names)
    assert search.best_params_ == {"tinyclassifier__hidden_layer_sizes": (16,), "tinyclassifier__max_iter": 100}
    assert search.score(iris_x, iris_names) > 0.94
    alone = GridSearchCV(pipeline, grid, cv=3).fit(iris_x, iris_names)
    np.testing.assert_array_equal(alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])
    assert cross_val_score(search.best_estimator_, iris_x, iris_names).mean() > 0.94


def test_a_lambda_of_layers_goes_through_joblib() -> None:
    network = classifier(layers=lambda n, k: [Dense(8, activation="tanh"), Dense(k, activation="softmax")])
    scores = cross_val_score(network, iris_x, iris_y, n_jobs=2, error_score="raise")
    assert len(scores) == 5


def test_clone_is_as_new_and_has_the_settings() -> None:
    optimizer = functools.partial(tinynn.SGD, momentum=0.9)
    network = classifier(layers=random_layers, optimizer=optimizer, class_weight={0: 2, 1: 1, 2: 1})
    twin = clone(network.fit(iris_x, iris_y))
    assert not hasattr(twin, "model_")
    assert twin.get_params()["layers"] is random_layers
    np.testing.assert_array_equal(
        twin.fit(iris_x, iris_y).predict_proba(iris_x), network.fit(iris_x, iris_y).predict_proba(iris_x)
    )


def by_joblib(thing: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("way", [lambda thing: pickle.loads(pickle.dumps(thing)), by_joblib, copy.deepcopy])
@pytest.mark.parametrize("network", [classifier(layers=random_layers), classifier(), regressor()])
def test_a_copy_predicts_and_goes_on_learning_bit_for_bit(way: Callable[[Any], Any], network: Any) -> None:
    network = clone(network).fit(iris_x, iris_y)
    network.set_params(hidden_layer_sizes=3, layers=None)  # what is said of the next network does not touch this one
    twin = way(network)
    np.testing.assert_array_equal(twin.predict(iris_x), network.predict(iris_x))
    assert twin.loss_curve_ == network.loss_curve_
    for one in (network, twin):
        one.partial_fit(iris_x, iris_y).partial_fit(iris_x[:70], iris_y[:70])
    method = "predict_proba" if isinstance(network, TinyClassifier) else "predict"
    np.testing.assert_array_equal(getattr(twin, method)(iris_x), getattr(network, method)(iris_x))
    assert twin.n_iter_ == network.n_iter_ == 7


def test_data_frames_have_names() -> None:
    pandas = pytest.importorskip("pandas", reason="the dependency group `test` has pandas")
    frame = pandas.DataFrame(iris_x, columns=list("abcd"))
    network = classifier().fit(frame, pandas.Series(iris_names))
    assert network.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(network.predict(frame), network.fit(iris_x, iris_names).predict(iris_x))
    network.fit(frame, iris_y)
    with pytest.raises(ValueError, match="feature names should match"):
        network.predict(frame[list("bacd")])


# References ------------------------------------------------------------------------------------------------------


def test_digits_as_well_as_scikit_learns_network() -> None:
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.4, random_state=0)
    networks = [[kind(random_state=seed) for seed in (0, 1)] for kind in (TinyClassifier, MLPClassifier)]
    mine, its = (np.mean([one.fit(x_train, y_train).score(x_test, y_test) for one in kind]) for kind in networks)
    assert mine > 0.97
    assert abs(mine - its) < 0.01


def test_diabetes_as_well_as_scikit_learns_network() -> None:
    x_train, x_test, y_train, y_test = train_test_split(diabetes_x, diabetes_y, test_size=0.4, random_state=0)
    settings = {"hidden_layer_sizes": 20, "alpha": 10, "batch_size": 53, "max_iter": 300}  # 5 equal batches
    networks = [[kind(**settings, random_state=seed) for seed in (0, 1, 2)] for kind in (TinyRegressor, MLPRegressor)]
    mine, its = (np.mean([one.fit(x_train, y_train).score(x_test, y_test) for one in kind]) for kind in networks)
    assert mine > 0.4
    assert abs(mine - its) < 0.01


def converged(kind: type, **settings: Any) -> Any:
    """Return a linear model that is trained to the end, all samples a step."""
    rate = tinynn.schedules.ExponentialDecay(0.1, 1000, 0.1)
    return kind((), learning_rate_init=rate, batch_size=1000, max_iter=4000, tol=0, n_iter_no_change=4000, **settings)


@pytest.mark.parametrize("weighted", [False, True])
def test_alpha_and_weights_mean_what_they_mean_in_logistic_regression(weighted: bool) -> None:
    weight = np.linspace(0, 4, 150) if weighted else None
    class_weight = {0: 1, 1: 2, 2: 0.5} if weighted else None
    mine = converged(TinyClassifier, alpha=5, random_state=0, class_weight=class_weight)
    its = LogisticRegression(C=1 / 5, class_weight=class_weight, tol=1e-8)
    mine.fit(iris_x, iris_y, weight)
    its.fit(iris_x, iris_y, weight)
    np.testing.assert_allclose(mine.predict_proba(iris_x), its.predict_proba(iris_x), atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
def test_alpha_and_weights_mean_what_they_mean_in_ridge_regression(outputs: int) -> None:
    targets = np.stack([diabetes_y, diabetes_y**2], axis=1)[:, :outputs]
    weight = np.linspace(0, 4, 442)
    mine = converged(TinyRegressor, alpha=50, random_state=0).fit(diabetes_x, targets, weight)
    its = Ridge(alpha=50 * outputs)  # where there are several outputs it adds up what here is averaged
    its.fit(diabetes_x, targets, weight)
    np.testing.assert_allclose(mine.predict(diabetes_x), its.predict(diabetes_x).reshape(442, -1), atol=1e-5)


# Mistakes --------------------------------------------------------------------------------------------------------


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"hidden_layer_sizes": (8, 0)}, ValueError, r"hidden_layer_sizes=\(8, 0\): every size must be a whole number"),
    ({"activation": "rleu"}, ValueError, "unknown activation 'rleu'. Did you mean 'relu'"),
    ({"optimizer": "adma"}, ValueError, "unknown optimizer 'adma'"),
    ({"optimizer": tinynn.SGD(0.1)}, TypeError, "called with a learning rate: a class such as tinynn.SGD"),
    ({"optimizer": float}, TypeError, "optimizer must be a name, or what makes an optimizer"),
    ({"learning_rate_init": -1}, ValueError, "Adam: learning_rate must be a number from 0 up, got -1"),
    ({"alpha": -1}, ValueError, "alpha must be a number from 0 up, got -1"),
    ({"batch_size": 0}, ValueError, "batch_size, if it is not 'auto', must be a whole number from 1 up, got 0"),
    ({"batch_size": "all"}, ValueError, "if it is not 'auto', must be a whole number from 1 up, got 'all'"),
    ({"max_iter": 0}, ValueError, "max_iter must be a whole number from 1 up, got 0"),
    ({"tol": -1}, ValueError, "tol must be a number from 0 up, got -1"),
    ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be a whole number from 1 up, got 0"),
    (
        {"early_stopping": True, "validation_fraction": 1.0},
        ValueError,
        "validation_fraction must be a number from 0 to",
    ),
    ({"dtype": "float16"}, ValueError, "dtype must be 'auto', 'float32' or 'float64', got 'float16'"),
    ({"layers": [Dense(3)]}, TypeError, "layers must be a function .* A list of layers would serve one fit only"),
    ({"layers": lambda n, k: None}, TypeError, "returns a new list of tinynn layers: .* it returned None"),
    ({"layers": lambda n, k: [Dense]}, TypeError, "it returned .*Dense"),
    (
        {"layers": lambda n, k: [Dense(7, activation="softmax")]},
        ValueError,
        r"outputs of shape \(batch, 7\), expected \(batch, 3\)",
    ),
    (
        {"layers": lambda n, k: [Dense(k)]},
        ValueError,
        r"must end in softmax, .*Dense\(n_outputs, activation='softmax'\)",
    ),
    ({"layers": lambda n: [Dense(n)]}, TypeError, "called with the number of features and the number of outputs"),
    ({"class_weight": {0: -1.0, 1: 1.0, 2: 1.0}}, ValueError, "class_weight must not be negative, got {0: -1.0"),
    ({"class_weight": {7: 1.0}}, ValueError, "not in class_weight"),
]


@pytest.mark.parametrize(("settings", "kind", "message"), MISTAKES)
def test_settings_that_cannot_be(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    network = classifier(**settings)  # nothing is looked at before fit, as everywhere in scikit-learn
    with pytest.raises(kind, match=message):
        network.fit(iris_x, iris_y)
    assert not hasattr(network, "model_")


def test_data_that_cannot_be() -> None:
    network = classifier()
    with pytest.raises(NotFittedError, match="This TinyClassifier instance is not fitted yet"):
        network.predict(iris_x)
    with pytest.raises(ValueError, match=r"needs samples of two classes or more .*got 1 class: \[0\]"):
        network.fit(iris_x[:50], iris_y[:50])
    with pytest.raises(ValueError, match=r"weights above 0, got 1 class: \['setosa'\]"):
        network.fit(iris_x, iris_names, iris_y == 0)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        network.fit(scipy.sparse.csr_matrix(iris_x), iris_y)
    with pytest.raises(ValueError, match="sample_weight must not be negative, got -1"):
        network.fit(iris_x, iris_y, np.full(150, -1))
    with pytest.raises(ValueError, match="sample_weight is zero for all samples"):
        network.fit(iris_x, iris_y, np.zeros(150))
    with pytest.raises(ValueError, match="Unknown label type"):
        network.fit(iris_x, iris_x[:, 0])
    with pytest.raises(NotFittedError):  # nothing of all this has made a network
        network.predict(iris_x)
    network.fit(iris_x, iris_y)
    with pytest.raises(ValueError, match="X has 3 features, but TinyClassifier is expecting 4"):
        network.predict(iris_x[:, :3])
    with pytest.raises(ValueError, match=r"y has the label 9, but the classes are \[0, 1, 2\]"):
        network.partial_fit(iris_x[:2], [0, 9])
    with pytest.raises(ValueError, match=r"the classes were \[0, 1, 2\] before, got \[0, 1\]"):
        network.partial_fit(iris_x[:2], [0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match=r"the first call of partial_fit needs classes=\.\.\."):
        classifier().partial_fit(iris_x, iris_y)
    with pytest.raises(ValueError, match="partial_fit makes one pass and cannot stop early"):
        classifier(early_stopping=True).partial_fit(iris_x, iris_y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples at once"):
        classifier(class_weight="balanced").partial_fit(iris_x, iris_y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="y had 1 outputs a sample before, got 2"):
        regressor().fit(iris_x, iris_y).partial_fit(iris_x, iris_x[:, :2])
    with pytest.raises(FloatingPointError, match="the loss became"), np.errstate(all="ignore"):
        regressor(optimizer="sgd", learning_rate_init=1e30).fit(diabetes_x, diabetes_y)


# Importing -------------------------------------------------------------------------------------------------------


def run(program: str) -> str:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_tinynn_does_not_import_scikit_learn() -> None:
    assert run("import tinynn, sys; print('sklearn' in sys.modules, hasattr(tinynn, 'sklearn'))") == "False False"


@pytest.mark.parametrize("missing", ["sklearn", "sklearn.utils.validation"])
def test_without_scikit_learn_the_error_names_the_extra(missing: str) -> None:
    said = run(f"""
import sys
sys.modules[{missing!r}] = None
try:
    import tinynn.sklearn
except ImportError as error:
    print(error)
""")
    assert "needs scikit-learn 1.6 or newer" in said
    assert "pip install '.[sklearn]'" in said
