"""Simulation-based calibration: does a method return the posterior that it should, on average over the prior?

Alphabet. R: replicates. L: posterior draws of each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special
import torch
from torch import Tensor

from inference.errors import InvalidInputError


@dataclass(frozen=True)
class Calibration:
    """Ranks of prior draws among posterior draws, and how unlikely they are if the method is right."""

    ranks: Tensor
    """How many of the posterior draws are less than the truth, `R x dim`, 0 .. L."""
    counts: Tensor
    """Replicates in each bin of ranks, `dim x n_bins`."""
    p_values: Tensor
    """Of a chi-squared test that ranks are uniform, `dim`."""


def sbc(
    replicate: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    n_replicates: int,
    generator: torch.Generator,
    *,
    n_bins: int = 8,
) -> Calibration:
    """Run a method on data from its own prior again and again.

    Args:
        replicate: Draws parameters from the prior and data from them, runs the method, and returns the parameters,
            `dim`, and nearly independent posterior draws of them, `L x dim`, the same L every time.
        n_replicates: R; at least five times the number of bins for the test to hold.
        generator: What the replicates draw from.
        n_bins: Bins of ranks, at most L + 1.

    Returns:
        Ranks, counts and p-values.

    Raises:
        InvalidInputError: If shapes do not fit or there are fewer ranks than bins.

    Reference: Talts, Betancourt, Simpson, Vehtari and Gelman 2018, "Validating Bayesian Inference Algorithms with
    Simulation-Based Calibration".

    Example:
        >>> def prior_twice(g):
        ...     return torch.randn(1, generator=g), torch.randn(15, 1, generator=g)
        >>> bool(sbc(prior_twice, 200, torch.Generator().manual_seed(0)).p_values > 0.01)
        True
    """
    ranks, n_draws = [], 0
    for _ in range(n_replicates):
        truth, draws = replicate(generator)
        n_draws = n_draws or len(draws)
        if truth.dim() != 1 or draws.shape != (n_draws, len(truth)) or n_draws + 1 < n_bins:
            raise InvalidInputError(
                f"replicate: expected parameters `dim` and draws `L x dim` with the same L >= {n_bins - 1} every time, "
                f"got {tuple(truth.shape)} and {tuple(draws.shape)}."
            )
        ranks.append((draws < truth).sum(0))
    rank = torch.stack(ranks)
    bins = rank * n_bins // (n_draws + 1)
    counts = torch.stack([(bins == b).sum(0) for b in range(n_bins)], 1)
    # Bins hold a rank more or less where their number does not divide L + 1, and so many replicates are expected.
    width = np.bincount(np.arange(n_draws + 1) * n_bins // (n_draws + 1), minlength=n_bins) / (n_draws + 1)
    expected = torch.as_tensor(n_replicates * width).to(counts.device)
    chi2 = ((counts - expected).square() / expected).sum(1)
    p_values = scipy.special.gammaincc((n_bins - 1) / 2.0, chi2.cpu().numpy() / 2.0)
    return Calibration(rank, counts, torch.as_tensor(p_values))
