"""What a solver of differential equations returns: a posterior over functions, and how it came about.

Alphabet. As in `gp.pde.solver`; G: `J' J`; y: right-hand sides of the linearised equations, each over its standard
deviation; N: how many there are; h: `J' y`; q: joint test points.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from gp.errors import InvalidDataError
from gp.linalg.cholesky import safe_cholesky
from gp.pde.basis import Basis
from gp.pde.equations import Equations, spread
from gp.posteriors import PathPosterior

_UPDATES: Final = 60
"""Updates of the variances at most; most problems settle within twenty."""
_SETTLED: Final = 1e-3
"""Largest relative change of a variance at which they stand still."""
_LEAST: Final = 1e-16
"""Least variance of a component relative to the solution's size squared: switched off."""


@dataclass(frozen=True)
class Belief:
    """A normal distribution of the coefficients."""

    mean: Tensor
    """`r` or `r1 x r2`."""
    root: Tensor
    """A matrix whose product with its own transpose is the covariance of the flattened coefficients."""
    evidence: float
    """Log density of the right-hand sides, the reaction linearised; nan where they are exact."""
    variances: Tensor
    """Prior variance of each flattened coefficient."""


def believe(equations: Equations, Z: Tensor, groups: Tensor, start: Tensor, updates: int = _UPDATES) -> Belief:
    """Posterior of the coefficients given noisy equations, each component's prior variance of greatest evidence.

    Args:
        equations: Their standard deviations are those of the noise.
        Z: Where a reaction is linearised; without one its value does not matter.
        groups: For each flattened coefficient the index of its component.
        start: Prior variances to start from, one a flattened coefficient.
        updates: Of them at most.

    Returns:
        The posterior.

    Reference: MacKay 1992, "Bayesian Interpolation", for the fixed point of the variances.
    """
    slope, left = equations.residuals(Z)
    y = [part + image for part, image in zip(left, equations.forward(Z, slope), strict=True)]
    G, h = equations.gram(slope), equations.adjoint(y, slope).flatten()
    sizes = torch.zeros(int(groups.max()) + 1, dtype=h.dtype, device=h.device)
    counts = sizes.index_add(0, groups, torch.ones_like(h))
    least = _LEAST * float(start.max())
    variances = start
    for _ in range(updates):
        root, z, _ = _posterior(G, h, variances)
        determined = (1.0 - root.square().sum(1) / variances).clamp_min(1e-12)
        squares, effective = sizes.index_add(0, groups, z.square()), sizes.index_add(0, groups, determined)
        before, variances = variances, (squares / effective.clamp_max(counts)).clamp_min(least)[groups]
        if bool(((variances / before).log().abs() < _SETTLED).all()):
            break
    root, z, log_determinant = _posterior(G, h, variances)
    n_source = equations.data.source.numel()
    N = sum(part.numel() for part in y)
    log_sds = n_source * math.log(equations.equation_sd) + (N - n_source) * math.log(equations.boundary_sd)
    fit = sum(float(part.square().sum()) for part in y) - float(h @ z)
    evidence = -0.5 * (fit + log_determinant + N * math.log(2.0 * math.pi)) - log_sds
    return Belief(z.reshape(Z.shape), root, evidence, variances)


def _posterior(G: Tensor, h: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, float]:
    """Root of the posterior covariance, posterior mean, and log determinant of posterior over prior precision."""
    sds = variances.sqrt()
    eye = torch.eye(len(h), dtype=h.dtype, device=h.device)
    L = safe_cholesky(eye + sds[:, None] * G * sds, "posterior precision of the solution")
    root = sds[:, None] * torch.linalg.solve_triangular(L, eye, upper=False).mT
    return root, root @ (root.mT @ h), 2.0 * float(L.diagonal().log().sum())


def believe_within(equations: Equations, Z: Tensor, misfit: float) -> Belief:
    """How far coefficients that solve exact equations could move while these stay as nearly solved.

    Args:
        equations: Weighted.
        Z: Their solution.
        misfit: What it leaves of them where they were not imposed: taken as the standard deviation of each.

    Returns:
        A normal distribution about Z, whose prior variance is the mean square of Z.
    """
    slope, _ = equations.residuals(Z)
    values, vectors = torch.linalg.eigh(equations.gram(slope))
    variance = Z.square().mean().clamp_min(1e-300)
    precisions = values.clamp_min(0.0) / misfit**2 + 1.0 / variance
    return Belief(Z, vectors * precisions.rsqrt(), math.nan, variance.expand(len(values)))


@dataclass(frozen=True)
class Setting:
    """One prior that was tried."""

    spectrum: str
    bandwidth: float
    """In half-waves a domain."""
    score: float
    """What decides, the least being best. For exact data the root mean square of what is left of the equation half
    way between the points of the grid, over the largest value of the source, plus that of the worst side, over the
    size of the solution; for noisy data minus the log evidence."""


class PDESolution:
    """The solution as a Gaussian process.

    Where data are noisy its intervals are those of Bayes' rule at the chosen prior. Where they are exact the standard
    deviation is a scale, not an interval: that of independent errors as large as what is left between the points of
    the grid; `disagreement` tells more.
    """

    settings: tuple[Setting, ...]
    """All that were tried, the one chosen first."""
    disagreement: float
    """Root mean square difference on the grid from the solution of the second best setting, relative; nan if only one
    was tried."""
    cpu_seconds: float
    """Processor time of the search over settings."""

    def __init__(
        self,
        bases: Sequence[Basis],
        Z: Tensor,
        belief: Callable[[], Belief],
        settings: tuple[Setting, ...],
        disagreement: float,
        cpu_seconds: float,
    ) -> None:
        """Keep the parts.

        Args:
            bases: One an axis.
            Z: The solution's coefficients.
            belief: Computes their distribution; called once, when a variance is first needed.
            settings: Those tried, the one chosen first.
            disagreement: From the second best.
            cpu_seconds: Spent.
        """
        self._bases, self._Z, self._get_belief = tuple(bases), Z, belief
        self.settings, self.disagreement, self.cpu_seconds = settings, disagreement, cpu_seconds

    def mean(self, X: Tensor) -> Tensor:
        """The solution at any points of the box.

        Args:
            X: `... x q x d`.

        Returns:
            `... x q`.

        Raises:
            InvalidDataError: If X has another number of dimensions.
        """
        rows = self._along_axes(X)
        if len(rows) == 1:
            return (rows[0] @ self._Z).reshape(X.shape[:-1])
        return ((rows[0] @ self._Z) * rows[1]).sum(-1).reshape(X.shape[:-1])

    def on_product(self, axes: Sequence[Tensor]) -> Tensor:
        """The solution at all points of a grid, cheaper than one by one.

        Args:
            axes: Coordinates along each axis.

        Returns:
            `n` or `n1 x n2`.
        """
        return spread(tuple(basis.at(x) for basis, x in zip(self._bases, axes, strict=True)), self._Z)

    def posterior(self, X: Tensor) -> PathPosterior:
        """The solution and its uncertainty at joint test points.

        Args:
            X: `... x q x d`.

        Returns:
            Mean, variance and samples, `... x q x 1`. The first call costs an eigendecomposition of as many rows as
            there are coefficients: below a second in one dimension, up to a minute in two.

        Raises:
            InvalidDataError: If X has another number of dimensions.
        """
        factors = self._along_axes(X)
        rows = factors[0] if len(factors) == 1 else (factors[0][:, :, None] * factors[1][:, None, :]).flatten(1)
        half = (rows @ self._belief.root).reshape(*X.shape[:-1], -1)
        mean = self.mean(X)[..., None]
        return PathPosterior(
            mean,
            lambda: half.square().sum(-1, keepdim=True),
            lambda normals: mean + (half @ normals[..., None]),
            half.shape[-1],
        )

    @cached_property
    def _belief(self) -> Belief:
        return self._get_belief()

    def _along_axes(self, X: Tensor) -> list[Tensor]:
        if X.dim() < 2 or X.shape[-1] != len(self._bases):
            raise InvalidDataError(f"X: expected `... x q x d` with d={len(self._bases)}, got {tuple(X.shape)}.")
        points = X.reshape(-1, len(self._bases))
        return [basis.at(points[:, axis]) for axis, basis in enumerate(self._bases)]
