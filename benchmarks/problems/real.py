"""Models trained on data that ship with scikit-learn: fixed splits and seeds, so every evaluation can be repeated.

Nobody knows the minima: those stated are the least that a random search of 350 to 1,200 configurations and half as many
steps around its best found, rounded down. The report takes the least that any run has seen where that is less.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import bayesopt as bo
from problems.problem import Params, Problem

_N_DIGITS = 800
"""Images that the network sees, of 1,797: enough to tell configurations apart in a tenth of a second."""
_EPOCHS = 10


def remembered(train: Callable[..., float]) -> Callable[[Params], dict[str, float]]:
    """The outcomes of a training, trained once for each configuration."""
    recall = lru_cache(maxsize=None)(train)

    def outcomes(params: Params) -> dict[str, float]:
        return {"y": recall(**params)}

    return outcomes


@lru_cache(maxsize=1)
def _tumours() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), 2 * y - 1


@lru_cache(maxsize=1)
def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X, (y - y.mean()) / y.std()


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:_N_DIGITS] / 16.0, y[:_N_DIGITS]


def _mean_over_folds(folds: Any, X: np.ndarray, y: np.ndarray, losses: Callable[..., np.ndarray]) -> float:
    return float(np.concatenate([losses(X[a], y[a], X[b], y[b]) for a, b in folds.split(X, y)]).mean())


def _support_vectors(C: float, gamma: float) -> float:
    """Squared hinge loss on breast cancer."""

    def losses(X: np.ndarray, y: np.ndarray, held_X: np.ndarray, held_y: np.ndarray) -> np.ndarray:
        margins = held_y * SVC(C=C, gamma=gamma).fit(X, y).decision_function(held_X)
        return np.maximum(0.0, 1 - margins) ** 2

    return _mean_over_folds(StratifiedKFold(5, shuffle=True, random_state=0), *_tumours(), losses)


def _boosted_trees(**options: Any) -> float:
    """Squared error on diabetes, in variances of the target."""

    def losses(X: np.ndarray, y: np.ndarray, held_X: np.ndarray, held_y: np.ndarray) -> np.ndarray:
        model = GradientBoostingRegressor(random_state=0, **options).fit(X, y)
        return (model.predict(held_X) - held_y) ** 2

    return _mean_over_folds(KFold(3, shuffle=True, random_state=0), *_diabetes(), losses)


def _network(width: int, layers: int, **options: Any) -> float:
    """Cross-entropy on digits after ten epochs."""

    def losses(X: np.ndarray, y: np.ndarray, held_X: np.ndarray, held_y: np.ndarray) -> np.ndarray:
        model = MLPClassifier((width,) * layers, max_iter=_EPOCHS, random_state=0, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are what is asked for
            chances = model.fit(X, y).predict_proba(held_X)
        return -np.log(np.maximum(chances[np.arange(len(held_y)), held_y], 1e-6))

    return _mean_over_folds(StratifiedKFold(2, shuffle=True, random_state=0), *_digits(), losses)


SUPPORT_VECTORS = Problem(
    name="support vector machine",
    family="real",
    space=bo.Space({"C": bo.Float(1e-2, 1e4, log=True), "gamma": bo.Float(1e-5, 1e1, log=True)}),
    outcomes=remembered(_support_vectors),
    minimum=0.07927,
    source="breast cancer, five folds",
    n_seeds=20,
    trials=25,
)
BOOSTED_TREES = Problem(
    name="boosted trees",
    family="real",
    space=bo.Space({
        "learning_rate": bo.Float(3e-3, 0.5, log=True),
        "n_estimators": bo.Int(10, 80, log=True),
        "max_depth": bo.Int(1, 5),
        "min_samples_leaf": bo.Int(1, 100, log=True),
        "subsample": bo.Float(0.3, 1.0),
        "loss": bo.Choice(["squared_error", "huber", "absolute_error"]),
    }),
    outcomes=remembered(_boosted_trees),
    minimum=0.52021,
    source="diabetes, three folds",
    trials=30,
)
NETWORK = Problem(
    name="neural network",
    family="real",
    space=bo.Space({
        "width": bo.Int(8, 128, log=True),
        "layers": bo.Int(1, 3),
        "batch_size": bo.Int(16, 256, log=True),
        "learning_rate_init": bo.Float(1e-4, 1e-1, log=True),
        "alpha": bo.Float(1e-6, 10.0, log=True),
        "activation": bo.Choice(["relu", "tanh", "logistic"]),
    }),
    outcomes=remembered(_network),
    minimum=0.11525,
    source="digits, two folds",
    trials=30,
)

ALL = (SUPPORT_VECTORS, BOOSTED_TREES, NETWORK)
