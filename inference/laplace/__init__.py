"""Laplace approximations: a Gaussian at the mode, of any density and of latent Gaussian models."""

from inference.laplace.density import GaussianPosterior, laplace
from inference.laplace.latent import LatentLaplace
from inference.laplace.sites import LatentPosterior

__all__ = ["GaussianPosterior", "LatentLaplace", "LatentPosterior", "laplace"]
