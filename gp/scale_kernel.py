"""A kernel on arrays for the same quantity measured at several scales: cheap proxies and the thing itself.

Alphabet. s: scales. a_s: what a measurement at scale s shares with the common function, in (0, 1). The scale of a point
is one feature a scale, 1 at its own and 0 at the others, so that two points of different scales differ in exactly two
of these features, and `r²` along them tells which.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from gp.array_kernels import Contraction, FloatArray, Kernel, Values, matern, squared_distances

SHARED_MEDIAN: Final = 4.0
"""Median of l in `a = exp(-1/l²)`: two scales correlate with 0.88. Rank correlations of the losses of language models
of different sizes lie between 0.79 and 0.99."""


@dataclass(frozen=True)
class AcrossScales(Kernel):
    """Matérn-5/2 of the other features, times a correlation of rank one between scales.

    `k((x, s), (x', s')) = k(x, x') a_s a_s'` for different scales and `k(x, x')` for the same: with values of unit
    variance at every scale this is the covariance `a a' + diag(1 - a²)`, one factor common to all scales and what is
    each one's own. With `a_s = exp(-1/l_s²)` it is a function of squared distances along the indicator features, whose
    "lengthscales" the l_s are.

    Reference: Bonilla, Chai and Williams 2007, "Multi-task Gaussian Process Prediction".
    """

    n_scales: int
    """How many scales there are; their features come last, and so do their groups, one each."""
    median: float
    """Median of the log-normal prior of the other lengthscales."""

    @functools.cached_property
    def _n_own(self) -> int:
        """Lengthscales that are no scale's."""
        return self.n_lengthscales - self.n_scales

    @functools.cached_property
    def _own(self) -> NDArray[np.bool_]:
        return self.groups < self._n_own

    @override
    def prior(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the logs of the lengthscales."""
        mean, sd = self._lengthscale_prior(self.median)
        mean[self._n_own :] = math.log(SHARED_MEDIAN)
        return mean, sd

    @override
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where they are searched."""
        return self._lengthscale_bounds()

    @override
    def of_pairs(self, theta: FloatArray, distances: FloatArray) -> tuple[FloatArray, Contraction]:
        """Values of pairs of points, as in `Kernel`."""
        own, precision = self._n_own, np.exp(-2.0 * theta)
        each, slope = matern(precision[:own] @ distances[:own])
        shared = np.exp(-(precision[own:] @ distances[own:]))
        k = each * shared
        slope *= shared

        def contract(W: FloatArray) -> FloatArray:
            gradient = np.empty(len(theta))
            gradient[:own] = distances[:own] @ (W * slope)
            gradient[own:] = -(distances[own:] @ (W * k))
            return -2.0 * precision * gradient

        return k, contract

    @override
    def values(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> FloatArray:
        """Values alone between two sets of points, as in `Kernel`."""
        return self._parts(A, B)[0]

    @override
    def between(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> Values:
        """Values between two sets of points, as in `Kernel`."""
        k, slope = self._parts(A, B)
        return _AcrossValues(k, slope, A, B, self.lengthscales(theta), self._own)

    def _parts(self, A: FloatArray, B: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values and their derivatives with respect to r² along the features that are no scale's."""
        each, slope = matern(squared_distances(A[:, self._own], B[:, self._own]))
        shared = np.exp(-squared_distances(A[:, ~self._own], B[:, ~self._own]))
        return each * shared, slope * shared


@dataclass(frozen=True)
class _AcrossValues:
    k: FloatArray
    slope: FloatArray
    A: FloatArray
    B: FloatArray
    lengthscales: FloatArray
    own: NDArray[np.bool_]

    def pullback(self, W: FloatArray) -> FloatArray:
        W = W * self.slope
        gradient: FloatArray = (W.sum(1)[:, None] * self.A - W @ self.B) * (2.0 / self.lengthscales)
        gradient[:, ~self.own] = 0.0  # no point moves from one scale to another
        return gradient
