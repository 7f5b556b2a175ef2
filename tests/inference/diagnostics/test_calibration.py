"""Scores and calibration against definitions, closed forms and simulation."""

import math

import pytest
import scipy.stats
import torch

from inference.diagnostics import brier, coverage, crps, ece, pit
from inference.errors import InvalidInputError


def test_calibrated_classes_have_almost_no_calibration_error():
    probabilities = torch.softmax(2 * torch.randn(10_000, 3), 1)
    labels = torch.multinomial(probabilities, 1)[:, 0]
    # 15 bins of some 700 cases: each gap has a standard error of about 0.5 / sqrt(700) = 0.019, less on average
    assert ece(probabilities, labels) < 0.02


def test_overconfidence_is_the_gap_between_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4)
    assert ece(probabilities, labels) == pytest.approx(0.3)
    assert ece(torch.tensor([0.2] * 4), torch.tensor([1, 0, 0, 0])) == pytest.approx(0.05)


def test_brier_by_hand():
    assert brier(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([1])) == pytest.approx(0.49 + 0.64 + 0.01)
    assert brier(torch.tensor([0.7]), torch.tensor([1])) == pytest.approx(0.09)


def test_the_crps_of_a_mixture_is_its_integral_over_the_distribution_function():
    y, mean, sd = torch.tensor([0.4]), torch.tensor([[-1.0], [2.0]]), torch.tensor([[0.5], [1.5]])
    t = torch.linspace(-15, 15, 300_001)
    F = torch.special.ndtr((t - mean) / sd).mean(0)
    integral = torch.trapezoid((F - (t >= y).double()) ** 2, t)
    assert float(crps(y, mean, sd)) == pytest.approx(float(integral), abs=1e-4)  # the jump falls between two nodes


def test_the_crps_of_a_gaussian_has_its_closed_form():
    y, mean, sd = torch.randn(5), torch.randn(5), torch.rand(5) + 0.1
    u = (y - mean) / sd
    normal = torch.distributions.Normal(0.0, 1.0)
    closed = sd * (u * (2 * normal.cdf(u) - 1) + 2 * normal.log_prob(u).exp() - 1 / math.sqrt(math.pi))
    assert torch.allclose(crps(y, mean, sd), closed)


def test_the_pit_of_the_true_model_is_uniform_and_its_intervals_hold_what_they_say():
    mean, sd = torch.randn(2, 4000), torch.rand(2, 4000) + 0.2
    which = torch.randint(2, (4000,))
    columns = torch.arange(4000)
    y = mean[which, columns] + sd[which, columns] * torch.randn(4000)
    assert scipy.stats.kstest(pit(y, mean, sd).numpy(), "uniform").pvalue > 0.01
    for level in (0.5, 0.8, 0.95):
        assert abs(coverage(y, mean, sd, level) - level) < 4 * math.sqrt(level * (1 - level) / 4000)


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInputError, match=r"\(3,\) and \(2,\)"):
        ece(torch.ones(3), torch.ones(2))
    with pytest.raises(InvalidInputError, match="softmax"):
        brier(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(InvalidInputError, match="positive"):
        pit(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    with pytest.raises(InvalidInputError, match="level"):
        coverage(torch.zeros(1), torch.zeros(1), torch.ones(1), 95)
