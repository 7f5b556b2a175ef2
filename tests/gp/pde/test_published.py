"""The published objective against dense algebra and automatic derivatives, and what an optimiser makes of it."""

import dataclasses
import math

import pytest
import torch

from gp.errors import InvalidDataError
from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.pde.equations import Data, Side
from gp.pde.problem import PDEProblem
from gp.pde.published import log_density
from gp.pde.solver import GPPDESolver

pytestmark = pytest.mark.usefixtures("one_thread")

WAVE = PDEProblem(
    domain=[(0.0, 1.0)],
    terms={(2,): 1.0, (1,): 0.5},
    source=lambda X: -(6.0**2) * torch.sin(6.0 * X[:, 0]) + 3.0 * torch.cos(6.0 * X[:, 0]),
    boundary=lambda X: torch.sin(6.0 * X[:, 0]),
)


def test_the_density_is_that_of_the_grid_the_equation_and_the_boundary():
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(0.0, 1.0, 7, dtype=torch.float64)
    kernel = SpectralMixtureKernel(2, spectrum="gaussian").to(grid).requires_grad_(False)
    kernel.frequencies, kernel.bandwidths = grid.new_tensor([0.0, 1.5]), grid.new_tensor([0.6, 0.4])
    U = torch.randn(7, generator=generator, dtype=torch.float64)
    log_tau = grid.new_tensor([0.3, -0.7])
    f = torch.randn(7, generator=generator, dtype=torch.float64)
    g = grid.new_tensor([0.2, -0.4])
    problem = dataclasses.replace(WAVE, reaction=lambda u: u**3)
    data = Data(f, (Side(0, 0, g[:1]), Side(0, -1, g[1:])))

    C = kernel.along_axis(0, grid[:, None] - grid) + 1e-6 * torch.eye(7, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(torch.zeros_like(U), C).log_prob(U)
    expected = expected + 3.5 * math.log(2.0 * math.pi)
    x = grid.clone().requires_grad_(True)
    interpolated = kernel.along_axis(0, x[:, None] - grid) @ torch.linalg.solve(C, U)
    (slope,) = torch.autograd.grad(interpolated.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    residual = bend + 0.5 * slope.detach() + U**3 - f
    expected = expected + 0.5 * (7 * log_tau[1] - log_tau[1].exp() * residual.square().sum())
    expected = expected + 200.0 * 0.5 * (2 * log_tau[0] - log_tau[0].exp() * (U[[0, -1]] - g).square().sum())

    found = log_density(problem, data, [grid], [kernel], U, log_tau)
    # the prior's covariance has a condition number of about 1e6
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0.0)


def test_the_optimiser_leaves_zero_for_the_solution():
    solution = GPPDESolver(WAVE, n=24).solve(method="gphm", highest=2.0, seconds=3.0)
    x = torch.linspace(0.0, 1.0, 50, dtype=torch.float64)
    exact = torch.sin(6.0 * x)
    # 0, where it starts, is off by 1; some hundred steps of the thousands that it needs
    assert float((solution.on_product([x]) - exact).norm() / exact.norm()) < 0.9


def test_an_unknown_method_is_refused():
    with pytest.raises(InvalidDataError, match="'least_squares' or 'gphm'"):
        GPPDESolver(WAVE, n=24).solve(method="newton")
