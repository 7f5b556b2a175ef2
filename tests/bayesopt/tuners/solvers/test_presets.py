"""The presets solve what they are given, and count what they say they count."""

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array, csr_matrix, diags_array, eye_array, kron, tril
from scipy.sparse.linalg import spsolve

from bayesopt.errors import InvalidInputError
from bayesopt.tuners.solvers.incomplete_lu import CG_SPACE, DEFAULT, SPACE, ilu_cg, ilu_gmres
from bayesopt.tuners.solvers.multigrid import DEFAULT as MULTIGRID_DEFAULT
from bayesopt.tuners.solvers.multigrid import SPACE as MULTIGRID_SPACE
from bayesopt.tuners.solvers.multigrid import multigrid_cg
from bayesopt.tuners.solvers.recycling import RecyclingSolver, nearest_neighbour_order
from bayesopt.tuners.solvers.ssor import best_omega, sor, ssor_cg


def laplacian(nx=12, shift=0.0):
    second = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(nx, nx))
    return csc_array(kron(second, eye_array(nx)) + kron(eye_array(nx), second) + shift * eye_array(nx * nx))


A = laplacian()
B = np.random.default_rng(0).standard_normal(A.shape[0])
TRUTH = spsolve(A, B)


@pytest.mark.parametrize("omega", [1.0, 1.5, 1.9])
@pytest.mark.parametrize("solve", [ssor_cg, sor])
def test_relaxation_finds_the_solution_for_every_omega(solve, omega):
    x, iterations, is_solved = solve(A, B, omega, rtol=1e-10)
    assert is_solved and iterations > 5
    np.testing.assert_allclose(x, TRUTH, atol=1e-7)  # the residual's 1e-10 |b| times the condition number


def test_sor_contracts_as_young_says():
    beta = np.cos(np.pi / 13)  # Jacobi's radius of this Laplacian
    omega = best_omega(beta)
    M = (diags_array(A.diagonal() / omega) + tril(A, -1)).toarray()
    radius = np.abs(np.linalg.eigvals(np.eye(len(B)) - np.linalg.solve(M, A.toarray()))).max()
    assert radius == pytest.approx(omega - 1.0, abs=1e-3)  # a defective eigenvalue moves by the root of the rounding
    counts = {w: sor(A, B, w)[1] for w in (omega - 0.1, omega, omega + 0.1)}
    assert counts[omega] == min(counts.values())


def test_ssor_preconditioning_takes_the_iterations_of_its_dense_formula():
    omega, dense = 1.4, A.toarray()
    D, L = np.diag(np.diag(dense)), np.tril(dense, -1)
    P = (D + omega * L) @ np.linalg.inv(D) @ (D + omega * L).T / (omega * (2 - omega))
    x, r = np.zeros(len(B)), B.copy()
    z = p = np.linalg.solve(P, r)
    count = 0
    while np.linalg.norm(r) > 1e-8 * np.linalg.norm(B):
        q = dense @ p
        alpha = r @ z / (p @ q)
        x, before, r = x + alpha * p, r @ z, r - alpha * q
        z = np.linalg.solve(P, r)
        p = z + (r @ z / before) * p
        count += 1
    assert abs(ssor_cg(A, B, omega)[1] - count) <= 1  # the residual is recursive in both and may end a step apart


@pytest.mark.parametrize("omega", [0.0, 2.0])
def test_an_omega_that_cannot_converge_is_refused(omega):
    with pytest.raises(InvalidInputError, match="omega: expected a number between 0 and 2"):
        ssor_cg(A, B, omega)


def test_sor_says_when_it_gives_up():
    assert sor(A, B, 1.0, maxiter=3)[1:] == (3, False)


def test_incomplete_lu_solves_at_random_places_of_its_space():
    for u in SPACE.sample(10, np.random.default_rng(0)):
        x, work, status = ilu_gmres(A, B, **SPACE.decode(u))
        assert work > 0
        assert status == "ok"
        np.testing.assert_allclose(x, TRUTH, atol=1e-4)  # GMRES ends on the preconditioned residual
    exact = {"drop_tol": 1e-6, "fill_factor": 50.0, "permc_spec": "MMD_AT_PLUS_A"}  # nothing dropped: symmetric as A is
    x, _, status = ilu_cg(A, B, **CG_SPACE.validate(exact))
    assert status == "ok"
    np.testing.assert_allclose(x, TRUTH, atol=1e-5)


def test_incomplete_lu_tells_a_breakdown_and_a_cap():
    singular = csc_array(np.diag([1.0, 0.0, 2.0]))
    assert ilu_gmres(singular, np.ones(3), **DEFAULT)[2] == "breakdown"
    rough = DEFAULT | {"drop_tol": 0.1, "fill_factor": 1.0, "restart": 2}
    assert ilu_gmres(laplacian(30), np.ones(900), **rough, maxiter=2)[2] == "maxiter"


def test_multigrid_solves_at_random_places_of_its_space():
    pytest.importorskip("pyamg", reason="the extra pyamg is not installed")
    for u in MULTIGRID_SPACE.sample(6, np.random.default_rng(0)):
        x, work, status = multigrid_cg(csr_matrix(A), B, **MULTIGRID_SPACE.decode(u))
        assert status == "ok" and work > 0
        np.testing.assert_allclose(x, TRUTH, atol=1e-5)
    assert MULTIGRID_SPACE.validate(MULTIGRID_DEFAULT) == MULTIGRID_DEFAULT


def test_recycling_the_same_system_saves_products_and_gives_its_solution():
    system = csr_array(laplacian(20))
    rng, solver = np.random.default_rng(0), RecyclingSolver()
    counts = {}
    for recycle in (False, True):
        for _ in range(3):
            b = rng.standard_normal(400)
            x, counts[recycle], is_solved = solver.solve(system, b, m=10, k=8, recycle=recycle)
            assert is_solved
            np.testing.assert_allclose(x, spsolve(csc_array(system), b), atol=1e-5)
    assert counts[True] < counts[False]


def test_the_order_is_that_of_a_plain_search():
    P = np.random.default_rng(0).random((30, 3))
    order, left = [0], set(range(1, 30))
    while left:
        order.append(min(left, key=lambda j: np.linalg.norm(P[j] - P[order[-1]])))
        left.remove(order[-1])
    assert nearest_neighbour_order(P) == order
