"""Approximate posteriors: given a model and data, what do we know? Nothing here knows of Gaussian processes."""

from inference.density import LogDensity, from_callable, from_pyro
from inference.diagnostics import brier, coverage, crps, ece, ess, loo_gaussian, pit, psis, rhat, sbc
from inference.laplace import (
    BradleyTerry,
    Classification,
    GaussianPosterior,
    LatentLaplace,
    NetLaplace,
    NetLikelihood,
    Regression,
    laplace,
    train_by_evidence,
)
from inference.likelihoods import Bernoulli, NegativeBinomial, Poisson, StudentT
from inference.mcmc import ensemble_hmc, nuts
from inference.optimize import MapResult, find_map
from inference.result import Posterior, Samples
from inference.variational import ELBO, IWELBO, fit, marginal

__priorwise__ = True  # how `bayesopt` tells this package from another of the same name

__all__ = [
    "ELBO",
    "IWELBO",
    "Bernoulli",
    "BradleyTerry",
    "Classification",
    "GaussianPosterior",
    "LatentLaplace",
    "LogDensity",
    "MapResult",
    "NegativeBinomial",
    "NetLaplace",
    "NetLikelihood",
    "Poisson",
    "Posterior",
    "Regression",
    "Samples",
    "StudentT",
    "brier",
    "coverage",
    "crps",
    "ece",
    "ensemble_hmc",
    "ess",
    "find_map",
    "fit",
    "from_callable",
    "from_pyro",
    "laplace",
    "loo_gaussian",
    "marginal",
    "nuts",
    "pit",
    "psis",
    "rhat",
    "sbc",
    "train_by_evidence",
]
