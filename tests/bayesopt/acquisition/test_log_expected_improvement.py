"""The acquisition value against formulas written out here, Monte Carlo, and finite differences."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement as Reference
from scipy.stats import norm

from bayesopt.acquisition.log_expected_improvement import PRIOR_DECAY, LogExpectedImprovement
from bayesopt.problem.parameters import Choice, Float, Simplex
from bayesopt.problem.priors import OptimumPrior
from bayesopt.problem.space import Space
from bayesopt.surrogate import fit_surrogate

SQUARE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MIXED = Space({"x": Float(0.0, 1.0), "m": Simplex(["a", "b", "c"]), "c": Choice(["p", "q", "r"])})


def points(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


def smooth(X):
    return np.sin(4.0 * X).sum(1)


def acquisition_of(history, n_fantasies=16, pending=None):
    pending = history.pending if pending is None else pending
    shape = (1 + history.constraints.shape[1], len(pending), n_fantasies)
    return LogExpectedImprovement(fit_surrogate(history), pending, np.random.default_rng(7).standard_normal(shape))


def moments(acquisition, U, outcome=0):
    prediction = acquisition._predictors[outcome].predict(torch.as_tensor(U))
    return prediction.mean[:, 0].numpy(), prediction.variance.sqrt().numpy()


def everything(make_history, space=SQUARE, **fields):
    """A history in which every term of the acquisition function is at work."""
    X = space.snap(points(12, space.dim))
    margins = np.stack([X[:, 0] - 0.7, 0.2 - X[:, 1]], 1)
    prior = OptimumPrior({"x": (0.4, 0.2)}).on(space)
    fields = {"failed": points(2, space.dim, 1), "pending": points(3, space.dim, 2), "priors": (prior,)} | fields
    return make_history(space, X, smooth(X), constraints=margins, **fields)


def test_without_constraints_it_is_log_expected_improvement_over_the_best_posterior_mean(make_history):
    X = points(10, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.0)
    acquisition = acquisition_of(history)
    model = acquisition.model
    best = model.posterior(torch.as_tensor(X)).mean.max()
    U = points(20, 2, seed=1)
    values, _ = acquisition.value_and_gradient(U)
    reference = Reference(model, best_f=best)(torch.as_tensor(U)[:, None])
    assert values == pytest.approx(reference.detach().numpy(), rel=1e-4, abs=1e-4)  # K is as near singular as 1e-6


def test_noise_takes_from_the_improvement_what_a_trial_cannot_measure(make_history):
    X = points(10, 2)
    y = smooth(X)
    clean, noisy = (acquisition_of(make_history(SQUARE, X, y, noise=sd)) for sd in (0.0, 0.5))
    assert clean._news(torch.ones(2))[0].tolist() == [0.0, 0.0]
    variance = torch.tensor([1e-9, 1e-2, 1.0, 1e6], requires_grad=True)
    expected = torch.log(1.0 - (noisy._noise / (variance + noisy._noise)).sqrt())
    (expected_slope,) = torch.autograd.grad(expected.sum(), variance)
    value, slope = noisy._news(variance.detach())
    assert value.tolist() == pytest.approx(expected.tolist(), rel=1e-6)  # the plain formula cancels at 1e-9
    assert slope.tolist() == pytest.approx(expected_slope.tolist(), rel=1e-5)


def test_terms_add_in_logs(make_history):
    history = everything(make_history, pending=np.zeros((0, 2)), noise=0.3)
    acquisition = acquisition_of(history)
    U = points(20, 2, seed=3)
    mean, sd = moments(acquisition, U)
    u = (mean - acquisition.incumbents.item()) / sd
    noise_sd = math.sqrt(acquisition.model.noise_variance)
    expected = np.log(sd * (norm.pdf(u) + u * norm.cdf(u))) + np.log(1 - noise_sd / np.hypot(sd, noise_sd))
    for k in (1, 2):
        margin, margin_sd = moments(acquisition, U, k)
        expected += norm.logcdf(-margin / margin_sd)
    survival = acquisition._surrogate.survival
    label = survival.posterior(torch.as_tensor(U)[:, None], observation_noise=True)
    expected += norm.logcdf((label.mean / label.variance.sqrt()).detach().numpy()[:, 0, 0])
    expected += PRIOR_DECAY / 12 * history.priors[0].log_density(U)
    values, _ = acquisition.value_and_gradient(U)
    usable = u > -20  # the plain formula has lost every digit below
    assert usable.sum() > 10
    assert values[usable] == pytest.approx(expected[usable], rel=1e-6)


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["numbers", "mixed"])
def test_the_gradient_of_all_terms_agrees_with_finite_differences(make_history, space):
    acquisition = acquisition_of(everything(make_history, space))
    U = np.random.default_rng(4).uniform(0.15, 0.85, (8, space.dim))
    _, gradient = acquisition.value_and_gradient(U)
    step = 1e-6
    for j, column in enumerate(space.columns):
        if column.kind == "categorical":
            assert not gradient[:, j].any()
            continue
        move = np.zeros(space.dim)
        move[j] = step
        slope = (acquisition.value_and_gradient(U + move)[0] - acquisition.value_and_gradient(U - move)[0]) / (2 * step)
        assert gradient[:, j] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_it_is_finite_on_told_pending_and_failed_points(make_history):
    history = everything(make_history)
    values, gradients = acquisition_of(history).value_and_gradient(history.tried)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()


def test_while_nothing_is_feasible_only_feasibility_counts(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), constraints=2.0 - X[:, :1])
    acquisition = acquisition_of(history)
    assert acquisition.incumbents is None
    U = points(10, 2, seed=1)
    margin, sd = moments(acquisition, U, 1)
    assert acquisition.value_and_gradient(U)[0] == pytest.approx(norm.logcdf(-margin / sd), rel=1e-9)


def test_the_incumbent_is_feasible(make_history):
    X = np.stack([np.linspace(0.0, 1.0, 11), np.full(11, 0.5)], 1)
    history = make_history(SQUARE, X, X[:, 0], constraints=X[:, :1] - 0.55, noise=0.0)
    acquisition = acquisition_of(history)
    surrogate = acquisition._surrogate
    assert surrogate.scale.to_units(acquisition.incumbents.numpy()) == pytest.approx(0.5, abs=1e-3)


def test_a_pending_point_is_not_worth_a_second_trial(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.0)
    pending = points(1, 2, seed=5)
    before, _ = acquisition_of(history).value_and_gradient(pending)
    after, _ = acquisition_of(history, pending=pending).value_and_gradient(pending)
    assert after[0] < before[0] - 3.0


def test_fantasies_average_the_improvement_that_full_simulation_gives(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X))
    pending, U = points(2, 2, seed=5), points(4, 2, seed=6)
    n = 1_000
    acquisition = acquisition_of(history, n, pending)
    model = acquisition.model
    told_mean = model.posterior(torch.as_tensor(X)).mean
    generator = torch.Generator().manual_seed(1)
    improvements = []
    joint = model.posterior(torch.as_tensor(pending), observation_noise=True)
    factor = torch.linalg.cholesky(joint.distribution.covariance_matrix)
    for _ in range(200):
        drawn = joint.mean + factor @ torch.randn(2, 1, generator=generator)
        after = model.condition_on_observations(torch.as_tensor(pending), drawn)
        best = after.posterior(torch.as_tensor(np.concatenate([X, pending]))).mean.max()
        U_posterior = after.posterior(torch.as_tensor(U)[:, None])
        news = acquisition._news(U_posterior.variance[:, 0, 0])[0]
        improvements.append((Reference(after, best_f=best)(torch.as_tensor(U)[:, None]) + news).exp())
    simulated = torch.stack(improvements).detach()
    assert told_mean.shape == (8, 1)
    error = simulated.std(0) * math.sqrt(1 / 200 + 1 / n)
    values = torch.as_tensor(acquisition.value_and_gradient(U)[0]).exp()
    assert ((values - simulated.mean(0)).abs() < 4 * error + 1e-9).all()


def test_a_belief_fades_as_trials_are_told(make_history):
    def weight(n):
        X = points(n, 2)
        prior = OptimumPrior({"x": (0.9, 0.05)}).on(SQUARE)
        U = np.array([[0.1, 0.5]])
        plain = acquisition_of(make_history(SQUARE, X, smooth(X))).value_and_gradient(U)[0]
        believing = acquisition_of(make_history(SQUARE, X, smooth(X), priors=(prior,))).value_and_gradient(U)[0]
        return float((believing - plain)[0])

    assert weight(10) == pytest.approx(2 * weight(20))
    assert weight(10) < -10


def test_what_failed_is_not_expected_to_improve(make_history):
    X = points(8, 2)
    history = make_history(SQUARE, X, smooth(X), noise=0.0)
    plain = acquisition_of(history)
    grid = points(500, 2, seed=8)
    favourite = grid[[np.argmax(plain.value_and_gradient(grid)[0])]]
    failed = acquisition_of(make_history(SQUARE, X, smooth(X), noise=0.0, failed=favourite))
    assert failed.incumbents.item() == pytest.approx(plain.incumbents.item(), abs=1e-4)  # the noise floor is 1e-6
    mean, _ = moments(failed, favourite)
    assert mean[0] <= failed.incumbents.item() + 1e-3
    assert failed.value_and_gradient(favourite)[0][0] < plain.value_and_gradient(favourite)[0][0] - 3.0


def test_botorch_sees_a_differentiable_acquisition_function(make_history):
    acquisition = acquisition_of(everything(make_history))
    X = torch.as_tensor(points(3, 2, seed=9))[:, None].requires_grad_(True)
    values = acquisition(X)
    values.sum().backward()
    expected, gradient = acquisition.value_and_gradient(X.detach()[:, 0].numpy())
    assert values.shape == (3,)
    assert values.tolist() == expected.tolist()
    assert X.grad[:, 0].tolist() == gradient.tolist()


def test_without_a_told_trial_it_is_refused(make_history):
    surrogate = fit_surrogate(make_history(SQUARE))
    with pytest.raises(ValueError, match="tell a trial first"):
        LogExpectedImprovement(surrogate, np.zeros((0, 2)), np.zeros((1, 0, 16)))
