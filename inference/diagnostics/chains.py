"""Did Markov chains mix? R-hat and effective sample sizes, by ranks.

Alphabet. z: draws, `draw x chain x ...`. n: draws of a chain. m: chains.

Reference: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, "Rank-Normalization, Folding, and Localization: An
Improved R-hat for Assessing Convergence of MCMC".
"""

import math
from typing import Final

import torch
from torch import Tensor

from inference.errors import InvalidInputError

_LEAST_DRAWS: Final = 4
"""Of a chain: its halves need two each for a variance."""


def rhat(z: Tensor) -> Tensor:
    """Rank-normalised split R-hat, the larger of that of the draws and that of their distance from the median.

    Args:
        z: `draw x chain x ...`, at least 4 draws a chain.

    Returns:
        `...`; near 1 where the chains agree, above 1.01 not converged to publication standard; 1 of constants.

    Raises:
        InvalidInputError: If there are too few draws.

    Example:
        >>> stuck = torch.arange(2.0).expand(100, 2) + 0.01 * torch.linspace(0, 1, 100)[:, None]
        >>> bool(rhat(stuck) > 1.5)
        True
    """
    halves = _split(z)
    median = halves.flatten(0, 1).median(0).values
    folded = (halves - median).abs()
    return torch.maximum(_plain_rhat(_rank_normalised(halves)), _plain_rhat(_rank_normalised(folded)))


def ess(z: Tensor, kind: str = "bulk") -> Tensor:
    """Effective sample size: as many independent draws would tell as much.

    Args:
        z: `draw x chain x ...`, at least 4 draws a chain.
        kind: "bulk" for the middle of the distribution (rank-normalised draws), "tail" for the less well known of its
            5 % and 95 % quantiles, "mean" for the mean of z itself.

    Returns:
        `...`; of constants the number of draws.

    Raises:
        InvalidInputError: If there are too few draws, or the kind is another.

    Example:
        >>> z = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(ess(z) > 1500)
        True
    """
    halves = _split(z)
    if kind == "bulk":
        return _plain_ess(_rank_normalised(halves))
    if kind == "mean":
        return _plain_ess(halves)
    if kind == "tail":
        pool = halves.flatten(0, 1)
        ends = (torch.quantile(pool, q, 0) for q in (0.05, 0.95))
        low, high = (_plain_ess((halves <= end).to(z.dtype)) for end in ends)
        return torch.minimum(low, high)
    raise InvalidInputError(f"kind: expected 'bulk', 'tail' or 'mean', got {kind!r}.")


def _split(z: Tensor) -> Tensor:
    """Each chain as two, `n/2 x 2 m x ...`; of an odd number of draws the middle one is left out."""
    if z.dim() < 2 or len(z) < _LEAST_DRAWS:
        raise InvalidInputError(
            f"z: expected `draw x chain x ...` with at least {_LEAST_DRAWS} draws a chain, got {tuple(z.shape)}."
        )
    half = len(z) // 2
    return torch.cat([z[:half], z[-half:]], 1)


def _rank_normalised(z: Tensor) -> Tensor:
    """Normal scores of the ranks over all chains; equal draws share their mean rank."""
    pool = z.reshape(z.shape[0] * z.shape[1], -1).T.contiguous()
    ordered = pool.sort(1).values
    ranks = torch.searchsorted(ordered, pool) + torch.searchsorted(ordered, pool, right=True)
    # The mean of the first and the last rank, counted from 1, is (left + 1 + right) / 2; 3/8 and 1/4 are Blom's.
    place = ((ranks + 1).to(z.dtype) / 2.0 - 0.375) / (pool.shape[1] + 0.25)
    return torch.special.ndtri(place).T.reshape(z.shape)


def _plain_rhat(z: Tensor) -> Tensor:
    n = len(z)
    within = z.var(0).mean(0)
    between = z.mean(0).var(0)
    ratio = ((n - 1) / n + between / within).sqrt()
    return torch.where((within == 0) & (between == 0), torch.ones_like(ratio), ratio)


def _plain_ess(z: Tensor) -> Tensor:
    """By autocorrelations over all chains, up to where Geyer's sums of pairs cease to be positive, made monotone."""
    n, m = z.shape[:2]
    centred = z - z.mean(0)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=0)
    autocovariance = torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n] / n
    mean_autocovariance = autocovariance.mean(1)
    within = mean_autocovariance[0] * n / (n - 1)
    total = within * (n - 1) / n + (z.mean(0).var(0) if m > 1 else 0.0)
    rho = 1.0 - (within - mean_autocovariance) / total
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(n // 2, 2, *rho.shape[1:]).sum(1)
    positive = (pairs > 0).to(z.dtype).cumprod(0)
    monotone = pairs.cummin(0).values
    tau = -1.0 + 2.0 * (positive * monotone).sum(0)
    # Antithetic chains may know a mean better than independent draws, but no estimate should say by how much more.
    size = n * m / tau.clamp_min(1.0 / math.log10(n * m))
    return torch.where(total == 0, torch.full_like(size, n * m), size)
