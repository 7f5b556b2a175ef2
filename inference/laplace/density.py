"""The Laplace approximation of any log density: a Gaussian with its mode and its curvature there.

Alphabet. z: unconstrained coordinates, `dim`. w, U: eigenvalues and eigenvectors of the precision, `U diag(w) U^T`.
"""

import dataclasses
import math
import warnings
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from inference.density import LogDensity
from inference.diagnostics.importance import psis
from inference.errors import InferenceWarning, InvalidInputError
from inference.optimize import MapResult, find_map
from inference.seeding import as_generator, normals

_LARGEST_PRECISION: Final = 1e6
"""Relative to the widest allowed direction a million times as sure; beyond it a step is lost in the arithmetic."""
_AT_ONCE: Final = 64
"""Points whose density is evaluated together, which bounds the memory."""
_MAX_STEP: Final = 1e-4
"""Of central differences, in units of max(1, |z|): the error of a gradient in doubles, 1e-12, becomes 1e-8."""


@dataclass(frozen=True)
class GaussianPosterior:
    """A Gaussian in unconstrained coordinates."""

    density: LogDensity
    """What it approximates."""
    mean: Tensor
    """`dim`."""
    U: Tensor
    """Orthogonal, `dim x dim`: its columns are the directions."""
    w: Tensor
    """Precisions along them, `dim`, positive."""
    log_evidence: float
    """Log of the integral of the density, up to the constant that the density itself leaves out."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """`khat` of importance sampling (below 0.7 the Gaussian covers the density), `n_clipped` directions without enough
    curvature, `grad_norm` at the mode, `converged`."""

    def sample(self, n: int, generator: torch.Generator, *, antithetic: bool = True) -> Tensor:
        """Draws, `n x dim`.

        Args:
            n: How many.
            generator: Of the draws.
            antithetic: Whether each draw comes with its mirror image at the mean, which makes the mean of an even
                number exact.

        Returns:
            Draws; independent ones without `antithetic`.
        """
        if antithetic:
            half = normals((n - n // 2, len(self.mean)), generator, self.mean)
            x = torch.cat([half, -half[: n // 2]])
        else:
            x = normals((n, len(self.mean)), generator, self.mean)
        return self.mean + (x / self.w.sqrt()) @ self.U.T

    def log_prob(self, z: Tensor) -> Tensor:
        """Log densities of the Gaussian, normalised.

        Args:
            z: Points, `c x dim`.

        Returns:
            `c`.
        """
        x = (z - self.mean) @ self.U * self.w.sqrt()
        return 0.5 * (self.w.log().sum() - len(self.w) * math.log(2.0 * math.pi) - x.square().sum(1))

    def to(self, device: torch.device | str) -> "GaussianPosterior":
        """The same Gaussian elsewhere; what it approximates stays where its data are.

        Args:
            device: Where to.

        Returns:
            A new object.
        """
        mean, U, w = (tensor.to(device) for tensor in (self.mean, self.U, self.w))
        return dataclasses.replace(self, mean=mean, U=U, w=w)

    @property
    def covariance(self) -> Tensor:
        """`dim x dim`."""
        return (self.U / self.w) @ self.U.T

    def khat(self, generator: torch.Generator, n: int = 512) -> float:
        """How well the Gaussian covers the density: the tail of the importance ratios of independent draws.

        Args:
            generator: Of the draws.
            n: How many.

        Returns:
            Below 0.5 good, above 0.7 not to be relied on.
        """
        z = self.sample(n, generator, antithetic=False)
        with torch.no_grad():
            blocks = z.to(self.density.device).split(_AT_ONCE)
            target = torch.cat([self.density.log_prob(block) for block in blocks]).to(z.device)
        return psis(torch.nan_to_num(target, nan=-math.inf) - self.log_prob(z)).khat


def laplace(
    density: LogDensity,
    at: Tensor | MapResult | None = None,
    *,
    max_sd: float | None = None,
    n_check: int = 512,
    seed: int | torch.Generator = 0,
) -> GaussianPosterior:
    """The Gaussian that has a density's mode and its curvature there.

    Args:
        density: What is approximated.
        at: The mode, `dim`, or what `find_map` found; None to search from 0.
        max_sd: Standard deviation at which each direction is cut off, for a density that hardly bends along some. None
            leaves wide directions alone; ones without any downward curvature, as off the mode, are then replaced by the
            least curved of the others, with a warning.
        n_check: Draws of which `diagnostics["khat"]` is computed; 0 leaves it out.
        seed: Of those draws.

    Returns:
        The Gaussian; its log evidence is exact where the density is Gaussian.

    Raises:
        InvalidInputError: If the density is not finite at or near the point, or bends downward along no direction.

    Reference: MacKay 2003, "Information Theory, Inference, and Learning Algorithms", chapter 27.

    Example:
        >>> from inference.density import from_callable
        >>> normal = from_callable(lambda z: -0.5 * z.square().sum(1), dim=2)
        >>> round(laplace(normal).log_evidence, 4)  # log 2 pi
        1.8379
    """
    if at is None:
        at = find_map(density, torch.zeros(1, density.dim, dtype=density.dtype, device=density.device))
    found = {"converged": at.converged} if isinstance(at, MapResult) else {}
    mode = at.z if isinstance(at, MapResult) else at
    if mode.shape != (density.dim,):
        raise InvalidInputError(f"at: expected a point of shape ({density.dim},), got {tuple(mode.shape)}.")
    value, gradient = density.value_and_grad(mode[None])
    if not bool(torch.isfinite(value).all()):
        raise InvalidInputError(f"at: the density is 0 or not a number there, at {mode.tolist()}.")
    w, U = curvature(density, mode)
    w, n_clipped = _clipped(w, max_sd)
    evidence = float(value) + 0.5 * density.dim * math.log(2.0 * math.pi) - 0.5 * float(w.log().sum())
    diagnostics: dict[str, Any] = found | {"n_clipped": n_clipped, "grad_norm": float(gradient.abs().max())}
    gaussian = GaussianPosterior(density, mode, U, w, evidence, diagnostics)
    if n_check > 0:
        diagnostics["khat"] = gaussian.khat(as_generator(seed), n_check)
    return gaussian


def curvature(density: LogDensity, at: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, `dim`, and eigenvectors, `dim x dim`, of minus the Hessian, by central differences of the gradient.

    Args:
        density: What bends.
        at: Where, `dim`.

    Returns:
        Eigenvalues, ascending, of whatever sign, and the eigenvectors in columns.

    Raises:
        InvalidInputError: If a gradient next to the point is not finite.
    """
    dim = len(at)
    # The cube root of the error of a gradient balances it against what the differences leave out.
    h = _MAX_STEP * at.abs().clamp_min(1.0)
    if at.dtype == torch.float32:
        h = h * 100.0
    shifts = torch.diag(h)
    around = torch.cat([at + shifts, at - shifts])
    gradients = torch.cat([density.value_and_grad(block)[1] for block in around.split(_AT_ONCE)])
    if not bool(torch.isfinite(gradients).all()):
        raise InvalidInputError(
            "at: a gradient next to the point is not finite, so the density has no curvature there."
        )
    hessian = (gradients[dim:] - gradients[:dim]) / (2.0 * h[:, None])
    w, U = torch.linalg.eigh(0.5 * (hessian + hessian.T).double())
    return w.to(at.dtype), U.to(at.dtype)


def _clipped(w: Tensor, max_sd: float | None) -> tuple[Tensor, int]:
    if max_sd is not None:
        least = 1.0 / max_sd**2
        return w.clamp(least, _LARGEST_PRECISION * max(1.0, least)), int((w < least).sum())
    # Differences of gradients know an eigenvalue to about this share of the largest.
    bent = w > 1e-9 * w.abs().max()
    n_flat = int((~bent).sum())
    if n_flat == 0:
        return w, 0
    if n_flat == len(w):
        raise InvalidInputError("at: the density bends downward along no direction there; it is no maximum.")
    warnings.warn(
        f"The density does not bend downward along {n_flat} of {len(w)} directions, so that the point is no maximum or "
        "the data leave them open; they are taken to be as wide as the widest of the others. Give max_sd= to choose.",
        InferenceWarning,
        stacklevel=3,
    )
    return torch.where(bent, w, w[bent].min()), n_flat
