"""The Gaussian process of mixtures."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import gp
from gp.errors import InvalidDataError


def losses(P):
    return 2.0 + np.exp(-3.0 * P[:, 0]) + 0.5 * np.exp(-2.0 * P[:, 1]) + 0.2 * P[:, 2] ** 2


def mixtures(seed, n, m=4):
    return np.random.default_rng(seed).dirichlet(np.full(m, 0.6), n)


def tensors(P, Y):
    return torch.as_tensor(P), torch.as_tensor(Y)[:, None]


def dense(P, Y, Q, scales, model):
    """Means and covariance by textbook algebra from the model's own numbers, for one scale or two."""
    theta = np.exp(model.hyperparameters)
    own, noise = theta[0], theta[-1]
    share = np.exp(-(theta[1:-1] ** -2.0)) if len(theta) > 2 else np.ones(1)

    def k(A, a, B, b):
        r = np.sqrt(np.square(np.sqrt(A)[:, None] - np.sqrt(B)[None]).sum(-1)) / own
        s = np.sqrt(5) * r
        far = np.where(a[:, None] == b[None], 1.0, share[a][:, None] * share[b][None])
        return (1 + s + s * s / 3) * np.exp(-s) * far

    at = np.zeros(len(Q), dtype=int)
    y = (Y - model._offsets[scales]) / model._units[scales]
    K = k(P, scales, P, scales) + noise * np.eye(len(P))
    ones = np.ones(len(P))
    mean = ones @ np.linalg.solve(K, y) / (ones @ np.linalg.solve(K, ones))
    cross = k(Q, at, P, scales)
    mu = model.offset + model.unit * (mean + cross @ np.linalg.solve(K, y - mean))
    return mu, model.unit**2 * (k(Q, at, Q, at) - cross @ np.linalg.solve(K, cross.T))


@pytest.mark.parametrize("two_scales", [False, True], ids=["one scale", "two scales"])
def test_the_posterior_is_that_of_dense_algebra(two_scales):
    P, Q = mixtures(0, 14), mixtures(1, 5)
    scales = np.array([0, 1] * 7) if two_scales else np.zeros(14, dtype=int)
    Y = losses(P) * np.where(scales == 1, 1.5, 1.0)
    model = gp.MixtureGP(*tensors(P, Y), scales=scales.tolist()).fit()
    mean, covariance = dense(P, Y, Q, scales, model)
    posterior = model.posterior(torch.as_tensor(Q))
    # 1e-6: a noise near its floor of 1e-7 leaves about nine of sixteen digits to the solution
    np.testing.assert_allclose(posterior.mean[:, 0].numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(posterior.distribution.covariance_matrix.numpy(), covariance, atol=1e-6)
    prediction = model.predict(Q)
    np.testing.assert_allclose(prediction.mean[:, 0], mean, atol=1e-6)
    np.testing.assert_allclose(prediction.variance, np.diag(covariance), atol=1e-6)


def test_the_posterior_can_be_differentiated_also_where_a_share_is_zero():
    P = mixtures(0, 14)
    model = gp.MixtureGP(*tensors(P, losses(P))).fit()
    X = torch.tensor([[0.3, 0.3, 0.4, 0.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.posterior(X).mean.sum(), X)
    assert torch.isfinite(gradient).all()
    step, direction = 1e-6, torch.tensor([1.0, -1.0, 0.0, 0.0]).double()
    up, down = (model.posterior(X.detach() + s * step * direction).mean for s in (1, -1))
    assert float(gradient[0] @ direction) == pytest.approx(float((up - down) / (2 * step)), abs=1e-6)


def test_runs_of_a_small_model_order_mixtures_for_a_large_one():
    def large(P):  # another level, another spread, and something of its own
        return 1.0 + 0.4 * losses(P) + 0.02 * np.cos(5 * P[:, 3])

    errors = []
    for seed in range(0, 60, 10):
        P, few, Q = mixtures(seed, 60), mixtures(seed + 1, 4), mixtures(seed + 2, 300)
        Y = np.concatenate([losses(P) + 0.01 * np.random.default_rng(seed).standard_normal(60), large(few)])
        both = gp.MixtureGP(*tensors(np.vstack([P, few]), Y), scales=[1] * 60 + [0] * 4).fit()
        alone = gp.MixtureGP(*tensors(few, large(few))).fit()
        errors.append([np.abs(model.predict(Q).mean[:, 0] - large(Q)).mean() for model in (both, alone)])
        assert spearmanr(both.predict(Q).mean[:, 0], large(Q))[0] > 0.95
    with_proxy, without = np.median(errors, axis=0)
    assert with_proxy < without / 2  # a fifth, when this was written


def test_without_a_run_at_the_predicted_scale_the_order_is_the_proxys():
    P, Q = mixtures(2, 40), mixtures(4, 200)
    model = gp.MixtureGP(*tensors(P, losses(P)), scales=[1] * 40).fit()
    assert spearmanr(model.predict(Q).mean[:, 0], losses(Q))[0] > 0.97


def test_runs_at_chosen_mixtures_do_not_mislead_the_scale():
    """The large model was run at good mixtures only: their mean is no mean of all mixtures."""
    P, Q = mixtures(2, 60), mixtures(4, 300)
    good = P[np.argsort(losses(P))[:5]]
    Y = np.concatenate([losses(P), losses(good) - 0.5])
    model = gp.MixtureGP(*tensors(np.vstack([P, good]), Y), scales=[1] * 60 + [0] * 5).fit()
    # standardised by their own mean, the level of typical mixtures would be off by their distance from good ones, 0.3
    assert abs((model.predict(Q).mean[:, 0] - (losses(Q) - 0.5)).mean()) < 0.05


def test_many_runs_give_each_group_its_own_lengthscale():
    few, many = mixtures(0, 20), mixtures(0, 21)
    assert len(gp.MixtureGP(*tensors(few, losses(few))).hyperparameters) == 1 + 1
    assert len(gp.MixtureGP(*tensors(many, losses(many))).hyperparameters) == 4 + 1


@pytest.mark.gpu
def test_predicts_on_the_device_of_its_input():
    P = torch.as_tensor(mixtures(0, 14))
    model = gp.MixtureGP(P.cuda(), torch.as_tensor(losses(P.numpy()))[:, None].cuda()).fit()
    assert model.posterior(P.cuda()).mean.device.type == "cuda"


@pytest.mark.parametrize(
    ("X", "scales", "message"),
    [
        ([[0.5, 0.6], [0.5, 0.5]], None, "sum to 1"),
        ([[-0.5, 1.5], [0.5, 0.5]], None, "none negative"),
        ([[0.5, 0.5], [0.4, 0.6]], [0], "an index of at least 0 for each of 2"),
        ([[0.5, 0.5], [0.4, 0.6]], [0, -1], "an index of at least 0"),
    ],
)
def test_what_is_no_mixture_is_refused(X, scales, message):
    with pytest.raises(InvalidDataError, match=message):
        gp.MixtureGP(torch.tensor(X).double(), torch.ones(2, 1).double(), scales=scales)
