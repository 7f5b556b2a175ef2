"""The posterior at points of all axes against the dense model on the observed cells."""

import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.optim.optimize import optimize_acqf

from gp.errors import InvalidDataError
from gp.models import grid_points
from gp.models.grid_points import GridPointsGP
from gp.models.kronecker import KroneckerGP


def made(holes=True, Yvar=None):
    generator = torch.Generator().manual_seed(3)
    axes = [torch.rand(n, d, generator=generator) for n, d in ((6, 2), (4, 1), (3, 1))]
    Y = 2.0 + torch.randn(6, 4, 3, generator=generator)
    if holes:
        Y[torch.rand(Y.shape, generator=generator) < 0.2] = torch.nan
    return KroneckerGP(axes, Y, Yvar)


def dense(grid, X):
    """Mean and covariance at `q x d` points in units of Y."""

    def K(left, right):
        widths = [axis.shape[-1] for axis in grid.axes]
        product = torch.ones(())
        for kernel, a, b in zip(grid.kernels, left.split(widths, -1), right.split(widths, -1), strict=True):
            product = product * kernel(a, b).to_dense()
        return product

    cells = grid.observed.nonzero()
    seen = torch.cat([axis[column] for axis, column in zip(grid.axes, cells.unbind(-1), strict=True)], -1)
    y = (grid.Y[grid.observed] - grid.offset) / grid.scale
    A, C = K(seen, seen) + grid.noise * torch.eye(len(y)), K(X, seen)
    mean = grid.offset + grid.scale * C @ torch.linalg.solve(A, y)
    return mean, grid.scale**2 * (K(X, X) - C @ torch.linalg.solve(A, C.mT))


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_mean_and_covariance_are_those_of_the_dense_model(holes, chunk, monkeypatch):
    monkeypatch.setattr(grid_points, "_CHUNK", chunk)
    grid = made(holes)
    X = torch.rand(2, 3, 5, 4)
    posterior = GridPointsGP(grid).posterior(X)
    assert posterior.mean.shape == (2, 3, 5, 1)
    for index in ((0, 0), (1, 2)):
        mean, covariance = dense(grid, X[index])
        assert torch.allclose(posterior.mean[index][:, 0], mean)
        assert torch.allclose(posterior.distribution.covariance_matrix[index], covariance, rtol=1e-6, atol=1e-9)


def test_can_be_differentiated():
    model = GridPointsGP(made())

    def moments(X):
        posterior = model.posterior(X)
        return posterior.mean, posterior.distribution.covariance_matrix

    assert torch.autograd.gradcheck(moments, torch.rand(2, 4).requires_grad_(), atol=1e-5)


@pytest.mark.parametrize(("Yvar", "expected"), [(None, None), (torch.tensor(0.3), 0.3)])
def test_observation_noise_is_added(Yvar, expected):
    grid = made(Yvar=Yvar)
    model, X = GridPointsGP(grid), torch.rand(3, 4)
    added = model.posterior(X, observation_noise=True).variance - model.posterior(X).variance
    expected = (grid.noise * grid.scale**2).item() if expected is None else expected
    assert torch.allclose(added, torch.tensor(expected))
    given = model.posterior(X, observation_noise=torch.tensor(0.7)).variance - model.posterior(X).variance
    assert torch.allclose(given, torch.tensor(0.7))


def test_agrees_with_the_model_of_many_outputs():
    grid = made()
    X = torch.cat([torch.rand(1, 2), grid.axes[1][2:3], grid.axes[2][1:2]], -1)
    whole = grid.posterior(X[:, :2])
    point = GridPointsGP(grid).posterior(X)
    assert torch.allclose(point.mean[0, 0], whole.mean[0, 2 * 3 + 1])
    assert torch.allclose(point.variance[0, 0], whole.variance[0, 2 * 3 + 1])


def test_a_search_over_all_axes_finds_the_maximum_between_the_cells():
    x = torch.linspace(0, 1, 6)
    grid = KroneckerGP([x, x], -((x[:, None] - 0.33) ** 2) - (x - 0.71) ** 2)
    grid.fit()
    acquisition = LogExpectedImprovement(GridPointsGP(grid), best_f=grid.Y.max())
    bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    best, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=2, raw_samples=32, options={"seed": 0})
    assert torch.allclose(best, torch.tensor([[0.33, 0.71]]), atol=0.05)


def test_points_of_another_width_and_further_outputs_are_refused():
    model = GridPointsGP(made())
    with pytest.raises(InvalidDataError, match="with d=4, got"):
        model.posterior(torch.rand(3, 2))
    with pytest.raises(InvalidDataError, match=r"there is one output, expected None or \[0\], got \[1\]"):
        model.posterior(torch.rand(3, 4), output_indices=[1])
