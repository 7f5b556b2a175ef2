"""The classification that stands in for the loop's model of survival: its gradient, and its way to a `Predictor`."""

import numpy as np
import pytest
import torch
from inference_sections.ep_survival import Classification, Classifier

from gp.array_kernels import Ard
from inference import Bernoulli, LatentLaplace


@pytest.fixture
def model():
    X = np.random.default_rng(3).random((20, 3))
    return Classification(X, (X[:, 0] + X[:, 1] > 0.9).astype(float), Ard(np.arange(3)))


THETA = np.array([[-0.5, 0.2, -1.0, 1.3, 0.4], [-0.9, 0.2, -0.3, 4.0, -0.6]])


def test_the_gradient_is_that_of_finite_differences(model):
    _, gradient = model.log_evidence(THETA)
    for i, step in enumerate(1e-5 * np.eye(5)):
        change = (model.log_evidence(THETA + step)[0] - model.log_evidence(THETA - step)[0]) / 2e-5
        np.testing.assert_allclose(gradient[:, i], change, rtol=1e-5, atol=1e-6)


def test_the_predictor_is_the_posterior_of_expectation_propagation(model):
    theta = THETA[0]
    k = model.kernel.values(theta[:3], model.X / np.exp(theta[:3]), model.X / np.exp(theta[:3]))
    np.fill_diagonal(k, 1.0)
    K, variance = torch.as_tensor(np.exp(theta[3]) * k), np.exp(theta[3])
    m = torch.full((20,), theta[4] * np.sqrt(1.0 + variance), dtype=torch.float64)
    exact = LatentLaplace(Bernoulli()).expectation_propagation(K, m, torch.as_tensor(model.y))
    found = model.condition(theta).predict(model.X)
    np.testing.assert_allclose(found.mean[:, 0], exact.mean, atol=1e-7)
    np.testing.assert_allclose(found.variance, exact.variance, atol=1e-7)


def test_a_fit_raises_evidence_times_prior(model):
    classifier = Classifier(model.X, model.y, [0, 1, 2])
    before = classifier.hyperparameters[None]
    classifier.fit(starts=before, max_evaluations=10)
    after = classifier.hyperparameters[None]
    assert sum(model.log_evidence(after)[0] + model.log_prior(after)[0]) > sum(
        model.log_evidence(before)[0] + model.log_prior(before)[0]
    )
