"""Structured Gaussian processes: what does the model predict, and how surely?

Every model here is a `botorch.models.model.Model`. Nothing in this package knows of search spaces or studies.
"""

from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.models.exact import ExactGP
from gp.models.fully_bayesian import FullyBayesianGP
from gp.models.grid_points import GridPointsGP
from gp.models.iterative import IterativeGP
from gp.models.kronecker import KroneckerGP
from gp.models.laplace import LaplaceGP
from gp.models.laplace_net import LaplaceNetSurrogate
from gp.models.latent_kronecker import LatentKroneckerGP
from gp.models.mixture import MixtureGP
from gp.models.single_task import to_single_task_gp
from gp.models.sparse import SparseGP
from gp.models.sparse_variational import SparseVariationalGP
from gp.models.spectral_mixture import SpectralMixtureGP
from gp.pde.problem import PDEProblem
from gp.pde.solver import GPPDESolver

__priorwise__ = True  # how `bayesopt` tells this package from another of the same name

__all__ = [
    "ExactGP",
    "FullyBayesianGP",
    "GPPDESolver",
    "GridPointsGP",
    "IterativeGP",
    "KroneckerGP",
    "LaplaceGP",
    "LaplaceNetSurrogate",
    "LatentKroneckerGP",
    "MixtureGP",
    "PDEProblem",
    "SparseGP",
    "SparseVariationalGP",
    "SpectralMixtureGP",
    "SpectralMixtureKernel",
    "to_single_task_gp",
]
