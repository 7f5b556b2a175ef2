"""The published bandits against their own equations."""

import numpy as np
import pytest
from scipy.optimize import brentq, lsq_linear

import bayesopt as bo
from bayesopt.errors import InvalidInputError
from bayesopt.tuners.arms import Arms
from bayesopt.tuners.chebyshev_bandit import TERMS, ChebyshevBandit
from bayesopt.tuners.tsallis_inf import TsallisINF

NOTHING = np.empty(0)


def arms():
    return Arms(bo.Space({"omega": bo.Float(1.0, 1.95)}), np.random.default_rng(0))


def test_tsallis_probabilities_solve_their_equation():
    bandit = TsallisINF()
    bandit.start(arms(), 0, is_counted=True)
    rng = np.random.default_rng(0)
    for _ in range(200):
        arm = bandit.pick(NOTHING, rng)
        bandit.learn(arm, NOTHING, 5.0 + arm, "ok", is_more=False)
    eta = 2.0 / np.sqrt(201)
    S = bandit._sums / bandit._mean
    x = brentq(lambda x: (4.0 / (eta * (S - x)) ** 2).sum() - 1.0, S.min() - 1e5, S.min() - 2.0 / eta, xtol=1e-12)
    np.testing.assert_allclose(bandit.probabilities(), 4.0 / (eta * (S - x)) ** 2, rtol=1e-8)


def test_tsallis_estimates_the_sums_without_bias():
    rng, estimates = np.random.default_rng(1), []
    for _ in range(400):
        bandit = TsallisINF()
        bandit.start(arms(), 0, is_counted=True)
        for _ in range(3):
            arm = bandit.pick(NOTHING, rng)
            bandit.learn(arm, NOTHING, 2.0 + arm % 2, "ok", is_more=False)
        estimates.append(bandit._sums)
    error = np.std(estimates, axis=0) / np.sqrt(len(estimates))
    truth = 3.0 * (1.0 + np.arange(20) % 2)
    assert (np.abs(np.mean(estimates, axis=0) - truth) < 4 * error).all()


def test_chebyshev_fits_are_least_squares_in_a_box():
    bandit = ChebyshevBandit((0.0, 2.0), (1.0, 30.0))
    bandit.start(arms(), 1, is_counted=True)
    rng = np.random.default_rng(0)
    rows, losses = [], []
    for _ in range(60):
        context = rng.uniform(0.0, 2.0, 1)
        cost = 3.0 + 10.0 * context[0] ** 2
        rows.append(np.polynomial.chebyshev.chebvander(context - 1.0, TERMS - 1)[0])
        losses.append((cost - 1.0) / (bandit._K * bandit._N))
        bandit.learn(4, context, cost, "ok", is_more=False)
    A, y = np.array(rows), np.array(losses)
    exact = lsq_linear(A, y, (-bandit._bounds, bandit._bounds), tol=1e-14)
    found = bandit._theta[4]
    assert (np.abs(found) <= bandit._bounds).all()
    assert 0.5 * np.square(A @ found - y).sum() == pytest.approx(exact.cost, rel=1e-6, abs=1e-12)


def test_chebyshev_weighs_arms_by_the_inverse_of_their_gap():
    bandit = ChebyshevBandit((0.0, 1.0), (1.0, 30.0), log_floor=1e-3)
    bandit.start(arms(), 1, is_counted=True)
    for arm in range(20):
        bandit.learn(arm, np.array([0.5]), 10.0 + arm, "ok", is_more=False)
    p = bandit.probabilities(np.array([0.5]))
    assert p.sum() == pytest.approx(1.0)
    assert p.argmax() == bandit.recommend(np.array([0.5])) == 0
    y = bandit._theta @ bandit._features(np.array([0.5]))
    inverse = 1.0 / p[1:] - 20  # eta times the gap
    np.testing.assert_allclose(inverse / (y[1:] - y[0]), inverse[0] / (y[1] - y[0]))


def test_ranges_that_are_none_are_refused():
    with pytest.raises(InvalidInputError, match="the first less than the second"):
        ChebyshevBandit((1.0, 1.0), (1.0, 2.0))
    with pytest.raises(InvalidInputError, match="log_floor: expected more than 1"):
        ChebyshevBandit((-1.0, 1.0), (1.0, 2.0), log_floor=0.5)
