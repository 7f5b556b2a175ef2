"""Expectation propagation for probit labels: all sites at once, damped.

Alphabet. b: batch, n: latent values. W: site precisions, nu: site precisions times means. c: nu less `W m`, the sites'
location about the prior mean. cavity: the posterior without a value's own site. z: how far the cavity lies on the
label's side, in standard deviations with the probit's own 1 added. r: `phi(z) / Phi(z)`.

Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", section 3.6.
"""

import dataclasses
import warnings
from typing import Final

import torch
from torch import Tensor

from inference.errors import InferenceWarning
from inference.laplace.sites import LatentPosterior, cavities, factor
from inference.likelihoods import mills_ratio

_DAMPING: Final = 0.7
"""Share of each site's move that is made: undamped, sites that move together overshoot."""
_MAX_SWEEPS: Final = 60
"""Over all sites; 20 to 30 are normal."""
_TOLERANCE: Final = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Sites that move by less than this, in units of the posterior's standard deviation, stand still."""


@torch.no_grad()
def refine(start: LatentPosterior, y: Tensor) -> LatentPosterior:
    """Move the sites of a posterior until each marginal is that of its cavity times the label's likelihood.

    Args:
        start: Where the sites begin, as Laplace's method leaves them.
        y: Labels 0 and 1, `b x n`.

    Returns:
        The posterior; `log_evidence` is EP's.
    """
    sign = 2.0 * y - 1.0
    post, mean, variance, steps = start, start.mean, start.variance, 0
    moved = torch.ones_like(start.log_evidence, dtype=torch.bool)
    while steps < _MAX_SWEEPS and bool(moved.any()):
        steps += 1
        matched = _matched(*cavities(mean, variance, post.weight, post.location), sign)
        # a member of the batch that stands still stays, so that it ends where it would have ended alone
        share = _DAMPING * moved[..., None].to(y.dtype)
        post = _with_sites(
            post, *(old + share * (new - old) for old, new in zip((post.weight, post.location), matched, strict=True))
        )
        before = mean, variance
        mean, variance = post.mean, post.variance
        change = (mean - before[0]).abs() / before[1].sqrt() + (variance / before[1]).log().abs()
        moved = moved & (change.amax(-1) > _TOLERANCE[y.dtype])
    if bool(moved.any()):
        warnings.warn(
            f"Expectation propagation: the sites still move after {_MAX_SWEEPS} sweeps in {int(moved.sum())} of "
            f"{moved.numel()} problems.",
            InferenceWarning,
            stacklevel=3,
        )
    return dataclasses.replace(
        post,
        log_evidence=_log_evidence(post, sign),
        diagnostics={"converged": ~moved, "steps": steps},
    )


def _matched(mean: Tensor, variance: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    """Sites with which the moments of cavity times likelihood are matched: their W and nu, of the cavities' moments."""
    total = 1.0 + variance
    z = sign * mean / total.sqrt()
    r = mills_ratio(z, torch.special.log_ndtr(z))
    slope = sign * r / total.sqrt()
    # Both share the denominator, and neither is a difference of large numbers, as the moments themselves would be.
    curvature = r * (z + r) / total
    left = 1.0 - variance * curvature
    return curvature / left, (mean * curvature + slope) / left


def _with_sites(post: LatentPosterior, weight: Tensor, location: Tensor) -> LatentPosterior:
    root = weight.sqrt()
    L = factor(post.K, root)
    c = location - weight * post.prior_mean
    inner = root[..., None] * (post.K @ c[..., None])
    a = c - (root[..., None] * torch.cholesky_solve(inner, L))[..., 0]
    return dataclasses.replace(post, weight=weight, location=location, a=a, factor=L)


def _log_evidence(post: LatentPosterior, sign: Tensor) -> Tensor:
    """EP's log evidence, arranged so that nothing is divided by a site's precision, which may be almost 0."""
    mean, variance = post.leave_one_out()
    log_zero = torch.special.log_ndtr(sign * mean / (1.0 + variance).sqrt())
    spread = 1.0 + post.weight * variance
    c = post.location - post.weight * post.prior_mean
    shift, cavity = post.mean - post.prior_mean, mean - post.prior_mean
    quadratic = c * shift + (post.weight * cavity.square() - 2.0 * cavity * c - variance * c.square()) / spread
    log_det = post.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (log_zero + 0.5 * spread.log() + 0.5 * quadratic).sum(-1) - log_det
