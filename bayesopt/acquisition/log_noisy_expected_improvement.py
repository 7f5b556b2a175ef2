"""Log of Frazier's noisy expected improvement: what the loop maximises under noise.

Alphabet. A: anchors, the trials that may be returned in the end, `a` of them. x: the point in question. s_e²: noise
variance of one more trial.
"""

import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.base import Gain, LogUtility
from bayesopt.acquisition.loop_terms import log_emax_gain, log_h_and_slope
from bayesopt.surrogate import Surrogate
from gp.regression import Prediction

FloatArray = NDArray[np.float64]

MAX_ANCHORS: Final = 8
"""Trials whose posterior mean may become the best one; the rest are too far behind to."""
MAX_ANCHORS_PENDING: Final = 4
"""The same when fantasies multiply the work."""
_HOPE: Final = 3.0
"""A trial whose mean lies further below the best, in its standard deviations, is left out: it will not become best."""
_OUT_OF_REACH: Final = -1e6
"""What a trial that is infeasible in some fantasy is worth there, on the standardised scale."""
_LEAST_RISE: Final = 1e-12
"""Least difference that the news may make between x and a trial, on the standardised scale."""
_LARGEST_EXPONENT: Final = 700.0
"""Beyond this the exponential overflows."""


class LogNoisyExpectedImprovement(LogUtility):
    """The gain is what one more noisy trial at x is expected to add to the best posterior mean of a told trial.

    The answer will be a trial that was evaluated, so the gain is `E[max over A and x of the mean after x] - max over A
    of the mean now`. One trial moves the means by `b Z` with a standard normal Z and the share of the news that reaches
    point i, `b_i = cov(f_i, f_x) / sqrt(var(f_x) + s_e²)`: the gain is exact, without a fantasy of x, and equal to
    expected improvement where the noise goes to 0. A trial repeated where it is already known well is worth nothing,
    and one repeated where luck may have decided is worth what it can undo.

    Reference: Frazier 2018, "A Tutorial on Bayesian Optimization", section 4.2 (knowledge gradient restricted to
    evaluated points).
    """

    def __init__(self, surrogate: Surrogate, pending: FloatArray, normals: FloatArray) -> None:
        """Draw the fantasies and choose the anchors; arguments as in `LogUtility`."""
        super().__init__(surrogate, pending, normals)
        assert surrogate.objective is not None  # held by the superclass
        self._noise = surrogate.objective.noise_variance
        self._means: FloatArray | None = None
        eligible = self._eligible()
        if eligible is None:
            return
        eligible_rows, means, variance = eligible
        sd = np.sqrt(variance)
        means = np.maximum(means, _OUT_OF_REACH)
        hope = means.mean(1) + sd
        order = np.argsort(-hope, kind="stable")
        most = MAX_ANCHORS if means.shape[1] == 1 else MAX_ANCHORS_PENDING
        hopeful = order[(means.mean(1) + _HOPE * sd)[order] >= means.mean(1).max()]
        # The best mean sets the mark that the gain is measured from, so it is always there.
        best = int(means.mean(1).argmax())
        rows = np.array([best, *hopeful[hopeful != best][: most - 1]])
        self._rows = eligible_rows[rows]
        self._anchors = self._objective.anchor_rows(self._rows)
        self._means = means[rows]

    def over_the_best_alone(self) -> "LogNoisyExpectedImprovement":
        """The gain over the best trial, as if the answer could not turn to another: a lower bound at half the cost."""
        bound = copy.copy(self)
        if self._means is not None:
            bound._means = self._means[:1]
            bound._anchors = self._anchors[:1]
        return bound

    @override
    def _gain(self, prediction: Prediction) -> Gain | None:
        if self._means is None:
            return None
        total = prediction.variance + self._noise
        root = np.sqrt(total)[:, None]
        # b = covariance / root, and for x itself (total - s_e²) / root
        b = np.concatenate([prediction.covariance(self._anchors), prediction.variance[:, None]], 1) / root
        gain = self._of_two(prediction.mean, b) if len(self._means) == 1 else self._of_many(prediction.mean, b)
        along_variance = -0.5 * (gain.along_b[:, :, :-1] * b[:, None, :-1]).sum(2) / total[:, None]
        along_variance += gain.along_b[:, :, -1] * (0.5 * (total + self._noise)[:, None] / (total[:, None] * root))
        return Gain(
            value=gain.value,
            along_mean=gain.along_mean,
            along_variance=along_variance,
            anchors=self._anchors,
            along_covariance=gain.along_b[:, :, :-1] / root[:, :, None],
        )

    def _of_two(self, mean: FloatArray, b: FloatArray) -> "_Gain":
        """The gain where one trial alone can be returned besides x: expected improvement of the difference."""
        assert self._means is not None  # held by the caller
        apart = b[:, 1:] - b[:, :1]
        rise = np.maximum(np.abs(apart), _LEAST_RISE)
        u = (mean - self._means) / rise
        log_h, slope = log_h_and_slope(u)
        along = np.sign(apart) * (1.0 - slope * u) / rise
        return _Gain(log_h + np.log(rise), slope / rise, np.stack([-along, along], 2))

    def _of_many(self, mean: FloatArray, b: FloatArray) -> "_Gain":
        assert self._means is not None  # held by the caller
        m, c = mean.shape
        a = np.concatenate([np.broadcast_to(self._means.T, (m, c, len(self._means))), mean[:, :, None]], 2)
        news = log_emax_gain(a, b[:, None, :])
        along_a, along_b = news.gradients()
        # What is gained over all lines, and what x has over the others before any news.
        lead = np.maximum(mean - self._means.max(0), 0.0)
        with np.errstate(divide="ignore"):
            value = np.logaddexp(news.value, np.log(lead))
        share = np.exp(news.value - np.where(np.isfinite(value), value, 0.0))
        along_mean = along_a[:, :, -1] * share + (lead > 0) * np.exp(np.minimum(-value, _LARGEST_EXPONENT))
        return _Gain(value, along_mean, along_b * share[:, :, None])


@dataclass(frozen=True)
class _Gain:
    value: FloatArray
    """Log gains, `m x c`."""
    along_mean: FloatArray
    """Derivatives with respect to the mean at x, `m x c`."""
    along_b: FloatArray
    """With respect to the share of the news that reaches each anchor, and x, `m x c x (a + 1)`."""
