"""Gaussian process models, one file a kind."""
