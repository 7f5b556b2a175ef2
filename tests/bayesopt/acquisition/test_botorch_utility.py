"""BoTorch's acquisition functions as the search sees them: gradients, weights, pending trials, one-shot functions."""

import numpy as np
import pytest
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import LogExpectedImprovement, UpperConfidenceBound
from botorch.acquisition.knowledge_gradient import qKnowledgeGradient, qMultiFidelityKnowledgeGradient
from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
from scipy.stats import norm

from bayesopt.acquisition import botorch_utility
from bayesopt.acquisition.base import PRIOR_DECAY
from bayesopt.acquisition.botorch_problem import botorch_problem
from bayesopt.acquisition.botorch_utility import (
    DiscreteKnowledgeGradient,
    WeightedUtility,
    best_point,
    make_acquisition,
)
from bayesopt.errors import InvalidInputError
from bayesopt.problem.parameters import Float, Int, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate
from gp.threads import single_threaded

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MIXED = Space({"x": Float(0.0, 1.0), "k": Int(1, 99), "m": Simplex(["p", "q", "r"])})
FAILED = np.array([[0.95, 0.95], [0.9, 0.8], [0.8, 0.95]])


@pytest.fixture(autouse=True)
def _single_threaded():
    """As the strategy computes: two threads would wait for each other longer than they compute."""
    with single_threaded():
        yield


def points(space, n, seed=0):
    return space.sample(n, np.random.default_rng(seed))


def fitted(make_history, space=SQUARE, n=12, **fields):
    X = points(space, n)
    return fit_surrogate(make_history(space, X, -((X - 0.4) ** 2).sum(1), **fields))


def problem_of(surrogate, pending=None):
    pending = np.zeros((0, surrogate.history.space.dim)) if pending is None else pending
    return botorch_problem(surrogate, pending, np.random.default_rng(0))


def made(make, surrogate, pending=None):
    pending = np.zeros((0, surrogate.history.space.dim)) if pending is None else pending
    return make_acquisition(make, surrogate, pending, np.random.default_rng(0))


def assert_gradient(utility, U, step=1e-6):
    values, gradients = utility.value_and_gradient(U)
    np.testing.assert_allclose(utility.values(U), values, rtol=1e-9)
    for column in range(U.shape[1]):
        move = np.zeros_like(U)
        move[:, column] = step
        slope = (utility.values(U + move) - utility.values(U - move)) / (2 * step)
        np.testing.assert_allclose(gradients[:, column], slope, rtol=2e-4, atol=2e-5)


# -- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: qLogNoisyExpectedImprovement(p.model, p.X_baseline, p.sampler(16)),
        lambda p: UpperConfidenceBound(p.objective_model, 4.0),
    ],
    ids=["a log", "of either sign"],
)
def test_the_gradient_is_that_of_the_value(space, make, make_history):
    prior = OptimumPrior({"x": (0.2, 0.2)}).on(space)
    surrogate = fitted(make_history, space, failed=points(space, 3, 4), priors=(prior,))
    assert_gradient(WeightedUtility(made(make, surrogate)[0], surrogate), points(space, 5, 1) * 0.9 + 0.05)


def test_a_log_takes_the_log_of_survival_and_belief(make_history):
    prior = OptimumPrior({"x": (0.2, 0.2)}).on(SQUARE)
    surrogate = fitted(make_history, failed=FAILED, priors=(prior,))
    acquisition, _ = made(lambda p: LogExpectedImprovement(p.objective_model, p.best_f), surrogate)
    U = points(SQUARE, 6, 1)
    latent = surrogate.survival.predictor.predict(surrogate.features(U))
    survives = norm.cdf(latent.mean[:, 0] / np.sqrt(latent.variance + 1.0))  # the probit's own noise
    plain = acquisition(torch.as_tensor(U)[:, None, :]).detach().numpy()
    expected = plain + np.log(survives) + PRIOR_DECAY / 12 * prior.log_density(U)
    np.testing.assert_allclose(WeightedUtility(acquisition, surrogate).values(U), expected, rtol=1e-6)


def test_a_likely_crash_is_worse_whatever_the_sign(make_history):
    surrogate = fitted(make_history, failed=FAILED)
    acquisition, _ = made(lambda p: UpperConfidenceBound(p.objective_model, 0.1), surrogate)
    U = points(SQUARE, 40, 1)
    plain = acquisition(torch.as_tensor(U)[:, None, :]).detach().numpy()
    weighed = WeightedUtility(acquisition, surrogate).values(U)
    assert (plain > 0).any()
    assert (plain < 0).any()
    assert (weighed <= plain).all()
    assert (weighed < plain - 1e-3).mean() > 0.5
    assert (np.sign(weighed) == np.sign(plain)).all()


def test_a_function_that_does_not_value_single_points_is_refused_by_name(make_history):
    class Pair(AcquisitionFunction):
        def forward(self, X):
            return X.sum(-1)

    surrogate = fitted(make_history)
    acquisition, _ = made(lambda p: Pair(p.model), surrogate)
    with pytest.raises(InvalidInputError, match=r"Pair: expected one value a point, \(5,\), got \(5, 1\)"):
        WeightedUtility(acquisition, surrogate).values(points(SQUARE, 5))


# -- pending trials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: qLogExpectedImprovement(p.model, p.best_f, p.sampler(64)),
        lambda p: qLogNoisyExpectedImprovement(p.model, p.X_baseline, p.sampler(64)),
        lambda p: LogExpectedImprovement(p.objective_model, p.best_f),
        lambda p: qKnowledgeGradient(p.objective_model, 16, p.sampler(16), current_value=p.best_f),
    ],
    ids=["EI", "noisy EI", "analytic EI", "knowledge gradient"],
)
def test_pending_trials_are_known_though_make_says_nothing_of_them(make, make_history):
    surrogate = fitted(make_history)
    best = best_point(*made(make, surrogate), surrogate, points(SQUARE, 12), np.random.default_rng(1))
    acquisition, problem = made(make, surrogate, best[None])
    second = best_point(acquisition, problem, surrogate, points(SQUARE, 12), np.random.default_rng(1))
    assert np.linalg.norm(second - best) > 0.02


def test_what_make_returns_is_checked(make_history):
    with pytest.raises(
        InvalidInputError, match="expected it to return a botorch AcquisitionFunction, got a SingleTask"
    ):
        made(lambda p: p.objective_model, fitted(make_history))


# -- one-shot functions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_pending", [0, 2])
def test_the_knowledge_gradient_is_the_one_shot_one_at_its_best_inner_solutions(n_pending, make_history):
    surrogate = fitted(make_history, noise=None)
    problem = problem_of(surrogate, points(SQUARE, n_pending, 3))
    one_shot = qKnowledgeGradient(
        problem.objective_model, 8, problem.sampler(8), X_pending=problem.X_pending, current_value=problem.best_f
    )
    discrete = DiscreteKnowledgeGradient(one_shot, problem.candidates)
    X = torch.as_tensor(points(SQUARE, 3, 5))[:, None, :]
    for x in X:
        options = torch.cat([discrete.options, x])
        observed = x if problem.X_pending is None else torch.cat([x, problem.X_pending])
        fantasies = problem.objective_model.fantasize(observed, one_shot.sampler)
        best = options[fantasies.posterior(options[:, None, None, :].expand(-1, 8, 1, 2)).mean[..., 0, 0].argmax(0)]
        torch.testing.assert_close(discrete(x[None])[0], one_shot(torch.cat([x, best]))[0], rtol=1e-6, atol=1e-9)


def test_the_knowledge_gradient_has_the_gradient_of_its_value(make_history):
    surrogate = fitted(make_history, MIXED)
    problem = problem_of(surrogate)
    one_shot = qKnowledgeGradient(problem.objective_model, 8, problem.sampler(8))
    utility = WeightedUtility(DiscreteKnowledgeGradient(one_shot, problem.candidates), surrogate)
    assert_gradient(utility, points(MIXED, 4, 1) * 0.9 + 0.05)


def test_any_other_one_shot_function_is_maximised_with_its_inner_solutions(make_history, monkeypatch):
    monkeypatch.setattr(botorch_utility, "_ONE_SHOT_ITERATIONS", 5)
    space = Space({"x": Float(0.0, 1.0), "k": Int(1, 5)}, allowed=lambda params: params["k"] != 3)
    surrogate = fitted(make_history, space)
    make = lambda p: qMultiFidelityKnowledgeGradient(p.objective_model, 4, p.sampler(4))  # noqa: E731
    u = best_point(*made(make, surrogate), surrogate, surrogate.history.X, np.random.default_rng(0))
    assert space.is_allowed(u[None])[0]
    np.testing.assert_allclose(space.snap(u[None])[0], u)
