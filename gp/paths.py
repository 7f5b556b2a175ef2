"""Whole functions drawn from a Gaussian process, before and after its data, at given points and anywhere else.

Alphabet. X: the `n x d` conditioning points. Z: `m x d` points at which the functions are drawn, X first. S: functions.
L: Cholesky factor of `K_ZZ`. W: `m x S` standard normal numbers, so that `L W` are functions before the data. A: points
anywhere, `b x d`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gp.array_kernels import FloatArray, Values
from gp.regression import LEAST_VARIANCE, Predictor, cholesky, inverse_of_factor

_JITTER: Final = 1e-6
"""Added to the unit diagonal of K_ZZ, in which many points may nearly coincide."""


@dataclass(frozen=True)
class Paths:
    """The same functions before and after the data: what the data have moved them by is all that differs."""

    prior: FloatArray
    """Functions before the data at Z, `m x S`, in units of Y; they vary about the model's mean."""
    posterior: FloatArray
    """The same functions after the data, `m x S`."""
    _predictor: Predictor
    _scaled_Z: FloatArray
    _normals: FloatArray
    _inverse_factor: FloatArray
    _moved_by: FloatArray

    def at(self, A: FloatArray) -> "PathsElsewhere":
        """The functions after the data at other points, as far as their values at Z tell.

        Args:
            A: Points, `b x d`.

        Returns:
            Mean and variance of each function there, given its values at Z.
        """
        p = self._predictor
        scaled = A / p.lengthscales
        k = p.values(scaled, self._scaled_Z)
        half = k @ self._inverse_factor.T
        mean = p.prior_mean(scaled) + half @ self._normals + k[:, : len(self._moved_by)] @ self._moved_by
        variance = np.maximum(1.0 - np.einsum("ij,ij->i", half, half), LEAST_VARIANCE)
        return PathsElsewhere(p.offset + p.scale * mean, p.scale**2 * variance, self, scaled, half)


@dataclass(frozen=True)
class PathsElsewhere:
    """Functions given their values at Z, and the way back to the points."""

    mean: FloatArray
    """Mean of each function, `b x S`, in units of Y."""
    variance: FloatArray
    """What is left open of it, `b`, in units of Y squared; the same for all of them."""
    _paths: Paths
    _scaled: FloatArray
    _half: FloatArray

    def pullback(self, grad_mean: FloatArray, grad_variance: FloatArray) -> FloatArray:
        """Gradient with respect to the points of a function of means and variances.

        Args:
            grad_mean: The function's derivatives with respect to `mean`, `b x S`.
            grad_variance: Its derivatives with respect to `variance`, `b`.

        Returns:
            Derivatives with respect to the features of each point, `b x d`.
        """
        paths = self._paths
        p = paths._predictor
        towards = p.scale * grad_mean
        half = towards @ paths._normals.T - (2.0 * p.scale**2) * grad_variance[:, None] * self._half
        weights = half @ paths._inverse_factor
        weights[:, : len(paths._moved_by)] += towards @ paths._moved_by.T
        values: Values = p.between(self._scaled, paths._scaled_Z)
        gradient = values.pullback(weights)
        if p.slope != 0.0:
            gradient[:, -1] += p.slope * towards.sum(1)
        return gradient


def draw_paths(predictor: Predictor, X: FloatArray, n_paths: int, rng: np.random.Generator) -> Paths:
    """Draw functions jointly at the conditioning points and at others, by one factorisation.

    Matheron's rule: a function f0 from the prior becomes one from the posterior by `f0 + k(., X) K^-1 (y - f0(X) - e)`
    with noise e of its own. Cost `O(m³ + m² S)`.

    Args:
        predictor: The conditioned process; it must have one column of targets.
        X: The other points, `(m - n) x d`.
        n_paths: How many functions, S.
        rng: Draws them.

    Returns:
        The functions at Z, the conditioning points before the others.

    Raises:
        NotPositiveDefiniteError: If `K_ZZ` cannot be factored with any jitter.

    Reference: Wilson et al. 2020, "Efficiently Sampling Functions from Gaussian Process Posteriors".
    """
    p, n = predictor, len(predictor.scaled_X)
    scaled = np.concatenate([p.scaled_X, X / p.lengthscales])
    K = p.values(scaled, scaled)
    K.flat[:: len(K) + 1] = 1.0 + _JITTER
    L = cholesky(K, "K_ZZ of the drawn functions")
    normals = rng.standard_normal((len(scaled), n_paths))
    before = p.prior_mean(scaled) + L @ normals
    noise = np.sqrt(p.diagonal)[:, None] * rng.standard_normal((n, n_paths))
    moved_by = p.inverse_factor.T @ (p.inverse_factor @ (p.targets - before[:n] - noise))
    after = before + K[:, :n] @ moved_by
    return Paths(
        p.offset + p.scale * before,
        p.offset + p.scale * after,
        p,
        scaled,
        normals,
        inverse_of_factor(L),
        moved_by,
    )
