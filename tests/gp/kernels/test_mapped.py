"""The kernel on mapped points: values, gradients, and the random features that sample paths are made of."""

import copy

import torch
from botorch.sampling.pathwise.features.generators import gen_kernel_features
from gpytorch.kernels import MaternKernel, ScaleKernel
from torch.autograd import gradcheck

from gp.kernels.mapped import MappedKernel


def circle(X):
    """The angle `... x 1` as a point of the unit circle and its double."""
    return torch.cat([X.sin(), X.cos(), 2 * X], -1)


def make_kernel():
    return ScaleKernel(MappedKernel(MaternKernel(nu=2.5, ard_num_dims=3), circle))


def test_is_the_base_kernel_of_mapped_points():
    kernel, A, B = make_kernel(), torch.rand(4, 1), torch.rand(2, 5, 1)
    base = ScaleKernel(kernel.base_kernel.base_kernel)
    torch.testing.assert_close(kernel(A, B).to_dense(), base(circle(A), circle(B)).to_dense())
    torch.testing.assert_close(kernel(A).to_dense(), base(circle(A)).to_dense())
    torch.testing.assert_close(kernel(A, diag=True), base(circle(A), diag=True))


def test_is_differentiable_through_the_map():
    kernel = make_kernel().requires_grad_(False)
    A = torch.rand(3, 1, requires_grad=True)
    assert gradcheck(lambda X: kernel(X, torch.full((2, 1), 0.3)).to_dense(), A)


def test_copies_share_a_plain_function():
    kernel = MappedKernel(MaternKernel(), circle)
    assert copy.deepcopy(kernel).mapping is circle


def test_random_features_are_those_of_the_base_kernel():
    kernel, X = make_kernel(), torch.linspace(0, 3, 20)[:, None]
    features = gen_kernel_features(kernel, num_inputs=1, num_outputs=4096)(X)
    approximate = features @ features.mT
    # 2048 frequencies: the standard error of an entry is at most 0.7 / sqrt(2048) = 0.016
    torch.testing.assert_close(approximate, kernel(X).to_dense(), atol=0.07, rtol=0.0)
