"""Drawn functions against the closed form of what they are drawn from, and gradients against differences."""

import numpy as np
import pytest
import torch

from gp.models.exact import ExactGP
from gp.paths import draw_paths

N_PATHS = 20_000


def model(noise, n=6, additive=False):
    rng = np.random.default_rng(0)
    X = rng.random((n, 2))
    Y = 3.0 + 2.0 * np.sin(5 * X).sum(1, keepdims=True) + noise * rng.standard_normal((n, 1))
    return ExactGP(torch.as_tensor(X), torch.as_tensor(Y), noise=noise, additive=additive)


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_functions_after_the_data_have_the_posterior_of_the_model(noise, additive):
    gp = model(noise, additive=additive)
    X = np.random.default_rng(1).random((5, 2))
    drawn = draw_paths(gp.predictor, X, N_PATHS, np.random.default_rng(2)).posterior
    exact = gp.posterior(torch.as_tensor(np.vstack([gp.train_X.numpy(), X]))).distribution
    mean, covariance = exact.mean.numpy(), exact.covariance_matrix.numpy()
    sd = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    # the jitter of 1e-6 on a unit diagonal and the floor of the noise add a thousandth of a prior sd each
    slack = 3e-3 * gp.scale
    np.testing.assert_array_less(np.abs(drawn.mean(1) - mean), 4.0 * sd / np.sqrt(N_PATHS) + slack)
    # a product of normals varies by at most sqrt(2) times the product of their sds
    error = 4.0 * np.sqrt(2.0 / N_PATHS) * np.outer(sd, sd) + slack * gp.scale
    np.testing.assert_array_less(np.abs(np.cov(drawn) - covariance), error)


def test_functions_before_the_data_have_the_prior_about_the_models_mean():
    gp = model(0.0)
    X = np.random.default_rng(1).random((5, 2))
    drawn = draw_paths(gp.predictor, X, N_PATHS, np.random.default_rng(2)).prior[-5:]
    p = gp.predictor
    covariance = gp.scale**2 * p.values(X / p.lengthscales, X / p.lengthscales)
    np.testing.assert_allclose(drawn.mean(1), p.offset + p.scale * p.mean, atol=4 * gp.scale / np.sqrt(N_PATHS))
    np.testing.assert_allclose(np.cov(drawn), covariance, atol=4 * np.sqrt(2 / N_PATHS) * gp.scale**2)


def test_without_noise_every_function_passes_through_the_data():
    gp = model(0.0)
    drawn = draw_paths(gp.predictor, np.random.default_rng(1).random((20, 2)), 200, np.random.default_rng(2)).posterior
    # a known noise of 0 counts as a variance of 1e-6, and so does the jitter
    assert np.abs(drawn[:6] - gp.train_Y.numpy()).max() < 6 * np.sqrt(2e-6) * gp.scale


def test_elsewhere_a_function_is_the_regression_on_its_own_values():
    gp = model(0.5)
    X, A = np.random.default_rng(1).random((5, 2)), np.random.default_rng(3).random((4, 2))
    paths = draw_paths(gp.predictor, X, 7, np.random.default_rng(2))
    there = paths.at(A)
    # The law of total variance: means of the functions' conditional distributions at A, given values at Z, are those of
    # dense algebra on the posterior covariance.
    everything = np.vstack([gp.train_X.numpy(), X, A])
    exact = gp.posterior(torch.as_tensor(everything)).distribution
    mean, covariance = exact.mean.numpy(), exact.covariance_matrix.numpy()
    m = 11
    gain = np.linalg.solve(covariance[:m, :m] + 1e-6 * gp.scale**2 * np.eye(m), covariance[:m, m:]).T
    by_hand = mean[m:, None] + gain @ (paths.posterior - mean[:m, None])
    # two factorisations, each with a jitter of 1e-6
    np.testing.assert_allclose(there.mean, by_hand, atol=5e-3 * gp.scale)
    left = covariance[m:, m:] - gain @ covariance[:m, m:]
    np.testing.assert_allclose(there.variance, left.diagonal(), atol=1e-4 * gp.scale**2)


@pytest.mark.parametrize("additive", [False, True])
def test_gradients_elsewhere_agree_with_central_differences(additive):
    gp = model(0.5, additive=additive)
    paths = draw_paths(gp.predictor, np.random.default_rng(1).random((5, 2)), 7, np.random.default_rng(2))
    A = np.random.default_rng(3).random((4, 2))
    along_mean, along_variance = np.random.default_rng(4).standard_normal((4, 7)), np.array([1.0, -2.0, 0.5, 3.0])

    def total(points):
        there = paths.at(points)
        return (along_mean * there.mean).sum(1) + along_variance * there.variance

    gradient = paths.at(A).pullback(along_mean, along_variance)
    for column in range(2):
        step = 1e-5 * np.eye(2)[column]
        # the step squared times a third derivative of up to 1e3, and rounding over the step
        np.testing.assert_allclose(
            gradient[:, column], (total(A + step) - total(A - step)) / 2e-5, atol=1e-5, rtol=1e-5
        )
