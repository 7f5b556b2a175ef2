"""Classification on arrays against `inference`'s, which is tested by quadrature, and finite differences."""

import numpy as np
import pytest
import torch

from gp.array_kernels import UNSEEN, Ard
from gp.classification import Classification, Classifier
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


def prior_of(model, theta):
    scaled = model.X / np.exp(theta[:3])
    k = model.kernel.values(theta[:3], scaled, scaled)
    np.fill_diagonal(k, 1.0)
    variance = np.exp(theta[3])
    m = torch.full((20,), theta[4] * np.sqrt(1.0 + variance), dtype=torch.float64)
    return torch.as_tensor(variance * k), m, torch.as_tensor(model.y)


def test_the_evidence_is_laplaces(model):
    exact = [LatentLaplace(Bernoulli()).log_evidence(*prior_of(model, theta)).item() for theta in THETA]
    np.testing.assert_allclose(model.log_evidence(THETA)[0], exact, rtol=1e-9)  # both end Newton's method at 1e-10


@pytest.mark.parametrize("theta", THETA)
def test_the_predictor_is_the_posterior_of_expectation_propagation(model, theta):
    exact = LatentLaplace(Bernoulli()).expectation_propagation(*prior_of(model, theta))
    found = model.condition(theta).predict(model.X)
    # sites stand still at 1e-6 of a standard deviation, and the largest here is 7
    np.testing.assert_allclose(found.mean[:, 0], exact.mean, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(found.variance), exact.variance.sqrt(), atol=1e-5)


def test_labels_that_are_as_good_as_certain_have_finite_evidence_gradient_and_posterior():
    X = np.linspace(0.0, 1.0, 30)[:, None]
    model = Classification(np.vstack([X, X]), np.tile(X[:, 0] > 0.5, 2).astype(float), Ard(np.zeros(1, dtype=np.intp)))
    lower, upper = model.bounds()
    for theta in (lower, upper, np.array([upper[0], upper[1], lower[2]])):
        evidence, gradient = model.log_evidence(theta[None])
        posterior = model.condition(theta).predict(X)
        assert np.isfinite(evidence).all() and np.isfinite(gradient).all()
        assert np.isfinite(posterior.mean).all() and (posterior.variance > 0).all()


def test_a_fit_raises_evidence_times_prior(model):
    classifier = Classifier(model.X, model.y, Ard(np.arange(3)))
    before = classifier.hyperparameters[None]
    classifier.fit(starts=before, max_evaluations=10)
    after = classifier.hyperparameters[None]
    assert sum(model.log_evidence(after)[0] + model.log_prior(after)[0]) > sum(
        model.log_evidence(before)[0] + model.log_prior(before)[0]
    )


def test_a_feature_that_no_kernel_sees_changes_nothing(model):
    X = np.column_stack([model.X, np.random.default_rng(0).random(20)])
    more = Classification(X, model.y, Ard(np.array([0, 1, 2, UNSEEN])))
    np.testing.assert_array_equal(more.log_evidence(THETA)[0], model.log_evidence(THETA)[0])
    found, expected = (one.condition(THETA[0]).predict(one.X).mean for one in (more, model))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
