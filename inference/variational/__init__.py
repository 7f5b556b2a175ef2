"""Variational inference on Pyro programs: objectives as functions, and a gradient strategy for each site."""

from inference.variational.fit import fit
from inference.variational.marginal import Marginal, marginal
from inference.variational.objectives import CUBO, ELBO, IWELBO, RWS, STL, DReG, Objective, Renyi
from inference.variational.posterior import VariationalPosterior
from inference.variational.weights import Weights

__all__ = [
    "CUBO",
    "ELBO",
    "IWELBO",
    "RWS",
    "STL",
    "DReG",
    "Marginal",
    "Objective",
    "Renyi",
    "VariationalPosterior",
    "Weights",
    "fit",
    "marginal",
]
