"""The default where the user believes something of the objective: functions are weighed by the beliefs, not points."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import probability
from bayesopt.record.history import History
from bayesopt.strategies.chosen import Chosen
from bayesopt.strategies.expected_improvement import ExpectedImprovement
from bayesopt.strategies.from_botorch import FromBoTorch
from bayesopt.strategies.model_based import ModelBased, middle, n_started

if TYPE_CHECKING:
    from botorch.acquisition.acquisition import AcquisitionFunction

    from bayesopt.acquisition.believed_paths import BelievedPaths
    from bayesopt.acquisition.botorch_problem import BoTorchProblem
    from bayesopt.acquisition.slab_mixture import Verdict
    from bayesopt.surrogate import LogFactor, Surrogate

FloatArray = NDArray[np.float64]

Method = Literal["paths", "colabo", "pibo"]

DOUBT: Final = 0.2
"""Probability that a belief is wrong, before any data."""
AT_ODDS: Final = 0.05
"""Probability of being right below which the user is warned."""
OFF: Final = 0.01
"""Probability of being right below which a belief no longer steers the search."""
SHORT_START: Final = 3
"""Trials of the start with beliefs that seem right."""
_FLOOR: Final = 1e-9
"""Least relative weight of a function in the published estimator."""


class PriorGuided(ModelBased):
    """The acquisition function of the loop under the user's beliefs, each of which may be wrong.

    A belief weighs whole functions: by where they have their optimum (`OptimumPrior`), by its value
    (`OptimalValuePrior`), by how they order configurations (`PreferencePrior`). For every trial functions are drawn
    jointly before and after the data; what a belief makes of the former against the latter is the evidence for it. With
    probability `doubt` a belief is wrong and says nothing, so that the weight of a function is a mixture, and data vote
    a wrong belief out: below a probability of 0.05 a warning says so, below 0.01 the belief no longer steers. The
    acquisition function gains the factor that `BeliefTerm` describes, and is else what it is without beliefs.

    The first trial is the beliefs' mode, the second the middle of the space. With a belief about the optimum's place
    the start ends after three trials if every belief is then more likely right than wrong; else it goes on as without.

    `method="pibo"` is a decaying factor on the acquisition function instead, of beliefs about the optimum's place
    alone. `method="colabo"` weighs the functions as they were before the data, which is the published estimator; a
    belief is then never set against the data. Both are there to be compared with.

    References: Hvarfner, Hutter and Nardi 2024, "A General Framework for User-Guided Bayesian Optimization" (beliefs on
    functions, `colabo`); Hvarfner et al. 2022, "piBO".

    Example:
        >>> strategy = PriorGuided(doubt=0.5)
        >>> strategy.method, strategy.doubt
        ('paths', 0.5)
    """

    def __init__(
        self,
        method: Method = "paths",
        *,
        doubt: float = DOUBT,
        make: "Callable[[BoTorchProblem], AcquisitionFunction] | None" = None,
        n_initial: int | None = None,
    ) -> None:
        """Choose how beliefs are used, and with what acquisition function.

        Args:
            method: 'paths', 'colabo' or 'pibo'.
            doubt: Probability that a belief is wrong, each on its own, between 0 and 1.
            make: Makes an acquisition function of BoTorch, as in `FromBoTorch`; None for that of `ExpectedImprovement`.
                The logs of the weights are added to its logs.
            n_initial: Trials of the start, as in `ExpectedImprovement`, where beliefs do not shorten it.

        Raises:
            InvalidInputError: If an argument is not accepted.
        """
        super().__init__(n_initial)
        if method not in get_args(Method):
            raise InvalidInputError(f"method: expected one of {', '.join(get_args(Method))}, got {method!r}.")
        self.method: Method = method
        self.doubt = probability("doubt", doubt)
        self._plain: ModelBased = (
            ExpectedImprovement(n_initial) if make is None else FromBoTorch(make, n_initial=n_initial)
        )

    @override
    def _n_start(self, history: History) -> int:
        """Trials of the start: few while a belief about the optimum's place stands for what more would tell."""
        usual = self._plain._n_start(history)
        names_place = any(belief.mode() is not None for belief in history.priors)
        return min(SHORT_START, usual) if names_place and self.method != "pibo" else usual

    @override
    def _guess(self, history: History, index: int) -> tuple[str, FloatArray | None]:
        """The most believed point, then the middle of the space, where a search without beliefs begins."""
        if index == 1 and self.method != "pibo":
            return "middle", middle(history)
        return super()._guess(history, index)

    @property
    @override
    def takes_every_belief(self) -> bool:
        """Whether beliefs that name no place of the optimum count."""
        return self.method != "pibo"

    @property
    @override
    def takes_law(self) -> bool:
        """Whether its models can hold a law in their mean."""
        return self._plain.takes_law

    @override
    def _choose(
        self, surrogate: "Surrogate", history: History, n: int, chosen: Chosen, rng: np.random.Generator
    ) -> dict[str, Any]:
        if self.method == "pibo" or not history.priors:
            return self._plain._choose(surrogate, history, n, chosen, rng)
        from bayesopt.acquisition.believed_paths import draw_believed_paths

        memory: dict[str, Any] = {}
        silent = dataclasses.replace(surrogate, history=dataclasses.replace(surrogate.history, priors=()))
        while len(chosen) < n:
            count = len(chosen)
            paths = draw_believed_paths(surrogate, history.priors, np.vstack([history.pending, *chosen]))
            factor, verdict = self._factor(paths)
            memory = memory or _warned(history, verdict)
            if verdict.probabilities.min() < 0.5 and n_started(history) + count < self._plain._n_start(history):
                self._fill(history, count + 1, chosen, rng)
            else:
                believing = silent if factor is None else dataclasses.replace(silent, belief=factor)
                self._plain._choose(believing, history, count + 1, chosen, rng)
            if len(chosen) == count:
                break
            chosen.note(beliefs=verdict.probabilities.tolist())
        return memory

    def _factor(self, paths: "BelievedPaths") -> tuple["LogFactor | None", "Verdict"]:
        """What the beliefs that are still trusted add, None without one; and the verdict on all of them."""
        from bayesopt.acquisition.believed_paths import BeliefTerm
        from bayesopt.acquisition.slab_mixture import weigh

        verdict = weigh(paths.before, paths.after, self.doubt)
        if self.method == "colabo":
            return BeliefTerm(paths.published(), weigh(paths.before, paths.before, _FLOOR), alone=0.0), verdict
        trusted = np.flatnonzero(verdict.probabilities >= OFF)
        if len(trusted) == 0:
            return None, verdict
        if len(trusted) == len(paths.beliefs):
            return BeliefTerm(paths, verdict), verdict
        left = paths.of(trusted)
        return BeliefTerm(left, weigh(left.before, left.after, self.doubt)), verdict


def _warned(history: History, verdict: "Verdict") -> dict[str, Any]:
    """Warn of each belief that is at odds with the data, once a study; what to remember of that."""
    known = history.memory.get("at_odds")
    known = [row for row in known if isinstance(row, int)] if isinstance(known, list) else []
    # With fewer trials than dimensions and one, functions are too free for evidence to mean much.
    is_early = len(history.X) <= history.space.dim
    new = [] if is_early else np.flatnonzero(verdict.probabilities < AT_ODDS).tolist()
    new = [row for row in new if row not in known]
    for row in new:
        warnings.warn(
            f"The data are at odds with belief {row + 1} of {len(history.priors)}: the probability that it is right is "
            f"{verdict.probabilities[row]:.2g} after {len(history.X)} trials. The search takes that into account; "
            "study.report() tells more.",
            RuntimeWarning,
            stacklevel=2,
        )
    return {"at_odds": known + new} if known + new else {}
