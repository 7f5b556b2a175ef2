"""The Gittins index of Pandora's boxes: the value that a configuration is still worth opening for, at its price.

Alphabet. mu, s: posterior mean and standard deviation of the objective, larger is better. c: cost of a trial. lambda:
what a unit of cost is worth, in units of the objective. g: the index. h(u) = phi(u) + u Phi(u). u = (mu - g) / s.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from bayesopt.acquisition.base import Utility
from bayesopt.acquisition.loop_terms import inv_log_h, log_h_and_slope, log_ndtr_and_slope
from bayesopt.acquisition.primitives import inv_log_h as inv_log_h_of_tensor
from bayesopt.errors import InvalidInputError
from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

_HOPELESS: Final = 100.0
"""Log of price over standard deviation and chance from which one trial is as bad as another: their index is -1e43."""


def gittins_index(mean: Tensor, sd: Tensor, log_price: Tensor) -> Tensor:
    """The incumbent at which opening a box no longer pays: `EI(x; g) = lambda c(x)`, solved for g.

    Since `EI = s h(u)`, it is `g = mu - s inv_log_h(log lambda + log c - log s)`: no search, and differentiable by
    autograd, `dg = dmu - u ds + (h / Phi) (ds - s dlog c)`.

    Args:
        mean: mu, any shape.
        sd: s, positive, same shape.
        log_price: `log lambda + log c`, same shape; of a lognormal cost the log of its mean.

    Returns:
        g, same shape.

    References: Weitzman 1979, "Optimal Search for the Best Alternative"; Xie et al. 2024, "Cost-aware Bayesian
    Optimization via the Pandora's Box Gittins Index".

    Example:
        >>> import torch
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> gittins_index(0 * one, one, torch.log(0.3989422804014327 * one)).abs() < 1e-12  # EI(x; mu) = s phi(0)
        tensor([True])
    """
    return mean - sd * inv_log_h_of_tensor(log_price - sd.log())


class GittinsIndex(Utility):
    """The index of each configuration of the loop: the next trial is the one that stays worth its price longest.

    With constraints and crashes an improvement comes about with probability p, and `p EI(x; g) = lambda c(x)`. Pending
    trials are taken to bring their posterior mean. The index is in the units of the objective's model.
    """

    def __init__(self, surrogate: Surrogate, pending: FloatArray, price: float) -> None:
        """Take over the models.

        Args:
            surrogate: The fitted models; the objective's must exist.
            pending: Trials without an outcome, `p x d` points of the cube.
            price: lambda, in units of the objective's model for a unit of cost.

        Raises:
            InvalidInputError: If the history knows no costs.
        """
        n_outcomes = 1 + len(surrogate.history.outcomes.constraints)
        super().__init__(surrogate, pending, np.zeros((n_outcomes, len(pending), 1)))
        if surrogate.history.prices is None:
            raise InvalidInputError(
                f"{type(self).__name__} weighs what trials cost, and no cost is known: tell(trial, values, cost=...), "
                "or Budget(cost_of=...)."
            )
        self._prices = surrogate.history.prices
        self._log_price = float(np.log(price))
        eligible = self._eligible()
        self.incumbent: float | None = None if eligible is None else float(eligible[1].max(0).mean())
        """What an index is to be above; None while nothing told is probably feasible."""

    @override
    def _evaluate(self, U: FloatArray, *, with_gradient: bool) -> tuple[FloatArray, FloatArray]:
        surrogate = self._surrogate
        Z = surrogate.features(U)
        objective = self._objective.predict(Z)
        sd = np.sqrt(objective.variance)
        log_cost, along_cost = self._prices.log_expected(U)
        t = self._log_price + log_cost - np.log(sd)
        chances = [(p.predict(Z), -1.0, 0.0) for p in self._predictors[1:] if p is not None]
        if surrogate.survival is not None:
            chances.append((surrogate.survival.predictor.predict(Z), 1.0, surrogate.survival.noise_variance))
        slopes = []
        for prediction, sign, noise in chances:
            spread = np.sqrt(prediction.variance + noise)
            z = sign * prediction.mean[:, 0] / spread
            log_chance, slope = log_ndtr_and_slope(z)
            t = t - log_chance
            slopes.append((prediction, sign * slope / spread, -0.5 * slope * z / spread**2))
        u = inv_log_h(np.minimum(t, _HOPELESS))
        index = objective.mean[:, 0] - sd * u
        if not with_gradient:
            return index, np.zeros((0, 0))
        steepness = np.where(t < _HOPELESS, sd / log_h_and_slope(u)[1], 0.0)  # of sd inv_log_h(t) in t
        ones = np.ones((len(U), 1))
        gradient = objective.pullback(ones, (steepness / sd - u) / (2.0 * sd))
        for prediction, along_mean, along_variance in slopes:
            gradient += prediction.pullback((steepness * along_mean)[:, None], steepness * along_variance)
        return index, surrogate.features.pullback(U, gradient) - steepness[:, None] * along_cost
