"""Noisy expected improvement against its definition by Monte Carlo; `test_base` has what it shares with the others."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import SQUARE, acquisition_of, differences, moments, noisy, points, smooth

pytestmark = pytest.mark.usefixtures("one_thread")

N_DRAWS = 40_000


def simulated(model, candidates, x, seed=0):
    """The rise of the best posterior mean among candidates and x by one trial at x: its mean and standard error."""
    before = model.predictor.predict(candidates).mean.max()
    after, _ = model.fantasies(x[None], np.random.default_rng(seed).standard_normal((1, N_DRAWS)))
    rise = after.predict(np.vstack([candidates, x])).mean.max(0) - before
    return rise.mean(), rise.std() / np.sqrt(N_DRAWS)


def agrees(log_value, mean, error):
    return abs(np.exp(log_value) - mean) < 4 * error


def test_it_is_what_the_best_posterior_mean_gains_by_monte_carlo(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, noisy(X), noise=0.3)
    acquisition = acquisition_of(LogNoisyExpectedImprovement, history)
    U = np.vstack([points(6, 2, seed=1), X[:2]])
    for u, value in zip(U, acquisition.values(U), strict=True):
        assert agrees(value, *simulated(acquisition.model, X, u))


def test_it_is_what_the_best_posterior_mean_gains_beyond_a_rival_that_lies_as_high(make_history):
    """Where x already leads the told trials, part of the gain is there before any news."""
    X = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]])
    history = make_history(SQUARE, X, [0.0, 1.0, 0.9], noise=0.5)
    acquisition = acquisition_of(LogNoisyExpectedImprovement, history)
    line = np.stack([np.linspace(0.46, 0.97, 11), np.full(11, 0.5)], 1)
    assert (acquisition.model.predictor.predict(line).mean > acquisition._means.max()).any()
    for u, value in zip(line, acquisition.values(line), strict=True):
        assert agrees(value, *simulated(acquisition.model, X, u))
    assert acquisition.value_and_gradient(line)[1] == pytest.approx(differences(acquisition, line), abs=1e-4)


def test_without_noise_it_is_expected_improvement(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, smooth(X), noise=0.0))
    model = surrogate.objective
    # Almost no noise, and lengthscales at which K is far from singular.
    model.regression = dataclasses.replace(model.regression, known_variance=np.full(8, 1e-12), unknown=np.zeros(8))
    model.hyperparameters = np.log([0.3, 0.4])
    assert model.noise_variance == pytest.approx(1e-12 * model.scale**2)
    none = np.zeros((0, 2)), np.zeros((1, 0, 1))
    clean, exact = (make(surrogate, *none) for make in (LogExpectedImprovement, LogNoisyExpectedImprovement))
    U = points(30, 2, seed=1)
    assert exact.values(U) == pytest.approx(clean.values(U), rel=1e-9, abs=1e-8)  # values down to -800
    assert exact.over_the_best_alone().values(U) == pytest.approx(clean.values(U), rel=1e-9, abs=1e-8)
    for one, other in zip(exact.value_and_gradient(U), clean.value_and_gradient(U), strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6)


def test_more_noise_leaves_less_to_be_gained(make_history):
    X = points(8, 2)
    surrogate = fit_surrogate(make_history(SQUARE, X, smooth(X), noise=0.1))
    U = points(20, 2, seed=1)
    values = []
    for variance in (1e-3, 1e-1, 1e1):
        acquisition = LogNoisyExpectedImprovement(surrogate, np.zeros((0, 2)), np.zeros((1, 0, 1)))
        acquisition._noise = variance
        values.append(acquisition.values(U))
    assert (np.diff(values, axis=0) < 0).all()


def test_a_trial_that_is_known_well_is_not_worth_repeating_and_a_lucky_one_is(make_history):
    X = np.array([[0.1, 0.5], [0.3, 0.5], [0.5, 0.5], [0.7, 0.5], [0.9, 0.5]])
    y = [0.0, 0.2, 1.0, 0.1, 1.2]
    precise = np.array([0.5, 0.5, 1e-4, 0.5, 0.5])  # the middle one was measured as by a million repetitions
    acquisition = acquisition_of(LogNoisyExpectedImprovement, make_history(SQUARE, X, y, objective_sd=precise))
    gains = np.exp(acquisition.values(X))
    assert gains[2] < 1e-4
    assert gains[4] > 0.02


@pytest.mark.parametrize("noise", [None, 0.0])
def test_repeating_what_is_known_exactly_is_worth_nothing(make_history, noise):
    X = np.repeat(points(1, 2), 12, axis=0)
    acquisition = acquisition_of(LogNoisyExpectedImprovement, make_history(SQUARE, X, np.ones(12), noise=noise))
    assert acquisition.values(X[:1])[0] < -20 + acquisition.values(points(1, 2, seed=5))[0]


def test_the_gain_over_the_best_alone_is_a_lower_bound_and_has_its_own_gradient(make_history):
    X = points(12, 2)
    acquisition = acquisition_of(LogNoisyExpectedImprovement, make_history(SQUARE, X, noisy(X), noise=0.3))
    assert len(acquisition._means) > 2
    bound = acquisition.over_the_best_alone()
    U = points(100, 2, seed=1)
    assert (bound.values(U) <= acquisition.values(U) + 1e-12).all()
    # Mostly it is close: that is why the search may climb it.
    assert np.median(acquisition.values(U) - bound.values(U)) < 1.0
    assert bound.value_and_gradient(U)[1] == pytest.approx(differences(bound, U), rel=1e-4, abs=1e-4)


def test_trials_that_are_probably_infeasible_are_neither_improved_on_nor_returned(make_history):
    X = np.vstack([points(10, 2), [[0.9, 0.9]]])
    history = make_history(SQUARE, X, X.sum(1), constraints=X[:, :1] - 0.6, noise=0.2)
    surrogate = fit_surrogate(history)
    feasible = surrogate.told_probability_feasible >= 0.5
    assert 1 < feasible.sum() < 11
    acquisition = acquisition_of(LogNoisyExpectedImprovement, history)
    for u in points(4, 2, seed=1):
        margin, sd = moments(surrogate.constraints[0], u[None])
        log_holds = norm.logcdf(-margin / sd)[0]
        log_gain = acquisition.values(u[None])[0] - log_holds
        assert agrees(log_gain, *simulated(acquisition.model, X[feasible], u))


def test_pending_trials_may_be_returned_and_their_outcomes_are_averaged_over(make_history):
    X, pending, n = points(3, 2), points(1, 2, seed=5), 6
    history = make_history(SQUARE, X, noisy(X), noise=1.0)
    normals = np.random.default_rng(3).standard_normal((1, 1, n))
    acquisition = acquisition_of(LogNoisyExpectedImprovement, history, pending=pending, normals=normals)
    assert acquisition._means.shape == (4, n)
    model, candidates, u = acquisition.model, np.vstack([X, pending]), points(1, 2, seed=6)
    noise = np.array([model.noise_variance / model.scale**2])
    rise = []
    for c in range(n):
        after, _ = model.fantasies(pending, normals[0][:, [c]])
        joint = after.joint(u)
        drawn = joint[0] + np.sqrt(joint[1] + noise) * np.random.default_rng(c).standard_normal((1, N_DRAWS))
        later = after.append(u, drawn, noise, joint)
        rise.append(later.predict(np.vstack([candidates, u])).mean.max(0) - after.predict(candidates).mean.max())
    error = np.std(rise, axis=1).mean() / np.sqrt(N_DRAWS * n)
    assert agrees(acquisition.values(u)[0], np.mean(rise), error)


def test_a_pending_trial_that_is_probably_infeasible_is_out_of_reach(make_history):
    X = np.stack([np.linspace(0.0, 1.0, 12), np.full(12, 0.5)], 1)
    history = make_history(SQUARE, X, X[:, 0], constraints=X[:, :1] - 0.5, noise=0.05)
    pending = np.array([[0.98, 0.5]])
    acquisition = acquisition_of(LogNoisyExpectedImprovement, history, pending=pending)
    assert acquisition._means.max() < acquisition_of(LogNoisyExpectedImprovement, history)._means.max() + 0.2
    values, gradients = acquisition.value_and_gradient(points(20, 2, seed=1))
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
