"""Log densities integrate to 1, derivatives are those of autograd, predictions are those of a fine grid."""

import math

import pytest
import torch

from inference.errors import InvalidInputError
from inference.likelihoods import Bernoulli, Gaussian, NegativeBinomial, Poisson, StudentT

CONCAVE = [
    (Bernoulli("probit"), [0.0, 1.0]),
    (Bernoulli("logit"), [0.0, 1.0]),
    (Poisson(), [0.0, 3.0, 40.0]),
    (NegativeBinomial(2.0), [0.0, 3.0, 40.0]),
    (Gaussian(0.3), [-1.0, 2.0]),
]
STUDENT = [(StudentT(df, 0.2), [0.0, 1.0, -10.0]) for df in (1.0, 4.0, 50.0)]
EVERY = [pytest.param(lik, ys, id=str(lik)) for lik, ys in CONCAVE + STUDENT]


@pytest.mark.parametrize(("likelihood", "ys"), EVERY)
def test_the_derivatives_are_those_of_autograd(likelihood, ys):
    for y in ys:
        f = torch.linspace(-4.0, 3.0, 9, requires_grad=True)
        terms = likelihood.terms(f, torch.tensor(y))
        (slope,) = torch.autograd.grad(terms.log_density.sum(), f, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), f)
        torch.testing.assert_close(terms.slope, slope, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(terms.step_weight, (-curvature).clamp_min(0.0), rtol=1e-10, atol=1e-12)
        if not isinstance(likelihood, StudentT):
            torch.testing.assert_close(terms.weight, -curvature, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("likelihood", "ys"), EVERY)
def test_the_slope_of_the_weight_is_that_of_finite_differences(likelihood, ys):
    step = 1e-5
    f = torch.linspace(-4.0, 3.0, 9)
    for y in map(torch.tensor, ys):
        change = likelihood.terms(f + step, y).weight - likelihood.terms(f - step, y).weight
        # the error of central differences is step² times a fifth derivative, below 100 here
        torch.testing.assert_close(likelihood.terms(f, y).weight_slope, -change / (2 * step), rtol=1e-6, atol=1e-7)


def test_the_weight_of_student_t_is_the_mean_of_its_curvature():
    likelihood = StudentT(4.0, 0.5)
    y = torch.linspace(-200.0, 200.0, 800_001)
    f = torch.zeros(1, requires_grad=True)
    terms = likelihood.terms(f.expand(len(y)), y)
    density = terms.log_density.exp()
    slope = terms.slope
    # Fisher's information is also the mean of the squared slope, which is what is summed here
    mean = torch.trapezoid(density * slope.square(), y)
    torch.testing.assert_close(mean, terms.weight[0], rtol=1e-5, atol=0.0)  # the tails beyond 200 hold 1e-8


@pytest.mark.parametrize("f", [-3.0, 0.7, 2.0])
@pytest.mark.parametrize(
    "likelihood", [Bernoulli("probit"), Bernoulli("logit"), Poisson(), NegativeBinomial(2.0)], ids=str
)
def test_the_probabilities_of_all_outcomes_sum_to_one(likelihood, f):
    last = 1 if isinstance(likelihood, Bernoulli) else 2000
    y = torch.arange(last + 1.0)
    total = likelihood.terms(torch.full_like(y, f), y).log_density.exp().sum()
    assert abs(float(total) - 1.0) < 1e-10


@pytest.mark.parametrize("likelihood", [StudentT(4.0, 0.3), Gaussian(0.3)], ids=str)
def test_densities_integrate_to_one(likelihood):
    y = torch.linspace(-500.0, 500.0, 2_000_001)
    total = torch.trapezoid(likelihood.terms(torch.full_like(y, 0.4), y).log_density.exp(), y)
    assert abs(float(total) - 1.0) < 1e-6


def by_grid(likelihood, y, mean, variance):
    """Log of the integral over f, by the trapezoidal rule on a grid that holds belief and observation."""
    sd = math.sqrt(variance)
    f = torch.linspace(mean - 12 * sd, mean + 12 * sd, 200_001)
    belief = torch.exp(-0.5 * (f - mean) ** 2 / variance) / math.sqrt(2 * math.pi * variance)
    return math.log(torch.trapezoid(likelihood.terms(f, torch.tensor(y)).log_density.exp() * belief, f))


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.5, 0.01), (-2.0, 4.0), (-2.0, 25.0)])
@pytest.mark.parametrize(("likelihood", "ys"), EVERY)
def test_the_predictive_density_is_that_of_a_fine_grid(likelihood, ys, mean, variance):
    for y in ys:
        found = likelihood.log_predictive(torch.tensor([y]), torch.tensor([mean]), torch.tensor([variance]))
        # what the module promises of its nodes
        assert abs(float(found) - by_grid(likelihood, y, mean, variance)) < (1e-6 if variance <= 4.0 else 3e-4)


def test_a_sharp_observation_of_a_vague_value_is_not_missed():
    # 300 counts leave f a standard deviation of 0.06 in a belief with one of 3: nodes under the belief would miss it
    found = Poisson().log_predictive(torch.tensor([300.0]), torch.zeros(1), torch.tensor([9.0]))
    assert abs(float(found) - by_grid(Poisson(), 300.0, 0.0, 9.0)) < 1e-6


@pytest.mark.parametrize(
    "likelihood", [Bernoulli("probit"), Bernoulli("logit"), Poisson(), NegativeBinomial(2.0)], ids=str
)
def test_the_predictive_mean_is_that_of_the_predictive_probabilities(likelihood):
    mean, variance = torch.tensor([0.3]), torch.tensor([0.5])
    y = torch.arange(2.0 if isinstance(likelihood, Bernoulli) else 400.0)
    probability = likelihood.log_predictive(y, mean.expand(len(y)), variance.expand(len(y))).exp()
    torch.testing.assert_close(
        (probability * y).sum(), likelihood.predictive_mean(mean, variance)[0], rtol=1e-5, atol=0
    )


def test_the_log_probability_keeps_its_digits_where_a_one_is_next_to_impossible():
    mean = torch.tensor([-60.0], requires_grad=True)
    found = Bernoulli().log_predictive(torch.ones(1), mean, torch.zeros(1))
    found.sum().backward()
    # log Phi(-x) = -x²/2 - log(x sqrt(2 pi)) - 1/x² + 5/(2 x⁴) ...
    assert abs(found.item() - (-1800.0 - math.log(60.0 * math.sqrt(2 * math.pi)) - 1 / 3600)) < 1e-6
    assert abs(mean.grad.item() - (60.0 + 1 / 60)) < 1e-4


@pytest.mark.parametrize(
    ("likelihood", "y", "message"),
    [
        (Bernoulli(), -1.0, r"labels 0 and 1 .*got \[-1.0\]"),
        (Poisson(), 0.5, r"counts .*got \[0.5\]"),
        (NegativeBinomial(1.0), -2.0, r"counts .*got \[-2.0\]"),
        (StudentT(4.0, 1.0), math.nan, "finite"),
        (Gaussian(1.0), math.inf, "finite"),
    ],
)
def test_what_cannot_be_observed_is_refused(likelihood, y, message):
    with pytest.raises(InvalidInputError, match=message):
        likelihood.check(torch.tensor([1.0, y]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bernoulli("cloglog"), "link: .*'cloglog'"),
        (lambda: Gaussian(0.0), "variance: .*0.0"),
        (lambda: NegativeBinomial(-1.0), "concentration: .*-1.0"),
        (lambda: StudentT(math.inf, 1.0), "df: .*inf"),
        (lambda: StudentT(4.0, 0.0), "scale: .*0.0"),
    ],
)
def test_parameters_that_make_no_density_are_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
