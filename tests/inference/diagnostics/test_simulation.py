"""Simulation-based calibration tells right posteriors from wrong ones."""

import pytest
import torch

from inference.diagnostics import sbc
from inference.errors import InvalidInputError


def conjugate(shift=0.0, spread=1.0):
    """A mean with a standard normal prior, seen once with unit noise: its posterior is N(y / 2, 1 / 2)."""

    def replicate(generator):
        truth = torch.randn(1, generator=generator)
        y = truth + torch.randn(1, generator=generator)
        draws = y / 2 + shift + spread * 0.5**0.5 * torch.randn(23, 1, generator=generator)
        return truth, draws

    return replicate


def test_the_true_posterior_passes():
    result = sbc(conjugate(), 400, torch.Generator().manual_seed(0))
    assert result.p_values.item() > 0.01
    assert result.counts.sum() == 400
    assert result.ranks.min() >= 0 and result.ranks.max() <= 23


@pytest.mark.parametrize("wrong", [{"shift": 0.4}, {"spread": 0.5}, {"spread": 2.0}], ids=str)
def test_a_shifted_an_overconfident_and_a_timid_one_fail(wrong):
    assert sbc(conjugate(**wrong), 400, torch.Generator().manual_seed(0)).p_values.item() < 1e-4


def test_bins_that_do_not_divide_the_ranks_expect_what_they_hold():
    result = sbc(conjugate(), 700, torch.Generator().manual_seed(1), n_bins=7)  # 24 ranks in 7 bins
    assert result.p_values.item() > 0.01


def test_fewer_ranks_than_bins_are_refused():
    with pytest.raises(InvalidInputError, match="L >= 29"):
        sbc(conjugate(), 1, torch.Generator(), n_bins=30)
