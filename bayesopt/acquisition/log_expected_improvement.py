"""Log expected improvement over the best posterior mean: what the loop maximises while outcomes are deterministic."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.base import Gain, LogUtility
from bayesopt.acquisition.loop_terms import log_h_and_slope
from bayesopt.surrogate import Surrogate
from gp.regression import Prediction

FloatArray = NDArray[np.float64]


class LogExpectedImprovement(LogUtility):
    """The gain is the improvement on the best posterior mean among the trials that may be returned.

    These are the told trials with probability of feasibility at least one half, and in each fantasy the pending ones
    that are probably feasible there.

    References: Jones, Schonlau and Welch 1998; Ament et al. 2023 (in logs).
    """

    def __init__(self, surrogate: Surrogate, pending: FloatArray, normals: FloatArray) -> None:
        """Draw the fantasies and find the incumbents; arguments as in `LogUtility`."""
        super().__init__(surrogate, pending, normals)
        eligible = self._eligible()
        self.incumbents: FloatArray | None = None if eligible is None else eligible[1].max(0)
        """What an improvement is measured from, one a fantasy, `c`; None while nothing told is probably feasible."""

    @override
    def _gain(self, prediction: Prediction) -> Gain | None:
        if self.incumbents is None:
            return None
        sd = np.sqrt(prediction.variance)[:, None]
        u = (prediction.mean - self.incumbents) / sd
        value, slope = log_h_and_slope(u)
        return Gain(value + np.log(sd), slope / sd, 0.5 * (1.0 - slope * u) / np.square(sd))
