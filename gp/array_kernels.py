"""Kernels on arrays for `gp.regression`: values, and the way back from a function of them, in closed form.

Alphabet. A: `m x d`, B: `n x d` features. g: groups of features that share a lengthscale l. r²: squared distance in
units of the lengthscales. theta: log lengthscales, `g`, then what else a kernel has. W: `m x n`, the derivatives of
some function with respect to the kernel's values.

All are built of Matérn-5/2, `k(r) = (1 + s + s²/3) exp(-s)` with `s = sqrt(5) r`, written as a function of r²:
`dk/d(r²) = -(5/6)(1 + s) exp(-s)` is finite where points coincide, while `dr/dA` is not.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

FloatArray = NDArray[np.float64]
Contraction = Callable[[FloatArray], FloatArray]

LENGTHSCALE_MEDIAN: Final = 0.5
"""Median of the prior of the lengthscale of a function of one variable, in units of the cube's side."""
LENGTHSCALE_LOG_SD: Final = 0.7
"""Standard deviation of the log lengthscale under its prior."""
LENGTHSCALE_BOUNDS: Final = (0.025, 1e3)
"""Where the lengthscales are searched, in units of the cube's side."""
UNSEEN: Final = -1
"""The group of a feature that a kernel does not look at,"""
_BEYOND: Final = 1e100
"""and its lengthscale: finite, so that the feature can be had back from its quotient, whose square is 0 for floats."""
_PIECE: Final = 2**15
"""Most numbers that are worked on at once where there is a choice: more leave the processor's cache."""
_FEW: Final = 2048
"""Numbers from which on a call of torch is worth its overhead of some microseconds."""
ORDER_LOGIT_SD: Final = 1.5
"""Standard deviation of the logit of an `Anova` kernel's order share under its prior, which is centred at one half."""
ORDER_LOGIT_BOUND: Final = 4.0
"""Where that logit is searched, on either side of 0."""


def matern(r2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Matérn-5/2 with unit variance and its derivative with respect to r², any shape."""
    return _matern_of_s(np.sqrt(5.0 * r2))


def _matern_of_s(s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same of `s = sqrt(5) r`, which is overwritten."""
    decay = _exp_of_minus(s)
    value = s * s
    value *= 1.0 / 3.0
    s += 1.0
    value += s
    value *= decay
    s *= decay
    s *= -5.0 / 6.0
    return value, s


def _value_of_s(s: FloatArray, factor: float) -> FloatArray:
    """Matérn-5/2 times a factor, of `s = sqrt(5) r`."""
    decay = _exp_of_minus(s)
    value = s * (factor / 3.0)
    value += factor
    value *= s
    value += factor
    value *= decay
    return value


def _exp_of_minus(s: FloatArray) -> FloatArray:
    minus = -s
    if minus.size < _FEW:
        return np.exp(minus, out=minus)
    torch.from_numpy(minus).exp_()  # in place; vectorised on every processor, as numpy's is not: a fifth of the time
    return minus


def squared_distances(A: FloatArray, B: FloatArray) -> FloatArray:
    """Squared Euclidean distances between the rows of `m x d` and `n x d`, `m x n`; never negative."""
    r2: FloatArray = A @ B.T
    r2 *= -2.0
    r2 += np.einsum("ij,ij->i", A, A)[:, None]
    r2 += np.einsum("ij,ij->i", B, B)
    return np.maximum(r2, 0.0, out=r2)


class Values(Protocol):
    """A kernel's values between two sets of points, and the way back to the first."""

    @property
    def k(self) -> FloatArray:
        """The values, `m x n`."""
        ...

    def pullback(self, W: FloatArray) -> FloatArray:
        """The gradient of `sum(W k)` with respect to the first points, `m x d`."""
        ...


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel of unit variance with one lengthscale a group of features; its hyperparameters come as an argument."""

    groups: NDArray[np.intp]
    """For each feature the index of its lengthscale, `d`; every one of `0 .. g - 1` is used. A feature of `UNSEEN`
    changes nothing."""

    @functools.cached_property
    def _unseen(self) -> NDArray[np.bool_] | None:
        unseen = self.groups == UNSEEN
        return unseen if unseen.any() else None

    @functools.cached_property
    def n_lengthscales(self) -> int:
        """How many lengthscales there are."""
        return int(self.groups.max()) + 1

    def lengthscales(self, theta: FloatArray) -> FloatArray:
        """One lengthscale a feature, `d`."""
        scales: FloatArray = np.exp(theta[: self.n_lengthscales])[self.groups]
        if self._unseen is not None:
            scales[self._unseen] = _BEYOND
        return scales

    @abstractmethod
    def prior(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of theta's independent normal prior, `h` each."""

    @abstractmethod
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where theta is searched, `h` each."""

    def pair_distances(self, X: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """Squared distances of pairs of points along each group's features: what `of_pairs` takes.

        Args:
            X: Features, `n x d`.
            rows: The one point of each pair, `p`,
            columns: and the other.

        Returns:
            `g x p`.
        """
        distances = np.zeros((self.n_lengthscales, len(rows)))
        for feature, group in zip(X.T, self.groups, strict=True):
            if group != UNSEEN:
                distances[group] += np.square(feature[rows] - feature[columns])
        return distances

    @abstractmethod
    def of_pairs(self, theta: FloatArray, distances: FloatArray) -> tuple[FloatArray, Contraction]:
        """Values of pairs of points.

        Args:
            theta: Hyperparameters, `h`.
            distances: Squared distances of each pair along each group's features, `g x p`.

        Returns:
            Values, `p`, and what takes W, `p`, to the gradient of `sum(W k)` with respect to theta, `h`.
        """

    @abstractmethod
    def values(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> FloatArray:
        """Values alone between two sets of points, each already divided by the lengthscales, `m x n`."""

    @abstractmethod
    def between(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> Values:
        """Values between two sets of points, each already divided by the lengthscales."""

    def _lengthscale_prior(self, median: float) -> tuple[FloatArray, FloatArray]:
        # The mode of a log-normal density lies at median exp(-sd²).
        mode = math.log(median) - LENGTHSCALE_LOG_SD**2
        return np.full(self.n_lengthscales, mode), np.full(self.n_lengthscales, LENGTHSCALE_LOG_SD)

    def _lengthscale_bounds(self) -> tuple[FloatArray, FloatArray]:
        low, high = np.log(LENGTHSCALE_BOUNDS)
        return np.full(self.n_lengthscales, low), np.full(self.n_lengthscales, high)


@dataclass(frozen=True)
class Ard(Kernel):
    """Matérn-5/2 of the distance over all features: every variable may interact with every other.

    Reference: Hvarfner et al. 2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions", for a prior of
    the lengthscales that grows with the dimension.
    """

    median: float | None = None
    """Median of the log-normal prior of the lengthscales; None for `LENGTHSCALE_MEDIAN sqrt(g)`."""

    @override
    def prior(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the log lengthscales."""
        usual = LENGTHSCALE_MEDIAN * math.sqrt(self.n_lengthscales)
        return self._lengthscale_prior(usual if self.median is None else self.median)

    @override
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where the log lengthscales are searched."""
        return self._lengthscale_bounds()

    @override
    def of_pairs(self, theta: FloatArray, distances: FloatArray) -> tuple[FloatArray, Contraction]:
        """Values of pairs of points, as in `Kernel`."""
        precision = np.exp(-2.0 * theta)
        k, slope = matern(precision @ distances)

        def contract(W: FloatArray) -> FloatArray:
            gradient: FloatArray = (-2.0 * precision) * (distances @ (W * slope))
            return gradient

        return k, contract

    @override
    def values(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> FloatArray:
        """Values alone between two sets of points, as in `Kernel`."""
        return _value_of_s(np.sqrt(5.0 * squared_distances(A, B)), 1.0)

    @override
    def between(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> Values:
        """Values between two sets of points, as in `Kernel`."""
        k, slope = matern(squared_distances(A, B))
        return _ArdValues(k, slope, A, B, self.lengthscales(theta))


@dataclass(frozen=True)
class _ArdValues:
    k: FloatArray
    slope: FloatArray
    A: FloatArray
    B: FloatArray
    lengthscales: FloatArray

    def pullback(self, W: FloatArray) -> FloatArray:
        W = W * self.slope
        gradient: FloatArray = (W.sum(1)[:, None] * self.A - W @ self.B) * (2.0 / self.lengthscales)
        return gradient


@dataclass(frozen=True)
class Anova(Kernel):
    """`prod_i (1 - w + w k_i)` with a Matérn-5/2 `k_i` a group: sums of functions of few variables.

    Multiplied out it is a sum over all sets S of groups of `w^|S| (1 - w)^(g - |S|) prod_(i in S) k_i`: interactions of
    every order, of which the binomial distribution with mean `g w` tells how much each matters. With w towards 0 the
    function is a sum of functions of one variable each, with w = 1 all of them interact.

    Reference: Durrande et al. 2013, "ANOVA kernels and RKHS of zero mean functions for model-based sensitivity
    analysis"; Duvenaud, Nickisch and Rasmussen 2011, "Additive Gaussian Processes".
    """

    @override
    def prior(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the log lengthscales and of the logit of w."""
        mean, sd = self._lengthscale_prior(LENGTHSCALE_MEDIAN)
        return np.append(mean, 0.0), np.append(sd, ORDER_LOGIT_SD)

    @override
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where they are searched."""
        low, high = self._lengthscale_bounds()
        return np.append(low, -ORDER_LOGIT_BOUND), np.append(high, ORDER_LOGIT_BOUND)

    @override
    def of_pairs(self, theta: FloatArray, distances: FloatArray) -> tuple[FloatArray, Contraction]:
        """Values of pairs of points, as in `Kernel`."""
        share, precision = _sigmoid(theta[-1]), np.exp(-2.0 * theta[:-1])
        parts = []
        for some in _pieces(len(distances), distances.shape[1]):
            parts.append((some, *self._factor(share, *matern(precision[some, None] * distances[some]))))
        k = functools.reduce(np.multiply, (factors.prod(0) for _, factors, _ in parts))

        def contract(W: FloatArray) -> FloatArray:
            gradient = np.zeros(len(theta))
            W = W * k
            total = W.sum()
            for some, factors, slopes in parts:
                scaled = W / factors
                # factor = 1 - w + w k_i, so that its derivative to the logit of w is (1 - w) (factor - 1)
                gradient[-1] += (1.0 - share) * (len(factors) * total - scaled.sum())
                scaled *= slopes
                gradient[:-1][some] = (-2.0 * precision[some]) * np.einsum("gp,gp->g", scaled, distances[some])
            return gradient

        return k, contract

    @staticmethod
    def _factor(share: float, each: FloatArray, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`1 - w + w k_i` and its derivative with respect to r², in the place of `k_i` and its own."""
        each *= share
        each += 1.0 - share
        slope *= share
        return each, slope

    @functools.cached_property
    def _columns(self) -> list[NDArray[np.intp]]:
        """The features of each group."""
        return [np.flatnonzero(self.groups == group) for group in range(self.n_lengthscales)]

    @override
    def values(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> FloatArray:
        """Values alone between two sets of points, as in `Kernel`."""
        share = _sigmoid(theta[-1])
        k = np.ones((len(A), len(B)))
        for factors in self._distances(A, B):
            values = _value_of_s(factors, share)
            values += 1.0 - share
            k *= values.prod(0)
        return k

    def _distances(self, A: FloatArray, B: FloatArray) -> Iterator[FloatArray]:
        """`sqrt(5) r` along each group, some groups at a time in the order of their index, `. x m x n`."""
        if len(self.groups) > self.n_lengthscales:
            for column in self._columns:
                yield np.sqrt(5.0 * squared_distances(A[:, column], B[:, column]))[None]
            return
        A, B = (math.sqrt(5.0) * points.T[self.groups.argsort()] for points in (A, B))
        for some in _pieces(len(A), A.shape[1] * B.shape[1]):
            s = A[some, :, None] - B[some, None, :]
            yield np.abs(s, out=s)

    @override
    def between(self, theta: FloatArray, A: FloatArray, B: FloatArray) -> Values:
        """Values between two sets of points, as in `Kernel`."""
        share = _sigmoid(theta[-1])
        parts = [self._factor(share, *_matern_of_s(s)) for s in self._distances(A, B)]
        factors, slopes = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        return _AnovaValues(factors.prod(0), factors, slopes, self.groups, A, B, self.lengthscales(theta))


@dataclass(frozen=True)
class _AnovaValues:
    k: FloatArray
    factors: FloatArray
    slopes: FloatArray
    groups: NDArray[np.intp]
    A: FloatArray
    B: FloatArray
    lengthscales: FloatArray

    def pullback(self, W: FloatArray) -> FloatArray:
        per_group = (W * self.k) * self.slopes / self.factors  # g x m x n
        total = per_group.sum(2)[self.groups].T
        towards = np.matmul(per_group[self.groups], self.B.T[:, :, None])[:, :, 0].T
        gradient: FloatArray = (total * self.A - towards) * (2.0 / self.lengthscales)
        return gradient


def _pieces(n: int, size: int) -> Iterator[slice]:
    """Slices of n arrays of a size, as many at once as stay in the processor's cache."""
    at_once = max(1, _PIECE // max(1, size))
    for first in range(0, n, at_once):
        yield slice(first, min(first + at_once, n))


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))
