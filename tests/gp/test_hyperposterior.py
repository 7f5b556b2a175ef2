"""The posterior of hyperparameters against torch's distributions and gpytorch's kernel, by autograd."""

import math

import pytest
import torch
from gpytorch.kernels.matern_kernel import MaternKernel

from gp.hyperposterior import DimensionScaled, Hyperposterior, Saas


def by_autograd(X, y, known, kernel, point):
    """Shares nothing with gp/ but the order of the coordinates."""
    d = X.shape[1]
    z = point.clone().requires_grad_()
    dist = torch.distributions
    if kernel is Saas:
        tau2, k, signal = z[0].exp(), z[1 : d + 1].exp(), z[d + 1].exp()
        lengthscales, rest = (tau2 * k).rsqrt(), z[d + 2 :]
        total = dist.HalfCauchy(0.1).log_prob(tau2) + dist.HalfCauchy(1.0).log_prob(k).sum()
        total = total + dist.Gamma(2.0, 0.15).log_prob(signal) + z[: d + 2].sum()
    else:
        lengthscales, signal, rest = z[:d].exp(), torch.tensor(1.0), z[d:]
        prior = dist.LogNormal(math.sqrt(2) + 0.5 * math.log(d), math.sqrt(3))
        total = prior.log_prob(lengthscales).sum() + z[:d].sum()
    total = total + dist.Normal(0.0, 1.0).log_prob(rest[0])
    if known.isnan().any():
        noise = rest[1].exp()
        total = total + dist.Gamma(0.9, 10.0).log_prob(noise) + rest[1]
        variances = torch.where(known.isnan(), noise + 1e-4, known)
    else:
        variances = known
    matern = MaternKernel(nu=2.5)
    matern.lengthscale = 1.0
    K = signal * matern(X / lengthscales, X / lengthscales).to_dense() + torch.diag(variances)
    total = total + dist.MultivariateNormal(rest[0].expand(len(y)), K).log_prob(y)
    (gradient,) = torch.autograd.grad(total, z)
    return total.detach(), gradient


@pytest.mark.parametrize("kernel", [Saas, DimensionScaled])
@pytest.mark.parametrize("known", ["none", "some", "all"])
def test_value_and_gradient_are_those_of_autograd(kernel, known):
    X, y = torch.rand(9, 3), torch.randn(9)
    variance = {"none": torch.full((9,), math.nan), "all": torch.full((9,), 0.1)}.get(known)
    if variance is None:
        variance = torch.where(torch.arange(9) < 4, 0.2, math.nan)
    density = Hyperposterior(X, y, variance, kernel(3))
    z = 0.7 * torch.randn(5, density.dim)
    values, gradients = density.value_and_grad(z)
    for point, value, gradient in zip(z, values, gradients, strict=True):
        expected, slope = by_autograd(X, y, variance, kernel, point)
        assert value == pytest.approx(float(expected), rel=1e-12)
        # gpytorch's distances lose some digits: it subtracts squares
        assert torch.allclose(gradient, slope, rtol=1e-9, atol=1e-10)


def test_points_that_are_no_hyperparameters_are_impossible_and_spoil_no_others():
    density = Hyperposterior(torch.rand(5, 2), torch.randn(5), torch.full((5,), math.nan), Saas(2))
    z = torch.randn(3, density.dim)
    alone = density.value_and_grad(z[:1])
    z[1, 0], z[2] = 16.0, math.nan
    value, gradient = density.value_and_grad(z)
    assert value[1:].tolist() == [-math.inf, -math.inf]
    assert torch.allclose(value[0], alone[0]) and torch.allclose(gradient[0], alone[1])


def test_names_what_the_coordinates_stand_for():
    density = Hyperposterior(torch.rand(5, 2), torch.randn(5), torch.full((5,), math.nan), Saas(2))
    named = density.constrain(torch.tensor([[math.log(4.0), 0.0, math.log(4.0), math.log(3.0), 0.5, math.log(0.1)]]))
    expected = {"lengthscales": [[0.5, 0.25]], "signal_variance": [3.0], "mean": [0.5], "noise_variance": [0.1001]}
    for name, value in expected.items():
        assert torch.allclose(named[name], torch.tensor(value))


@pytest.mark.slow
def test_hmc_on_it_passes_simulation_based_calibration():
    """Spec T6.3: 120 replicates in 2 dimensions; ranks of log lengthscales, log signal and noise variance and mean."""
    import inference
    from inference.mcmc.ensemble_hmc import ensemble_hmc

    dist = torch.distributions

    def replicate(generator):
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            X = torch.rand(12, 2)
            tau2, k = dist.HalfCauchy(0.1).sample(), dist.HalfCauchy(1.0).sample((2,))
            signal, mean = dist.Gamma(2.0, 0.15).sample(), torch.randn(())
            noise = dist.Gamma(0.9, 10.0).sample() + 1e-12
            kernel = MaternKernel(nu=2.5)
            kernel.lengthscale = 1.0
            scaled = X * (tau2 * k).sqrt()
            K = signal * kernel(scaled, scaled).to_dense().detach() + (noise + 1e-4) * torch.eye(12)
            y = dist.MultivariateNormal(mean.expand(12), K).sample()
        truth = torch.cat([tau2[None].log(), k.log(), signal[None].log(), mean[None], noise[None].log()])
        density = Hyperposterior(X, y, torch.full((12,), math.nan), Saas(2))
        mode = inference.find_map(density, density.starts(), bounds=density.bounds())
        start = inference.laplace(density, mode, max_sd=2.0, n_check=0)
        samples = ensemble_hmc(density, start=start, n_warmup=80, n_draws=48, max_rhat=math.inf, seed=generator)
        # every sixteenth draw of each chain: nearly independent
        return truth[[0, 3, 4, 5]], samples.z[15::16].reshape(-1, density.dim)[:47, [0, 3, 4, 5]]

    result = inference.sbc(replicate, 120, torch.Generator().manual_seed(11), n_bins=8)
    assert (result.p_values > 0.01).all(), result
