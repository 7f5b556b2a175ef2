"""The exponential law of data mixtures: how a loss falls with the proportions that a model is trained on.

Alphabet. n: runs. m: groups of data. p: proportions, `m`, which sum to 1. D: losses of one run (of validation domains),
in nats a token as a rule. For each of them

    L(p) = c + exp(b + sum_j t_j p_j),    c > 0,

m + 2 parameters. A weighted mean of losses is a sum of such terms and no such term itself: fit each loss on its own.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import non_negative

FloatArray = NDArray[np.float64]

_STARTS: Final = (0.5, 0.8, 0.95)
"""Where the fit starts: shares of the least loss that cannot be trained away."""
_LEAST_EXPONENT: Final = -30.0
"""Exponents are kept between this"""
_MOST_EXPONENT: Final = 8.0
"""and this while the fit looks around: a loss of e^8 nats is none, and larger ones would overflow."""
_EVALUATIONS: Final = 100
"""Steps of a fit, at most; on 358 mixtures of 17 groups it needs 10 to 30."""
SUM_TOLERANCE: Final = 0.05
"""Proportions may miss the sum of 1 by this and are then divided by their sum: published tables round to 3 digits."""


def proportions(name: str, value: Any) -> FloatArray:
    """Rows of proportions, each divided by its sum.

    Args:
        name: What they are, for the message.
        value: `n x m`, non-negative; a row sums to 1 up to the rounding of published tables.

    Returns:
        `n x m`, rows that sum to 1.

    Raises:
        InvalidInputError: If they are no such matrix.

    Example:
        >>> proportions("p", [[0.2, 0.802]]).sum()
        np.float64(1.0)
    """
    try:
        P = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name}: expected rows of numbers, got {value!r}.") from None
    if P.ndim != 2 or P.shape[1] < 2:
        raise InvalidInputError(f"{name}: expected `n x m` with m >= 2 groups, got the shape {P.shape}.")
    wrong = ~(np.isfinite(P).all(1) & (P >= 0).all(1) & (np.abs(P.sum(1) - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(
            f"{name}: row {row} is no mixture: {P[row].tolist()!r}; proportions are finite, not negative, and sum to 1 "
            f"(give or take {SUM_TOLERANCE:g}, for rounding)."
        )
    return P / P.sum(1, keepdims=True)


@dataclass(frozen=True)
class MixingParameters:
    """The fitted numbers, a row a loss."""

    c: FloatArray
    """What no mixture trains away, `D`, in units of the losses."""
    b: FloatArray
    """Log of what is left at no data, `D`."""
    t: FloatArray
    """Rates, `D x m`: below 0 where data of a group lower the loss."""


class ExpMixingLaw:
    """`L(p) = c + exp(b + t . p)`, fitted to each of several losses by regularised least squares.

    The residual and its derivatives are in closed form (Levenberg and Marquardt's method, three starts); a ridge on t
    makes it well posed with fewer runs than parameters.

    Reference: Ye et al., "Data Mixing Laws: Optimizing Data Mixtures by Predicting Language Modeling Performance".

    Example:
        >>> P = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
        >>> law = ExpMixingLaw(ridge=1e-9).fit(P, 2.0 + np.exp(0.5 - 3.0 * P[:, 0]))
        >>> float(law.predict([[0.6, 0.4]])[0].round(3)), float(np.round(2 + np.exp(0.5 - 1.8), 3))
        (2.273, 2.273)
    """

    def __init__(self, *, ridge: float = 1e-5) -> None:
        """A law to be fitted.

        Args:
            ridge: Weight of `|t|²` beside half the sum of squared residuals, in squared units of the losses. On the
                13 losses of RegMix, unseen mixtures, 1e-3 explains 0.900 of the variance, 1e-5 and less 0.912.

        Raises:
            InvalidInputError: If it is no finite number of at least 0.
        """
        self.ridge = non_negative("ExpMixingLaw(ridge=...)", ridge)
        self._fitted: MixingParameters | None = None
        self._residual_sd = np.zeros(0)
        self._is_vector = False

    @property
    def parameters(self) -> MixingParameters:
        """What `fit` found.

        Raises:
            InvalidInputError: Before `fit`.
        """
        if self._fitted is None:
            raise InvalidInputError("ExpMixingLaw: nothing is fitted yet; call .fit(proportions, losses) first.")
        return self._fitted

    @property
    def residual_sd(self) -> FloatArray:
        """Root mean square of what the law leaves of each loss, `D`, over the degrees of freedom that are left."""
        return self._residual_sd

    def fit(self, P: ArrayLike, losses: ArrayLike) -> "ExpMixingLaw":
        """Fit each loss on its own.

        Args:
            P: Proportions of the runs, `n x m`.
            losses: Their losses, `n` or `n x D`, positive.

        Returns:
            This law.

        Raises:
            InvalidInputError: If the two do not fit one another, or a loss is not positive and finite.
        """
        mixtures = proportions("ExpMixingLaw.fit(proportions)", P)
        try:
            Y = np.array(losses, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidInputError(f"ExpMixingLaw.fit(losses): expected numbers, got {losses!r}.") from None
        if Y.ndim not in (1, 2) or len(Y) != len(mixtures) or len(Y) < 2:
            raise InvalidInputError(
                f"ExpMixingLaw.fit(losses): expected `n` or `n x D` for the n={len(mixtures)} mixtures, at least 2, "
                f"got the shape {Y.shape}."
            )
        if not (np.isfinite(Y).all() and (Y > 0).all()):
            raise InvalidInputError(
                "ExpMixingLaw.fit(losses): expected positive finite losses; leave out runs that diverged."
            )
        self._is_vector = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        found = [_fit(mixtures, y, self.ridge) for y in Y.T]
        self._fitted = MixingParameters(
            np.array([np.exp(x[0]) for x in found]), np.array([x[1] for x in found]), np.array([x[2:] for x in found])
        )
        freedom = max(1, len(Y) - mixtures.shape[1] - 2)
        self._residual_sd = np.sqrt(np.square(self._values(mixtures) - Y).sum(0) / freedom)
        return self

    def predict(self, P: ArrayLike) -> FloatArray:
        """Losses of mixtures.

        Args:
            P: Proportions, `k x m`.

        Returns:
            `k` if `fit` took a vector, else `k x D`.

        Raises:
            InvalidInputError: Before `fit`, or for another number of groups.
        """
        values = self._values(self._checked(P))
        return values[:, 0] if self._is_vector else values

    def gradient(self, P: ArrayLike) -> FloatArray:
        """Slopes of the losses along each proportion, as if they did not have to sum to 1.

        Args:
            P: Proportions, `k x m`.

        Returns:
            `k x m` if `fit` took a vector, else `k x D x m`.

        Raises:
            InvalidInputError: Before `fit`, or for another number of groups.
        """
        mixtures = self._checked(P)
        slopes = np.exp(self.parameters.b + mixtures @ self.parameters.t.T)[:, :, None] * self.parameters.t
        return slopes[:, 0] if self._is_vector else slopes

    def _checked(self, P: ArrayLike) -> FloatArray:
        mixtures = proportions("ExpMixingLaw: proportions", P)
        m = self.parameters.t.shape[1]
        if mixtures.shape[1] != m:
            raise InvalidInputError(f"ExpMixingLaw: expected {m} groups, as in the fit, got {mixtures.shape[1]}.")
        return mixtures

    def _values(self, mixtures: FloatArray) -> FloatArray:
        law = self.parameters
        values: FloatArray = law.c + np.exp(law.b + mixtures @ law.t.T)
        return values


def _fit(P: FloatArray, y: FloatArray, ridge: float) -> FloatArray:
    """The best of three fits to one loss: log c, b and t, `m + 2`."""
    from scipy.optimize import least_squares  # takes a third of a second to load

    n, m = P.shape
    root = np.sqrt(2.0 * ridge)

    def residual(x: FloatArray) -> FloatArray:
        exponent = np.clip(x[1] + P @ x[2:], _LEAST_EXPONENT, _MOST_EXPONENT)
        return np.concatenate([np.exp(x[0]) + np.exp(exponent) - y, root * x[2:]])

    def slopes(x: FloatArray) -> FloatArray:
        exponent = x[1] + P @ x[2:]
        inside = (exponent > _LEAST_EXPONENT) & (exponent < _MOST_EXPONENT)
        term = np.exp(np.clip(exponent, _LEAST_EXPONENT, _MOST_EXPONENT)) * inside
        J = np.zeros((n + m, m + 2))
        J[:n, 0], J[:n, 1], J[:n, 2:] = np.exp(x[0]), term, term[:, None] * P
        J[n + np.arange(m), 2 + np.arange(m)] = root
        return J

    fits = []
    for share in _STARTS:
        c = share * y.min()
        start = np.concatenate([[np.log(c), np.log(np.mean(y) - c)], np.zeros(m)])
        fits.append(least_squares(residual, start, slopes, method="lm", max_nfev=_EVALUATIONS))
    best: FloatArray = min(fits, key=lambda fit: fit.cost).x
    return best
