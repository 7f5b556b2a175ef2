"""Factors of the axes of a grid with test points beside them."""

import pytest
import torch
from gpytorch.kernels.matern_kernel import MaternKernel

from gp.grid_paths import axis_factor, n_normals, split_normals
from gp.linalg.kronecker import KroneckerEigen

KERNEL = MaternKernel(nu=2.5).double()


def factor(axis, test=None):
    eigen = KroneckerEigen.of([KERNEL(axis).to_dense()])
    if test is None:
        return axis_factor(eigen.vectors[0], eigen.values[0])
    within = KERNEL(test).to_dense().detach()
    return axis_factor(eigen.vectors[0], eigen.values[0], KERNEL(test, axis).to_dense().detach(), within)


@pytest.mark.parametrize("repeated", [False, True], ids=["distinct", "repeated"])
def test_rows_and_own_factor_make_the_joint_covariance(repeated):
    axis, test = torch.rand(6, 1), torch.rand(3, 1)
    if repeated:
        axis[1], test[0] = axis[0], axis[2]  # a singular K, and a test point that is one of the axis
    made = factor(axis, test)
    assert made.rows.shape == (3, 9)
    own = torch.cat([made.own, torch.zeros(6, 3)], 1)
    joint = torch.cat([own, made.rows]) @ torch.cat([own, made.rows]).mT
    both = torch.cat([axis, test])
    # 1e-8 is added to the residual, and eigenvalues below 1e-12 of the largest are dropped: their root is 1e-6
    assert torch.allclose(joint, KERNEL(both).to_dense(), atol=2e-6)


def test_an_axis_without_test_points_needs_no_further_columns():
    made = factor(torch.rand(4, 1))
    assert made.rows is made.own
    assert n_normals([made, factor(torch.rand(3, 1), torch.rand(2, 1))]) == 4 * 5 + 4 * 3


def test_every_number_is_used_once_and_the_cells_lead():
    factors = [factor(torch.rand(4, 1), torch.rand(2, 1)), factor(torch.rand(3, 1), torch.rand(1, 1))]
    normals = torch.arange(float(n_normals(factors)))[None]
    cells, noise, whole = split_normals(factors, normals)
    assert torch.equal(whole[:, :4, :3], cells)
    assert sorted([*noise.flatten().tolist(), *whole.flatten().tolist()]) == normals[0].tolist()
