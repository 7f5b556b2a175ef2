"""Laplace approximations: a Gaussian at the mode, of any density and of a network's weights."""

from inference.laplace.density import GaussianPosterior, laplace
from inference.laplace.network import (
    BradleyTerry,
    Classification,
    NetLaplace,
    NetLikelihood,
    Prediction,
    Regression,
    train_by_evidence,
)

__all__ = [
    "BradleyTerry",
    "Classification",
    "GaussianPosterior",
    "NetLaplace",
    "NetLikelihood",
    "Prediction",
    "Regression",
    "laplace",
    "train_by_evidence",
]
