"""The network surrogate against finite differences, a refactored covariance, and single calls."""

import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.models.model import ModelList
from botorch.optim.optimize import optimize_acqf
from botorch.test_functions.synthetic import Hartmann
from torch.quasirandom import SobolEngine

from gp.errors import InvalidDataError
from gp.models.laplace_net import LaplaceNetSurrogate


@pytest.fixture
def model(one_thread):
    X = torch.rand(25, 3)
    return LaplaceNetSurrogate(X, (3.0 * X[:, :1]).sin() * 4.0 + 7.0, activation="silu", epochs=150, width=20)


def test_t_batches_are_single_calls(model):
    X = torch.rand(4, 2, 3, 3)
    together = model.posterior(X)
    assert together.mean.shape == (4, 2, 3, 1)
    for i in range(4):
        for j in range(2):
            alone = model.posterior(X[i, j])
            torch.testing.assert_close(together.mean[i, j], alone.mean, rtol=1e-10, atol=1e-10)
            covariance = together.distribution.covariance_matrix[i, j]
            torch.testing.assert_close(covariance, alone.distribution.covariance_matrix, rtol=1e-8, atol=1e-10)


def test_gradients_in_the_points_are_those_of_finite_differences(model):
    X = torch.rand(2, 2, 3, requires_grad=True)

    def moments(x):
        posterior = model.posterior(x)
        return posterior.mean, posterior.distribution.covariance_matrix

    assert torch.autograd.gradcheck(moments, X, eps=1e-6, atol=1e-6)


def test_the_covariance_is_that_of_bayesian_regression_on_the_jacobian(model):
    test = torch.rand(5, 3)
    J, J_test = model._features(model.train_X), model._features(test)
    s2 = model.noise_variance / model._scale**2
    precision = torch.eye(J.shape[1]) + J.T @ J / s2
    expected = model._scale**2 * J_test @ torch.linalg.inv(precision) @ J_test.T
    found = model.posterior(test).distribution.covariance_matrix
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.max()))
    noisy = model.posterior(test, observation_noise=True).variance - model.posterior(test).variance
    torch.testing.assert_close(noisy, torch.full_like(noisy, model.noise_variance), rtol=1e-6, atol=0)


@pytest.mark.parametrize("noise", [None, 0.5])
def test_further_observations_are_conditioned_on_exactly(model, noise):
    X, Y = torch.rand(3, 3), 7.0 + torch.randn(3, 1)
    test = torch.rand(4, 3)
    variances = None if noise is None else torch.full_like(Y, noise)
    steps = model
    for i in range(3):
        steps = steps.condition_on_observations(
            X[i : i + 1], Y[i : i + 1], noise=None if variances is None else variances[i : i + 1]
        )
    at_once = model.condition_on_observations(X, Y, noise=variances)
    # by hand: the posterior before is the prior of the new data
    before = model.posterior(torch.cat([test, X]))
    K, m = before.distribution.covariance_matrix, before.mean[:, 0]
    s2 = model.noise_variance if noise is None else noise
    gain = K[:4, 4:] @ torch.linalg.inv(K[4:, 4:] + s2 * torch.eye(3))
    for after in (at_once, steps):
        torch.testing.assert_close(
            after.posterior(test).mean[:, 0], m[:4] + gain @ (Y[:, 0] - m[4:]), rtol=1e-6, atol=1e-6
        )
        torch.testing.assert_close(
            after.posterior(test).variance[:, 0], (K[:4, :4] - gain @ K[4:, :4]).diagonal(), rtol=1e-5, atol=1e-6
        )
        assert len(after.train_X) == 28 and len(model.train_X) == 25


def test_works_with_botorchs_acquisition_functions(model):
    bounds = torch.stack([torch.zeros(3), torch.ones(3)])
    acquisition = LogExpectedImprovement(model, best_f=float(model.train_Y.max()))
    x, value = optimize_acqf(
        acquisition, bounds, q=1, num_restarts=2, raw_samples=16, options={"seed": 0, "maxiter": 10}
    )
    assert x.shape == (1, 3) and torch.isfinite(value)
    assert ModelList(model, model).posterior(x).mean.shape == (1, 2)


def test_the_seed_decides_and_no_global_state_changes(one_thread):
    X = torch.rand(12, 2)
    Y = X.sum(1, keepdim=True)
    state = torch.random.get_rng_state()
    one, same, other = (LaplaceNetSurrogate(X, Y, epochs=20, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.posterior(X).mean, same.posterior(X).mean)
    assert not torch.equal(one.posterior(X).mean, other.posterior(X).mean)


def test_a_warm_start_goes_on_from_earlier_weights(one_thread):
    X = torch.rand(20, 2)
    Y = (6.0 * X[:, :1]).sin()
    first = LaplaceNetSurrogate(X, Y, epochs=300)
    warm, cold = (LaplaceNetSurrogate(X, Y, epochs=5, warm_start=start) for start in (first, None))
    error = [(m.posterior(X).mean - Y).square().mean() for m in (warm, cold)]
    assert error[0] < 0.5 * error[1]
    with pytest.raises(InvalidDataError, match="warm_start: has another network"):
        LaplaceNetSurrogate(X, Y, epochs=10, width=7, warm_start=first)


def test_bad_data_are_refused():
    X, Y = torch.rand(5, 2), torch.rand(5, 1)
    with pytest.raises(InvalidDataError, match="expected X `n x d` and Y `n x 1`"):
        LaplaceNetSurrogate(X, Y[:, 0])
    with pytest.raises(InvalidDataError, match="must be finite"):
        LaplaceNetSurrogate(X * torch.nan, Y)
    with pytest.raises(InvalidDataError, match="activation: expected 'relu' or 'silu', got 'tanh'"):
        LaplaceNetSurrogate(X, Y, activation="tanh")
    with pytest.raises(InvalidDataError, match="bounds: expected `2 x d`"):
        LaplaceNetSurrogate(X, Y, bounds=torch.zeros(2, 2))


@pytest.mark.slow
def test_predicts_hartmann6_from_thirty_points_as_well_as_specified(one_thread):
    function = Hartmann(dim=6)
    scores = []
    for seed in range(3):
        X = SobolEngine(6, scramble=True, seed=seed).draw(30).double()
        test = SobolEngine(6, scramble=True, seed=1000 + seed).draw(500).double()
        Y, truth = function(X)[:, None], function(test)
        posterior = LaplaceNetSurrogate(X, Y, seed=seed).posterior(test[:, None])
        scale = Y.std()
        mean, variance = posterior.mean[:, 0, 0], posterior.variance[:, 0, 0]
        density = torch.distributions.Normal(mean / scale, variance.sqrt() / scale).log_prob(truth / scale)
        scores.append(-float(density.mean()))
    assert sum(scores) / 3 <= 1.6
