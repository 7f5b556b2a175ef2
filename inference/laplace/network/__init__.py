"""Laplace approximations of networks: how sure is one of its predictions?"""

from inference.laplace.network.likelihoods import BradleyTerry, Classification, NetLikelihood, Prediction, Regression
from inference.laplace.network.net_laplace import NetLaplace
from inference.laplace.network.online import train_by_evidence

__all__ = [
    "BradleyTerry",
    "Classification",
    "NetLaplace",
    "NetLikelihood",
    "Prediction",
    "Regression",
    "train_by_evidence",
]
