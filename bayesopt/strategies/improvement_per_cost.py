"""Expected improvement for each unit of cost."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.local_search import Acquisition
from bayesopt.strategies.expected_improvement import ExpectedImprovement

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]


class ImprovementPerCost(ExpectedImprovement):
    """What `ExpectedImprovement` maximises, divided by what a trial is expected to cost.

    Costs are those of `Budget(cost_of=...)` or learned from what trials were told with. With `cooled=True` they count
    less the more of the budget is spent, `log EI - (left / budget) log c`: a search that only ever looks at the price
    stays in the cheap corner. Where costs hardly vary, or nothing was told of them, it is `ExpectedImprovement`.

    Reference: Lee et al. 2020, "Cost-aware Bayesian Optimization".

    Example:
        >>> import bayesopt as bo
        >>> strategy = bo.strategies.ImprovementPerCost(cooled=True)
        >>> space = bo.Space({"lr": bo.Float(1e-4, 1.0, log=True)})
        >>> study = bo.Study(space, minimize="loss", strategy=strategy, budget=bo.Budget(seconds=3600.0))
    """

    def __init__(self, n_initial: int | None = None, *, cooled: bool = False) -> None:
        """Choose how much costs count.

        Args:
            n_initial: As in `ModelBased`.
            cooled: Whether they count less and less.

        Raises:
            InvalidInputError: If `n_initial` is negative or no whole number.
        """
        super().__init__(n_initial)
        self.cooled = cooled

    @override
    def _acquisition(
        self, surrogate: "Surrogate", pending: FloatArray, normals: FloatArray, rng: np.random.Generator
    ) -> tuple[Acquisition, Acquisition | None]:
        exact, guide = super()._acquisition(surrogate, pending, normals, rng)
        prices, spending = surrogate.history.prices, surrogate.history.spending
        if prices is None:
            return exact, guide
        from bayesopt.acquisition.base import LogUtility
        from bayesopt.acquisition.per_cost import LogUtilityPerCost

        kappa = spending.share_left if self.cooled and spending is not None else 1.0

        def priced(utility: Acquisition) -> Acquisition:
            assert isinstance(utility, LogUtility)  # the superclass makes no others
            return LogUtilityPerCost(utility, prices, kappa)

        return priced(exact), None if guide is None else priced(guide)
