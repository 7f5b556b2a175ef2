"""Approximate posteriors: given a model and data, what do we know? Nothing here knows of Gaussian processes."""

__priorwise__ = True  # how `bayesopt` tells this package from another of the same name
