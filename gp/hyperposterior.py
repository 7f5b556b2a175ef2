"""Posterior of the hyperparameters of a Matérn-5/2 Gaussian process, many points at once, with its gradient by formula.

Alphabet. X: `n x d`. y: `n`, of mean 0 and variance 1. z: unconstrained coordinates, `c x dim`: those of the kernel,
the mean of y, and the log noise variance above its floor where noise is learned. rho: inverse squared lengthscales.
s: log signal variance. K: covariance of y. pairs: the `n (n - 1) / 2` entries of K below its diagonal.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from typing_extensions import override

from gp.matern import matern52_and_slope
from inference.density import DensityWithGradient

NOISE_FLOOR: Final = 1e-4
"""Least variance of noise that is learned, in units of the variance of y; BoTorch's."""
BOX: Final = (-25.0, 15.0)
"""Outside of it exponentials of the coordinates are no hyperparameters any more."""
_NOISE_GAMMA: Final = (0.9, 10.0)
"""Shape and rate of the prior of the noise variance above its floor."""
_LOG_TAU2_SCALE: Final = math.log(0.1)
_LOG_2PI: Final = math.log(2.0 * math.pi)


class KernelPrior(ABC):
    """What a Matérn kernel's coordinates mean and how likely they are beforehand."""

    d: int
    """Number of features."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates."""

    @abstractmethod
    def hyperparameters(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log rho, `c x d`, and s, `c`, of coordinates, `c x dim`."""

    @abstractmethod
    def pullback(self, along_log_rho: Tensor, along_s: Tensor) -> Tensor:
        """Gradients along the coordinates, `c x dim`, from those along log rho, `c x d`, and s, `c`."""

    @abstractmethod
    def log_prior(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log prior density of the coordinates, `c`, and its gradient, `c x dim`."""

    @abstractmethod
    def at_lengthscale(self, lengthscale: float) -> Tensor:
        """Coordinates, `dim`, where every lengthscale is the same and the rest is usual."""


@dataclass(frozen=True)
class Saas(KernelPrior):
    """Few features matter: `rho_i = tau2 k_i` with half-Cauchy tau2 (scale 0.1) and k_i (scale 1).

    Coordinates: log tau2, log k_i, s. The signal variance has a Gamma(2, 0.15) prior.

    Reference: Eriksson and Jankowiak 2021, "High-Dimensional Bayesian Optimization with Sparse Axis-Aligned Subspaces".
    """

    d: int

    @property
    @override
    def dim(self) -> int:
        """2 + d."""
        return self.d + 2

    @override
    def hyperparameters(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t[:, :1] + t[:, 1:-1], t[:, -1]

    @override
    def pullback(self, along_log_rho: Tensor, along_s: Tensor) -> Tensor:
        return torch.cat([along_log_rho.sum(1, keepdim=True), along_log_rho, along_s[:, None]], 1)

    @override
    def log_prior(self, t: Tensor) -> tuple[Tensor, Tensor]:
        # With u the log over its scale, log(2 / pi) + u - log(1 + e^(2u)) is log(1 / (pi cosh u)).
        u = t[:, :-1].clone()
        u[:, 0] -= _LOG_TAU2_SCALE
        value = -(u.cosh().log() + math.log(math.pi)).sum(1)
        gradient = -u.tanh()
        of_s, along_s = _log_gamma(t[:, -1], 2.0, 0.15)
        return value + of_s, torch.cat([gradient, along_s[:, None]], 1)

    @override
    def at_lengthscale(self, lengthscale: float) -> Tensor:
        start = torch.full((self.dim,), -2.0 * math.log(lengthscale) - math.log(0.1), dtype=torch.float64)
        start[0], start[-1] = math.log(0.1), 0.0
        return start


@dataclass(frozen=True)
class DimensionScaled(KernelPrior):
    """Lengthscales that grow with the dimension: `log l_i ~ N(sqrt(2) + log(d) / 2, 3)`; signal variance 1.

    Coordinates: log l_i.

    Reference: Hvarfner, Hellsten and Nardi 2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions".
    """

    d: int

    @property
    @override
    def dim(self) -> int:
        """D."""
        return self.d

    @override
    def hyperparameters(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -2.0 * t, torch.zeros_like(t[:, 0])

    @override
    def pullback(self, along_log_rho: Tensor, along_s: Tensor) -> Tensor:
        return -2.0 * along_log_rho

    @override
    def log_prior(self, t: Tensor) -> tuple[Tensor, Tensor]:
        above = t - math.sqrt(2.0) - 0.5 * math.log(self.d)
        value = -above.square().sum(1) / 6.0 - 0.5 * self.d * (_LOG_2PI + math.log(3.0))
        return value, -above / 3.0

    @override
    def at_lengthscale(self, lengthscale: float) -> Tensor:
        return torch.full((self.d,), math.log(lengthscale), dtype=torch.float64)


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of `c` models, in units of y."""

    lengthscales: Tensor
    """`c x d`."""
    signal_variance: Tensor
    """`c`."""
    mean: Tensor
    """`c`."""
    noise_variance: Tensor
    """Of an observation whose noise is not known, `c`; 0 where all are known."""


class Hyperposterior(DensityWithGradient):
    """Evidence times priors: mean N(0, 1), noise variance `1e-4 + Gamma(0.9, 10)`, and the kernel's own prior."""

    def __init__(self, X: Tensor, y: Tensor, known_variance: Tensor, prior: KernelPrior) -> None:
        """Compute what every evaluation needs.

        Args:
            X: `n x d`, float64.
            y: `n`, float64, of mean 0 and variance 1.
            known_variance: Noise variance of each, `n`, in units of y squared; nan where it is to be learned.
            prior: Of the kernel.
        """
        self.dtype, self.device = X.dtype, X.device
        self._prior, self._y = prior, y
        unknown = known_variance.isnan()
        self.learns_noise = bool(unknown.any())
        self._unknown, self._known = unknown.to(y.dtype), known_variance.nan_to_num(0.0)
        self.dim = prior.dim + 1 + int(self.learns_noise)
        n = len(X)
        rows, columns = torch.tril_indices(n, n, -1, device=X.device)
        self._places = rows * n + columns
        self._D = (X[rows] - X[columns]).square()

    def hyperparameters(self, z: Tensor) -> Hyperparameters:
        """What points, `c x dim`, stand for."""
        log_rho, s = self._prior.hyperparameters(z[:, : self._prior.dim])
        noise = z[:, -1].exp() + NOISE_FLOOR if self.learns_noise else torch.zeros_like(s)
        return Hyperparameters((-0.5 * log_rho).exp(), s.exp(), z[:, self._prior.dim], noise)

    @override
    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Lengthscales, signal variance, mean and noise variance by name."""
        return vars(self.hyperparameters(z))

    def noise_diagonal(self, noise_variance: Tensor) -> Tensor:
        """Noise variance of each observation, `c x n`, from the learned one, `c`."""
        return self._known + self._unknown * noise_variance[:, None]

    def starts(self) -> Tensor:
        """Where searches for the mode begin, `4 x dim`: two lengthscales times two noise variances."""
        return torch.stack([
            torch.cat([
                self._prior.at_lengthscale(lengthscale),
                torch.tensor([0.0, math.log(noise)][: 1 + self.learns_noise], dtype=torch.float64),
            ])
            for lengthscale in (0.5, 2.0)
            for noise in (1e-3, 0.1)
        ]).to(self.device)

    def bounds(self) -> Tensor:
        """Within which the mode is sought, `2 x dim`."""
        bounds = torch.tensor([[-14.0], [10.0]], dtype=self.dtype, device=self.device).repeat(1, self.dim)
        bounds[:, self._prior.dim] = torch.tensor([-4.0, 4.0])
        return bounds

    @override
    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities, `c`, -inf outside `BOX` or where K cannot be factored, and gradients, `c x dim`.

        With `alpha = K^-1 (y - mean)` the derivative of the log evidence along an entry of K is
        `M_ij = (alpha_i alpha_j - K^-1_ij) / 2`, and twice that along a pair.

        Args:
            z: Points, `c x dim`.

        Returns:
            Values and gradients.
        """
        c, n, p = len(z), len(self._y), self._prior.dim
        inside = ((z > BOX[0]) & (z < BOX[1])).all(1)
        z = torch.where(inside[:, None], z, torch.zeros_like(z))
        log_rho, s = self._prior.hyperparameters(z[:, :p])
        rho, signal = log_rho.exp(), s.exp()
        k, slope = matern52_and_slope(rho @ self._D.T)
        raw_noise = z[:, -1].exp() if self.learns_noise else torch.zeros_like(s)
        K = torch.zeros(c, n * n, dtype=z.dtype, device=z.device)
        K.index_copy_(1, self._places, signal[:, None] * k)
        K = K.view(c, n, n)
        noise = self.noise_diagonal(raw_noise + NOISE_FLOOR if self.learns_noise else raw_noise)
        K.diagonal(dim1=1, dim2=2).copy_(signal[:, None] + noise)
        L, info = torch.linalg.cholesky_ex(K)
        inverse = torch.cholesky_inverse(L)
        residual = self._y - z[:, p, None]
        alpha = (inverse * residual[:, None]).sum(2)  # a batched product of matrices takes twice as long
        log_diagonal = L.diagonal(dim1=1, dim2=2).log().sum(1)
        value = -0.5 * (residual * alpha).sum(1) - log_diagonal - 0.5 * n * _LOG_2PI
        M = alpha[:, :, None] * alpha[:, None] - inverse
        M = M.mT.reshape(c, -1).index_select(1, self._places)
        on_diagonal = 0.5 * (alpha.square() - inverse.diagonal(dim1=1, dim2=2))
        along_s = signal * ((M * k).sum(1) + on_diagonal.sum(1))
        along_log_rho = signal[:, None] * rho * ((M * slope) @ self._D)
        of_prior, along_prior = self._prior.log_prior(z[:, :p])
        mean = z[:, p]
        value = value + of_prior - 0.5 * mean.square() - 0.5 * _LOG_2PI
        gradient = [self._prior.pullback(along_log_rho, along_s) + along_prior, (alpha.sum(1) - mean)[:, None]]
        if self.learns_noise:
            of_noise, along_noise = _log_gamma(z[:, -1], *_NOISE_GAMMA)
            value = value + of_noise
            gradient.append((raw_noise * (on_diagonal * self._unknown).sum(1) + along_noise)[:, None])
        return torch.where(inside & (info == 0), value, -math.inf), torch.cat(gradient, 1)


def _log_gamma(u: Tensor, shape: float, rate: float) -> tuple[Tensor, Tensor]:
    """Log density of u = log v for v ~ Gamma(shape, rate), and its derivative."""
    scaled = rate * u.exp()
    return shape * (u + math.log(rate)) - scaled - math.lgamma(shape), shape - scaled
