"""The Gittins index against its own equation, finite differences, and expected improvement per cost."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bayesopt.acquisition.gittins import GittinsIndex, gittins_index
from bayesopt.acquisition.loop_terms import inv_log_h, log_h_and_slope
from bayesopt.acquisition.per_cost import LogUtilityPerCost
from bayesopt.acquisition.primitives import log_h
from bayesopt.errors import InvalidInputError
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import MIXED, SQUARE, acquisition_of, differences, everything, points, smooth

pytestmark = pytest.mark.usefixtures("one_thread")


class Steep:
    """log c = 3 x_0 - x_1, on every space whose first two columns are numbers."""

    SLOPE = np.array([3.0, -1.0])

    def log_expected(self, U):
        gradient = np.zeros_like(U)
        gradient[:, :2] = self.SLOPE
        return U[:, :2] @ self.SLOPE, gradient


def priced(history):
    return dataclasses.replace(history, prices=Steep())


@pytest.mark.parametrize("exponent", range(-6, 3))
def test_it_solves_its_equation(exponent):
    rng = np.random.default_rng(100)
    mean, log_price = torch.as_tensor(rng.uniform(-1, 1, 500)), torch.as_tensor(rng.uniform(-9, 1, 500))
    sd = torch.full((500,), 10.0**exponent)
    g = gittins_index(mean, sd, log_price)
    log_ei = sd.log() + log_h((mean - g) / sd)
    assert (log_ei - log_price).abs().max() < 1e-9


def test_its_gradient_is_that_of_finite_differences_where_costs_vary():
    def parts(x):
        return torch.sin(3 * x), 0.2 + x**2, torch.log(0.01 + 0.5 * x**3)

    x = torch.linspace(0.1, 2.0, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(gittins_index(*parts(x)).sum(), x)
    step = 1e-6
    with torch.no_grad():
        difference = (gittins_index(*parts(x + step)) - gittins_index(*parts(x - step))) / (2 * step)
    assert (gradient - difference).abs().max() < 1e-5


def test_both_forms_of_the_stopping_rule_agree():
    rng = np.random.default_rng(101)
    n_stopped = 0
    for _ in range(1000):
        mean, sd = rng.normal(size=30), rng.uniform(0.01, 1.0, 30)
        log_price, best = rng.normal(-3.0, 2.0, 30), rng.normal(2.0, 1.0)
        index = gittins_index(*(torch.as_tensor(part) for part in (mean, sd, log_price))).numpy()
        log_worth = np.log(sd) + log_h_and_slope((mean - best) / sd)[0] - log_price
        assert (index.max() <= best) == (log_worth.max() <= 0.0)
        n_stopped += index.max() <= best
    assert 100 < n_stopped < 900  # the test would say nothing if one answer were the rule


def test_the_inverse_on_arrays_is_the_inverse():
    u = np.concatenate([-np.geomspace(1e-3, 1e3, 60), np.geomspace(1e-3, 1e3, 60)])
    assert inv_log_h(log_h_and_slope(u)[0]) == pytest.approx(u, rel=1e-9)


def test_in_the_loop_it_is_the_index_of_the_model(make_history):
    X = points(10, 2)
    history = priced(make_history(SQUARE, X, smooth(X), noise=0.0))
    index = GittinsIndex(fit_surrogate(history), history.pending, 0.05)
    U = points(20, 2, seed=1)
    posterior = index.model.posterior(torch.as_tensor(U)[:, None])
    mean, sd = posterior.mean.flatten(), posterior.variance.flatten().sqrt()
    expected = gittins_index(mean, sd, torch.as_tensor(Steep().log_expected(U)[0]) + math.log(0.05))
    assert index.values(U) == pytest.approx(expected.detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
def test_its_gradient_in_the_loop_with_constraints_failures_and_pending_trials(make_history, space):
    if space is MIXED:
        X = space.snap(points(12, space.dim))
        history = priced(make_history(space, X, smooth(X), pending=space.snap(points(2, space.dim, 5))))
    else:
        history = priced(everything(make_history, space))
    surrogate = fit_surrogate(history)
    index = GittinsIndex(surrogate, history.pending, 0.05)
    U = np.array([0.1, 0.3] + [0.2] * (space.dim - 2)) + 0.5 * points(6, space.dim, seed=3)  # where trials may succeed
    smooth_columns = [column.kind != "categorical" for column in space.columns]
    found = index.value_and_gradient(U)[1][:, smooth_columns]
    assert found == pytest.approx(differences(index, U)[:, smooth_columns], rel=1e-4, abs=1e-5)


def test_with_constraints_an_improvement_must_come_about(make_history):
    history = priced(everything(make_history, failed=np.zeros((0, 2)), pending=np.zeros((0, 2))))
    surrogate = fit_surrogate(history)
    index = GittinsIndex(surrogate, history.pending, 0.05)
    U = np.array([0.1, 0.3]) + 0.5 * points(10, 2, seed=4)
    prediction = surrogate.objective.predictor.predict(U)
    sd = np.sqrt(prediction.variance)
    log_feasible = surrogate.log_probability_feasible(surrogate.features(U))
    log_ei = np.log(sd) + log_h_and_slope((prediction.mean[:, 0] - index.values(U)) / sd)[0]
    assert log_ei + log_feasible == pytest.approx(math.log(0.05) + Steep().log_expected(U)[0], abs=1e-8)


def test_an_index_needs_costs(make_history):
    X = points(6, 2)
    history = make_history(SQUARE, X, smooth(X))
    with pytest.raises(InvalidInputError, match="no cost is known"):
        GittinsIndex(fit_surrogate(history), history.pending, 0.1)


def test_a_utility_per_cost_is_the_utility_less_the_log_cost(make_history):
    from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement

    history = everything(make_history)
    utility = acquisition_of(LogExpectedImprovement, history)
    per_cost = LogUtilityPerCost(utility, Steep(), 0.5)
    U = 0.1 + 0.8 * points(6, 2, seed=3)
    assert per_cost.values(U) == pytest.approx(utility.values(U) - 0.5 * (3 * U[:, 0] - U[:, 1]), abs=1e-12)
    assert per_cost.value_and_gradient(U)[1] == pytest.approx(differences(per_cost, U), rel=1e-4, abs=1e-5)
    X = torch.as_tensor(U)[:, None].requires_grad_()
    (gradient,) = torch.autograd.grad(per_cost(X).sum(), X)
    assert gradient[:, 0].numpy() == pytest.approx(per_cost.value_and_gradient(U)[1])
