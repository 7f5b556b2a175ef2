"""The Laplace approximation: exact of a Gaussian, and honest about everything else."""

import math

import pytest
import torch

import inference
from inference.errors import InferenceWarning, InvalidInputError
from inference.laplace.density import curvature


def gaussian(mean, covariance, weight=1.0):
    normal = torch.distributions.MultivariateNormal(mean, covariance)
    return inference.from_callable(lambda z: normal.log_prob(z) + math.log(weight), len(mean))


@pytest.fixture
def problem():
    A = torch.randn(4, 4)
    mean, covariance = torch.randn(4), A @ A.T + torch.eye(4)
    return gaussian(mean, covariance, weight=5.0), mean, covariance


def test_a_gaussian_is_its_own_approximation(problem):
    density, mean, covariance = problem
    posterior = inference.laplace(density)
    assert torch.allclose(posterior.mean, mean, atol=1e-4)  # L-BFGS' tolerance
    # differences of a linear gradient err by its rounding, 1e-16, over the step, 1e-4, times the covariance's 10
    assert torch.allclose(posterior.covariance, covariance, rtol=1e-7, atol=1e-8)
    assert posterior.log_evidence == pytest.approx(math.log(5.0), abs=1e-7)
    z = torch.randn(3, 4)
    assert torch.allclose(posterior.log_prob(z), density.log_prob(z) - math.log(5.0), atol=1e-3)
    assert posterior.diagnostics["khat"] < 0.5


def test_draws_have_the_mean_and_the_covariance(problem):
    _, mean, covariance = problem
    posterior = inference.laplace(problem[0])
    draws = posterior.sample(20_000, torch.Generator().manual_seed(1), antithetic=False)
    assert ((draws.mean(0) - mean).abs() < 4 * (covariance.diagonal() / 20_000).sqrt()).all()
    # the standard error of a covariance is sqrt((S_ii S_jj + S_ij^2) / n)
    variances = covariance.diagonal()
    se = ((variances[:, None] * variances + covariance**2) / 20_000).sqrt()
    assert ((draws.T.cov() - covariance).abs() < 4.5 * se).all()


@pytest.mark.parametrize("n", [1, 2, 7])
def test_antithetic_draws_come_in_pairs_around_the_mean(problem, n):
    posterior = inference.laplace(problem[0])
    draws = posterior.sample(n, torch.Generator().manual_seed(2)) - posterior.mean
    half = n - n // 2
    assert len(draws) == n
    assert torch.allclose(draws[half:], -draws[: n // 2])


def test_khat_tells_a_density_with_tails_that_a_gaussian_does_not_reach():
    student = inference.from_callable(lambda z: -torch.log1p(z.square()).sum(1), 6)  # Cauchy along each axis
    assert inference.laplace(student).diagnostics["khat"] > 0.5


def test_a_direction_without_curvature_is_warned_of_or_cut_off_as_asked():
    ridge = inference.from_callable(lambda z: -0.5 * z[:, 0] ** 2 / 4.0, 2)
    with pytest.warns(InferenceWarning, match="along 1 of 2 directions"):
        assert inference.laplace(ridge).covariance.diagonal().tolist() == pytest.approx([4.0, 4.0])
    cut = inference.laplace(ridge, max_sd=3.0)
    assert cut.covariance.diagonal().tolist() == pytest.approx([4.0, 9.0])
    assert cut.diagnostics["n_clipped"] == 1


def test_curvature_of_a_function_that_is_not_quadratic():
    w, _ = curvature(inference.from_callable(lambda z: -z.exp().sum(1), 2), torch.tensor([0.0, 1.0]))
    # of the third derivative e h^2 / 6 = 5e-9 is left over at h = 1e-4
    assert w.tolist() == pytest.approx([1.0, math.e], rel=1e-8)


def test_a_point_of_density_zero_and_one_of_another_dimension_are_refused():
    half = inference.from_callable(lambda z: torch.where(z[:, 0] > 0, -z[:, 0], -math.inf), 1)
    with pytest.raises(InvalidInputError, match="density is 0"):
        inference.laplace(half, torch.tensor([-1.0]))
    with pytest.raises(InvalidInputError, match=r"shape \(1,\)"):
        inference.laplace(half, torch.zeros(3))
    with pytest.raises(InvalidInputError, match="no maximum"):
        inference.laplace(half, torch.tensor([1.0]))
