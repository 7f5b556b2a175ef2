"""Pareto-smoothed importance sampling."""

import math

import pytest
import torch

from inference.diagnostics import psis
from inference.diagnostics.importance import fit_pareto
from inference.errors import InvalidInputError


def ratios(target_sd, n, seed):
    z = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    return 0.5 * z**2 * (1 - 1 / target_sd**2) - math.log(target_sd), z


def test_the_shape_of_a_pareto_tail_is_found():
    u = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    for k in (0.3, 0.7):
        x = (2.0 * torch.expm1(-k * torch.log1p(-u)) / k).sort().values
        shape, scale = fit_pareto(x)
        # the maximum likelihood estimate has standard errors (1 + k) / sqrt(n) and scale sqrt(2 (1 + k) / n)
        assert abs(shape - k) < 4 * (1 + k) / math.sqrt(4000)
        assert abs(scale - 2.0) < 4 * 2.0 * math.sqrt(2 * (1 + k) / 4000)


def test_a_target_twice_as_wide_is_at_the_limit():
    # ratios grow like exp(3 z^2 / 8): a tail of shape 1 - 1 / 4 = 0.75 in the limit of many draws. Of a tail of 135
    # draws a single estimate has a standard error of some 0.15.
    khats = [psis(ratios(2.0, 2000, seed)[0]).khat for seed in range(20)]
    assert 0.5 <= khats[0] <= 0.8
    assert 0.5 <= sum(khats) / 20 <= 0.8


def test_a_narrower_target_is_good_and_its_weights_estimate_its_variance():
    log_ratios, z = ratios(0.8, 2000, 5)
    smoothed = psis(log_ratios)
    assert smoothed.khat < 0.5
    weights = smoothed.log_weights.exp()
    assert weights.sum() == pytest.approx(1.0)
    se = float((weights * (z**2 - 0.64)).square().sum().sqrt())
    assert abs(float(weights @ z**2) - 0.64) < 4 * se


def test_a_single_draw_of_all_the_weight_is_cut_down():
    log_ratios = ratios(2.0, 500, 1)[0]
    log_ratios[7] = log_ratios.max() + 30.0
    smoothed = psis(log_ratios)
    assert smoothed.khat > 0.7
    assert smoothed.log_weights[7] == smoothed.log_weights.max()


def test_too_few_draws_and_equal_ratios_have_no_tail():
    assert psis(torch.randn(10)).khat == math.inf
    assert psis(torch.zeros(400)).khat == math.inf
    assert torch.allclose(psis(torch.zeros(400)).log_weights.exp(), torch.tensor(1 / 400))


def test_impossible_draws_weigh_nothing_and_nan_is_refused():
    log_ratios = ratios(0.8, 400, 2)[0]
    log_ratios[:300] = -math.inf
    smoothed = psis(log_ratios)
    assert (smoothed.log_weights[:300] == -math.inf).all()
    assert math.isfinite(smoothed.khat)
    with pytest.raises(InvalidInputError, match="nan"):
        psis(torch.tensor([0.0, math.nan]))
