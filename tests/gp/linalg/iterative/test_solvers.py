"""Each iterative solver against dense algebra, and what all of them have in common."""

import pytest
import torch
from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel

from gp.errors import InvalidDataError
from gp.linalg.iterative.alternating_projections import alternating_projections
from gp.linalg.iterative.conjugate_gradients import conjugate_gradients, pivoted_cholesky
from gp.linalg.iterative.stochastic_dual_descent import largest_eigenvalue, stochastic_dual_descent
from gp.linalg.iterative.system import KernelSystem

pytestmark = pytest.mark.usefixtures("one_thread")

SOLVERS = {
    "alternating projections": alternating_projections,
    "stochastic dual descent": stochastic_dual_descent,
    "conjugate gradients": conjugate_gradients,
}


def matern(d=2):
    kernel = ScaleKernel(MaternKernel(nu=1.5, ard_num_dims=d))
    kernel.outputscale, kernel.base_kernel.lengthscale = 2.0, torch.linspace(0.3, 0.6, d)
    return kernel


def system_of(n=150, noise=0.1, shuffled=True, **options):
    X = torch.rand(n, 2)
    order = torch.randperm(n) if shuffled else None
    return KernelSystem(matern(), X, torch.full((n,), noise), order=order, **{"block_size": 32, **options}), X


def dense(system, X):
    """A in the order of X, by GPyTorch."""
    noise = system.noise[system.inverse_order]
    return (system.kernel(X).to_dense() + torch.diag(noise)).detach()


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("most_bytes", [2**31, 0], ids=["kept", "rows computed anew"])
def test_agrees_with_a_dense_factorisation(solve, most_bytes):
    system, X = system_of(most_bytes=most_bytes)
    assert system.is_kept == (most_bytes > 0)
    right = torch.randn(len(X), 3) * torch.tensor([1.0, 100.0, 1e-3])  # columns of unlike sizes
    found = solve(system, right, passes=3000, tolerance=1e-6)
    A = dense(system, X)
    exact = torch.cholesky_solve(right, torch.linalg.cholesky(A))
    # a relative residual of 1e-6 in units of the least eigenvalue, which is above the noise of 0.1
    assert ((found.x - exact).norm(dim=0) <= 1e-6 / 0.1 * right.norm(dim=0)).all()
    assert found.converged and found.history[-1] <= 1e-6
    torch.testing.assert_close(found.residual, right - A @ found.x, atol=1e-9, rtol=1e-4)


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_a_budget_is_kept_and_running_out_of_it_is_said(solve):
    system, X = system_of(noise=1e-4)
    found = solve(system, X, passes=20, tolerance=1e-12)
    # the eigenvalue of the descent takes 15 products with so small a matrix, as much as 15 passes
    assert 1.0 < found.passes <= 20.0
    assert not found.converged and found.history[-1] > 1e-12


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_starting_at_the_solution_takes_one_pass(solve):
    system, X = system_of()
    exact = torch.linalg.solve(dense(system, X), X)
    found = solve(system, X, start=exact, tolerance=1e-8)
    assert found.passes <= 2.0 and found.converged  # the descent needs a product of its own for the right-hand sides
    torch.testing.assert_close(found.x, exact)


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_a_right_hand_side_of_zeros_stays_zero(solve):
    system, _ = system_of(40)
    found = solve(system, torch.zeros(40, 2))
    assert found.converged and (found.x == 0).all()


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_one_point_is_a_division(solve):
    system = KernelSystem(RBFKernel(), torch.zeros(1, 1), torch.tensor([0.25]))
    found = solve(system, torch.tensor([[5.0]]), passes=300, tolerance=1e-6)
    torch.testing.assert_close(found.x, torch.tensor([[4.0]]), rtol=1e-5, atol=0.0)  # a tolerance of 1e-6 and its slack


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_duplicated_points_are_no_obstacle(solve):
    X = torch.rand(40, 2).repeat(3, 1)
    system = KernelSystem(matern(), X, torch.full((120,), 0.1), order=torch.randperm(120), block_size=32)
    right = torch.randn(120, 1)
    found = solve(system, right, passes=3000, tolerance=1e-6)
    exact = torch.linalg.solve(dense(system, X), right)
    assert (found.x - exact).norm() <= 1e-5 * right.norm()  # 1e-6 over the least eigenvalue, which is the noise


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_each_row_has_its_own_noise(solve):
    X = torch.rand(90, 2)
    noise = torch.linspace(0.05, 0.5, 90)
    system = KernelSystem(matern(), X, noise, order=torch.randperm(90), block_size=32)
    right = torch.randn(90, 1)
    exact = torch.linalg.solve(system.kernel(X).to_dense() + torch.diag(noise), right)
    found = solve(system, right, passes=3000, tolerance=1e-6)
    assert (found.x - exact).norm() <= 1e-6 / 0.05 * right.norm()


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_what_does_not_fit_is_refused(solve):
    system, X = system_of(40)
    with pytest.raises(InvalidDataError, match=r"right: expected `n x s` with n=40, got \(39, 1\)"):
        solve(system, X[1:, :1])
    with pytest.raises(InvalidDataError, match="right: expected finite values"):
        solve(system, torch.full((40, 1), torch.nan))
    with pytest.raises(InvalidDataError, match=r"start: expected \(40, 2\), as right, got \(40, 1\)"):
        solve(system, X, start=X[:, :1])


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_single_precision_stays_single(solve):
    X = torch.rand(100, 2, dtype=torch.float32)
    system = KernelSystem(matern().float(), X, torch.full((100,), 0.1, dtype=torch.float32), block_size=32)
    found = solve(system, X, passes=1000, tolerance=1e-3)
    assert found.x.dtype == torch.float32 and found.converged


def test_the_largest_eigenvalue_is_that_of_the_matrix():
    system, X = system_of()
    exact = torch.linalg.eigvalsh(system.kernel(X).to_dense().detach())[-1]
    found, passes = largest_eigenvalue(system)
    # 15 power iterations: the error falls by the squared ratio of the second eigenvalue to the first a step
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=0.0)
    assert passes == 15.0


def test_the_descent_is_the_same_for_the_same_generator():
    system, X = system_of()
    draws = [
        stochastic_dual_descent(system, X, passes=30, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0].x, draws[1].x)
    assert not torch.equal(draws[0].x, draws[2].x)


def test_a_preconditioner_saves_products_where_the_noise_is_small():
    X = torch.rand(300, 1)
    system = KernelSystem(RBFKernel(), X, torch.full((300,), 1e-4))
    right = torch.randn(300, 1)
    plain, ahead = (conjugate_gradients(system, right, passes=1000, tolerance=1e-6, rank=rank) for rank in (0, 20))
    assert ahead.converged and plain.converged
    assert ahead.passes < 0.5 * plain.passes
    torch.testing.assert_close(ahead.x, plain.x, rtol=0.0, atol=0.02 * float(plain.x.abs().max()))  # 1e-6 over 1e-4


def test_the_pivoted_factor_of_full_rank_is_the_matrix():
    system, X = system_of(20)
    L = pivoted_cholesky(system, 20)
    torch.testing.assert_close((L @ L.mT)[system.inverse_order][:, system.inverse_order], system.kernel(X).to_dense())


def test_a_pivoted_factor_beyond_the_rank_is_zero():
    system = KernelSystem(RBFKernel(), torch.tensor([[0.0], [0.0], [1.0]]), torch.ones(3))
    L = pivoted_cholesky(system, 3)
    assert (L[:, 2] == 0).all()
    torch.testing.assert_close(L @ L.mT, system.kernel(system.X).to_dense())


@pytest.mark.parametrize("rank", [-1, 41])
def test_an_impossible_rank_is_refused(rank):
    system, X = system_of(40)
    with pytest.raises(InvalidDataError, match=rf"rank: expected 0 .. n = 40, got {rank}"):
        conjugate_gradients(system, X, rank=rank)


@pytest.mark.gpu
@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_runs_where_its_points_are(solve):
    X = torch.rand(150, 2, device="cuda")
    system = KernelSystem(matern().cuda(), X, torch.full((150,), 0.1, device="cuda"), block_size=32)
    found = solve(system, X, passes=3000, tolerance=1e-6)
    assert found.x.is_cuda and found.converged
    assert (dense(system, X) @ found.x - X).norm() <= 1e-5 * X.norm()
