"""Kernel matrices and their gradients for the common radial kernels at the speed of BLAS.

Alphabet. A: `m x d` points. B: `n x d` points. r2: squared distances of points over their lengthscales, `m x n`.
"""

import math
from typing import Any

import torch
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.rbf_kernel import RBFKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override


def covariance(kernel: Kernel, A: Tensor, B: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The matrix of a kernel between two sets of points.

    For Matérn-3/2, Matérn-5/2 and squared exponential kernels, scaled or not, distances are matrix products in the
    points' own precision and only the profile is computed in the lower one: in float32 throughout, the distance of
    near-duplicates would be rounding. This takes a third of GPyTorch's time, and a sixth with gradients; other kernels
    are evaluated by GPyTorch.

    Args:
        kernel: Without a batch shape.
        A: `m x d`.
        B: `n x d`.
        dtype: Of the result; None for that of the points.

    Returns:
        `m x n`, differentiable once in the points and in the kernel's parameters.

    Example:
        >>> points = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
        >>> kernel = RBFKernel().double()
        >>> kernel.lengthscale = 2.0
        >>> covariance(kernel, points, points[:1]).detach().squeeze(1)
        tensor([1.0000, 0.6065], dtype=torch.float64)
    """
    dtype = A.dtype if dtype is None else dtype
    scaled = isinstance(kernel, ScaleKernel) and kernel.active_dims is None
    base = kernel.base_kernel if scaled else kernel
    # exactly these classes: those that inherit from them compute something else
    if type(base) not in (MaternKernel, RBFKernel) or getattr(base, "nu", None) == 0.5 or base.active_dims is not None:
        return kernel(A, B).to_dense().to(dtype)
    lengthscale = base.lengthscale
    values: Tensor = _Radial.apply(A / lengthscale, B / lengthscale, getattr(base, "nu", math.inf), dtype)
    return values * kernel.outputscale.to(dtype) if scaled else values


class _Radial(torch.autograd.Function):
    """The kernel of unit variance and lengthscale; its gradient is finite where points coincide."""

    @staticmethod
    @override
    def forward(ctx: Any, A: Tensor, B: Tensor, nu: float, dtype: torch.dtype) -> Tensor:
        center = B.mean(-2)
        A, B = A - center, B - center
        r2 = torch.addmm(B.square().sum(-1)[None, :], A, B.mT, alpha=-2.0)
        r2 = r2.add_(A.square().sum(-1)[:, None]).clamp_min_(0.0).to(dtype)
        values, slope = _profile(r2, nu, any(ctx.needs_input_grad[:2]))
        ctx.save_for_backward(A, B, slope)
        return values

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        A, B, slope = ctx.saved_tensors
        towards = grad_outputs[0] * slope
        low = towards.dtype
        in_A = in_B = None
        if ctx.needs_input_grad[0]:
            in_A = 2.0 * (A * towards.sum(1)[:, None] - (towards @ B.to(low)).to(A))
        if ctx.needs_input_grad[1]:
            in_B = 2.0 * (B * towards.sum(0)[:, None] - (towards.mT @ A.to(low)).to(B))
        return in_A, in_B, None, None


def _profile(r2: Tensor, nu: float, needs_slope: bool) -> tuple[Tensor, Tensor | None]:
    """The kernel, and its derivative with respect to r2 where that is needed; overwrites r2."""
    if nu == math.inf:
        values = r2.mul_(-0.5).exp_()
        return values, -0.5 * values if needs_slope else None
    t = r2.mul_(2.0 * nu).sqrt_()
    decay = torch.exp(-t)
    if nu == 1.5:
        return t.add_(1.0).mul_(decay), decay.mul_(-1.5) if needs_slope else None
    linear = (1.0 + t).mul_(decay)
    return linear + t.square_().mul_(decay).mul_(1.0 / 3.0), linear.mul_(-5.0 / 6.0) if needs_slope else None
