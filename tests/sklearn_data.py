"""What the tests of tinynn.sklearn share: data, and small networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_iris
from sklearn.preprocessing import StandardScaler

from tinynn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Reshape
from tinynn.sklearn import TinyClassifier, TinyRegressor

iris_x, iris_y = load_iris(return_X_y=True)
iris_x = StandardScaler().fit_transform(iris_x)
iris_names = np.array(["setosa", "versicolor", "virginica"])[iris_y]
diabetes_x, diabetes_y = (StandardScaler().fit_transform(z.reshape(442, -1)) for z in load_diabetes(return_X_y=True))
diabetes_y = diabetes_y[:, 0]


def classifier(**settings: Any) -> TinyClassifier:
    return TinyClassifier(**({"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0} | settings))


def regressor(**settings: Any) -> TinyRegressor:
    return TinyRegressor(**({"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0} | settings))


def random_layers(n_features: int, n_outputs: int) -> list[Any]:
    """Layers that keep more than weights: running means and random numbers."""
    return [Dense(8), BatchNormalization(), Dropout(0.3), Dense(n_outputs, activation="softmax")]


def convolution(n_features: int, n_outputs: int) -> list[Any]:
    head = [Flatten(), Dense(n_outputs, activation="softmax")]
    return [Reshape((8, 8, 1)), Conv2D(8, 3, strides=2, activation="relu"), *head]
