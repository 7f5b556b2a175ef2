"""The estimated gradient of the evidence against the exact one."""

import math

import pytest
import torch
from gpytorch.kernels import MaternKernel, PeriodicKernel, ScaleKernel

from gp.linalg.iterative import evidence as module
from gp.linalg.iterative.evidence import evidence_surrogate

pytestmark = pytest.mark.usefixtures("one_thread")


def exact(kernel, X, noise, y):
    """Log evidence by a dense factorisation."""
    L = torch.linalg.cholesky(kernel(X).to_dense() + torch.diag(noise))
    white = torch.linalg.solve_triangular(L, y, upper=False)
    return -0.5 * white.square().sum() - L.diagonal().log().sum() - 0.5 * len(y) * math.log(2 * math.pi)


@pytest.mark.parametrize("base", [MaternKernel(nu=1.5, ard_num_dims=2), PeriodicKernel()], ids=["fast", "of GPyTorch"])
def test_is_the_exact_gradient_where_the_draws_have_exactly_their_covariance(base, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 32 * 16)
    monkeypatch.setattr(module, "_ROWS", 32)  # blocks on and beside the diagonal, the last of each short
    n = 75
    kernel, X, y = ScaleKernel(base).double(), torch.rand(n, 2), torch.randn(n, 1)
    raw = torch.linspace(-2, -1, n).requires_grad_()
    parameters = [*kernel.parameters(), raw]
    expected = torch.autograd.grad(exact(kernel, X, raw.exp(), y), parameters)
    A = (kernel(X).to_dense() + torch.diag(raw.exp())).detach()
    # n draws whose average outer product is A itself
    draws = math.sqrt(n) * torch.linalg.cholesky(A)
    solved = torch.linalg.solve(A, torch.cat([y, draws], 1))
    found = torch.autograd.grad(evidence_surrogate(kernel, X, raw.exp(), solved[:, :1], solved[:, 1:]), parameters)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_averages_to_the_exact_gradient_within_four_standard_errors():
    n, repeats = 60, 400
    kernel, X, y = MaternKernel(nu=1.5, ard_num_dims=2), torch.rand(n, 2), torch.randn(n, 1)
    noise = torch.tensor(0.2).requires_grad_()
    parameters = [*kernel.parameters(), noise]
    expected = torch.autograd.grad(exact(kernel, X, noise.expand(n), y), parameters)
    A = (kernel(X).to_dense() + noise * torch.eye(n)).detach()
    L = torch.linalg.cholesky(A)
    a = torch.linalg.solve(A, y)
    drawn = []
    for _ in range(repeats):
        z = torch.linalg.solve(A, L @ torch.randn(n, 4))
        gradient = torch.autograd.grad(evidence_surrogate(kernel, X, noise.expand(n), a, z), parameters)
        drawn.append(torch.cat([part.reshape(-1) for part in gradient]))
    drawn = torch.stack(drawn)
    error = drawn.std(0) / math.sqrt(repeats)
    assert ((drawn.mean(0) - torch.cat([part.reshape(-1) for part in expected])).abs() < 4 * error).all()


def test_a_kernel_without_parameters_leaves_the_noise():
    kernel = MaternKernel(nu=1.5).requires_grad_(False)
    noise = torch.full((5,), 0.5).requires_grad_()
    z = torch.randn(5, 2)
    value = evidence_surrogate(kernel, torch.rand(5, 1), noise, z[:, :1], z)
    torch.testing.assert_close(*torch.autograd.grad(value, noise), 0.5 * (z[:, 0].square() - z.square().mean(1)))
