"""The collapsed sparse process: exact where it can be, a bound everywhere, and close with few inducing points."""

import itertools
import math

import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement

from gp import SparseGP
from gp.errors import InvalidDataError

pytestmark = pytest.mark.usefixtures("one_thread")


def data(n=60, d=2, noise=0.1):
    X = torch.rand(n, d) * torch.tensor([1.0, 30.0])[:d]
    f = torch.sin(6 * X[:, :1]) + 0.05 * X[:, -1:]
    return X, 5.0 + 3.0 * (f + noise * torch.randn(n, 1))


def exact(model, X):
    """Log evidence of y, posterior mean and covariance of Y, by the n x n matrix."""
    y = model.outcomes.standardise(model.train_Y)[:, 0] - model.mean(model.train_X)
    K = model.kernel(model.train_X).to_dense()
    S = K + model.likelihood.noise * torch.eye(len(y))
    evidence = torch.distributions.MultivariateNormal(torch.zeros(len(y)), S).log_prob(y)
    across = model.kernel(model.train_X, X).to_dense()
    mean = across.mT @ torch.linalg.solve(S, y) + model.mean(X)
    covariance = model.kernel(X).to_dense() - across.mT @ torch.linalg.solve(S, across)
    return evidence, model.outcomes.restore(mean), model.outcomes.restore_variance(covariance)


def test_with_every_point_inducing_it_is_the_exact_process():
    X, Y = data()
    model, new = SparseGP(X, Y, n_inducing=len(X)), data(7)[0]
    with torch.no_grad():
        model.inducing_points.copy_(X)
        evidence, mean, covariance = exact(model, new)
        # the jitter of 1e-6 on K_zz is the difference, over the noise variance of 0.1 for each of 60 points
        assert model.evidence() == pytest.approx(float(evidence), abs=1e-3)
        posterior = model.posterior(new)
        assert torch.allclose(posterior.mean[:, 0], mean, atol=1e-4)
        assert torch.allclose(posterior.distribution.covariance_matrix, covariance, atol=2e-4)


def test_the_bound_is_below_the_evidence_and_rises_with_the_inducing_points():
    X, Y = data()
    with torch.no_grad():
        bounds = [float(SparseGP(X, Y, n_inducing=m).evidence()) for m in (2, 5, 15, 40)]
        evidence = float(exact(SparseGP(X, Y, n_inducing=2), X[:1])[0])
    assert all(a < b for a, b in itertools.pairwise(bounds))
    assert bounds[-1] < evidence


def test_the_bound_is_that_of_dense_algebra():
    X, Y = data(40)
    model = SparseGP(X, Y, n_inducing=6)
    with torch.no_grad():
        y = model.outcomes.standardise(Y)[:, 0] - model.mean(X)
        noise, Z = model.likelihood.noise, model.inducing_points
        across = model.kernel(Z, X).to_dense()
        K_zz = model.kernel(Z).to_dense()
        Q = across.mT @ torch.linalg.solve(K_zz + 1e-6 * K_zz.diagonal().mean() * torch.eye(6), across)
        fit = torch.distributions.MultivariateNormal(torch.zeros(40), Q + noise * torch.eye(40)).log_prob(y)
        wanted = fit - 0.5 * (model.kernel(X, diag=True) - Q.diagonal()).sum() / noise
        assert model.evidence() == pytest.approx(float(wanted), abs=1e-8)


def test_a_fit_of_many_points_predicts_nearly_as_well_as_the_truth():
    X, Y = data(400)
    model = SparseGP(X, Y, n_inducing=25)
    report = model.fit(max_iterations=60)
    assert math.isfinite(report.log_posterior)
    new, seen = data(300)
    with torch.no_grad():
        posterior = model.posterior(new, observation_noise=True)
    nlpd = -torch.distributions.Normal(posterior.mean, posterior.variance.sqrt()).log_prob(seen).mean()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.3**2)  # of the noise: what nobody beats
    assert nlpd < entropy + 4 * math.sqrt(0.5 / 300) + 0.05
    assert model.noise_variance == pytest.approx(0.3**2, rel=0.25)  # 3.5 standard errors of 400


def test_it_is_a_model_of_botorch():
    X, Y = data(30)
    model = SparseGP(X, Y, n_inducing=8)
    points = torch.rand(4, 3, 2, requires_grad=True)
    posterior = model.posterior(points)
    assert posterior.mean.shape == (4, 3, 1)
    single = model.posterior(points[2])
    assert torch.allclose(posterior.mean[2], single.mean)
    assert torch.allclose(posterior.distribution.covariance_matrix[2], single.distribution.covariance_matrix)
    acquisition = LogExpectedImprovement(model, best_f=Y.max())
    (gradient,) = torch.autograd.grad(acquisition(points[:, :1]).sum(), points)
    step = 1e-6 * torch.ones(())
    shifted = points.detach().clone()
    shifted[0, 0, 0] += step
    with torch.no_grad():
        difference = (acquisition(shifted[:, :1]) - acquisition(points[:, :1]))[0] / step
    assert gradient[0, 0, 0] == pytest.approx(float(difference), rel=1e-3, abs=1e-5)
    noisy = model.posterior(points, observation_noise=True).variance - posterior.variance
    assert torch.allclose(noisy, torch.full_like(noisy, model.noise_variance))


def test_further_observations_count_and_nothing_else_moves():
    X, Y = data(50)
    model, whole = SparseGP(X[:40], Y[:40], n_inducing=8), SparseGP(X[:40], Y[:40], n_inducing=8)
    after = model.condition_on_observations(X[40:], Y[40:])
    whole.train_X, whole.train_Y = X, Y
    assert torch.allclose(after.posterior(X[:3]).mean, whole.posterior(X[:3]).mean)
    assert len(model.train_X) == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_X": torch.rand(5)}, "train_X"),
        ({"train_Y": torch.rand(5)}, "train_Y.*one a row"),
        ({"train_Y": torch.full((5, 1), torch.nan)}, "not finite"),
        ({"n_inducing": 0}, "n_inducing"),
    ],
    ids=str,
)
def test_data_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(InvalidDataError, match=message):
        SparseGP(**({"train_X": torch.rand(5, 2), "train_Y": torch.rand(5, 1)} | change))
