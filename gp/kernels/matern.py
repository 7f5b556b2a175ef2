"""The Matérn kernel that a model starts from where it is given none."""

import math

import torch
from gpytorch.constraints.constraints import Positive
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from torch import Tensor


def scaled_matern(X: Tensor) -> ScaleKernel:
    """Matérn-3/2 of variance 1 with a lengthscale a feature, its standard deviation in X times `sqrt(d)`.

    Points of X are then about one and a half lengthscales apart, in whatever dimension. Raw parameters are logarithms,
    so that an optimiser's steps of one length suit lengthscales of any size.

    Args:
        X: Points, `n x d`.

    Returns:
        A kernel of their precision and on their device.

    Example:
        >>> scaled_matern(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])).base_kernel.lengthscale.detach()
        tensor([[1.4142, 1.4142]])
    """
    positive = Positive(transform=torch.exp, inv_transform=torch.log)
    base = MaternKernel(nu=1.5, ard_num_dims=X.shape[1], lengthscale_constraint=positive)
    kernel = ScaleKernel(base, outputscale_constraint=positive).to(X)
    spread = (X - X.mean(0)).square().mean(0).sqrt()
    # a feature that does not vary has no scale of its own
    base.lengthscale = math.sqrt(X.shape[1]) * torch.where(spread > 0, spread, torch.ones_like(spread))
    kernel.outputscale = 1.0
    return kernel
