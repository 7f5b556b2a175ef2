"""The search for hyperparameters: gpytorch's constraints and priors hold, and a failure harms nothing."""

import math

import pytest
import torch
from gpytorch.constraints.constraints import GreaterThan, Positive
from gpytorch.kernels.rbf_kernel import RBFKernel
from gpytorch.priors.torch_priors import LogNormalPrior

from gp.errors import GPError, InvalidDataError
from gp.fitting import fit_hyperparameters, follow_gradient, log_prior, raw_parameters


def kernel_with_prior(constraint=None):
    return RBFKernel(
        ard_num_dims=2, lengthscale_prior=LogNormalPrior(0.0, 1.0), lengthscale_constraint=constraint or Positive()
    )


def closed_form(kernel, target, weight=50.0):
    """-weight (log l - target)², whose posterior under LogNormal(0, 1) has a known mode."""
    return lambda: -weight * (kernel.lengthscale.log() - target).square().sum()


def test_finds_the_mode_of_likelihood_times_prior():
    kernel = kernel_with_prior()
    target = torch.tensor([0.3, -1.2])
    report = fit_hyperparameters(kernel, closed_form(kernel, target))
    # d/du of -50 (u - t)² - u²/2 - u, u = log l, is 0 at u = (100 t - 1) / 101
    mode = (100 * target - 1) / 101
    assert (kernel.lengthscale.detach().log() - mode).abs().max() < 1e-4  # tolerance of the search: flat at the top
    density = -50 * (mode - target).square().sum() - (mode + 0.5 * mode**2 + 0.5 * math.log(2 * math.pi)).sum()
    assert report.log_posterior == pytest.approx(float(density), abs=1e-6)
    assert report.converged and report.starts == 3 and report.gradient_norm < 1e-2


def test_the_log_prior_is_that_of_the_constrained_values():
    kernel = kernel_with_prior()
    kernel.lengthscale = torch.tensor([0.5, 2.0])
    expected = LogNormalPrior(0.0, 1.0).log_prob(torch.tensor([0.5, 2.0])).sum()
    assert torch.allclose(log_prior(kernel), expected)


def test_a_constraint_that_is_not_enforced_becomes_a_bound():
    kernel = kernel_with_prior(GreaterThan(0.5, transform=None, initial_value=1.0))
    report = fit_hyperparameters(kernel, closed_form(kernel, torch.tensor([math.log(2.0), math.log(0.1)])))
    assert kernel.lengthscale[0, 1].item() == 0.5
    assert report.gradient_norm < 1e-2  # what pushes against the bound does not count


def test_of_several_starts_the_best_counts():
    kernel = RBFKernel()

    def two_hills():
        u = kernel.raw_lengthscale.sum()
        return torch.exp(-(u + 3.0).square()) + 2.0 * torch.exp(-(u - 3.0).square())

    kernel.raw_lengthscale.data.fill_(-3.5)
    fit_hyperparameters(kernel, two_hills, n_draws=0)
    assert kernel.raw_lengthscale.item() == pytest.approx(-3.0, abs=1e-2)
    kernel.raw_lengthscale.data.fill_(-3.5)
    report = fit_hyperparameters(kernel, two_hills, n_draws=0, starts=[torch.tensor([2.5])])
    assert kernel.raw_lengthscale.item() == pytest.approx(3.0, abs=1e-2)
    assert report.starts == 2


def test_starts_are_drawn_by_the_generator_and_by_nothing_else():
    def fitted(seed):
        kernel = kernel_with_prior()
        generator = torch.Generator().manual_seed(seed)
        seen = []

        def evidence():
            seen.append(raw_parameters(kernel))
            return closed_form(kernel, torch.zeros(2))()

        fit_hyperparameters(kernel, evidence, generator=generator, max_iterations=1)
        return torch.stack(seen)

    before = torch.get_rng_state()
    first, again, other = fitted(1), fitted(1), fitted(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first[:9], other[:9])


def test_a_point_that_cannot_be_evaluated_turns_the_search_back():
    kernel = RBFKernel()

    def evidence():
        if kernel.lengthscale.item() > 1.5:
            raise GPError("beyond 1.5 nothing can be factored")
        return -(kernel.lengthscale - 1.4).square().sum() * 1e3

    fit_hyperparameters(kernel, evidence, n_draws=0)
    assert kernel.lengthscale.item() == pytest.approx(1.4, abs=1e-3)


def test_where_nothing_can_be_evaluated_the_parameters_stay():
    kernel = kernel_with_prior()
    before = raw_parameters(kernel)
    with pytest.raises(GPError, match="expected a finite value and gradient, got nan"):
        fit_hyperparameters(kernel, lambda: kernel.lengthscale.sum() * math.nan)
    assert torch.equal(raw_parameters(kernel), before)


def test_gradients_kept_in_the_parameters_are_left_alone():
    kernel = kernel_with_prior()
    fit_hyperparameters(kernel, closed_form(kernel, torch.zeros(2)), max_iterations=2)
    assert kernel.raw_lengthscale.grad is None


def test_a_module_without_parameters_is_refused():
    with pytest.raises(InvalidDataError, match="nothing to fit"):
        fit_hyperparameters(RBFKernel().requires_grad_(False), lambda: torch.zeros(()))


def test_a_start_of_another_length_is_refused():
    with pytest.raises(InvalidDataError, match=r"starts: expected each of shape \(1,\), got \(3,\)"):
        fit_hyperparameters(RBFKernel(), lambda: torch.zeros(()), starts=[torch.zeros(3)])


def test_a_noisy_gradient_is_followed_to_the_mode():
    kernel = kernel_with_prior()
    noise = torch.Generator().manual_seed(3)
    target = torch.tensor([0.7, -0.7])

    def surrogate():
        slope = -100 * (kernel.lengthscale.detach().log() - target) + 5.0 * torch.randn(1, 2, generator=noise)
        return (slope * kernel.lengthscale.log()).sum()

    report = follow_gradient(kernel, surrogate, n_steps=150)
    # noise of 5 on a curvature of 100 leaves 0.05 a step, and averaging less
    assert (kernel.lengthscale.detach().log() - (100 * target - 1) / 101).abs().max() < 0.05
    assert report.iterations == 150 and math.isnan(report.log_posterior) and report.converged
