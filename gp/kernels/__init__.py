"""Kernels, one file a kind; each is a `gpytorch.kernels.Kernel`."""
