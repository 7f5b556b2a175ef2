"""Markov chain Monte Carlo: an ensemble of Hamiltonian chains in plain torch, and Pyro's NUTS."""

from inference.mcmc.ensemble_hmc import EnsembleState, ensemble_hmc
from inference.mcmc.nuts import nuts

__all__ = ["EnsembleState", "ensemble_hmc", "nuts"]
