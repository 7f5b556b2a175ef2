"""A posterior that is the Gaussian prior times one Gaussian site an observation: what Laplace and EP have in common.

Alphabet. b: batch of problems. n: latent values, k: test points. K: prior covariance, m: prior mean. W: precisions of
the sites, nu: their precisions times their means. `B = I + W^1/2 K W^1/2 = L L^T`. a: `K^-1 (posterior mean - m)`.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inference.errors import InferenceError


def factor(K: Tensor, root: Tensor) -> Tensor:
    """L, where `L L^T = I + W^1/2 K W^1/2`.

    Args:
        K: `b x n x n`, positive semidefinite up to rounding.
        root: `W^1/2`, `b x n`.

    Returns:
        Lower triangular, `b x n x n`.

    Raises:
        InferenceError: If it cannot be factored.
    """
    B = root[..., :, None] * K * root[..., None, :]
    B.diagonal(dim1=-2, dim2=-1).add_(1.0)
    L, info = torch.linalg.cholesky_ex(B)
    if bool((info != 0).any()) or not bool(torch.isfinite(L.diagonal(dim1=-2, dim2=-1)).all()):
        raise InferenceError(
            f"I + W^1/2 K W^1/2 ({' x '.join(map(str, B.shape))}) cannot be factored, though its eigenvalues are at "
            "least 1 if K is positive semidefinite. Likely causes: (a) nan or infinity in K or in the mean; (b) a K "
            "that is not symmetric or not positive semidefinite."
        )
    return L


def cavities(mean: Tensor, variance: Tensor, weight: Tensor, location: Tensor) -> tuple[Tensor, Tensor]:
    """Marginals without each value's own site.

    Args:
        mean: Of the marginals, `b x n`.
        variance: Of the marginals.
        weight: Precisions of the sites.
        location: Their precisions times means.

    Returns:
        Means and variances.
    """
    left = 1.0 - variance * weight  # the share of the precision that is not the site's
    return (mean - variance * location) / left, variance / left


@dataclass(frozen=True)
class LatentPosterior:
    """The latent values given the observations, and what follows from them elsewhere."""

    K: Tensor
    """Prior covariance, `b x n x n`."""
    prior_mean: Tensor
    """`b x n`."""
    weight: Tensor
    """Precision of each site, `b x n`."""
    location: Tensor
    """Mean of each site times its precision, `b x n`."""
    a: Tensor
    """`K^-1` times how far the observations moved the mean, `b x n`."""
    factor: Tensor
    """L, `b x n x n`."""
    log_evidence: Tensor
    """Of the method that found it, `b`."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """`converged`, a mask `b`, and `steps`, of the slowest of the batch."""

    @property
    def mean(self) -> Tensor:
        """Of the latent values, `b x n`."""
        return self.prior_mean + (self.K @ self.a[..., None])[..., 0]

    @property
    def variance(self) -> Tensor:
        """Of each latent value, `b x n`."""
        return self.K.diagonal(dim1=-2, dim2=-1) - self._half(self.K).square().sum(-2)

    @property
    def covariance(self) -> Tensor:
        """Of all of them, `b x n x n`."""
        half = self._half(self.K)
        return self.K - half.mT @ half

    def _half(self, K_observed_test: Tensor) -> Tensor:
        """`L^-1 W^1/2 K_*^T`, whose square is what the observations take from the covariance."""
        return torch.linalg.solve_triangular(self.factor, self.weight.sqrt()[..., None] * K_observed_test, upper=False)

    def at(self, K_test: Tensor, m_test: Tensor, variance_test: Tensor) -> tuple[Tensor, Tensor]:
        """Latent values elsewhere, each on its own; autograd runs through the arguments.

        Args:
            K_test: Prior covariance of test points with the observed ones, `b x k x n`.
            m_test: Prior mean at the test points, `b x k`.
            variance_test: Prior variances there, `b x k`.

        Returns:
            Means and variances, `b x k` each.
        """
        mean = m_test + (K_test @ self.a[..., None])[..., 0]
        return mean, variance_test - self._half(K_test.mT).square().sum(-2)

    def jointly_at(self, K_test: Tensor, m_test: Tensor, covariance_test: Tensor) -> tuple[Tensor, Tensor]:
        """Latent values elsewhere, together.

        Args:
            K_test: As in `at`.
            m_test: Likewise.
            covariance_test: Prior covariance of the test points, `b x k x k`.

        Returns:
            Means, `b x k`, and covariances, `b x k x k`.
        """
        half = self._half(K_test.mT)
        return m_test + (K_test @ self.a[..., None])[..., 0], covariance_test - half.mT @ half

    def leave_one_out(self) -> tuple[Tensor, Tensor]:
        """What all other observations say of each latent value: the posterior without that value's own site.

        Of EP these are its cavities, of Laplace they hold as far as the other sites would stay as they are.

        Returns:
            Means and variances, `b x n` each.

        Reference: Vehtari et al. 2016, "Bayesian leave-one-out cross-validation approximations for Gaussian latent
        variable models".
        """
        return cavities(self.mean, self.variance, self.weight, self.location)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws of the latent values.

        Args:
            n: How many.
            generator: Draws them.

        Returns:
            `n x b x n` with the latent values last.
        """
        # K of close points has no Cholesky factor in floats; eigenvectors serve a semidefinite matrix as well
        values, vectors = torch.linalg.eigh(self.covariance)
        shape = (n, *self.a.shape)
        normals = torch.randn(shape, generator=generator, dtype=self.a.dtype, device=generator.device).to(self.a)
        scaled = values.clamp_min(0.0).sqrt() * normals
        return self.mean + (vectors @ scaled[..., None])[..., 0]

    def log_prob(self, f: Tensor) -> Tensor:
        """Log density of latent values, up to the constant that a singular K leaves open.

        Args:
            f: `s x n` points, or `s x b x n`.

        Returns:
            Log densities `s`, or `s x b`: of the non-singular part where K is singular.
        """
        values, vectors = torch.linalg.eigh(self.covariance)
        least = values[..., -1:].clamp_min(0.0) * values.shape[-1] * torch.finfo(values.dtype).eps
        kept = values > least
        white = (vectors.mT @ (f - self.mean)[..., None])[..., 0]
        safe = torch.where(kept, values, torch.ones_like(values))
        terms = torch.where(kept, white.square() / safe + safe.log() + math.log(2.0 * math.pi), torch.zeros_like(white))
        return -0.5 * terms.sum(-1)

    def to(self, device: torch.device | str) -> "LatentPosterior":
        """The same on another device.

        Args:
            device: Where to.

        Returns:
            A new object.
        """
        moved: dict[str, Any] = {
            entry.name: value.to(device)
            for entry in dataclasses.fields(self)
            if isinstance(value := getattr(self, entry.name), Tensor)
        }
        return dataclasses.replace(self, **moved)
