"""What every structure of the curvature offers, and the two ways to turn projected Jacobians into variances.

Alphabet. H: curvature of the log likelihood at scale 1, `P x P`. s: its scale, the inverse noise variance of a
regression and else 1. R: diagonal, the prior precision of each parameter relative to tau. e, U: eigenvalues and
eigenvectors of `R^-1/2 H R^-1/2`; e without its zeros where `U` has fewer than P columns. J: Jacobian of test points,
`n x C x P`. Q: `J R^-1/2 U`, `n x C x K`. V: covariance of their outputs, `n x C x C`.

The precision of the parameters is `s H + tau R`, so in every structure
`log |tau R| - log |s H + tau R| = -sum_k log(1 + s e_k / tau)`, and one spectrum serves all s and tau.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from inference.laplace.network.groups import Group
from inference.laplace.network.jacobians import Piece

Passes = Callable[[], Iterator[list[Piece]]]
"""Each call goes once more over the data: batches of the Jacobian times a root of the likelihood's curvature."""


class Projection(Protocol):
    """Test points, ready to give their variances at any s and tau."""

    def covariance(self, scale: float, tau: float) -> Tensor:
        """V, `n x C x C`."""

    def variance(self, scale: float, tau: float) -> Tensor:
        """The diagonals of V, `n x C`."""


class Structure(ABC):
    """A curvature of a certain form; everything that it knows is in `tensors`."""

    is_complete: ClassVar[bool] = True
    """Whether U has P columns."""

    def __init__(self, groups: Sequence[Group], ratios: Sequence[float], tensors: dict[str, Tensor]) -> None:
        """Put together what `fit` found, now or earlier.

        Args:
            groups: Of the parameters.
            ratios: R, one number a group.
            tensors: By name, `spectrum` among them.
        """
        self.groups, self.ratios, self.tensors = tuple(groups), tuple(ratios), tensors

    @classmethod
    @abstractmethod
    def fit(cls, groups: Sequence[Group], ratios: Sequence[float], passes: Passes) -> Self:
        """Collect the curvature.

        Args:
            groups: Of the parameters.
            ratios: R, one number a group.
            passes: The data.

        Returns:
            The structure.
        """

    @abstractmethod
    def project(self, pieces: Sequence[Piece]) -> Projection:
        """Make test points ready.

        Args:
            pieces: Of their Jacobian, `r = C`.

        Returns:
            What gives their variances.
        """

    @abstractmethod
    def rotate(self, v: Tensor) -> Tensor:
        """Whitened parameters `m x P` in coordinates along U, `m x K`."""

    @abstractmethod
    def unrotate(self, c: Tensor) -> Tensor:
        """`U c`, from `m x K` to `m x P`."""

    @property
    def spectrum(self) -> Tensor:
        """e, `K`, not negative."""
        return self.tensors["spectrum"]

    @property
    def root_ratios(self) -> Tensor:
        """The diagonal of `R^1/2`, `P`."""
        parts = [self.spectrum.new_full((g.size,), r**0.5) for g, r in zip(self.groups, self.ratios, strict=True)]
        return torch.cat(parts)

    def whitened(self, pieces: Sequence[Piece]) -> Tensor:
        """The dense `J R^-1/2`.

        Args:
            pieces: Of J.

        Returns:
            `n x r x P`.
        """
        scaled = [piece.dense() / r**0.5 for piece, r in zip(pieces, self.ratios, strict=True)]
        return torch.cat(scaled, -1)

    def deviations(self, normals: Tensor, scale: float, tau: float) -> Tensor:
        """Draws of the parameters less their mean.

        Args:
            normals: Standard normal numbers, `m x P`.
            scale: s.
            tau: Of the prior.

        Returns:
            `m x P`, of covariance `(s H + tau R)^-1`.
        """
        # what lies outside U keeps the prior's spread, so only the part within it is shrunk
        excess = tau**-0.5 - (scale * self.spectrum + tau).rsqrt()
        whitened = normals * tau**-0.5 - self.unrotate(self.rotate(normals) * excess)
        return whitened / self.root_ratios

    def log_density(self, deviations: Tensor, scale: float, tau: float) -> Tensor:
        """Log density of parameters less their mean.

        Args:
            deviations: v, `m x P`.
            scale: s.
            tau: Of the prior.

        Returns:
            `m`.
        """
        root = self.root_ratios
        whitened = deviations * root
        quadratic = tau * whitened.square().sum(1) + scale * (self.rotate(whitened).square() @ self.spectrum)
        half_log_determinant = (
            0.5 * torch.log1p(self.spectrum * (scale / tau)).sum() + root.log().sum() + 0.5 * len(root) * math.log(tau)
        )
        return half_log_determinant - 0.5 * (len(root) * math.log(2.0 * math.pi) + quadratic)


@dataclass(frozen=True)
class Rotated:
    """Test points in coordinates along a U of P columns."""

    Q: Tensor
    spectrum: Tensor

    def covariance(self, scale: float, tau: float) -> Tensor:
        """`Q diag(1 / (s e + tau)) Q^T`."""
        return (self.Q / (scale * self.spectrum + tau)) @ self.Q.mT

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals."""
        return self.Q.square() @ (scale * self.spectrum + tau).reciprocal()


@dataclass(frozen=True)
class Reduced:
    """Test points along a U of fewer columns: the prior's covariance less what the data took off it."""

    prior: Tensor
    """`J R^-1 J^T`, `n x C x C`."""
    Q: Tensor
    spectrum: Tensor

    def covariance(self, scale: float, tau: float) -> Tensor:
        """`(J R^-1 J^T - Q diag(s e / (s e + tau)) Q^T) / tau`."""
        return (self.prior - (self.Q * self._taken(scale, tau)) @ self.Q.mT) / tau

    def variance(self, scale: float, tau: float) -> Tensor:
        """Its diagonals; never negative, though it is a difference."""
        difference = self.prior.diagonal(dim1=-2, dim2=-1) - self.Q.square() @ self._taken(scale, tau)
        return difference.clamp_min(0.0) / tau

    def _taken(self, scale: float, tau: float) -> Tensor:
        return scale * self.spectrum / (scale * self.spectrum + tau)


def eigh(A: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, not negative, and eigenvectors, found in double precision and returned in the dtype of A.

    Args:
        A: Positive semidefinite up to rounding, `k x k`.

    Returns:
        `k` and `k x k`.
    """
    values, vectors = torch.linalg.eigh(0.5 * (A + A.mT).double())
    return values.clamp_min(0.0).to(A), vectors.to(A)
