"""Laplace approximations: a Gaussian at the mode, of any density."""

from inference.laplace.density import GaussianPosterior, laplace

__all__ = ["GaussianPosterior", "laplace"]
