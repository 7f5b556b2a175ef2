"""Kronecker algebra against dense algebra on the observed cells, which shares nothing with it but the covariances."""

import math

import pytest
import torch

from gp.errors import NotPositiveDefiniteError
from gp.linalg.kronecker import KroneckerEigen, dense_evidence, grid_evidence, mode_products

MISSING = pytest.mark.parametrize("missing", [0.0, 0.15], ids=["full", "holes"])
SIZES = pytest.mark.parametrize("sizes", [(24, 20), (7, 5, 6), (9,), (5, 1, 4), (3, 2, 2, 4)], ids=str)


class Grid:
    """A random grid with one lengthscale an axis, and its evidence in one line of dense algebra."""

    def __init__(self, sizes, missing=0.0, duplicates=False, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.axes = [torch.rand(n, 1, generator=generator) for n in sizes]
        if duplicates:
            self.axes[0][1:3] = self.axes[0][0]
        self.theta = torch.tensor([0.3] * len(sizes) + [0.02], requires_grad=True)
        self.observed = torch.rand(sizes, generator=generator) >= missing
        self.Y = torch.randn(sizes, generator=generator) * self.observed

    @property
    def covariances(self):
        return [torch.exp(-(((x - x.mT) / length) ** 2) / 2) for x, length in zip(self.axes, self.theta, strict=False)]

    def dense(self, noise=None):
        K = self.covariances[0]
        for other in self.covariances[1:]:
            K = torch.kron(K, other)
        seen = self.observed.flatten()
        noise = self.theta[-1].expand(len(seen)) if noise is None else noise.flatten()
        A = (K + torch.diag(noise))[seen][:, seen]
        y = self.Y.flatten()[seen]
        return -0.5 * (y @ torch.linalg.solve(A, y) + torch.logdet(A) + len(y) * math.log(2 * math.pi))

    def agrees(self, value, dense):
        gradient, expected = (torch.autograd.grad(v, self.theta)[0] for v in (value, dense))
        assert abs(value.item() / dense.item() - 1) < 1e-9
        assert ((gradient - expected).abs() < 1e-7 * expected.abs() + 1e-10).all()


@SIZES
@MISSING
@pytest.mark.parametrize("duplicates", [False, True], ids=["distinct", "duplicates"])
def test_evidence_and_gradient_are_those_of_dense_algebra(sizes, missing, duplicates):
    grid = Grid(sizes, missing, duplicates and sizes[0] > 2)
    value = grid_evidence(grid.covariances, grid.theta[-1], grid.Y, (~grid.observed).nonzero())
    grid.agrees(value, grid.dense())


@SIZES
@MISSING
def test_the_factored_observed_cells_give_the_same_under_any_noise(sizes, missing):
    grid = Grid(sizes, missing)
    noise = 0.01 + torch.rand(sizes, generator=torch.Generator().manual_seed(1))
    value = dense_evidence(grid.covariances, noise[grid.observed], grid.Y[grid.observed], grid.observed.nonzero())
    grid.agrees(value, grid.dense(noise))


def test_the_gradient_is_that_of_finite_differences():
    # the dense reference shares the convention that a covariance is symmetric; a difference of values does not
    grid = Grid((6, 5), 0.2)
    missing = (~grid.observed).nonzero()

    def evidence(theta):
        covariances = [
            torch.exp(-(((x - x.mT) / length) ** 2) / 2) for x, length in zip(grid.axes, theta, strict=False)
        ]
        return grid_evidence(covariances, theta[-1], grid.Y, missing)

    assert torch.autograd.gradcheck(evidence, grid.theta.detach().requires_grad_(), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("sizes", [(3,), (2, 4), (2, 1, 3), (2, 3, 2, 2)], ids=str)
def test_products_along_axes_are_those_with_the_kronecker_matrix(sizes):
    matrices = [torch.randn(n + 1, n) for n in sizes]
    X = torch.randn(5, *sizes)
    K = matrices[0]
    for other in matrices[1:]:
        K = torch.kron(K, other)
    expected = (X.reshape(5, -1) @ K.mT).reshape(5, *[n + 1 for n in sizes])
    assert torch.allclose(mode_products(matrices, X), expected)


def test_the_first_axis_may_have_a_batch_of_matrices_and_others_none():
    first, X = torch.randn(2, 3, 6, 4), torch.randn(4, 5, 2)
    product = mode_products([first, None, torch.ones(1, 2)], X)
    assert torch.allclose(product, torch.einsum("abpi,ijk->abpj", first, X)[..., None])


def test_eigenvalues_of_a_covariance_without_full_rank_are_not_negative():
    factors = KroneckerEigen.of([torch.ones(6, 6), torch.eye(3)])
    assert (factors.eigenvalues() >= 0).all()
    assert factors.sizes == (6, 3)


def test_single_precision_data_are_computed_in_double():
    grid = Grid((24, 20), 0.15)
    missing = (~grid.observed).nonzero()
    exact = grid_evidence(grid.covariances, grid.theta[-1], grid.Y, missing)
    rounded = [K.float() for K in grid.covariances]
    value = grid_evidence(rounded, grid.theta[-1].float(), grid.Y.float(), missing)
    assert value.dtype == torch.float32
    # what rounding of the covariances by 6e-8 makes at a noise of 0.02; factored in single precision it is 4e-5
    assert abs(value.item() / exact.item() - 1) < 1e-5


def test_a_covariance_that_is_not_finite_is_refused_with_a_cause():
    grid = Grid((4, 3), 0.3)
    with pytest.raises(NotPositiveDefiniteError, match=r"axis 0 \(4 x 4\) holds values that are not finite"):
        grid_evidence([torch.full((4, 4), torch.nan), torch.eye(3)], torch.ones(()), grid.Y, (~grid.observed).nonzero())


@pytest.mark.gpu
@MISSING
def test_a_gpu_gives_the_numbers_of_the_cpu(missing):
    grid = Grid((80, 20), missing)
    on = [K.detach().cuda() for K in grid.covariances]
    value = grid_evidence(on, grid.theta[-1].detach().cuda(), grid.Y.cuda(), (~grid.observed).nonzero().cuda())
    assert value.is_cuda
    assert abs(value.item() / grid.dense().item() - 1) < 1e-9
