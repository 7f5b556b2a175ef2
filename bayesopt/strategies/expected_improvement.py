"""The default: a space-filling start, then the largest expected improvement under everything that was declared."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.local_search import Acquisition
from bayesopt.strategies.model_based import UtilityBased

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]


class ExpectedImprovement(UtilityBased):
    """Gaussian processes and the log of the constrained expected improvement.

    After the start every trial maximises `LogExpectedImprovement`, or `LogNoisyExpectedImprovement` while the outcomes
    may be noisy.
    """

    @override
    def _acquisition(
        self, surrogate: "Surrogate", pending: FloatArray, normals: FloatArray, rng: np.random.Generator
    ) -> tuple[Acquisition, Acquisition | None]:
        from bayesopt.acquisition.log_expected_improvement import LogExpectedImprovement
        from bayesopt.acquisition.log_noisy_expected_improvement import LogNoisyExpectedImprovement

        if surrogate.is_clean:
            return LogExpectedImprovement(surrogate, pending, normals), None
        exact = LogNoisyExpectedImprovement(surrogate, pending, normals)
        return exact, exact.over_the_best_alone()
