"""Training by evidence against the evidence's own maximum and a known noise."""

import math

import pytest
import torch
from torch import nn

from inference.errors import InferenceWarning, InvalidInputError
from inference.laplace.network import NetLaplace, Regression, train_by_evidence


@pytest.mark.slow
def test_a_linear_network_ends_at_the_maximum_of_its_evidence():
    X = torch.randn(60, 3)
    Y = X @ torch.tensor([[0.8], [-0.4], [0.1]]) + 0.3 * torch.randn(60, 1)
    net = nn.Linear(3, 1)
    posterior = train_by_evidence(net, X, Y, epochs=3000)
    F = torch.cat([X, torch.ones(60, 1)], 1)

    def evidence(tau, s2):
        covariance = F @ F.T / tau + s2 * torch.eye(60)
        return float(torch.distributions.MultivariateNormal(torch.zeros(60), covariance).log_prob(Y[:, 0]))

    tau, s2 = posterior.prior_precision[""], posterior.noise_variance
    assert posterior.log_evidence == pytest.approx(evidence(tau, s2), rel=1e-4)  # Adam stops near the mode, not on it
    for factor in (0.7, 1.4):
        assert evidence(tau * factor, s2) < evidence(tau, s2)
        assert evidence(tau, s2 * factor) < evidence(tau, s2)


def test_finds_the_noise_and_covers_what_it_predicts():
    generator = torch.Generator().manual_seed(4)
    X = 4.0 * torch.rand(150, 1, generator=generator) - 2.0
    noise = 0.3 * torch.randn(150, 1, generator=generator)
    net = nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 1))
    posterior = train_by_evidence(net, X, torch.sin(2.0 * X) + noise)
    assert math.sqrt(posterior.noise_variance) == pytest.approx(0.3, rel=0.25)  # 4 sd of an estimate from 150
    test = torch.linspace(-2, 2, 400)[:, None]
    found = posterior.predict(test)
    z = (torch.sin(2.0 * test) - found.f_mean) / found.f_variance.sqrt()
    assert (z.abs() < 2.0).double().mean() > 0.8  # of one function, whose errors go together
    outside = posterior.predict(torch.tensor([[5.0]])).f_variance
    assert outside > 10 * found.f_variance.mean()


def test_says_so_if_nothing_is_left_of_the_network():
    X = torch.randn(12, 2)
    net = nn.Sequential(nn.Linear(2, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 1))
    with pytest.warns(InferenceWarning, match="predicts a constant"):
        train_by_evidence(net, X, torch.randn(12, 1), noise_variance=100.0, prior_precision=1000.0)


def test_bad_input_is_refused():
    net = nn.Linear(2, 1)
    with pytest.raises(InvalidInputError, match="Y: expected `N x C` for 4 > 0 points"):
        train_by_evidence(net, torch.randn(4, 2), torch.randn(4))
    with pytest.raises(InvalidInputError, match="prior_precision, noise_variance: expected positive"):
        train_by_evidence(net, torch.randn(4, 2), torch.randn(4, 1), noise_variance=0.0)


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_the_posterior_of_another_structure_starts_from_what_was_learned(structure):
    X = torch.randn(40, 2)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    learned = train_by_evidence(net, X, X[:, :1].sin(), epochs=150)
    other = NetLaplace(
        net, Regression(learned.noise_variance**0.5), structure, prior_precision=learned.prior_precision
    ).fit(X, X[:, :1].sin())
    assert other.prior_precision == pytest.approx(learned.prior_precision)
    if structure == "full":
        torch.testing.assert_close(other.covariance(X), learned.covariance(X), rtol=1e-5, atol=1e-9)
