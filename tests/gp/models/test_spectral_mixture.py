"""The spectral mixture model against dense algebra, and its paths against its posterior."""

import math

import pytest
import torch
from botorch.acquisition.logei import qLogExpectedImprovement

from gp.errors import InvalidDataError
from gp.models.spectral_mixture import SpectralMixtureGP

pytestmark = pytest.mark.usefixtures("one_thread")


def signal(X):
    return 30.0 + 4.0 * torch.sin(2 * math.pi * 0.61 * X + 0.3) + 2.0 * torch.cos(2 * math.pi * 1.7 * X)


def make_model(n=60, noise=0.1, **kwargs):
    X = 10.0 * torch.rand(n, 1)
    return SpectralMixtureGP(X, signal(X) + noise * torch.randn(n, 1), **kwargs)


@pytest.mark.parametrize("spectrum", ["gaussian", "student"])
def test_evidence_and_posterior_are_those_of_dense_algebra(spectrum):
    model = make_model(spectrum=spectrum)
    X, Y = (
        model.input_transform.untransform(model._x),
        model.outcome_transform.untransform(model.train_targets[:, None])[0],
    )
    scale, test = float(Y.std()), 10.0 * torch.rand(7, 1)
    noise, level = model.likelihood.noise.item(), model.mean_module.constant.item()
    with torch.no_grad():
        joint = model.covar_module(model.input_transform(torch.cat([X, test]))).to_dense()
    K, k = joint[:60, :60] + noise * torch.eye(60), joint[60:, :60]
    y = (Y[:, 0] - Y.mean()) / scale
    exact = torch.distributions.MultivariateNormal(torch.full((60,), level), K).log_prob(y)
    torch.testing.assert_close(model.log_evidence(), exact, atol=1e-7, rtol=0.0)
    posterior = model.posterior(test)
    mean = level + k @ torch.linalg.solve(K, y - level)
    torch.testing.assert_close(posterior.mean[:, 0], Y.mean() + scale * mean, atol=1e-6, rtol=0.0)
    variance = torch.diagonal(joint[60:, 60:] - k @ torch.linalg.solve(K, k.mT))
    torch.testing.assert_close(posterior.variance[:, 0], scale**2 * variance, atol=1e-6, rtol=1e-5)


def test_fitting_raises_the_evidence_and_extrapolates_the_tones():
    model = make_model()
    before = model.log_evidence().item()
    report = model.fit()
    assert report.log_posterior > before
    assert model.log_evidence().item() == pytest.approx(report.log_posterior)
    for mu in (0.61, 1.7):
        assert (model.frequencies - mu).abs().min() < 0.02
    ahead = torch.linspace(10, 11, 20)[:, None]
    assert (model.posterior(ahead).mean - signal(ahead)).square().mean().sqrt() < 1.0  # of an amplitude of 6
    assert model.noise_variance == pytest.approx(0.01, rel=0.9)


def test_the_mean_of_4096_paths_is_that_of_the_posterior_and_their_spread_too():
    model = make_model(n=30, noise=0.5)
    X = torch.tensor([[1.0], [5.5], [11.0], [14.0]])
    generator = torch.Generator(X.device).manual_seed(2)
    paths, posterior = model.draw_paths(4096, generator)(X), model.posterior(X)
    assert paths.shape == (4096, 4, 1)
    # the waves are shared by all paths, so their covariance errs by 1 / sqrt(2048) besides
    assert ((paths.mean(0) - posterior.mean).abs() < 4 * (posterior.variance / 4096).sqrt() * 1.3).all()
    prior = model.covar_module.variance.item() * model.outcome_transform.stdvs.item() ** 2
    assert (
        (paths.var(0) - posterior.variance).abs() < 4 * prior / math.sqrt(2048) + 4 * posterior.variance * 0.022
    ).all()


def test_a_path_is_a_differentiable_function_that_stays_the_same():
    model = make_model(n=20)
    path = model.draw_paths(3, torch.Generator(torch.get_default_device()).manual_seed(0), n_features=64)
    X = torch.rand(2, 5, 1, requires_grad=True)
    assert path(X).shape == (3, 2, 5, 1)
    torch.testing.assert_close(path(X)[:, 1, 2], path(X[1, 2:3])[:, 0])
    assert torch.autograd.grad(path(X).sum(), X)[0].abs().min() > 0


def test_serves_an_acquisition_function_of_botorch_and_conditions_on_what_comes():
    model = make_model()
    assert qLogExpectedImprovement(model, best_f=35.0)(10.0 * torch.rand(4, 2, 1)).shape == (4,)
    X = torch.tensor([[3.3]])
    more = model.condition_on_observations(X, signal(X))
    assert more.posterior(X).variance < model.posterior(X).variance


def test_its_state_makes_the_same_model_again():
    model = make_model()
    X, Y = (
        model.input_transform.untransform(model._x),
        model.outcome_transform.untransform(model.train_targets[:, None])[0],
    )
    model.fit(max_iterations=3)
    again = SpectralMixtureGP(X, Y)
    again.load_state_dict(model.state_dict())
    test = torch.rand(3, 1)
    torch.testing.assert_close(again.posterior(test).mean, model.posterior(test).mean)


def test_refuses_data_that_it_cannot_use():
    with pytest.raises(InvalidDataError, match="train_Y: expected `n x 1` with n=5"):
        SpectralMixtureGP(torch.rand(5, 1), torch.rand(5))
    with pytest.raises(InvalidDataError, match="n >= 4"):
        SpectralMixtureGP(torch.rand(2, 1), torch.rand(2, 1))
