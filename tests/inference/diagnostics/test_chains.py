"""R-hat and effective sample sizes of chains whose autocorrelation is known."""

import pytest
import torch

from inference.diagnostics import ess, rhat
from inference.errors import InvalidInputError


def autoregressive(rho, n, chains, seed=0):
    noise = torch.randn(n, chains, generator=torch.Generator().manual_seed(seed))
    z = [noise[0]]
    for step in noise[1:]:
        z.append(rho * z[-1] + (1 - rho**2) ** 0.5 * step)
    return torch.stack(z)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.4])
def test_an_autoregressive_chain_is_worth_its_known_number_of_draws(rho):
    z = autoregressive(rho, 4000, 4)
    # n (1 - rho) / (1 + rho); over seeds the estimates scatter by some 5 %, and 15 % is three times that
    assert float(ess(z, "mean")) == pytest.approx(16_000 * (1 - rho) / (1 + rho), rel=0.15)
    assert float(ess(z)) == pytest.approx(16_000 * (1 - rho) / (1 + rho), rel=0.15)


def test_quantiles_of_independent_draws_are_as_well_known_as_their_number_says():
    assert float(ess(autoregressive(0.0, 4000, 4), "tail")) == pytest.approx(16_000, rel=0.15)


def test_rhat_is_one_of_chains_that_agree_and_more_of_any_that_do_not():
    z = autoregressive(0.3, 1000, 4)
    assert rhat(z) < 1.01
    shifted, wider, drifting = z.clone(), z.clone(), z.clone()
    shifted[:, 0] += 2.0
    wider[:, 0] *= 5.0  # the same mean: only the folded draws see it
    drifting += torch.linspace(0, 3, 1000)[:, None]  # the same in every chain: only their halves see it
    assert min(float(rhat(case)) for case in (shifted, wider, drifting)) > 1.1


def test_ranks_make_it_independent_of_a_monotone_map():
    z = autoregressive(0.3, 500, 4)
    assert float(ess(z.exp())) == pytest.approx(float(ess(z)))


def test_many_coordinates_are_as_each_alone():
    z = torch.stack([autoregressive(rho, 200, 3, seed=7) for rho in (0.1, 0.6)], -1)
    for diagnostic in (rhat, ess):
        assert diagnostic(z).tolist() == pytest.approx([float(diagnostic(z[..., k])) for k in range(2)])


def test_constants_agree_and_three_draws_are_too_few():
    assert rhat(torch.ones(10, 2)) == 1.0
    assert ess(torch.ones(10, 2)) == 20.0
    with pytest.raises(InvalidInputError, match="at least 4"):
        rhat(torch.ones(3, 2))
    with pytest.raises(InvalidInputError, match="'middle'"):
        ess(torch.ones(10, 2), "middle")
