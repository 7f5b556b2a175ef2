"""The kernel that a model starts from."""

import torch

from gp.kernels.matern import scaled_matern


def test_points_are_about_one_and_a_half_lengthscales_apart_in_any_dimension():
    for d in (1, 5, 50):
        X = 7.0 * torch.randn(1000, d)
        lengthscale = scaled_matern(X).base_kernel.lengthscale
        distance = ((X[:500] - X[500:]) / lengthscale).norm(dim=1).square().mean().sqrt()
        # of normal numbers exactly sqrt(2); the mean of 500 squares in one dimension scatters by 6 %
        assert abs(distance.item() - 2**0.5) < 0.2


def test_a_feature_that_does_not_vary_is_no_obstacle():
    X = torch.cat([torch.rand(5, 1), torch.ones(5, 1)], 1)
    kernel = scaled_matern(X)
    assert torch.isfinite(kernel(X).to_dense()).all()
    assert kernel.outputscale.item() == 1.0
