"""Differential equations, solved by Gaussian processes."""
