"""scikit-learn's 8 x 8 digits: a pipeline and a search over the settings of a network (extra ``sklearn``)."""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from tinynn.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D, Reshape
from tinynn.sklearn import TinyClassifier


def convolution(n_features, n_outputs):
    """Return the layers of a small convolutional network; the rows of the data become images first."""
    return [
        Reshape((8, 8, 1)),
        Conv2D(32, 3, activation="relu", padding="same"),
        Conv2D(32, 3, activation="relu"),
        MaxPooling2D(),
        Flatten(),
        Dropout(0.5),
        Dense(n_outputs, activation="softmax"),
    ]


if __name__ == "__main__":  # the search starts processes, which read this file again
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="how many networks to train at once")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)

    network = TinyClassifier(
        early_stopping=True, tol=1e-3, learning_rate_init=0.005, batch_size=100, dtype="float32", random_state=0
    )
    pipeline = make_pipeline(MinMaxScaler(), network)
    grid = [
        {"tinyclassifier__hidden_layer_sizes": [(64,), (128, 64)], "tinyclassifier__alpha": [1e-4, 1e-1]},
        {"tinyclassifier__layers": [convolution]},
    ]
    search = GridSearchCV(pipeline, grid, n_jobs=args.jobs, cv=3)
    search.fit(X_train, y_train)

    scores = zip(search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True)
    for score, settings in sorted(scores, key=lambda row: row[0]):
        print(f"{score:.4f}", ", ".join(f"{name.split('__')[1]}={value}" for name, value in settings.items()))
    search.best_estimator_[-1].model_.summary()
    print(f"test accuracy {search.score(X_test, y_test):.4f}")
