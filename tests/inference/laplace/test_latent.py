"""Laplace and EP against numbers, finite differences, exact regression, quadrature and one another."""

import math

import pytest
import torch

from inference.errors import InferenceError, InferenceWarning, InvalidInputError
from inference.laplace.latent import LatentLaplace
from inference.likelihoods import Bernoulli, Gaussian, NegativeBinomial, Poisson, StudentT

pytestmark = pytest.mark.usefixtures("one_thread")

PROBIT = LatentLaplace(Bernoulli("probit"))


def scalar(likelihood, variance, y):
    """The problem of one observation with prior mean 0."""
    return LatentLaplace(likelihood), (torch.full((1, 1), variance), torch.zeros(1), torch.tensor([y]))


def problem(n=25, seed=3):
    """Points and latent values that a smooth kernel suits."""
    g = torch.Generator().manual_seed(seed)
    X = torch.rand(n, 2, generator=g)
    return X, 2.0 * torch.sin(5.0 * X[:, 0]), g


def prior(X, theta):
    """K and m of a Gaussian kernel: two log lengthscales, log variance, mean."""
    r2 = ((X[:, None] - X[None]).square() * torch.exp(-2.0 * theta[:2])).sum(-1)
    return theta[2].exp() * torch.exp(-0.5 * r2) + 1e-8 * torch.eye(len(X)), theta[3].expand(len(X))


def observations(likelihood, f, g):
    if isinstance(likelihood, Bernoulli):
        return (f > 0.2).double()
    if isinstance(likelihood, Poisson | NegativeBinomial):
        return torch.poisson(f.exp(), generator=g)
    return f + 0.1 * torch.randn(len(f), generator=g) + 3.0 * (torch.rand(len(f), generator=g) < 0.15)


LIKELIHOODS = [
    Bernoulli("probit"),
    Bernoulli("logit"),
    Poisson(),
    NegativeBinomial(2.0),
    StudentT(4.0, 0.1),
    Gaussian(0.1),
]
THETA = torch.tensor([-1.0, -0.5, 0.7, 0.3], dtype=torch.float64)


@pytest.mark.parametrize(
    ("likelihood", "variance", "y", "mode", "log_evidence"),
    [
        (Bernoulli("probit"), 1.0, 1.0, 0.506054, -0.700696),
        (Poisson(), 1.0, 3.0, 0.792060, -2.520014),
        (Poisson(), 4.0, 0.0, -1.202168, -0.875914),
        (Bernoulli("logit"), 1.0, 1.0, 0.401058, -0.700655),
        (Bernoulli("probit"), 25.0, 1.0, 1.85, -0.8608),
    ],
)
def test_one_observation_has_the_mode_and_evidence_of_pencil_and_paper(likelihood, variance, y, mode, log_evidence):
    model, data = scalar(likelihood, variance, y)
    posterior = model.posterior(*data)
    digits = 5e-7 if log_evidence != -0.8608 else 5e-3
    assert abs(posterior.mean.item() - mode) < digits
    assert abs(posterior.log_evidence.item() - log_evidence) < min(digits, 5e-5)
    assert model.log_evidence(*data).item() == posterior.log_evidence.item()


@pytest.mark.parametrize("variance", [1.0, 25.0])
def test_expectation_propagation_is_exact_for_one_label(variance):
    model, data = scalar(Bernoulli(), variance, 1.0)
    posterior = model.expectation_propagation(*data)
    # E[f] = K phi(0) / (Phi(0) sqrt(1 + K)) and E[f²] = K, in closed form
    mean = variance * math.sqrt(2.0 / math.pi) / math.sqrt(1.0 + variance)
    assert abs(posterior.log_evidence.item() - math.log(0.5)) < 1e-12
    assert abs(posterior.mean.item() - mean) < 1e-5 * mean  # sites that move by less than 1e-6 stand still
    assert abs(posterior.variance.item() - (variance - mean**2)) < 1e-5 * variance


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_the_gradient_of_the_evidence_is_that_of_finite_differences(likelihood):
    X, f, g = problem()
    y, model = observations(likelihood, f, g), LatentLaplace(likelihood)
    theta = THETA.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_evidence(*prior(X, theta), y), theta)
    step = 1e-5
    shifts = step * torch.eye(4)
    differences = torch.stack([
        (model.log_evidence(*prior(X, THETA + shift), y) - model.log_evidence(*prior(X, THETA - shift), y)) / (2 * step)
        for shift in shifts
    ])
    assert (gradient - differences).norm() < 1e-6 * differences.norm()


def test_the_gradient_reaches_each_entry_of_the_mean():
    X, f, g = problem(4)
    K, m = prior(X, THETA)
    y, m = observations(Poisson(), f, g), m.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: LatentLaplace(Poisson()).log_evidence(K, m, y), m, eps=1e-5, atol=1e-6)


def test_normal_noise_gives_the_evidence_and_posterior_of_exact_regression():
    X, f, g = problem()
    y, noise = observations(Gaussian(0.1), f, g), 0.1
    K, m = prior(X, THETA)
    posterior = LatentLaplace(Gaussian(noise)).posterior(K, m, y)
    total = K + noise * torch.eye(len(y))
    exact = torch.distributions.MultivariateNormal(m, total).log_prob(y)
    assert abs(posterior.log_evidence - exact) < 1e-9
    torch.testing.assert_close(posterior.mean, m + K @ torch.linalg.solve(total, y - m), rtol=0, atol=1e-9)
    covariance = K - K @ torch.linalg.solve(total, K)
    torch.testing.assert_close(posterior.covariance, covariance, rtol=0, atol=1e-9)
    torch.testing.assert_close(posterior.variance, covariance.diagonal(), rtol=0, atol=1e-9)


def test_leaving_one_out_under_normal_noise_is_refitting_without_it():
    X, f, g = problem(12)
    y = observations(Gaussian(0.1), f, g)
    K, m = prior(X, THETA)
    mean, variance = LatentLaplace(Gaussian(0.1)).posterior(K, m, y).leave_one_out()
    for i in range(len(y)):
        rest = torch.arange(len(y)) != i
        fewer = LatentLaplace(Gaussian(0.1)).posterior(K[rest][:, rest], m[rest], y[rest])
        again = fewer.at(K[i, rest][None], m[i][None], K[i, i][None])
        torch.testing.assert_close(torch.stack([mean[i], variance[i]]), torch.cat(again), rtol=0, atol=1e-9)


def test_the_left_out_of_expectation_propagation_are_nearly_those_of_refits():
    X, f, g = problem(15)
    y = observations(Bernoulli(), f, g)
    K, m = prior(X, THETA)
    mean, variance = PROBIT.expectation_propagation(K, m, y).leave_one_out()
    for i in range(len(y)):
        rest = torch.arange(len(y)) != i
        fewer = PROBIT.expectation_propagation(K[rest][:, rest], m[rest], y[rest])
        again = fewer.at(K[i, rest][None], m[i][None], K[i, i][None])
        sd = again[1].sqrt()
        # the other sites would move a little without it: a tenth of a standard deviation is what EP's papers report
        assert abs(mean[i] - again[0]) < 0.1 * sd
        assert abs(variance[i].sqrt() - sd) < 0.1 * sd


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_a_batch_is_each_problem_alone(likelihood):
    X, f, g = problem()
    y = torch.stack([observations(likelihood, f + shift, g) for shift in (0.0, 0.4, -0.3)])
    K, m = prior(X, THETA)
    K, m = torch.stack([K, 4.0 * K, 0.25 * K]), torch.stack([m, m - 1.0, m])
    model = LatentLaplace(likelihood)
    whole = model.posterior(K, m, y)
    for i in range(3):
        alone = model.posterior(K[i], m[i], y[i])
        torch.testing.assert_close(whole.mean[i], alone.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole.variance[i], alone.variance, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole.log_evidence[i], alone.log_evidence, rtol=1e-9, atol=1e-9)


def test_a_batch_of_gradients_is_each_gradient_alone():
    X, f, g = problem()
    y = observations(Bernoulli(), f, g)
    K, m = prior(X, THETA)
    stacked = torch.stack([K, 3.0 * K]).requires_grad_()
    weights = torch.tensor([2.0, -1.0])
    (gradient,) = torch.autograd.grad((weights * PROBIT.log_evidence(stacked, m, y)).sum(), stacked)
    for i in range(2):
        one = stacked[i].detach().requires_grad_()
        (alone,) = torch.autograd.grad(PROBIT.log_evidence(one, m, y), one)
        torch.testing.assert_close(gradient[i], weights[i] * alone, rtol=1e-8, atol=1e-9)


def test_a_batch_of_expectation_propagation_is_each_problem_alone():
    X, f, g = problem()
    y = observations(Bernoulli(), f, g)
    K, m = prior(X, THETA)
    whole = PROBIT.expectation_propagation(torch.stack([K, 9.0 * K]), m, y)
    for i, one in enumerate((K, 9.0 * K)):
        alone = PROBIT.expectation_propagation(one, m, y)
        torch.testing.assert_close(whole.mean[i], alone.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole.log_evidence[i], alone.log_evidence, rtol=1e-9, atol=1e-9)


def test_each_marginal_of_expectation_propagation_is_its_cavity_times_the_label():
    X, f, g = problem(10)
    y = observations(Bernoulli(), f, g)
    posterior = PROBIT.expectation_propagation(*prior(X, THETA), y)
    mean, variance = posterior.leave_one_out()
    grid = torch.linspace(-12.0, 12.0, 4001)
    tilted = torch.exp(-0.5 * (grid - mean[:, None]) ** 2 / variance[:, None])
    tilted = tilted * torch.special.ndtr((2.0 * y - 1.0)[:, None] * grid)
    tilted = tilted / tilted.sum(-1, keepdim=True)
    matched = (tilted * grid).sum(-1)
    # the sites stand still to 1e-6
    torch.testing.assert_close(posterior.mean, matched, rtol=0, atol=1e-5)
    torch.testing.assert_close(posterior.variance, (tilted * (grid - matched[:, None]) ** 2).sum(-1), rtol=0, atol=1e-5)


def test_expectation_propagation_is_nearer_to_the_truth_than_laplace():
    """Two labels are both 1 with the probability of an orthant; Laplace's faults are the reason that EP is there."""
    K, y = torch.tensor([[9.0, 7.0], [7.0, 9.0]]), torch.ones(2)
    exact = math.log(0.25 + math.asin(7.0 / 10.0) / (2.0 * math.pi))
    found = [method(K, torch.zeros(2), y).log_evidence for method in (PROBIT.expectation_propagation, PROBIT.posterior)]
    ep, laplace = (abs(float(evidence) - exact) for evidence in found)
    assert ep < 0.01
    assert laplace > 10 * ep


def test_outliers_move_student_t_less_than_normal_noise():
    X, _, g = problem(60)
    truth = torch.sin(5.0 * X[:, 0])
    y = truth + 0.05 * torch.randn(60, generator=g) + 3.0 * (torch.rand(60, generator=g) < 0.13)
    K, m = prior(X, torch.tensor([-1.0, 0.5, 0.0, 0.0]))
    robust = LatentLaplace(StudentT(4.0, 0.05)).posterior(K, m, y).mean
    plain = LatentLaplace(Gaussian(0.05**2)).posterior(K, m, y).mean
    error = [(mean - truth).square().mean().sqrt() for mean in (robust, plain)]
    assert error[0] < 0.1 < error[1]  # noise 0.05; the outliers alone would be a root mean square of 1


def test_draws_have_the_moments_of_the_posterior_within_four_standard_errors():
    X, f, g = problem(6)
    y = observations(Bernoulli(), f, g)
    posterior = PROBIT.expectation_propagation(*prior(X, THETA), y)
    draws = posterior.sample(20_000, torch.Generator().manual_seed(5))
    variance = posterior.variance
    assert ((draws.mean(0) - posterior.mean).abs() < 4 * (variance / 20_000).sqrt()).all()
    assert ((draws.var(0) - variance).abs() < 4 * variance * math.sqrt(2 / 20_000)).all()
    exact = torch.distributions.MultivariateNormal(posterior.mean, posterior.covariance).log_prob(draws[:5])
    torch.testing.assert_close(posterior.log_prob(draws[:5]), exact, rtol=1e-8, atol=1e-6)


def test_coinciding_points_and_a_singular_prior_are_no_trouble():
    K, y = torch.ones(6, 6), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    for posterior in (PROBIT.posterior(K, torch.zeros(6), y), PROBIT.expectation_propagation(K, torch.zeros(6), y)):
        assert torch.isfinite(posterior.log_evidence)
        torch.testing.assert_close(posterior.mean, posterior.mean[0].expand(6))
        assert torch.isfinite(posterior.sample(3, torch.Generator().manual_seed(0))).all()


@pytest.mark.parametrize("variance", [1e4, 1e8])
def test_a_prior_that_is_wide_open_still_has_a_mode(variance):
    X, f, g = problem()
    K, m = prior(X, THETA)
    for likelihood in (Bernoulli("probit"), Bernoulli("logit"), Poisson()):
        y = observations(likelihood, f, g)
        posterior = LatentLaplace(likelihood).posterior(variance * K, m, y)
        assert bool(posterior.diagnostics["converged"])
        assert torch.isfinite(posterior.log_evidence)


def test_single_precision_stays_single_and_near_to_double():
    X, f, g = problem()
    y = observations(Bernoulli(), f, g)
    K, m = prior(X, THETA)
    double = PROBIT.expectation_propagation(K, m, y)
    single = PROBIT.expectation_propagation(K.float(), m.float(), y.float())
    assert single.mean.dtype == torch.float32
    assert (single.mean.double() - double.mean).abs().max() < 1e-2 * double.variance.sqrt().max()


def test_what_no_method_can_use_is_refused():
    K, m, y = torch.eye(3), torch.zeros(3), torch.ones(3)
    with pytest.raises(InvalidInputError, match=r"K: expected .*got \(3, 2\)"):
        PROBIT.posterior(K[:, :2], m, y)
    with pytest.raises(InvalidInputError, match="y: expected what broadcasts to"):
        PROBIT.posterior(K, m, torch.ones(4))
    with pytest.raises(InvalidInputError, match=r"m: expected torch\.float64"):
        PROBIT.log_evidence(K, m.float(), y)
    with pytest.raises(InvalidInputError, match="labels 0 and 1"):
        PROBIT.log_evidence(K, m, -y)
    with pytest.raises(InvalidInputError, match="expectation propagation is there for"):
        LatentLaplace(Poisson()).expectation_propagation(K, m, y)
    with pytest.raises(InferenceError, match="cannot be factored"):
        PROBIT.posterior(-100.0 * K, m, y)
    with pytest.raises(InferenceError, match="cannot be factored"):
        PROBIT.posterior(K * math.nan, m, y)


def test_a_mode_that_is_not_reached_is_said(monkeypatch):
    # by name it would be looked for in the function `inference.laplace`, which hides the package
    monkeypatch.setitem(LatentLaplace.posterior.__globals__, "_MAX_STEPS", 1)
    X, f, g = problem()
    with pytest.warns(InferenceWarning, match="no mode was found within 1 steps for 1 of 1"):
        LatentLaplace(Poisson()).posterior(*prior(X, THETA), observations(Poisson(), f, g))


@pytest.mark.gpu
def test_a_gpu_gives_what_the_processor_gives():
    X, f, g = (part.cpu() if isinstance(part, torch.Tensor) else part for part in problem())
    y = observations(Bernoulli(), f, g)
    K, m = prior(X, THETA)
    there = PROBIT.expectation_propagation(K.cuda(), m.cuda(), y.cuda())
    assert there.mean.is_cuda
    torch.testing.assert_close(there.to("cpu").mean, PROBIT.expectation_propagation(K, m, y).mean, rtol=1e-6, atol=1e-6)
