"""The optimistic auxiliary problem against formulas by hand, finite differences and dense grids."""

import numpy as np
import pytest
from scipy.stats import norm

from bayesopt.acquisition.log_chance import Tail
from bayesopt.acquisition.optimistic_constrained import (
    TOLERANCE,
    OptimisticProblem,
    ViolationBudget,
    information_gain,
    solve,
    theoretical_width,
)
from bayesopt.problem.constraints import LinearConstraint
from bayesopt.problem.parameters import Choice, Float, Int, Simplex
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate

pytestmark = pytest.mark.usefixtures("one_thread")

PLANE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
WIDTHS = np.array([2.0, 2.0, 1.5])
GRID = np.stack(np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101)), -1).reshape(-1, 2)


def objective(X):
    return -(X[:, 0] + X[:, 1])


def margins(X, shift=0.0):
    wave = 1.5 - X[:, 0] - 2 * X[:, 1] - 0.5 * np.sin(2 * np.pi * (X[:, 0] ** 2 - 2 * X[:, 1]))
    return np.stack([wave + shift, (X**2).sum(1) - 1.5], 1)


@pytest.fixture
def surrogate(make_history):
    def fitted(shift=0.0, n=14, **fields):
        X = np.random.default_rng(3).random((n, 2))
        return fit_surrogate(make_history(PLANE, X, objective(X), constraints=margins(X, shift), noise=0.0, **fields))

    return fitted


def problem_of(surrogate, pending=None, budget=None):
    return OptimisticProblem(surrogate, np.zeros((0, 2)) if pending is None else pending, WIDTHS, budget)


def test_the_bounds_are_means_less_so_many_standard_deviations(surrogate):
    surrogate = surrogate()
    U = np.random.default_rng(0).random((7, 2))
    lowest, inequalities = problem_of(surrogate).bounds(U)
    first = surrogate.objective.predictor.predict(U)
    assert lowest == pytest.approx(-(first.mean[:, 0] + 2.0 * np.sqrt(first.variance)))
    for k, width in enumerate(WIDTHS[1:]):
        margin = surrogate.constraints[k].predictor.predict(U)
        assert inequalities[:, k] == pytest.approx(margin.mean[:, 0] - width * np.sqrt(margin.variance))


def test_the_budget_asks_for_the_joint_probability_of_keeping_to_it(surrogate):
    surrogate = surrogate()
    U = np.random.default_rng(0).random((7, 2))
    remaining = np.array([0.3, 0.1])
    _, inequalities = problem_of(surrogate, budget=ViolationBudget(remaining, risk=0.1)).bounds(U)
    fits = np.zeros(7)
    for k, model in enumerate(surrogate.constraints):
        most = surrogate.margin_scales[k].apply(remaining[k : k + 1])[0][0]
        below = Tail(model, above=most).at(U)
        # By the model alone the margin lies as many of these sd below the limit, or a little more.
        margin = model.predictor.predict(U)
        assert np.sign(below.z) == pytest.approx(np.sign(margin.mean[:, 0] - most))
        fits += norm.logcdf(-below.z)
    assert inequalities[:, 2] == pytest.approx(np.log(0.9) - fits)


@pytest.mark.parametrize("fields", [{}, {"failed": np.array([[0.9, 0.9], [0.8, 0.95]])}], ids=["told", "failed"])
def test_gradients_agree_with_finite_differences(surrogate, fields):
    surrogate = surrogate(**fields)
    problem = problem_of(surrogate, np.array([[0.2, 0.7]]), ViolationBudget(np.array([0.3, np.inf]), risk=0.1))
    U = np.random.default_rng(1).random((6, 2))
    _, along_lowest, inequalities, along = problem.bounds_and_gradients(U)
    assert inequalities.shape == (6, 4 if fields else 3)
    step = 1e-6
    for j in range(2):
        up, down = (problem.bounds(U + move * np.eye(2)[j]) for move in (step, -step))
        # Central differences of step 1e-6 err by 1e-10 of values of order 1 divided by it.
        assert along_lowest[:, j] == pytest.approx((up[0] - down[0]) / (2 * step), abs=1e-4)
        assert along[:, :, j] == pytest.approx((up[1] - down[1]) / (2 * step), rel=1e-4, abs=1e-4)


def test_the_solution_is_as_good_as_a_dense_grids(surrogate):
    surrogate = surrogate()
    problem = problem_of(surrogate)
    solution = solve(problem, surrogate, surrogate.history.X[:3], np.random.default_rng(0))
    lowest, inequalities = problem.bounds(GRID)
    holds = (inequalities <= 0).all(1)
    assert holds.any()
    assert solution.violation <= TOLERANCE
    assert solution.lowest <= lowest[holds].min() + 1e-9
    assert solution.lowest == pytest.approx(problem.bounds(solution.point[None])[0][0])


def test_where_nothing_may_be_feasible_the_least_violation_is_found(surrogate):
    surrogate = surrogate(shift=4.0)
    problem = problem_of(surrogate)
    solution = solve(problem, surrogate, surrogate.history.X[:3], np.random.default_rng(0))
    violation = problem.violation(GRID)
    assert violation.min() > TOLERANCE
    assert TOLERANCE < solution.violation <= violation.min() + 1e-6  # what a search ends at, and grids miss the minimum


def test_a_programme_never_ends_with_a_violation_where_it_started_without(surrogate):
    surrogate = surrogate()
    problem = problem_of(surrogate)
    starts = GRID[problem.violation(GRID) <= TOLERANCE][::97].copy()
    ends = problem.follow(starts, np.zeros_like(starts), np.ones_like(starts))
    assert problem.violation(ends).max() <= TOLERANCE
    # SLSQP need not improve on each start, but where it does not the start is among the points looked at.
    assert (problem.bounds(ends)[0] <= problem.bounds(starts)[0] + 1e-9).mean() > 0.9


def test_pending_trials_narrow_the_bounds_and_leave_the_means(surrogate):
    surrogate = surrogate()
    pending = np.array([[0.55, 0.35]])
    alone, along = problem_of(surrogate), problem_of(surrogate, pending)
    mean = surrogate.objective.predictor.predict(pending).mean[0, 0]
    assert -along.bounds(pending)[0][0] == pytest.approx(mean, abs=0.05)
    assert along.bounds(pending)[0][0] > alone.bounds(pending)[0][0] + 0.01


def test_every_kind_of_space_is_solved_with_a_configuration_of_it(make_history):
    space = Space(
        {"x": Float(0.0, 1.0), "k": Int(1, 9), "c": Choice(["a", "b"]), "m": Simplex(["u", "v", "w"])},
        constraints=[LinearConstraint({"x": 1.0, "m.u": 1.0}, upper=1.2)],
    )
    X = space.sample(25, np.random.default_rng(0))
    history = make_history(space, X, X[:, 0], constraints=X[:, 1:2] - 0.6)
    surrogate = fit_surrogate(history)
    problem = OptimisticProblem(surrogate, np.zeros((0, space.dim)), np.array([2.0, 2.0]))
    solution = solve(problem, surrogate, X[:3], np.random.default_rng(1))
    assert space.is_allowed(solution.point[None])[0]
    assert np.array_equal(space.snap(solution.point[None])[0], solution.point)
    samples = space.sample(4000, np.random.default_rng(2))
    lowest, inequalities = problem.bounds(samples)
    assert solution.violation <= TOLERANCE
    # x + u <= 1.2 is searched by backtracking only: a tenth of a spread from the best of 4000 samples at most.
    assert solution.lowest <= lowest[(inequalities <= 0).all(1)].min() + 0.1


def test_the_information_gain_is_half_the_log_determinant(surrogate):
    model = surrogate().objective
    regression, theta = model.regression, model.hyperparameters
    k = regression.kernel.values(theta, regression.X / np.exp(theta[:2]), regression.X / np.exp(theta[:2]))
    noise = regression.diagonal(theta)
    sign, log_det = np.linalg.slogdet(np.eye(len(k)) + k / noise[:, None])
    # Both lose digits to a condition number of about 1e6.
    assert information_gain(model) == pytest.approx(0.5 * sign * log_det, rel=1e-6)


def test_the_theoretical_width_is_the_norm_alone_without_noise():
    assert theoretical_width(3.0, 0.0, 50.0, 2, 0.1) == 3.0
    assert theoretical_width(3.0, 0.5, 50.0, 2, 0.1) > theoretical_width(3.0, 0.5, 10.0, 2, 0.1)
