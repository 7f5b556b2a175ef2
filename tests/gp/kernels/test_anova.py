"""The kernel of few interactions for GPyTorch, against its twin on arrays."""

import math

import numpy as np
import pytest
import torch
from botorch.sampling.pathwise.features.generators import gen_kernel_features
from gpytorch.kernels import ScaleKernel
from torch.autograd import gradcheck

from gp.array_kernels import Anova
from gp.kernels.anova import AnovaKernel
from gp.kernels.mapped import MappedKernel

GROUPS = [0, 1, 0, 2]
SHARE = 0.6


def make_kernel():
    return AnovaKernel(torch.tensor([0.5, 0.8, 0.5, 1.3]), GROUPS, SHARE)


def test_is_its_twin_on_arrays():
    kernel, A, B = make_kernel(), torch.rand(4, 4), torch.rand(2, 5, 4)
    theta = np.append(np.log([0.5, 0.8, 1.3]), math.log(SHARE / (1 - SHARE)))
    twin = Anova(np.array(GROUPS))
    a, b = (X.cpu().numpy() / twin.lengthscales(theta) for X in (A, B[1]))
    assert kernel(A, B).to_dense()[1].tolist() == pytest.approx(twin.values(theta, a, b), abs=1e-12)
    assert kernel.lengthscales.tolist() == pytest.approx([0.5, 0.8, 0.5, 1.3])
    torch.testing.assert_close(kernel(A, diag=True), torch.ones(4))


def test_is_differentiable_also_where_points_coincide_along_some_groups():
    kernel = make_kernel().requires_grad_(False)
    B = torch.rand(2, 4)
    A = torch.rand(3, 4)
    A[0, 1] = B[0, 1]
    assert gradcheck(lambda X: kernel(X, B).to_dense(), A.requires_grad_(True), atol=1e-4)  # the clamp under a root


def test_random_features_reproduce_it():
    kernel, X = make_kernel(), torch.rand(20, 4)
    for approximated, inputs in ((kernel, X), (ScaleKernel(MappedKernel(kernel, torch.square)), X)):
        features = gen_kernel_features(approximated, num_inputs=4, num_outputs=8192)(inputs)
        # 4096 frequencies: the standard error of an entry is at most 0.7 / sqrt(4096) = 0.011
        exact = approximated(X).to_dense()
        torch.testing.assert_close(features @ features.mT, exact, atol=0.05, rtol=0.0)
