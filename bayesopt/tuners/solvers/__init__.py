"""Solvers with a parameter worth tuning, ready to run: each a space, a default, a solve and what it costs."""
