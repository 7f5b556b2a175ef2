"""Expected improvement against BoTorch's and full simulation; `test_base` has what it shares with the others."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement as Reference

from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
from bayesopt.surrogate import fit_surrogate
from tests.bayesopt.acquisition.cases import SQUARE, acquisition_of, points, smooth

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_is_log_expected_improvement_over_the_best_posterior_mean(make_history):
    X = points(10, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.01)
    acquisition = acquisition_of(LogExpectedImprovement, history)
    model = acquisition.model
    best = model.posterior(torch.as_tensor(X)).mean.max()
    assert acquisition.incumbents == pytest.approx(best.item(), abs=1e-9)
    U = points(20, 2, seed=1)
    reference = Reference(model, best_f=best)(torch.as_tensor(U)[:, None])
    assert acquisition.values(U) == pytest.approx(reference.detach().numpy(), rel=1e-6, abs=1e-6)


def test_the_incumbent_is_feasible(make_history):
    X = np.stack([np.linspace(0.0, 1.0, 11), np.full(11, 0.5)], 1)
    history = make_history(SQUARE, X, X[:, 0], constraints=X[:, :1] - 0.55, noise=0.0)
    acquisition = acquisition_of(LogExpectedImprovement, history)
    assert fit_surrogate(history).scale.to_units(acquisition.incumbents) == pytest.approx(0.5, abs=1e-3)


def test_without_a_probably_feasible_trial_there_is_no_incumbent(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), constraints=2.0 - X[:, :1])
    assert acquisition_of(LogExpectedImprovement, history).incumbents is None


def test_an_infeasible_pending_trial_raises_no_incumbent(make_history):
    X = np.stack([np.linspace(0.0, 1.0, 12), np.full(12, 0.5)], 1)
    pending = np.array([[0.95, 0.5]])
    history = make_history(SQUARE, X, X[:, 0], constraints=X[:, :1] - 0.5, noise=0.0)
    without = acquisition_of(LogExpectedImprovement, history).incumbents
    beyond = acquisition_of(LogExpectedImprovement, history, pending=pending).incumbents
    assert beyond == pytest.approx(np.repeat(without, 16), abs=1e-2)
    free = make_history(SQUARE, X, X[:, 0], constraints=X[:, :1] - 2.0, noise=0.0)
    assert len(acquisition_of(LogExpectedImprovement, free, pending=pending).incumbents) == 16


def test_fantasies_average_the_improvement_that_full_simulation_gives(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X))
    pending, U = points(2, 2, seed=5), points(4, 2, seed=6)
    n = 1_000
    acquisition = acquisition_of(LogExpectedImprovement, history, n, pending)
    model = acquisition.model
    generator = torch.Generator().manual_seed(1)
    improvements = []
    joint = model.posterior(torch.as_tensor(pending), observation_noise=True)
    factor = torch.linalg.cholesky(joint.distribution.covariance_matrix)
    for _ in range(200):
        drawn = joint.mean + factor @ torch.randn(2, 1, generator=generator)
        after = model.condition_on_observations(torch.as_tensor(pending), drawn)
        best = after.posterior(torch.as_tensor(np.concatenate([X, pending]))).mean.max()
        improvements.append(Reference(after, best_f=best)(torch.as_tensor(U)[:, None]).exp())
    simulated = torch.stack(improvements).detach()
    error = simulated.std(0) * math.sqrt(1 / 200 + 1 / n)
    values = torch.as_tensor(acquisition.values(U)).exp()
    assert ((values - simulated.mean(0)).abs() < 4 * error + 1e-9).all()
