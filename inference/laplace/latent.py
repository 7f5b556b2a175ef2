"""Laplace's approximation for latent Gaussian models: f is normal beforehand, each observation is of one value of f.

Alphabet. b: batch of problems, any shape. n: latent values. K: prior covariance, `b x n x n`. m: prior mean, `b x n` or
what broadcasts to it. y: observations, `b x n`. f: latent values at the mode. d1, W, d3: first, minus second and third
derivatives of the log likelihood in f. a: `K^-1 (f - m)`, which the mode makes equal to d1.
`B = I + W^1/2 K W^1/2 = L L^T`, whose eigenvalues are at least 1 whatever K's are. R: `W^1/2 B^-1 W^1/2`.

Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", chapter 3, for the algebra.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InferenceWarning, InvalidInputError
from inference.laplace.expectation_propagation import refine
from inference.laplace.sites import LatentPosterior, factor
from inference.likelihoods import Likelihood, Terms

_TOLERANCE: Final = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Newton's method ends where a step gains less than this share of the objective's size (or of 1): as it converges
quadratically, the mode is then exact in floats."""
_MAX_STEPS: Final = 100
"""Of Newton's method: 4 to 10 are normal, Fisher scoring takes about 20."""
_MAX_HALVINGS: Final = 20
"""Of one step."""
_RESIDUAL: Final = 1e-3
"""What the mode's equation `a = d1` may be off by, relative to the largest d1 or to 1, where the method says that it
has converged."""


@dataclass(frozen=True)
class LatentLaplace:
    """Laplace's approximation under one likelihood.

    The evidence is differentiable in K and m, hence in whatever hyperparameters made them; its gradient is exact,
    with the movement of the mode. Laplace's posterior of a binary model is too narrow and too near to the prior mean:
    for predictions `expectation_propagation` refines it, at the cost of some Newton steps more.

    Example:
        >>> from inference.likelihoods import Bernoulli
        >>> model = LatentLaplace(Bernoulli())
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> posterior = model.posterior(K=one[:, None], m=0.0 * one, y=one)
        >>> round(posterior.mean.item(), 6), round(posterior.log_evidence.item(), 6)
        (0.506054, -0.700696)
    """

    likelihood: Likelihood
    """Of each observation given its latent value."""

    def log_evidence(self, K: Tensor, m: Tensor, y: Tensor) -> Tensor:
        """Laplace's approximation of the log probability of the observations.

        Args:
            K: Prior covariance, `b x n x n`; symmetric and positive semidefinite.
            m: Prior mean, `b x n` or what broadcasts to it.
            y: Observations that broadcast to `b x n`.

        Returns:
            `b`, differentiable once in K and m.

        Raises:
            InvalidInputError: If a shape, dtype or observation cannot be used.
        """
        K, m, y = self._checked(K, m, y)
        evidence: Tensor = _Evidence.apply(K, m, y, self.likelihood)
        return evidence

    def posterior(self, K: Tensor, m: Tensor, y: Tensor) -> LatentPosterior:
        """The Gaussian at the mode.

        Args:
            K: As in `log_evidence`.
            m: Likewise.
            y: Likewise.

        Returns:
            The posterior, without a graph.

        Raises:
            InvalidInputError: If a shape, dtype or observation cannot be used.
        """
        K, m, y = self._checked(K, m, y)
        with torch.no_grad():
            mode = _newton(K, m, y, self.likelihood)
        if not bool(mode.converged.all()):
            warnings.warn(
                f"LatentLaplace: no mode was found within {_MAX_STEPS} steps for {int((~mode.converged).sum())} of "
                f"{mode.converged.numel()} problems. Likely cause: a prior variance far beyond what y can tell.",
                InferenceWarning,
                stacklevel=2,
            )
        return LatentPosterior(
            K=K.detach(),
            prior_mean=m.detach(),
            weight=mode.terms.weight,
            location=mode.terms.weight * mode.f + mode.terms.slope,
            a=mode.a,
            factor=mode.L,
            log_evidence=mode.log_evidence,
            diagnostics={"converged": mode.converged, "steps": mode.steps},
        )

    def expectation_propagation(self, K: Tensor, m: Tensor, y: Tensor) -> LatentPosterior:
        """The Gaussian whose marginals agree with those under each exact observation: for probit labels.

        It starts from Laplace's and moves all sites at once, damped. Its evidence is far more accurate than Laplace's:
        of a single observation it is exact.

        Args:
            K: As in `log_evidence`.
            m: Likewise.
            y: Likewise.

        Returns:
            The posterior, without a graph.

        Raises:
            InvalidInputError: If the likelihood is not a probit, or a shape, dtype or label cannot be used.

        Reference: Minka 2001, "Expectation propagation for approximate Bayesian inference"; Kuss and Rasmussen 2005,
        "Assessing approximate inference for binary Gaussian process classification".
        """
        if not self.likelihood.is_probit:
            raise InvalidInputError(
                "likelihood: expectation propagation is there for Bernoulli('probit'), whose moments have a closed "
                f"form, got {self.likelihood}. Use Laplace's `posterior`."
            )
        start = self.posterior(K, m, y)
        return refine(start, torch.broadcast_to(y, start.a.shape))

    def _checked(self, K: Tensor, m: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if K.dim() < 2 or K.shape[-1] != K.shape[-2] or K.dtype not in _TOLERANCE:
            raise InvalidInputError(f"K: expected `... x n x n`, float64 or float32, got {tuple(K.shape)}, {K.dtype}.")
        shape = K.shape[:-1]
        for name, value in (("m", m), ("y", y)):
            if value.dtype != K.dtype:
                raise InvalidInputError(f"{name}: expected {K.dtype} as K has, got {value.dtype}.")
            try:
                torch.broadcast_to(value, shape)
            except RuntimeError:
                raise InvalidInputError(
                    f"{name}: expected what broadcasts to {tuple(shape)}, got {tuple(value.shape)}."
                ) from None
        self.likelihood.check(y)
        return K, torch.broadcast_to(m, shape), torch.broadcast_to(y, shape)


class _Mode(NamedTuple):
    f: Tensor
    a: Tensor
    L: Tensor
    terms: Terms
    log_evidence: Tensor
    converged: Tensor
    steps: int


def _newton(K: Tensor, m: Tensor, y: Tensor, likelihood: Likelihood) -> _Mode:
    """The mode of `Psi(f) = log p(y | f) - (f - m)^T K^-1 (f - m) / 2`, by damped Newton steps on a.

    A member of the batch that has arrived stays there while others go on.

    Args:
        K: `b x n x n`.
        m: `b x n`.
        y: `b x n`.
        likelihood: Of y.

    Returns:
        The mode, without a graph.
    """
    tolerance = _TOLERANCE[K.dtype]

    def objective(a: Tensor) -> tuple[Tensor, Tensor, Terms]:
        shift = _times(K, a)
        terms = likelihood.terms(m + shift, y)
        return terms.log_density.sum(-1) - 0.5 * (a * shift).sum(-1), m + shift, terms

    a = torch.zeros_like(m)
    psi, f, terms = objective(a)
    running = torch.ones_like(psi, dtype=torch.bool)
    steps = 0
    while steps < _MAX_STEPS and bool(running.any()):
        steps += 1
        root = terms.step_weight.sqrt()
        target = terms.step_weight * (f - m) + terms.slope
        direction = target - root * _solve(factor(K, root), root * _times(K, target)) - a
        # A step that rounding alone makes worse is taken: there is nothing more to gain.
        least = psi - tolerance * psi.abs().clamp_min(1.0)
        share, pending = torch.ones_like(psi), running
        for _ in range(_MAX_HALVINGS):
            new_psi, _, _ = new = objective(a + share[..., None] * direction)
            pending = running & ~(new_psi >= least)  # nan counts as worse
            if not bool(pending.any()):
                break
            share = torch.where(pending, 0.5 * share, share)
        moves = running & ~pending
        gain = torch.where(moves, (new[0] - psi).abs(), torch.zeros_like(psi))
        a = torch.where(moves[..., None], a + share[..., None] * direction, a)
        psi, f, terms = objective(a)
        running = moves & (gain > tolerance * psi.abs().clamp_min(1.0))
    # Where no halving helped, the direction is lost to rounding: it has arrived if the mode's equation holds.
    residual = (a - terms.slope).abs().amax(-1)
    converged = ~running & (residual <= _RESIDUAL * terms.slope.abs().amax(-1).clamp_min(1.0))
    L = factor(K, terms.weight.sqrt())
    log_evidence = psi - L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return _Mode(f, a, L, terms, log_evidence, converged, steps)


class _Evidence(torch.autograd.Function):
    """The log evidence as a function of K and m, with the derivative through the mode in closed form."""

    @staticmethod
    @override
    def forward(ctx: Any, K: Tensor, m: Tensor, y: Tensor, likelihood: Likelihood) -> Tensor:
        mode = _newton(K, m, y, likelihood)
        ctx.save_for_backward(K, mode.a, mode.L, mode.terms.slope, mode.terms.weight, mode.terms.weight_slope)
        return mode.log_evidence

    @staticmethod
    @override
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        K, a, L, slope, weight, weight_slope = ctx.saved_tensors
        root = weight.sqrt()
        inverse_root = torch.linalg.solve_triangular(L, torch.diag_embed(root), upper=False)  # L^-1 W^1/2
        R = inverse_root.mT @ inverse_root
        variance = K.diagonal(dim1=-2, dim2=-1) - (inverse_root @ K).square().sum(-2)
        # what log|B| loses as the mode moves, through the weights; then (I + K W)^-T of it
        along_mode = 0.5 * variance * weight_slope
        u = along_mode - _times(R, _times(K, along_mode))
        outer = slope[..., :, None] * u[..., None, :]
        along_K = 0.5 * (a[..., :, None] * a[..., None, :] - R + outer + outer.mT)
        (g,) = grad_outputs
        return g[..., None, None] * along_K, g[..., None] * (a + u), None, None


def _times(A: Tensor, x: Tensor) -> Tensor:
    return (A @ x[..., None])[..., 0]


def _solve(L: Tensor, x: Tensor) -> Tensor:
    return torch.cholesky_solve(x[..., None], L)[..., 0]
