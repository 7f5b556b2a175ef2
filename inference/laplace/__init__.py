"""Laplace approximations: a Gaussian at the mode: of any density, a latent Gaussian model, the weights of a network."""

from inference.laplace.density import GaussianPosterior, laplace
from inference.laplace.latent import LatentLaplace
from inference.laplace.network import (
    BradleyTerry,
    Classification,
    NetLaplace,
    NetLikelihood,
    Prediction,
    Regression,
    train_by_evidence,
)
from inference.laplace.sites import LatentPosterior

__all__ = [
    "BradleyTerry",
    "Classification",
    "GaussianPosterior",
    "LatentLaplace",
    "LatentPosterior",
    "NetLaplace",
    "NetLikelihood",
    "Prediction",
    "Regression",
    "laplace",
    "train_by_evidence",
]
