"""Structured Gaussian processes: what does the model predict, and how surely?

Every model here is a `botorch.models.model.Model`. Nothing in this package knows of search spaces or studies.
"""

from gp.models.exact import ExactGP
from gp.models.laplace_net import LaplaceNetSurrogate
from gp.models.single_task import to_single_task_gp

__priorwise__ = True  # how `bayesopt` tells this package from another of the same name

__all__ = ["ExactGP", "LaplaceNetSurrogate", "to_single_task_gp"]
