"""Kernel matrices by BLAS against GPyTorch's."""

import pytest
import torch
from gpytorch.kernels import MaternKernel, PeriodicKernel, RBFKernel, ScaleKernel

from gp.kernels.covariance import covariance

KERNELS = {
    "Matern-3/2": lambda: MaternKernel(nu=1.5, ard_num_dims=3),
    "Matern-5/2, scaled": lambda: ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=3)),
    "squared exponential": RBFKernel,
    "squared exponential, scaled": lambda: ScaleKernel(RBFKernel(ard_num_dims=3)),
    # computed by GPyTorch
    "Matern-1/2": lambda: MaternKernel(nu=0.5, ard_num_dims=3),
    "some features": lambda: ScaleKernel(MaternKernel(nu=1.5, ard_num_dims=2, active_dims=[0, 2])),
    "periodic": PeriodicKernel,
}


def with_parameters(make):
    kernel = make()
    with torch.no_grad():
        for parameter in kernel.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return kernel


@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
def test_values_and_gradients_are_those_of_gpytorch(make):
    kernel = with_parameters(make)
    A, B = torch.randn(5, 3).requires_grad_(), torch.randn(7, 3).requires_grad_()
    weights = torch.randn(5, 7)
    ours, theirs = covariance(kernel, A, B), kernel(A, B).to_dense()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    inputs = [A, B, *kernel.parameters()]
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((theirs * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("make", [KERNELS[name] for name in list(KERNELS)[:4]], ids=list(KERNELS)[:4])
def test_gradients_are_right_where_points_coincide(make):
    kernel = with_parameters(make)
    B = torch.randn(4, 3)
    A = B[:2].clone().requires_grad_()
    # a radial kernel is flat at distance zero; the other entries have an ordinary gradient
    assert torch.autograd.gradcheck(lambda A: covariance(kernel, A, B).pow(2), A, eps=1e-6, atol=1e-5)


def test_near_duplicates_far_from_the_origin_keep_their_distance_in_single_precision():
    kernel = MaternKernel(nu=1.5)
    A = torch.tensor([[1000.0], [1000.0 + 1e-3]])
    exact = kernel(A).to_dense().detach()
    found = covariance(kernel, A, A, torch.float32)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-6  # rounding of numbers of size 1; float32 distances would be off by 1e-1
