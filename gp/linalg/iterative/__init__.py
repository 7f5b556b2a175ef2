"""Solvers of `(K + D) x = b` for kernel matrices too large to factor: one file each, one interface."""
