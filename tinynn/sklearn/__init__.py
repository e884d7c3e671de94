"""tinynn's networks as scikit-learn estimators (extra ``sklearn``).

They stand wherever scikit-learn wants an estimator: in a Pipeline, a GridSearchCV, in cross_val_score, in joblib.
Names and meanings of the settings are MLPClassifier's where there is such a setting there.
"""

from tinynn.sklearn.base import TinyEstimator  # first: it says what to install where scikit-learn is missing
from tinynn.sklearn.classifier import TinyClassifier
from tinynn.sklearn.regressor import TinyRegressor

__all__ = ["TinyClassifier", "TinyEstimator", "TinyRegressor"]
