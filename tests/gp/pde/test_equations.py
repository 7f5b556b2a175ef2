"""The structured operator of two dimensions against the matrix that it stands for."""

import pytest
import torch

from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.pde.basis import AxisBasis, JoinedBasis
from gp.pde.equations import Data, Equations, Side
from gp.pde.least_squares import Preconditioner, solve_conjugate
from gp.pde.problem import PDEProblem


def make_basis(n, spectrum="gaussian"):
    kernel = SpectralMixtureKernel(2, spectrum=spectrum).requires_grad_(False)
    kernel.frequencies, kernel.bandwidths = torch.tensor([0.0, 2.0]), torch.tensor(0.4)
    return AxisBasis(kernel, torch.linspace(0, 1, n), 1e-6, 7)


def make_equations(reaction):
    problem = PDEProblem([(0, 1)] * 2, {(2, 0): 1.0, (1, 1): 0.5, (0, 1): -2.0}, None, None, reaction)
    sides = (
        Side(0, 0, torch.rand(9)),
        Side(0, -1, torch.rand(9)),
        Side(1, 0, torch.rand(8)),
        Side(1, -1, torch.rand(8)),
    )
    return Equations.on_grid(problem, Data(torch.rand(8, 9), sides), [make_basis(8), make_basis(9)], (3.0, 0.5))


@pytest.mark.parametrize("reaction", [None, torch.sin], ids=["linear", "with a reaction"])
def test_the_gram_matrix_the_adjoint_and_the_solution_are_those_of_the_dense_jacobian(reaction):
    equations = make_equations(reaction)
    shape = [F.shape[1] for F in equations.values]
    Z = 0.3 * torch.rand(shape)
    slope, left = equations.residuals(Z)

    def residuals(z):
        flat = z.reshape(shape)
        value = flat if reaction is None else None
        u = equations.values[0] @ flat @ equations.values[1].mT
        operator = sum(c * F[0] @ flat @ F[1].mT for c, F in equations.derivatives)
        operator = operator if value is not None else operator + reaction(u)
        sides = [(F[0] @ flat @ F[1].mT).flatten() / 0.5 for F in equations.at_sides]
        return torch.cat([operator.flatten() / 3.0, *sides])

    J = torch.autograd.functional.jacobian(residuals, Z.flatten())
    torch.testing.assert_close(equations.gram(slope), J.mT @ J)
    rows = [torch.rand_like(part) for part in left]
    flat = torch.cat([row.flatten() for row in rows])
    torch.testing.assert_close(equations.adjoint(rows, slope).flatten(), J.mT @ flat)
    image = torch.cat([part.flatten() for part in equations.forward(Z, slope)])
    torch.testing.assert_close(image, J @ Z.flatten())
    found = solve_conjugate(equations, slope, rows, Preconditioner(equations.gram(slope)))
    best = torch.linalg.lstsq(J, flat[:, None]).solution[:, 0]
    torch.testing.assert_close(J @ found.flatten(), J @ best, atol=1e-8, rtol=0.0)


@pytest.mark.parametrize("spectrum", ["gaussian", "student"])
def test_a_basis_has_the_covariance_of_the_kernel_and_its_derivatives(spectrum):
    basis = JoinedBasis([make_basis(30, spectrum), make_basis(30, spectrum)])
    x = torch.rand(5, requires_grad=True)
    torch.testing.assert_close(basis.at(basis.grid, 2), basis.on_grid(2))
    torch.testing.assert_close(basis.at(basis.grid[:-1] + 0.5 / 29, 1), basis.on_grid(1, 0.5)[:-1])
    slopes = torch.autograd.grad(basis.at(x).sum(), x)[0]
    torch.testing.assert_close(slopes, basis.at(x.detach(), 1).sum(1), atol=1e-8, rtol=1e-8)
