"""Ensemble HMC against densities whose moments are known."""

import math

import pytest
import torch

import inference
from inference.errors import InferenceWarning, InvalidInputError

pytestmark = pytest.mark.usefixtures("one_thread")


def standard(dim):
    return inference.from_callable(lambda z: -0.5 * z.square().sum(1), dim)


def test_a_rotated_gaussian_of_condition_number_ten_thousand():
    dim = 10
    Q, _ = torch.linalg.qr(torch.randn(dim, dim))
    variance = torch.logspace(-2, 2, dim)
    mean = torch.arange(dim).double()
    precision = (Q / variance) @ Q.T
    density = inference.from_callable(lambda z: -0.5 * ((z - mean) @ precision * (z - mean)).sum(1), dim)
    # starts from the metric of a density that knows nothing of this one
    start = inference.laplace(standard(dim), n_check=0)
    draws = inference.ensemble_hmc(density, start=start, n_warmup=120, n_draws=256, seed=0)
    assert draws.diagnostics["rhat"].max() < 1.05
    along = (draws.z - mean) @ Q
    mcse = (variance / inference.ess(along, "mean")).sqrt()
    assert (along.mean((0, 1)).abs() < 4 * mcse).all()
    # the squares are worth some 1250 draws: a variance has a relative standard error of sqrt(2 / 1250) = 0.04
    assert ((along.var((0, 1)) / variance - 1).abs() < 0.15).all()


def test_a_skewed_density_has_its_mean_and_spread():
    density = inference.from_callable(lambda z: (3 * z - z.exp()).sum(1), 1)  # the log of a gamma variable of shape 3
    z = inference.ensemble_hmc(density, n_warmup=100, n_draws=500, seed=2).z
    n = float(inference.ess(z, "mean"))
    assert abs(z.exp().mean() - 3.0) < 4 * math.sqrt(3.0 / float(inference.ess(z.exp(), "mean")))
    # psi(3) and psi'(3)
    assert abs(z.mean() - 0.92278434) < 4 * math.sqrt(0.39493407 / n)


def test_a_chain_whose_gradient_is_not_a_number_poisons_no_other():
    def holed(z):
        value = -0.5 * z.square().sum(1)
        return torch.where(z[:, 0] > 1.0, torch.sqrt(1.0 - z[:, 0]) + value, value)  # nan beyond 1

    draws = inference.ensemble_hmc(
        inference.from_callable(holed, 2), start=inference.laplace(standard(2)), n_warmup=200, n_draws=400, seed=3
    )
    assert torch.isfinite(draws.z).all()
    assert draws.z[..., 0].max() <= 1.0
    # of a standard normal variable below 1: mean -phi(1) / Phi(1), variance 1 - 0.287600 - 0.287600^2
    first, second = draws.z[..., 0], draws.z[..., 1]
    assert abs(first.mean() + 0.28760) < 4 * math.sqrt(0.62969 / float(inference.ess(first, "mean")))
    assert abs(second.mean()) < 4 * math.sqrt(1.0 / float(inference.ess(second, "mean")))


def test_the_seed_decides_everything_and_no_global_state_does():
    before = torch.random.get_rng_state()
    first, again, other = (inference.ensemble_hmc(standard(3), n_draws=4, max_rhat=9.0, seed=s).z for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_goes_on_from_where_it_stopped():
    first = inference.ensemble_hmc(standard(2), seed=0)
    after = inference.ensemble_hmc(standard(2), start=first.state, n_warmup=0, seed=1)
    assert torch.equal(first.state.z, first.z[-1])
    assert after.diagnostics["step"] == first.diagnostics["step"]
    assert after.diagnostics["acceptance"] > 0.6


def test_chains_that_do_not_agree_are_warned_of():
    two_modes = inference.from_callable(
        lambda z: torch.logaddexp(-0.5 * (z[:, 0] - 20) ** 2, -0.5 * (z[:, 0] + 20) ** 2), 1
    )
    state = inference.ensemble_hmc(standard(1), n_chains=2, n_draws=4, max_rhat=9.0).state
    apart = type(state)(torch.tensor([[-20.0], [20.0]]), state.center, state.scale, state.step)
    with pytest.warns(InferenceWarning, match="R-hat is"):
        inference.ensemble_hmc(two_modes, start=apart, n_chains=2, n_warmup=0)


def test_counts_and_starts_that_cannot_be_used_are_refused():
    with pytest.raises(InvalidInputError, match="got 1, 60, 32, 12"):
        inference.ensemble_hmc(standard(1), n_chains=1)
    state = inference.ensemble_hmc(standard(1)).state
    with pytest.raises(InvalidInputError, match="16 chains of dimension 2"):
        inference.ensemble_hmc(standard(2), start=state)
