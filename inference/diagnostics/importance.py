"""Pareto-smoothed importance sampling: are weighted draws of one distribution good for another?

Alphabet. r: log importance ratios, log target minus log proposal, `S`. k: shape of the Pareto tail.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import InvalidInputError

_LEAST_TAIL = 5
"""Fewer ratios than this tell nothing of a tail."""


@dataclass(frozen=True)
class SmoothedWeights:
    """Importance weights whose largest were replaced by what their fitted tail expects."""

    log_weights: Tensor
    """Normalised: their exponentials sum to 1, `S`."""
    khat: float
    """Shape of the tail: below 0.5 good, above 0.7 not to be relied on; infinite where there is no tail to fit."""


def psis(log_ratios: Tensor) -> SmoothedWeights:
    """Smooth the largest importance ratios by a generalised Pareto distribution.

    The tail are the largest `ceil(min(0.2 S, 3 sqrt(S)))` ratios. Its shape k is fitted by the empirical Bayes estimate
    of Zhang and Stephens, shrunk towards 0.5 as by ten further observations.

    Args:
        log_ratios: Log target minus log proposal at draws of the proposal, `S`, each up to a constant.

    Returns:
        Weights and k-hat.

    Raises:
        InvalidInputError: If the shape is not `S`, or a ratio is nan or plus infinity.

    References: Vehtari, Simpson, Gelman, Yao and Gabry 2024, "Pareto Smoothed Importance Sampling"; Zhang and Stephens
    2009, "A New and Efficient Estimation Method for the Generalized Pareto Distribution".

    Example:
        >>> psis(torch.zeros(100)).log_weights.exp().sum()
        tensor(1.)
    """
    if log_ratios.dim() != 1 or len(log_ratios) == 0:
        raise InvalidInputError(f"log_ratios: expected `S` of them, got {tuple(log_ratios.shape)}.")
    if bool((log_ratios.isnan() | (log_ratios == math.inf)).any()):
        raise InvalidInputError("log_ratios: nan or infinity; draws with target density 0 have ratio -inf.")
    n = len(log_ratios)
    r = log_ratios - log_ratios.max()
    n_tail = min(math.ceil(min(0.2 * n, 3.0 * math.sqrt(n))), n - 1)
    ordered, order = r.sort()
    khat = math.inf
    tail = ordered[n - n_tail :]
    if n_tail >= _LEAST_TAIL and float(tail[-1] - tail[0]) > torch.finfo(r.dtype).eps:
        # Ratios that vanish beside the largest are nothing to fit to, and would overflow no log.
        cutoff = ordered[n - n_tail - 1].clamp_min(math.log(torch.finfo(r.dtype).tiny))
        above = (tail.exp() - cutoff.exp()).clamp_min(0.0)
        khat, scale = fit_pareto(above)
        if math.isfinite(khat):
            place = (torch.arange(n_tail, dtype=r.dtype, device=r.device) + 0.5) / n_tail
            # Expected order statistics of the fitted tail; its limit k -> 0 is the exponential distribution.
            beyond = -torch.log1p(-place) if khat == 0.0 else torch.expm1(-khat * torch.log1p(-place)) / khat
            smooth = (scale * beyond + cutoff.exp()).log().clamp_max(0.0)
            r = r.clone()
            r[order[n - n_tail :]] = smooth
    return SmoothedWeights(r - r.logsumexp(0), khat)


def fit_pareto(x: Tensor) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, `P(x > t) = (1 + k t / scale)^(-1/k)`.

    Args:
        x: Draws, ascending, not negative, `n`.

    Returns:
        k, shrunk towards 0.5 as by ten further observations, and the scale; k infinite where the draws do not vary.
    """
    n = len(x)
    m = 30 + int(math.sqrt(n))
    quartile, largest = x[int(n / 4 + 0.5) - 1], x[-1]
    if not float(quartile) > 0.0:
        return math.inf, math.nan
    # A grid over b = -k / scale that is dense around the likely values; each point with its best k.
    grid = torch.arange(1, m + 1, dtype=x.dtype, device=x.device)
    b = (1.0 - (m / (grid - 0.5)).sqrt()) / (3.0 * quartile) + 1.0 / largest
    k = torch.log1p(-b[:, None] * x).mean(1)
    profile = n * ((-b / k).log() - k - 1.0)
    weight = (profile - profile.logsumexp(0)).exp()
    b_mean = (b * weight).sum()
    raw = torch.log1p(-b_mean * x).mean()
    scale = float(-raw / b_mean)
    return (n * float(raw) + 5.0) / (n + 10.0), scale
