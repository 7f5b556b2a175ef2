"""The kernel of one axis of a grid, with priors in the units of the axis."""

import math

import torch
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from gpytorch.priors.torch_priors import LogNormalPrior
from torch import Tensor


def axis_kernel(axis: Tensor, *, of_inputs: bool) -> Kernel:
    """A Matérn-5/2 kernel with a lengthscale a feature, and a variance where it is the kernel of the inputs.

    The lengthscale of inputs has BoTorch's prior, `LogNormal(sqrt(2) + log(d) / 2, sqrt(3))`; that of any other axis,
    which is like time, `LogNormal(log(1/2), 1)`: both in units of the range of each feature.

    Args:
        axis: Points, `n x d`, in any units.
        of_inputs: Whether it is the axis of inputs, whose lengthscales grow with their number.

    Returns:
        The kernel, on the device and of the dtype of the axis, with log-transformed parameters.

    Reference: Hvarfner et al. 2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions".

    Example:
        >>> axis_kernel(torch.tensor([[0.0], [10.0]]), of_inputs=False).lengthscale.item()
        5.0
    """
    spread = axis.amax(0) - axis.amin(0)
    reach = torch.where(spread > 0, spread, torch.ones_like(spread))
    median, sd = (math.exp(math.sqrt(2.0)) * math.sqrt(axis.shape[-1]), math.sqrt(3.0)) if of_inputs else (0.5, 1.0)
    matern = MaternKernel(
        nu=2.5,
        ard_num_dims=axis.shape[-1],
        lengthscale_prior=LogNormalPrior((median * reach).log(), torch.full_like(reach, sd)),
        # shorter than 1/40 of the range, values at neighbouring points of a grid tell nothing of one another
        # (squeezed: GPyTorch cannot print a bound that is a vector of one)
        lengthscale_constraint=GreaterThan((0.025 * reach).squeeze(), transform=torch.exp, inv_transform=torch.log),
    ).to(axis)
    # a start at a median beyond the range would see a plane
    matern.lengthscale = min(median, 0.5) * reach
    if not of_inputs:
        return matern
    scaled = ScaleKernel(
        matern,
        outputscale_prior=LogNormalPrior(0.0, 1.0),
        outputscale_constraint=GreaterThan(1e-4, transform=torch.exp, inv_transform=torch.log),
    ).to(axis)
    scaled.outputscale = torch.ones((), dtype=axis.dtype, device=axis.device)
    return scaled
