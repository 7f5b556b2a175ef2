"""An acquisition function less the log of what a trial costs.

Alphabet. U: `m x d` points of the unit cube. kappa: how much a cost counts, 1 in full and 0 not at all.
"""

import numpy as np
from botorch.acquisition.acquisition import AcquisitionFunction
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from bayesopt.acquisition.base import LogUtility, evaluate
from bayesopt.problem.costs import Prices

FloatArray = NDArray[np.float64]


class LogUtilityPerCost(AcquisitionFunction):
    """`log utility - kappa log c(x)`: with kappa = 1 the utility that a unit of cost brings.

    References: Snoek, Larochelle and Adams 2012 (improvement per second); Lee et al. 2020, "Cost-aware Bayesian
    Optimization" (kappa that falls with the budget).
    """

    def __init__(self, utility: LogUtility, prices: Prices, kappa: float) -> None:
        """Weigh a utility.

        Args:
            utility: The acquisition function.
            prices: What configurations cost.
            kappa: The weight.
        """
        super().__init__(model=utility.model)
        self.utility, self._prices, self.kappa = utility, prices, kappa

    def values(self, U: FloatArray) -> FloatArray:
        """Values alone, `m`, at `m x d` points."""
        return self.utility.values(U) - self.kappa * self._prices.log_expected(U)[0]

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values, `m`, and gradients, `m x d`, at `m x d` points; no graph is built."""
        value, gradient = self.utility.value_and_gradient(U)
        log_cost, along_cost = self._prices.log_expected(U)
        return value - self.kappa * log_cost, gradient - self.kappa * along_cost

    @override
    def forward(self, X: Tensor) -> Tensor:
        """Values of single points, `b x 1 x d`, differentiable once; `b`."""
        return evaluate(X, self)
