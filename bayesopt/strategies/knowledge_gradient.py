"""For noisy objectives whose final answer may be a configuration that was never tried: the knowledge gradient."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.acquisition.local_search import Acquisition
from bayesopt.strategies.model_based import UtilityBased

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]


class KnowledgeGradient(UtilityBased):
    """As `ExpectedImprovement`, but a trial is worth what it teaches about where the best posterior mean is.

    A trial may so be spent where nothing good is expected, if its outcome would tell two promising regions apart. The
    answer is the point that the model likes best, tried or not; `Study.best` is a trial that was told, so leave one for
    that point. Under constraints a trial counts if it is feasible itself.

    An ask takes about 0.1 s of processor time. Mean regrets of its answers, against those of `ExpectedImprovement`: on
    Branin with noise, 40 trials, 10 seeds, two thirds; on a wave with two nearly equal hills, 25 trials, 24 seeds, no
    smaller. So take it for the question that it answers, not as the better default.
    """

    @override
    def _acquisition(
        self, surrogate: "Surrogate", pending: FloatArray, normals: FloatArray, rng: np.random.Generator
    ) -> tuple[Acquisition, Acquisition | None]:
        from bayesopt.acquisition.log_knowledge_gradient import LogKnowledgeGradient, likely_optima

        return LogKnowledgeGradient(surrogate, pending, normals, likely_optima(surrogate, rng)), None
