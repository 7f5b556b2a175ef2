"""A process around known functions of uncertain weight, against dense algebra with the same covariance."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from gp.array_kernels import matern
from gp.errors import InvalidDataError
from gp.models.basis import BasisGP

N, WEIGHT_SD, WEIGHT_MEAN = 9, [2.0, 0.7], [0.3, -1.0]


def data(n=N, seed=0):
    """Two features, a constant and a parabola; outcomes with known extra variance."""
    rng = np.random.default_rng(seed)
    Z = rng.random((n, 2))
    X = np.column_stack([Z, np.ones(n), Z[:, 0] ** 2])
    y = 0.5 + 2.0 * X[:, 3] + 0.1 * np.sin(9.0 * Z[:, 1]) + 0.01 * rng.standard_normal(n)
    return X, y, rng.uniform(0.0, 0.01, n)


def model(n=N, **options):
    X, y, variance = data(n)
    chosen = {"weight_sd": WEIGHT_SD, "weight_mean": WEIGHT_MEAN, "scale": 0.2, "noise": 0.02} | options
    return BasisGP(torch.as_tensor(X), torch.as_tensor(y)[:, None], torch.as_tensor(variance)[:, None], **chosen)


def dense(A, B, theta):
    """Prior covariance between rows of A and B, written out pair by pair."""
    k = np.empty((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            r2 = sum(((a[c] - b[c]) / np.exp(theta[c])) ** 2 for c in range(2))
            of_weights = sum(sd**2 * a[2 + c] * b[2 + c] for c, sd in enumerate(WEIGHT_SD))
            k[i, j] = np.exp(2.0 * theta[2]) * matern(np.array([r2]))[0][0] + of_weights
    return k


def test_evidence_and_posterior_are_those_of_the_dense_gaussian():
    X, y, variance = data()
    gp = model()
    theta = np.array([-0.4, 0.3, -1.5, -3.0])
    gp.hyperparameters = theta
    K = dense(X, X, theta) + np.diag(variance + np.exp(2.0 * theta[3]))
    mean = X[:, 2:] @ WEIGHT_MEAN
    prior = -0.5 * np.sum(((theta - gp._medians) / gp._spreads) ** 2)
    # 1e-6: the jitter of 1e-9 scale² beside a noise of 5e-2
    assert gp.log_posterior(theta)[0] == pytest.approx(multivariate_normal(mean, K).logpdf(y) + prior, abs=1e-6)
    T, _, _ = data(4, seed=1)
    k = dense(T, X, theta)
    expected = T[:, 2:] @ WEIGHT_MEAN + k @ np.linalg.solve(K, y - mean)
    covariance = dense(T, T, theta) - k @ np.linalg.solve(K, k.T)
    found, sd = gp.predict(T)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(sd, np.sqrt(np.diag(covariance)), atol=1e-6)
    posterior = gp.posterior(torch.as_tensor(T))
    np.testing.assert_allclose(posterior.mean[:, 0].numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(posterior.distribution.covariance_matrix.numpy(), covariance, atol=1e-7)
    H = X[:, 2:]
    towards = np.diag(np.square(WEIGHT_SD)) @ H.T
    weights, among = gp.weights
    np.testing.assert_allclose(weights, WEIGHT_MEAN + towards @ np.linalg.solve(K, y - mean), atol=1e-7)
    by_hand = np.diag(np.square(WEIGHT_SD)) - towards @ np.linalg.solve(K, towards.T)
    np.testing.assert_allclose(among, by_hand, atol=1e-7)


def test_the_gradient_of_the_evidence_agrees_with_differences():
    gp = model()
    theta = gp.hyperparameters + np.array([0.2, -0.3, 0.5, -0.4])
    step = 1e-5
    differences = [
        (gp.log_posterior(theta + step * e)[0] - gp.log_posterior(theta - step * e)[0]) / (2.0 * step)
        for e in np.eye(4)
    ]
    # central differences are off by about step² times the third derivative
    np.testing.assert_allclose(gp.log_posterior(theta)[1], differences, rtol=1e-6, atol=1e-6)


def test_the_fit_gains_and_ends_where_the_gradient_is_small():
    gp = model(20)
    before = gp.log_posterior(gp.hyperparameters)[0]
    after, gradient = gp.fit().log_posterior(gp.hyperparameters)
    assert after > before
    assert np.abs(gradient).max() < 0.05  # it stops where a step gains less than 1e-5 nats


def test_posterior_is_differentiable_and_broadcasts():
    gp = model().fit()
    X = torch.as_tensor(data(6, seed=2)[0]).reshape(3, 2, 4).requires_grad_()
    posterior = gp.posterior(X, observation_noise=True)
    assert posterior.mean.shape == (3, 2, 1)
    (gradient,) = torch.autograd.grad(posterior.mean.sum() + posterior.variance.sum(), X)
    assert torch.isfinite(gradient).all()
    extra = posterior.variance - gp.posterior(X).variance
    np.testing.assert_allclose(extra.detach(), gp.noise_variance, rtol=1e-6)


def test_believing_keeps_the_mean_and_takes_uncertainty_away():
    gp = model().fit()
    T = data(5, seed=3)[0]
    mean, sd = gp.predict(T)
    after = gp.believing(T[:1])
    new_mean, new_sd = after.predict(T)
    np.testing.assert_allclose(new_mean, mean, atol=1e-6)
    assert (new_sd <= sd + 1e-9).all()
    assert new_sd[0] < 0.7 * sd[0]  # a noisy observation there leaves at most its noise


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weight_sd": [1.0, 1.0, 1.0, 1.0], "weight_mean": None}, "expected 1 to 3 positive numbers"),
        ({"weight_sd": [1.0, -1.0]}, "positive numbers"),
        ({"weight_mean": [0.0]}, "as many means"),
        ({"scale": 0.0}, "scale, noise and lengthscale > 0"),
        ({"groups": [0, 2]}, "every one of 0"),
    ],
)
def test_bad_input_is_refused(options, match):
    with pytest.raises(InvalidDataError, match=match):
        model(**options)


@pytest.mark.gpu
def test_the_posterior_stays_on_the_device_of_its_input():
    X = torch.as_tensor(data(4, seed=1)[0], device="cuda")
    on_gpu = model().posterior(X)
    assert on_gpu.mean.device.type == "cuda"
    np.testing.assert_allclose(on_gpu.mean.cpu(), model().posterior(X.cpu()).mean, atol=1e-9)
