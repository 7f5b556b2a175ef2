"""Spectral mixtures: their derivatives, that they are kernels, and that their random features are theirs."""

import math

import pytest
import torch
from botorch.sampling.pathwise.features.generators import gen_kernel_features
from gpytorch.kernels import MaternKernel, RBFKernel
from torch.autograd import gradcheck

from gp.errors import InvalidDataError
from gp.kernels.spectral_mixture import SpectralMixtureKernel

both_spectra = pytest.mark.parametrize("spectrum", ["gaussian", "student"])


def make_kernel(spectrum, n_dims=1, scale=1.0):
    kernel = SpectralMixtureKernel(3, n_dims=n_dims, spectrum=spectrum)
    kernel.weights = torch.tensor([0.5, 0.2, 1.1])
    kernel.frequencies = torch.tensor([0.0, 0.7, 2.3])
    kernel.bandwidths = scale * torch.tensor([0.3, 0.15, 0.6])
    return kernel.requires_grad_(False)


def test_a_component_about_frequency_0_is_the_kernel_of_its_envelope():
    z, rho = torch.linspace(-3, 3, 31), 0.2
    for spectrum, envelope in (("gaussian", RBFKernel()), ("student", MaternKernel(nu=2.5))):
        kernel = SpectralMixtureKernel(1, spectrum=spectrum)
        kernel.bandwidths = torch.tensor(rho)
        envelope.lengthscale = 1 / (2 * math.pi * rho)
        exact = envelope(z[:, None], torch.zeros(1, 1)).to_dense()[:, 0]
        torch.testing.assert_close(kernel.along_axis(0, z), exact, atol=1e-12, rtol=0.0)


@both_spectra
def test_the_derivatives_are_those_of_autograd_away_from_lag_0(spectrum):
    kernel = make_kernel(spectrum)
    z = torch.tensor([-1.7, -0.31, -0.02, 0.05, 0.4, 2.9], requires_grad=True)
    value = kernel.along_axis(0, z)
    for order in (1, 2):
        (value,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        torch.testing.assert_close(kernel.along_axis(0, z, order), value, atol=1e-10, rtol=1e-12)


@both_spectra
def test_the_derivatives_are_those_of_the_series_at_lag_0(spectrum):
    """Of `k = w g(z) cos(mz)`: the second derivative at 0 is `w (g''(0) - m²)`, the first one 0."""
    kernel = make_kernel(spectrum)
    w, m, rho = kernel.weights[0], 2 * math.pi * kernel.frequencies[0], kernel.bandwidths[0]
    # second moment of the spectrum: rho² of a normal, 5/3 rho² of Student's t with five degrees of freedom
    spread = (1.0 if spectrum == "gaussian" else 5.0 / 3.0) * (2 * math.pi * rho) ** 2
    zero = torch.zeros(1)
    torch.testing.assert_close(kernel.along_axis(0, zero, 1), zero)
    torch.testing.assert_close(kernel.along_axis(0, zero, 2), -(w * (spread + m**2)).sum()[None])


@both_spectra
def test_is_positive_semidefinite_and_differentiable_where_points_coincide(spectrum):
    kernel, X = make_kernel(spectrum, n_dims=2, scale=0.3), torch.rand(40, 2)
    X[7] = X[3]
    values = torch.linalg.eigvalsh(kernel(X).to_dense())
    assert values.min() > -1e-13 * values.max()  # rounding of 40 numbers
    torch.testing.assert_close(kernel(X, diag=True), kernel.variance.expand(40))
    B = X[3:5].clone()
    assert gradcheck(lambda A: kernel(A, B).to_dense(), X[2:5].clone().requires_grad_(True))


@both_spectra
def test_is_the_product_over_its_axes(spectrum):
    kernel, A, B = make_kernel(spectrum, n_dims=2), torch.rand(2, 4, 2), torch.rand(3, 2)
    lags = A[:, :, None] - B
    product = kernel.along_axis(0, lags[..., 0]) * kernel.along_axis(1, lags[..., 1])
    torch.testing.assert_close(kernel(A, B).to_dense(), product)


def test_gradients_reach_every_hyperparameter():
    kernel, X = make_kernel("student", n_dims=2).requires_grad_(True), torch.rand(6, 2)
    parameters = list(kernel.parameters())

    def covariance(*values):
        return torch.func.functional_call(kernel, dict(zip(names, values, strict=True)), (X, X)).to_dense()

    names = [name for name, _ in kernel.named_parameters()]
    assert gradcheck(covariance, [value.detach().clone().requires_grad_(True) for value in parameters])


def test_a_batch_is_its_members():
    batch = SpectralMixtureKernel(2, n_dims=2, batch_shape=torch.Size([3]))
    batch.frequencies = torch.rand(3, 2, 2)
    X = torch.rand(5, 2)
    for i in range(3):
        one = SpectralMixtureKernel(2, n_dims=2)
        one.frequencies = batch.frequencies[i].detach()
        torch.testing.assert_close(batch(X).to_dense()[i], one(X).to_dense())


@both_spectra
@pytest.mark.parametrize("n_dims", [1, 2])
def test_random_features_reproduce_it_within_four_standard_errors(spectrum, n_dims):
    kernel, z = make_kernel(spectrum, n_dims=n_dims), torch.rand(25, n_dims)
    exact = kernel(z, torch.zeros(1, n_dims)).to_dense()[:, 0]
    omega = kernel.draw_frequencies(4000, torch.Generator(z.device).manual_seed(1))
    cosines = kernel.variance * torch.cos(z @ omega.mT)
    assert ((cosines.mean(1) - exact).abs() < 4 * cosines.std(1) / math.sqrt(4000)).all()


def test_its_features_for_sample_paths_of_botorch_reproduce_it():
    kernel, X = make_kernel("student", n_dims=2), torch.rand(10, 2)
    features = gen_kernel_features(kernel, num_inputs=2, num_outputs=8192)(X)
    # 4096 frequencies: the standard error of an entry is at most 0.7 of the variance, 1.8², over 64
    torch.testing.assert_close(features @ features.mT, kernel(X).to_dense(), atol=4 * 0.7 * 1.8**2 / 64, rtol=0.0)


def test_the_same_generator_draws_the_same_frequencies_and_leaves_torchs_own_alone():
    kernel, state = make_kernel("student"), torch.get_rng_state()
    first, second = (kernel.draw_frequencies(9, torch.Generator(kernel.weights.device).manual_seed(3)) for _ in "ab")
    torch.testing.assert_close(first, second, atol=0.0, rtol=0.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_refuses_what_it_cannot_use():
    kernel = SpectralMixtureKernel(2)
    with pytest.raises(InvalidDataError, match="spectrum: expected one of"):
        SpectralMixtureKernel(1, spectrum="cauchy")
    with pytest.raises(InvalidDataError, match="at least 1 of each, got 0 and 1"):
        SpectralMixtureKernel(0)
    with pytest.raises(InvalidDataError, match="weights: expected positive numbers, got 0"):
        kernel.weights = torch.tensor([0.0, 1.0])
    with pytest.raises(InvalidDataError, match="order: derivatives of order 0, 1 and 2"):
        kernel.along_axis(0, torch.zeros(1), 3)
    with pytest.raises(InvalidDataError, match="with d=1"):
        kernel(torch.rand(3, 2)).to_dense()
    with pytest.raises(InvalidDataError, match="a batch of"):
        SpectralMixtureKernel(1, batch_shape=torch.Size([2])).draw_frequencies(3)
