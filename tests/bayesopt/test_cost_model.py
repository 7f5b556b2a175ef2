"""Learned costs against quadrature, against nature's own frequencies, and by what they do to a study."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import bayesopt as bo
from bayesopt.cost_model import CostModel, LogCost
from bayesopt.surrogate import FeatureMap

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = bo.Space({"x": bo.Float(0.0, 1.0)})
NEW = np.linspace(0.0, 1.0, 9)[:, None]


def model_of(X, costs, killed=None, budget=None):
    killed = np.zeros(len(X), dtype=bool) if killed is None else killed
    budget = bo.Budget(cost=10.0) if budget is None else budget
    return CostModel(SPACE, X, [{"cost": cost} for cost in costs], killed, budget)


def test_the_expected_cost_is_the_mean_of_a_lognormal_and_its_gradient_that_of_differences():
    X = np.linspace(0.0, 1.0, 7)[:, None]
    model = model_of(X, np.exp(3 * X[:, 0]) * np.array([1.0, 1.1, 0.9, 1.05, 1.0, 0.95, 1.1]))
    log_cost = model._meters["cost"]
    prediction = log_cost.model.predictor.predict(NEW)
    draws = prediction.mean + np.sqrt(prediction.variance + log_cost.model.noise_variance)[:, None] * (
        np.random.default_rng(100).standard_normal((9, 200_000))
    )
    costs = np.exp(draws)
    error = costs.std(1) / math.sqrt(costs.shape[1])
    assert (np.abs(np.exp(model.log_expected(NEW)[0]) - costs.mean(1)) < 4 * error).all()
    U, step = NEW[1:-1], 1e-5
    difference = (model.log_expected(U + step)[0] - model.log_expected(U - step)[0]) / (2 * step)
    assert model.log_expected(U)[1][:, 0] == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_a_bound_on_learned_costs_holds_as_often_as_it_says():
    rng = np.random.default_rng(102)
    n_held = n = 0
    for _ in range(60):
        X, new = rng.random((12, 1)), rng.random((20, 1))
        tilt = rng.normal(0.0, 2.0)

        def cost(U, tilt=tilt):
            return np.exp(tilt * U[:, 0] + 0.2 * rng.standard_normal(len(U)))

        bound = model_of(X, cost(X)).at_most(new)["cost"]
        n_held, n = n_held + (cost(new) <= bound).sum(), n + len(new)
    # 98 % are promised; trials of one run depend on one another, so the allowance is that of the 60 runs.
    assert n_held / n > 0.98 - 3 * math.sqrt(0.98 * 0.02 / 60)


def test_a_killed_run_counts_as_one_that_would_have_cost_more():
    X = np.array([[0.0], [0.2], [0.45], [0.6], [1.0]])
    costs = np.array([1.0, 1.6, 2.2, 2.0, 3.0])
    killed = np.array([False, False, False, True, False])
    fitted = LogCost.fit(FeatureMap(SPACE), X, costs, killed, 0.9).model
    seen = LogCost.fit(FeatureMap(SPACE), X[~killed], costs[~killed], killed[~killed], 0.9).model
    # Truth by quadrature over what the killed run would have cost: p(y | others) cut at its limit.
    where, limit = X[killed], math.log(2.0)
    before = seen.predictor.predict(where)
    m, v = before.mean[0, 0], before.variance[0] + seen.noise_variance
    joint = np.concatenate([where, [[0.75]]])
    _, covariance, _ = seen.predictor.joint(joint)
    slope = covariance[0, 1] / (covariance[0, 0] + seen.noise_variance / seen.scale**2)
    at_new = seen.predictor.predict(joint[1:])
    mass = norm.sf(limit, m, math.sqrt(v))
    cut_mean = quad(lambda y: y * norm.pdf(y, m, math.sqrt(v)) / mass, limit, m + 12 * math.sqrt(v))[0]
    cut_square = quad(lambda y: (y - cut_mean) ** 2 * norm.pdf(y, m, math.sqrt(v)) / mass, limit, m + 12 * math.sqrt(v))
    expected_mean = at_new.mean[0, 0] + slope * (cut_mean - m)
    expected_variance = at_new.variance[0] - slope**2 * (v - cut_square[0])
    found = fitted.predictor.predict(joint[1:])
    # With one killed run the moments that are matched are exact.
    assert found.mean[0, 0] == pytest.approx(expected_mean, abs=1e-6)
    assert found.variance[0] == pytest.approx(expected_variance, rel=1e-5)
    assert found.mean[0, 0] > at_new.mean[0, 0]


def test_several_meters_hold_together():
    X = np.linspace(0.0, 1.0, 8)[:, None]
    charges = [{"seconds": math.exp(x), "tokens": math.exp(2 - x)} for x in X[:, 0]]
    both = CostModel(SPACE, X, charges, np.zeros(8, dtype=bool), bo.Budget(seconds=9.0, tokens=9.0))
    one = CostModel(SPACE, X, charges, np.zeros(8, dtype=bool), bo.Budget(seconds=9.0))
    assert set(both.at_most(NEW)) == {"seconds", "tokens"}
    assert (both.at_most(NEW)["seconds"] >= one.at_most(NEW)["seconds"]).all()


def test_costs_that_are_all_the_same_need_no_model():
    X = np.linspace(0.0, 1.0, 5)[:, None]
    assert model_of(X, np.full(5, 3.0)).at_most(NEW)["cost"] == pytest.approx(3.0)
    assert model_of(X, np.zeros(5)).at_most(NEW)["cost"] == pytest.approx(0.0)
    assert model_of(X[:2], np.array([1.0, 3.0])).at_most(NEW)["cost"] == pytest.approx(3.0)
