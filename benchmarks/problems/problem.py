"""What a benchmark minimises, with its answer."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import bayesopt as bo
from bayesopt.problem.outcomes import Constraint

Params = Mapping[str, Any]
Evaluate = Callable[[Params], dict[str, float]]


def _never(params: Params) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something to minimise, with its answer."""

    name: str
    """What the tables call it."""
    family: str
    """The problems whose figures are averaged together."""
    space: bo.Space
    """What can be tried."""
    outcomes: Evaluate
    """The noise-free outcomes of a configuration; the objective is `y`."""
    minimum: float
    """Least feasible value of the objective."""
    source: str
    """Where the problem and its minimum are from."""
    trials: int
    """Trials of one run."""
    argmin: Params | None = None
    """A configuration that attains the minimum, where one is known."""
    n_seeds: int = 5
    """Runs that a table asks for: more where a run is cheap."""
    subject_to: tuple[Constraint, ...] = ()
    """What must hold; every bound is 0 and every constraint an `AtMost`."""
    noise_sd: float = 0.0
    """Standard deviation of the normal noise on the objective that is told; no optimizer is told it."""
    breaks: Callable[[Params], bool] = _never
    """Which configurations yield no outcome at all."""
    infeasible_regret: float = math.inf
    """What a run is charged that returns nothing feasible: the largest regret among feasible Sobol points."""
    unit: float = 1.0
    """What regrets are divided by, where several surfaces count as one problem."""
    new_evaluate: Callable[[], Evaluate] | None = None
    """Makes the outcomes of one run where they depend on what the run has tried before; None where they do not."""
    instances: tuple["Problem", ...] = ()
    """The surface of each seed; empty where every seed is of the problem itself."""

    def instance(self, seed: int) -> "Problem":
        """What the run with this seed minimises."""
        return self.instances[seed % len(self.instances)] if self.instances else self

    def evaluator(self) -> Evaluate:
        """The noise-free outcomes for one run."""
        return self.outcomes if self.new_evaluate is None else self.new_evaluate()

    def true_value(self, outcomes: Mapping[str, float]) -> float:
        """The objective of noise-free outcomes; infinite where a constraint is violated."""
        holds = all(constraint.margin(outcomes[constraint.name]) <= 0 for constraint in self.subject_to)
        return outcomes["y"] if holds else math.inf


def box(d: int, low: float, high: float) -> bo.Space:
    """A cube of real numbers `x0`, `x1`, ..."""
    return bo.Space({f"x{i}": bo.Float(low, high) for i in range(d)})


def at_most_zero(*names: str) -> tuple[Constraint, ...]:
    """Constraints that hold where the outcomes of these names are at most 0."""
    return tuple(bo.AtMost(name, 0.0) for name in names)
